//! One MaintenanceWindow, from what is seen of it to what is done. What it holds, it holds as a
//! Hibernation does; besides, there is its time, and a market.

mod departure;
mod held;
pub mod occurrence;
pub mod plan;
#[cfg(test)]
mod plan_world;
pub mod report;
pub mod validate;
