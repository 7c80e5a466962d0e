//! Kubernetes Events about Torpor's objects: one for each transition, not for each workload.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::condition::stall_of;
use super::reason::Reason;

/// An Event before it is published.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Event {
    /// Whether a person should look: type Warning instead of Normal.
    pub warning: bool,
    /// The reason, a [`Reason`] as it is written.
    pub reason: String,
    /// The note, for people.
    pub note: String,
}

impl Event {
    /// Returns an Event of type Normal.
    pub fn normal(reason: &Reason, note: impl Into<String>) -> Self {
        Self { warning: false, reason: reason.to_string(), note: note.into() }
    }

    /// Returns a Warning where the object is newly stalled, or for another reason than before.
    pub fn of_stall(before: &[Condition], after: &[Condition]) -> Option<Self> {
        let (reason, message) = stall_of(after)?;
        let is_new = stall_of(before).is_none_or(|(before, _)| before != reason);
        is_new.then(|| Self { warning: true, reason: reason.to_owned(), note: message.to_owned() })
    }
}
