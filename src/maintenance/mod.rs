//! The plan of a MaintenanceWindow: validate the spec, decide, report in the status. Pure.

mod end;
pub mod occurrence;
pub mod plan;
pub mod status;
#[cfg(test)]
mod test_world;
pub mod validate;
