//! A step of a transition, and how it stands.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::hold_state::StepStatus;
use crate::api::reason::Reason;

/// A step on the way down or up.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum StepName {
    /// The preflight has passed, and Torpor can hold everything.
    Preflight,
    /// ConfigMaps are overridden, or restored.
    ConfigMaps,
    /// Workloads of one stage.
    Stage(i32),
    /// Restarted workloads.
    Restart,
    /// The truncation Job.
    Truncate,
    /// No truncation can commit any more.
    Fence,
    /// Objects that the spec no longer names are released.
    Release,
}

/// Returns the status of a step outside a transition, at which an object waits now. Its time goes on where the
/// object waited there before.
pub fn waiting_at(name: &str, before: Option<&StepStatus>, now: Timestamp) -> StepStatus {
    let before = before.filter(|step| step.name == name);
    let since = before.map_or(Time(now), |step| step.since.clone());
    StepStatus { name: name.to_owned(), since, overdue: Vec::new() }
}

impl fmt::Display for StepName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stage(stage) => write!(f, "Stage {stage}"),
            other => write!(f, "{other:?}"),
        }
    }
}

/// How a step stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Step {
    /// It is done.
    Done,
    /// Actions are to be taken, and then Torpor observes again.
    Act,
    /// The pods have to be observed.
    Observe,
    /// No pod is left; a second list after this time has to confirm it.
    Confirm(SignedDuration),
    /// It waits for these objects.
    Wait(Vec<String>),
    /// A person is needed.
    Blocked {
        /// For the conditions.
        reason: Reason,
        /// The obstacle and its remedy.
        message: String,
    },
}
