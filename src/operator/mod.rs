//! The operator process: it watches, reconciles, leads or waits, and says what it does.

pub mod admin;
pub mod client;
pub mod context;
pub mod control;
pub mod interest;
pub mod kind;
pub mod lease;
pub mod metrics;
pub mod object;
pub mod reconcile;
pub mod run;
pub mod sweep;
pub mod triggers;
