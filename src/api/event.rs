//! Kubernetes Events about Torpor's objects: one for each transition, not for each workload.

/// An Event before it is published.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Event {
    /// Whether a person should look: type Warning instead of Normal.
    pub warning: bool,
    /// The reason, for machines.
    pub reason: String,
    /// The note, for people.
    pub note: String,
}
