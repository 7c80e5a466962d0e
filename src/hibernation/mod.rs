//! The plan of a Hibernation: validate the spec, decide, report in the status. Pure.

mod deals;
pub mod plan;
pub mod status;
#[cfg(test)]
pub(crate) mod test_world;
pub mod validate;
