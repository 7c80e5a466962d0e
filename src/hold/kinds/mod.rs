//! The table of kinds that the installer gives: kinds of other projects, with the lever that stops each.
//! An author of an object never gives one, because it would write any field of any kind with the rights of
//! the operator.
//!
//! The table is set once, when the process starts, and lives as long as the process.

mod check;
mod parse;
mod served;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use clap::Args;
use serde::Deserialize;
use serde_json::Value;

pub use self::check::Check;
pub use self::parse::{Invalid, parse};
pub(crate) use self::served::{Unusable, unusable};
use super::lever::Kind;

/// The entries of other projects' kinds that come with Torpor: the presets of the chart.
pub const PRESETS: &str = include_str!("presets.yaml");

/// The part of a table's entry that a built-in kind does not have.
#[derive(Debug, Eq, PartialEq)]
pub struct Entry {
    /// The value that stops an object of the kind.
    pub value: Value,
    /// The checks that hold when an object is down. None: its controller has observed the hold, where
    /// the object has a `status.observedGeneration`.
    pub down: Option<Vec<Check>>,
    /// The checks that hold when an object is ready.
    pub ready: Vec<Check>,
    /// The pointer of a reference to the workload that an object controls, besides those that it owns.
    pub target_ref: Option<String>,
    /// The second lever.
    pub also: Option<Also>,
}

/// A second lever, which the hold sets in the same write where it has a certain value.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Also {
    /// Its JSON pointer.
    pub lever: String,
    /// The value to hold it at.
    pub value: Value,
    /// The value that it must have for that; absent: any.
    #[serde(default)]
    pub r#where: Option<Value>,
}

impl Entry {
    /// Returns the pointers of everything that is read of an object besides its levers.
    pub(crate) fn pointers(&self) -> impl Iterator<Item = &str> {
        let checks = self.down.iter().flatten().chain(&self.ready);
        checks.flat_map(Check::pointers).chain(self.target_ref.as_deref())
    }
}

static TABLE: OnceLock<Vec<Kind>> = OnceLock::new();

/// Returns the table. Before it is set, it is empty; in tests of the library it has the presets.
#[must_use]
pub fn table() -> &'static [Kind] {
    #[cfg(test)]
    TABLE.get_or_init(presets);
    TABLE.get().map(Vec::as_slice).unwrap_or_default()
}

/// Sets the table. Does nothing where it is set already.
pub fn install(kinds: Vec<Kind>) {
    drop(TABLE.set(kinds));
}

/// Returns the kinds of the presets.
#[must_use]
pub fn presets() -> Vec<Kind> {
    // A test parses them.
    parse(PRESETS).unwrap_or_default()
}

/// Why a table is not usable.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("the table of kinds {path} cannot be read: {error}. Correct --kinds")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        error: std::io::Error,
    },
    /// Entries are not valid.
    #[error("the table of kinds {path} is not valid:\n{error}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// All that is wrong with it.
        error: Invalid,
    },
}

/// Reads a table from a file.
///
/// # Errors
///
/// The file cannot be read, or entries are not valid.
pub fn read(path: &Path) -> Result<Vec<Kind>, Error> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Error::Unreadable { path: path.to_owned(), error })?;
    parse(&text).map_err(|error| Error::Invalid { path: path.to_owned(), error })
}

/// The environment variable that names the file.
pub(crate) const VARIABLE: &str = "TORPOR_KINDS";

/// The option that gives the table.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct KindsArgs {
    /// File with the table of kinds that can be held besides the built-in ones (docs/kinds.md)
    #[arg(long, env = VARIABLE, value_name = "FILE")]
    pub(crate) kinds: Option<PathBuf>,
}

impl KindsArgs {
    /// Returns the option of a command that has none.
    pub(crate) fn of_environment() -> Self {
        Self { kinds: std::env::var_os(VARIABLE).map(PathBuf::from) }
    }

    /// Sets the table of the operator: the file alone.
    pub(crate) fn install(&self) -> Result<(), Error> {
        if let Some(path) = &self.kinds {
            install(read(path)?);
        }
        Ok(())
    }

    /// Sets the table of a command for people: the presets, and the file, whose entries come first. A person
    /// need not know which presets the operator has.
    pub(crate) fn install_with_presets(&self) -> Result<(), Error> {
        let mut kinds = self.kinds.as_deref().map(read).transpose()?.unwrap_or_default();
        for preset in presets() {
            if !kinds.iter().any(|kind| kind.name == preset.name) {
                kinds.push(preset);
            }
        }
        install(kinds);
        Ok(())
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
