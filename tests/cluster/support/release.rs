//! `torpor release` as a process.

use std::process::{Command, Output};

use super::scene::Scene;

/// The exit status and output of the command.
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

    /// Expects an exit status, and texts on standard output or standard error.
    pub(crate) fn with(self, status: i32, says: &[&str]) -> Self {
        let all = format!("{}\n{}", self.out, self.err);
        assert_eq!(self.status, Some(status), "{all}");
        for words in says {
            assert!(all.contains(words), "{words:?} in:\n{all}");
        }
        self
    }

    /// Returns a row of the table, its columns separated by a bar.
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

/// Runs `torpor release` in the namespace of the scene.
pub(crate) fn torpor(scene: &Scene, arguments: &[&str]) -> Ended {
    let arguments = [&["--namespace", &scene.namespace.name], arguments].concat();
    Ended::of(&command(&arguments).output().expect("it runs"))
}
