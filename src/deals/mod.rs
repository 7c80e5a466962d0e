//! The Deals API: the one small HTTP contract between Torpor and whoever knows a market.
//!
//! The contract is `docs/deals-api.yaml`. Here are the types that travel and the problems that are
//! answered; who serves it is in [`crate::bridge`].

pub mod client;
pub mod gate;
pub mod hosted;
pub mod payloads;
pub mod problem;
pub mod types;
