//! The same URL and the same way to the database, for other parts of Torpor that work on one.

use std::path::{Path, PathBuf};

use sqlx::postgres::PgConnection;

use super::connect::{ConnectError, connect};
use super::fault::Fault;
use super::secret::Redactor;
use super::url::Target;

/// A database that can be connected to. Nothing of its URL ever shows.
#[derive(Clone)]
pub(crate) struct Access {
    target: Target,
    redactor: Redactor,
}

impl Access {
    /// Parses the URL. The certificate authority goes before the URL's own. The error shows nothing of either.
    pub(crate) fn new(url: &str, ca_file: Option<&Path>) -> Result<Self, String> {
        let target =
            Target::parse(url, ca_file.map(PathBuf::from)).map_err(|error| error.to_string())?;
        let mut redactor = Redactor::default();
        redactor.secret(url.trim());
        target.hide(&mut redactor);
        Ok(Self { target, redactor })
    }

    /// Returns a connection to a primary, outside a transaction. The error is for a person.
    pub(crate) async fn connect(&self) -> Result<PgConnection, String> {
        match connect(&self.target, &self.redactor).await {
            Ok(session) => Ok(session.connection),
            Err(ConnectError::Fault(fault)) => Err(fault.to_string()),
            Err(ConnectError::Refused(refusal)) => Err(refusal.message),
        }
    }

    /// Returns the server's words about a statement, or the state of the connection.
    pub(crate) fn in_words(&self, error: &sqlx::Error) -> String {
        match error {
            sqlx::Error::Database(error) => self.redactor.clean_foreign(error.message()),
            error => Fault::of(error, &self.redactor).to_string(),
        }
    }
}
