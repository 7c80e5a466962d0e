//! Torpor takes workloads down without breaking a promise or losing anything, and restores them exactly.
//! `docs/architecture.md` is the map of the modules.

pub mod api;
pub mod apiserver;
mod bridge;
pub mod cli;
pub mod deals;
mod hibernation;
pub mod hold;
pub mod lease;
mod logging;
mod maintenance;
mod metrics;
mod operator;
mod plugin;
mod reconcile;
mod release;
pub mod schedule;
mod self_test;
mod signals;
mod transition;
pub mod truncate;
mod uninstall_check;
mod version;
