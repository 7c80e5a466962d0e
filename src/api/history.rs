//! Transitions, past and to come, of both kinds of object.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Transitions that a status keeps.
const KEPT: usize = 10;

/// `NextTransition` is the next change of state that is due.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct NextTransition<S> {
    /// `state` is the state after the change.
    pub state: S,
    /// `at` is the time of the change.
    pub at: Time,
}

/// `HistoryEntry` is one finished transition.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct HistoryEntry<P> {
    /// `phase` is the phase that the transition led to.
    pub phase: P,
    /// `at` is the end of the transition.
    pub at: Time,
    /// `message` is the cause of the transition, and its effects.
    pub message: String,
}

/// Adds the last transition to a history, which is ordered from the newest on, and forgets the oldest.
pub(crate) fn add<P>(history: &mut Vec<HistoryEntry<P>>, last: HistoryEntry<P>) {
    history.insert(0, last);
    history.truncate(KEPT);
}
