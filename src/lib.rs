//! Torpor takes running services down without breaking a promise or losing anything, and brings
//! them back exactly as they were.

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
pub mod operator;
pub mod reconcile;
pub mod release;
pub mod schedule;
pub mod transition;
pub mod truncate;
