//! `torpor release` as a process.

use std::process::{Command, Output};

use super::scene::Scene;

/// How the command ended, and what it said.
pub(crate) struct Ended {
    pub(crate) status: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    pub(crate) fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { status: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    pub(crate) fn success(self) -> Self {
        self.with(0, &[])
    }

    /// Expects an exit status, and words on standard output or standard error.
    pub(crate) fn with(self, status: i32, says: &[&str]) -> Self {
        let all = format!("{}\n{}", self.out, self.err);
        assert_eq!(self.status, Some(status), "{all}");
        for words in says {
            assert!(all.contains(words), "{words:?} in:\n{all}");
        }
        self
    }

    /// A line of the table, its columns with a bar between.
    pub(crate) fn row(&self, begins: &str) -> String {
        let columns = |line: &str| {
            let columns: Vec<_> =
                line.split("   ").map(str::trim).filter(|c| !c.is_empty()).collect();
            columns.join(" | ")
        };
        let mut rows = self.out.lines().map(columns);
        let row = rows.find(|row| row.starts_with(begins));
        row.unwrap_or_else(|| panic!("no row {begins} in:\n{}", self.out))
    }
}

pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_torpor"));
    command.arg("release").args(arguments);
    command
}

/// Runs it in the scene's namespace.
pub(crate) fn torpor(scene: &Scene, arguments: &[&str]) -> Ended {
    let arguments = [&["--namespace", &scene.namespace.name], arguments].concat();
    Ended::of(&command(&arguments).output().expect("it runs"))
}
