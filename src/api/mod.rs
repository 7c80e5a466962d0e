//! The custom resources: data, documentation and admission rules, nothing else.

pub mod condition;
pub mod database;
pub mod deals;
pub mod definition;
pub mod event;
pub mod hibernation;
pub mod history;
pub mod hold_state;
pub mod labels;
pub mod maintenance_window;
pub(crate) mod names;
pub(crate) mod pod;
pub mod reason;
pub mod schedule;
pub(crate) mod text;
pub mod workload;

pub use hibernation::{Hibernation, HibernationSpec, HibernationStatus};
pub use maintenance_window::{MaintenanceWindow, MaintenanceWindowSpec, MaintenanceWindowStatus};
