//! Torpor takes workloads down without breaking a promise or losing anything, and restores them exactly.
//! `docs/architecture.md` is the map of the modules.

pub mod api;
pub mod apiserver;
pub mod bridge;
pub mod cli;
pub mod deals;
pub mod hibernation;
pub mod hold;
pub mod lease;
pub mod logging;
pub mod maintenance;
pub mod metrics;
mod operator;
pub mod reconcile;
pub mod release;
pub mod schedule;
pub mod transition;
pub mod truncate;
