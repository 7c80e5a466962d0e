//! One Hibernation, from what is seen of it to what is done: observe, validate, plan, apply.

pub mod apply;
pub mod database;
pub mod down;
pub mod job;
pub mod observe;
pub mod plan;
pub mod report;
pub mod steps;
pub mod validate;
