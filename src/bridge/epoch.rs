//! Epochs: each leader of the operator has a higher epoch than the leaders before it. A bridge refuses
//! the changes of an older epoch.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::deals::files::EPOCH;
use crate::deals::problem::{Problem, ProblemType};

/// The highest epoch that the bridge knows.
#[derive(Debug)]
pub(super) struct Epochs {
    /// The file with the floor, the oldest accepted epoch. With it a restarted bridge still refuses
    /// older epochs.
    file: Option<PathBuf>,
    seen: AtomicU64,
}

impl Epochs {
    /// Creates the check with the floor in `folder`, if there is a folder.
    pub(super) fn new(folder: Option<&std::path::Path>) -> Self {
        Self { file: folder.map(|folder| folder.join(EPOCH)), seen: AtomicU64::new(0) }
    }

    /// Fails if the epoch is older than the highest known epoch, else remembers the epoch.
    pub(super) fn admit(&self, epoch: u64) -> Result<(), Problem> {
        self.check(epoch)?;
        let before = self.seen.fetch_max(epoch, Ordering::SeqCst);
        if before > epoch { Err(stale(epoch, before)) } else { Ok(()) }
    }

    /// Fails if the epoch is older than the highest known epoch.
    pub(super) fn check(&self, epoch: u64) -> Result<(), Problem> {
        let newest = self.floor()?.max(self.seen.load(Ordering::SeqCst));
        if newest > epoch { Err(stale(epoch, newest)) } else { Ok(()) }
    }

    /// Returns the floor. Reads the file each time: changes are rare, and a stale floor would accept
    /// the changes of a former leader.
    fn floor(&self) -> Result<u64, Problem> {
        let Some(file) = &self.file else { return Ok(0) };
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
            Err(error) => {
                let detail =
                    format!("the file '{EPOCH}' in --config-dir cannot be read: {}", error.kind());
                return Err(ProblemType::Misconfigured.because(detail));
            }
        };
        text.trim().parse().map_err(|_| {
            ProblemType::Misconfigured.because(format!(
                "the file '{EPOCH}' in --config-dir does not hold a number: write the oldest epoch to \
                 accept, or remove the file"
            ))
        })
    }
}

fn stale(epoch: u64, newest: u64) -> Problem {
    ProblemType::StaleEpoch.because(format!(
        "epoch {epoch} is older than {newest}: a newer leader of the operator is in charge. If there is none, \
         somebody has raised the number in the file '{EPOCH}' of --config-dir: write the oldest epoch to accept. The \
         operator corrects the file of a bridge that it runs, within minutes"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::folder::Folder;

    #[test]
    fn an_epoch_older_than_the_highest_known_is_refused() {
        let epochs = Epochs::new(None);
        for epoch in [3, 3, 5] {
            epochs.admit(epoch).unwrap();
        }
        assert_eq!(epochs.admit(4).unwrap_err().kind, ProblemType::StaleEpoch);
        assert_eq!(epochs.check(3).unwrap_err().kind, ProblemType::StaleEpoch);
        epochs.check(5).unwrap();
    }

    #[test]
    fn the_floor_is_read_again_as_it_changes() {
        let folder = Folder::new();
        let epochs = Epochs::new(Some(folder.path()));
        epochs.admit(1).unwrap();
        folder.write(EPOCH, "7\n");
        assert_eq!(epochs.admit(6).unwrap_err().kind, ProblemType::StaleEpoch);
        assert_eq!(epochs.check(1).unwrap_err().kind, ProblemType::StaleEpoch);
        epochs.admit(7).unwrap();
        folder.write(EPOCH, "8");
        assert_eq!(epochs.check(7).unwrap_err().kind, ProblemType::StaleEpoch);
        // Raised by hand and corrected: nothing is refused for good.
        folder.write(EPOCH, "2147483647");
        let problem = epochs.admit(9).unwrap_err();
        assert!(problem.detail.contains("write the oldest epoch to accept"), "{problem}");
        folder.write(EPOCH, "9");
        epochs.admit(9).unwrap();
    }

    #[test]
    fn a_floor_that_cannot_be_read_refuses_every_change() {
        let folder = Folder::new();
        folder.write(EPOCH, "many");
        let epochs = Epochs::new(Some(folder.path()));
        assert_eq!(epochs.admit(9).unwrap_err().kind, ProblemType::Misconfigured);
    }
}
