//! Takes workloads and ConfigMaps down and brings them back: the part that a Hibernation and a
//! MaintenanceWindow have in common.
//!
//! A transition is pure. [`down`](fn@down) and [`up`] take a [`HoldState`](crate::api::hold_state::HoldState),
//! what was observed, and the time. They return the next state, how it stands, and the next actions.
//! Steps are walked from the first at every plan, so that Torpor mends in order whatever falls behind.

pub mod attempt;
mod blockers;
mod chain;
pub mod contest;
mod down;
mod draft;
mod dry_run;
pub mod job;
pub mod missed;
pub mod observe;
pub mod plan;
pub mod pod;
mod role;
mod roles;
mod serving;
mod sessions;
pub mod spec;
pub mod standing;
mod status;
mod step;
mod steps;
mod targets;
#[cfg(test)]
pub(crate) mod test_world;
mod truncation;
pub(crate) mod unavailable;
mod wake;
mod writers;

pub use blockers::all_is_stopped;
pub use down::{Begin, down};
pub use dry_run::dry_run;
pub use serving::not_serving;
pub use step::waiting_at;
pub use truncation::DAILY;
pub use wake::{keep, rest, up};
