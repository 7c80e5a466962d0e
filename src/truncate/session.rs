//! A session that keeps a truncation back, as a report has it.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// The sessions from one address that keep a truncation back; one of them in detail.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Session {
    /// The client's address; none for a socket of the server's own machine, or where the role may not see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// How many there are.
    pub count: u64,
    /// One of them: its role, application, state and process.
    pub detail: String,
}

impl Session {
    /// Returns a phrase.
    pub fn in_words(&self) -> String {
        let from = self.address.map(|address| format!(" from {address}")).unwrap_or_default();
        let count = match self.count {
            1 => "1 session".to_owned(),
            count => format!("{count} sessions"),
        };
        format!("{count}{from} ({})", self.detail)
    }
}

/// Returns a phrase for the sessions from addresses that are not named one by one; none where all are.
pub fn more_in_words(addresses: u64) -> Option<String> {
    match addresses {
        0 => None,
        1 => Some("sessions from 1 more address".to_owned()),
        more => Some(format!("sessions from {more} more addresses")),
    }
}

/// Returns what lets a role see the sessions that it does not see; none where it sees all.
pub fn hidden_in_words(hidden: u64) -> Option<String> {
    let sessions = match hidden {
        0 => return None,
        1 => "1 session of another role does not show its address".to_owned(),
        hidden => format!("{hidden} sessions of other roles do not show their addresses"),
    };
    Some(format!("{sessions}: GRANT pg_read_all_stats TO the role of the URL"))
}
