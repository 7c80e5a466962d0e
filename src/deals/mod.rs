//! The Deals API: the one small HTTP contract between Torpor and whoever knows a market.
//!
//! The contract is `docs/deals-api.yaml`. Here are the types that travel, the problems that are
//! answered, the operator's client, the bridges that it runs, what it keeps of what was withdrawn, and
//! what it asks of a market before anything stops; who serves the API is in [`crate::bridge`].

pub mod clearance;
pub mod client;
pub mod files;
pub mod hosted;
pub mod market_state;
mod open;
pub mod payloads;
pub mod problem;
pub mod session;
#[cfg(test)]
pub(crate) mod test_market;
pub mod types;

pub use self::client::Account;
