//! The custom resources: data, documentation and admission rules, nothing else.

pub mod condition;
pub mod database;
pub mod hibernation;
pub mod schedule;
pub mod workload;

pub use hibernation::{Hibernation, HibernationSpec, HibernationStatus};
