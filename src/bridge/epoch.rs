//! Epochs: each leader of the operator has a higher one than those before, and a change of an older
//! one is refused.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::deals::files::EPOCH;
use crate::deals::problem::{Problem, ProblemType};

/// The highest epoch that has been seen.
#[derive(Debug)]
pub struct Epochs {
    /// The floor: where it is, a bridge that was started anew still knows what is old.
    file: Option<PathBuf>,
    seen: AtomicU64,
}

impl Epochs {
    /// With the floor in that folder, if there is one.
    pub fn new(folder: Option<&std::path::Path>) -> Self {
        Self { file: folder.map(|folder| folder.join(EPOCH)), seen: AtomicU64::new(0) }
    }

    /// Refuses an epoch that is older than one that has been seen. Otherwise it has now been seen.
    pub fn admit(&self, epoch: u64) -> Result<(), Problem> {
        self.check(epoch)?;
        let before = self.seen.fetch_max(epoch, Ordering::SeqCst);
        if before > epoch { Err(stale(epoch, before)) } else { Ok(()) }
    }

    /// Refuses an epoch that has become old meanwhile.
    pub fn check(&self, epoch: u64) -> Result<(), Problem> {
        let newest = self.floor()?.max(self.seen.load(Ordering::SeqCst));
        if newest > epoch { Err(stale(epoch, newest)) } else { Ok(()) }
    }

    /// The file is read each time: changes are rare, and an old floor would be no floor.
    fn floor(&self) -> Result<u64, Problem> {
        let Some(file) = &self.file else { return Ok(0) };
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
            Err(error) => {
                let detail = format!("the file '{EPOCH}' cannot be read: {}", error.kind());
                return Err(ProblemType::Misconfigured.because(detail));
            }
        };
        text.trim().parse().map_err(|_| {
            ProblemType::Misconfigured.because(format!("the file '{EPOCH}' does not hold a number"))
        })
    }
}

fn stale(epoch: u64, newest: u64) -> Problem {
    ProblemType::StaleEpoch
        .because(format!("epoch {epoch} is older than {newest}, which has been seen"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::folder::Folder;

    #[test]
    fn an_epoch_older_than_one_seen_is_refused() {
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
    }

    #[test]
    fn a_floor_that_cannot_be_read_lets_nobody_through() {
        let folder = Folder::new();
        folder.write(EPOCH, "many");
        let epochs = Epochs::new(Some(folder.path()));
        assert_eq!(epochs.admit(9).unwrap_err().kind, ProblemType::Misconfigured);
    }
}
