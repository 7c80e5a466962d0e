//! Running as an operator: leadership, health, metrics, logs.

pub mod admin;
pub mod lease;
pub mod logging;
pub mod metrics;
