//! One Hibernation, from what is seen of it to what is done: observe, validate, plan, apply.

pub mod database;
pub mod deals;
pub mod down;
pub mod dry_run;
pub mod job;
pub mod observe;
pub mod plan;
#[cfg(test)]
pub(crate) mod plan_world;
pub mod report;
pub mod roles;
pub mod steps;
pub mod truncation;
pub mod validate;
pub mod wake;
