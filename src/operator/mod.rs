//! The operator process: it watches, reconciles, leads or waits, and serves health and metrics.

pub mod admin;
pub mod control;
pub mod run;
pub mod sweep;
pub mod triggers;
