//! Runs `torpor truncate` as a process.

use torpor::truncate::report::Report;

/// The outcome of a run of the command.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) arguments: Vec<String>,
    /// The database's name.
    pub(crate) database: String,
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) report: Option<Report>,
    pub(crate) json: String,
}

impl Ended {
    pub(crate) fn report(&self) -> &Report {
        self.report.as_ref().unwrap_or_else(|| panic!("no report: {self:?}"))
    }

    /// Returns reason, object and message of the only refusal.
    pub(crate) fn refusal(&self) -> (&str, &str, &str) {
        assert_eq!(self.status, 3, "{self:?}");
        match self.report().refusals.as_slice() {
            [one] => (&one.reason, &one.object, &one.message),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn done(&self) -> &Report {
        assert_eq!(self.status, 0, "{self:?}");
        self.report()
    }
}

/// Runs the command with `--report`.
pub(crate) async fn truncate_at(url: &str, arguments: &[&str]) -> Ended {
    let file = std::env::temp_dir().join(format!("torpor-report-{:x}", rand()));
    let ended = command(url, arguments).arg("--report").arg(&file).output().await.unwrap();
    let json = std::fs::read_to_string(&file).unwrap_or_default();
    let _ = std::fs::remove_file(&file);
    ended_of(url, arguments, ended, json)
}

/// Returns the outcome of a run that the test started itself.
pub(crate) fn ended_of(
    url: &str,
    arguments: &[&str],
    ended: std::process::Output,
    json: String,
) -> Ended {
    let database = url.rsplit('/').next().and_then(|path| path.split('?').next());
    Ended {
        arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
        database: database.unwrap_or_default().to_owned(),
        status: ended.status.code().unwrap(),
        stdout: String::from_utf8(ended.stdout).unwrap(),
        stderr: String::from_utf8(ended.stderr).unwrap(),
        report: serde_json::from_str(&json).ok(),
        json,
    }
}

/// Returns the command with the URL in its environment.
pub(crate) fn command(url: &str, arguments: &[&str]) -> tokio::process::Command {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_torpor"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PG")) {
        command.env_remove(name);
    }
    command.arg("truncate").args(arguments).env("DATABASE_URL", url).kill_on_drop(true);
    command
}

fn rand() -> u128 {
    use std::hash::{BuildHasher as _, Hasher as _, RandomState};
    let half = || u128::from(RandomState::new().build_hasher().finish());
    (half() << 64) | half()
}
