//! One Hibernation, from what is seen of it to what is done: observe, validate, plan, apply.

pub mod apply;
pub mod cast;
pub mod database;
pub mod dealing;
pub mod down;
pub mod job;
pub mod observe;
pub mod pass;
pub mod plan;
#[cfg(test)]
pub(crate) mod plan_world;
pub mod rehearse;
pub mod report;
pub mod steps;
pub mod truncation;
pub mod validate;
pub mod wake;
