//! The operator process: it watches, reconciles, and says what it does.

pub mod context;
pub mod reconcile;
pub mod run;
pub mod sweep;
pub mod triggers;
