//! One loop for each kind of object: read, validate, observe, plan, write the status, apply.

pub mod apply;
pub mod context;
pub mod error;
pub mod hibernation;
pub mod kind;
pub mod maintenance_window;
pub mod market;
pub mod object;
pub mod object_state;
pub mod run;
pub mod slots;
pub mod watch_filter;
