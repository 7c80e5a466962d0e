//! The Deals API: the one small HTTP contract between Torpor and whoever knows a market.
//!
//! The contract is `docs/deals-api.yaml`. Here are the types that travel, the problems that are
//! answered, and the operator's client; who serves it is in [`crate::bridge`].

pub mod client;
pub mod gate;
//! answered, the bridges that the operator runs, and where it keeps what was withdrawn; who serves the
//! API is in [`crate::bridge`].

pub mod hosted;
pub mod payloads;
pub mod problem;
pub mod types;

/// The service account that the operator runs as.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Account {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}
