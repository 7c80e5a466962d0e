//! The Deals API: the HTTP contract between Torpor and the server of a market, `docs/deals-api.yaml`.
//!
//! [`types`] and [`problem`] are the contract, [`client`] the operator's client, [`hosted`] the bridges that the
//! operator runs, [`payloads`] the saved payloads of withdrawn orders. [`session`] and [`clearance`] plan the
//! calls before and after a stop. The servers are in [`crate::bridge`].

pub(crate) mod clearance;
pub mod client;
pub(crate) mod files;
pub mod hosted;
pub(crate) mod market_state;
mod open;
pub mod payloads;
pub mod problem;
pub(crate) mod session;
#[cfg(test)]
pub(crate) mod test_market;
pub mod types;

pub use self::client::Account;
