//! Conditions. Their reasons are in [`super::reason`].

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::reason::Reason;

/// `Ready=True`: the cluster is as the spec asks, hibernated or awake.
pub const READY: &str = "Ready";
/// `Reconciling=True`: Torpor is changing the cluster, or waits for something that ends by itself.
pub const RECONCILING: &str = "Reconciling";
/// `Stalled=True`: a person is needed.
pub const STALLED: &str = "Stalled";
/// `Hibernated=True`: all workloads that the spec names are down.
pub const HIBERNATED: &str = "Hibernated";
/// `PreflightPassed=True`: the truncation's dry run found nothing in its way.
pub const PREFLIGHT_PASSED: &str = "PreflightPassed";
/// `Truncated=True`: this hibernation has emptied its tables.
pub const TRUNCATED: &str = "Truncated";
/// `InMaintenance=True`: everything that the window names is down.
pub const IN_MAINTENANCE: &str = "InMaintenance";
/// `DealsClear=True`: no deal, order or task is open.
pub const DEALS_CLEAR: &str = "DealsClear";

/// Longest message that is kept.
const LONGEST: usize = 1000;

/// Writes the conditions of one status.
#[derive(Debug)]
pub struct Conditions<'a> {
    list: &'a mut Vec<Condition>,
    generation: Option<i64>,
    now: Timestamp,
}

impl<'a> Conditions<'a> {
    /// Returns a writer of conditions about the spec of that generation.
    pub fn new(list: &'a mut Vec<Condition>, generation: Option<i64>, now: Timestamp) -> Self {
        Self { list, generation, now }
    }

    /// Sets a condition; no status is Unknown. The transition time moves only with the status.
    pub fn set(
        &mut self,
        kind: &str,
        status: impl Into<Option<bool>>,
        reason: &Reason,
        message: &str,
    ) {
        let status = match status.into() {
            Some(true) => "True",
            Some(false) => "False",
            None => "Unknown",
        };
        let existing = self.list.iter_mut().find(|condition| condition.type_ == kind);
        let since = existing
            .as_ref()
            .filter(|condition| condition.status == status)
            .map_or(Time(self.now), |condition| condition.last_transition_time.clone());
        let condition = Condition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: reason.to_string(),
            message: shorten(message),
            observed_generation: self.generation,
            last_transition_time: since,
        };
        match existing {
            Some(existing) => *existing = condition,
            None => self.list.push(condition),
        }
    }

    /// Says that a person is needed.
    pub fn stalled(&mut self, reason: &Reason, message: &str) {
        self.set(READY, false, reason, message);
        self.set(RECONCILING, false, reason, message);
        self.set(STALLED, true, reason, message);
    }

    /// Says that a reconcile failed, and will be tried again.
    pub fn failing(&mut self, message: &str) {
        self.set(READY, false, &Reason::ReconcileFailed, message);
        self.set(RECONCILING, true, &Reason::ReconcileFailed, message);
    }

    /// Removes a condition.
    pub fn remove(&mut self, kind: &str) {
        self.list.retain(|condition| condition.type_ != kind);
    }
}

/// Returns reason and message of the condition `Stalled`, where it is true.
pub fn stall_of(conditions: &[Condition]) -> Option<(&str, &str)> {
    let stalled = true_condition(conditions, STALLED)?;
    Some((&stalled.reason, &stalled.message))
}

/// Returns the condition of this type, where it is true.
pub fn true_condition<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == kind && condition.status == "True")
}

/// Returns a message, cut to the length that a condition or an Event may have.
pub fn shorten(message: &str) -> String {
    if message.len() <= LONGEST {
        return message.to_owned();
    }
    format!("{}…", &message[..message.floor_char_boundary(LONGEST)])
}
