//! Conditions, and every reason that one can have. `docs/conditions.md` says of each what a person
//! can do.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// `Ready=True`: what is asked for now is so, whether asleep or awake.
pub const READY: &str = "Ready";
/// `Reconciling=True`: on the way, or waiting for a thing that ends by itself.
pub const RECONCILING: &str = "Reconciling";
/// `Stalled=True`: a person is needed.
pub const STALLED: &str = "Stalled";
/// `Hibernated=True`: everything asked for is down.
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

/// Sets a condition; None is Unknown. Its transition time moves only with its status.
pub fn set(
    conditions: &mut Vec<Condition>,
    kind: &str,
    status: impl Into<Option<bool>>,
    reason: &str,
    message: &str,
    generation: Option<i64>,
    now: Timestamp,
) {
    let status = match status.into() {
        Some(true) => "True",
        Some(false) => "False",
        None => "Unknown",
    };
    let since = conditions
        .iter()
        .find(|c| c.type_ == kind && c.status == status)
        .map_or(Time(now), |c| c.last_transition_time.clone());
    let condition = Condition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: shorten(message),
        observed_generation: generation,
        last_transition_time: since,
    };
    match conditions.iter_mut().find(|c| c.type_ == kind) {
        Some(existing) => *existing = condition,
        None => conditions.push(condition),
    }
}

/// Says that a person is needed.
pub fn stalled(
    conditions: &mut Vec<Condition>,
    reason: &str,
    message: &str,
    generation: Option<i64>,
    now: Timestamp,
) {
    set(conditions, READY, false, reason, message, generation, now);
    set(conditions, RECONCILING, false, reason, message, generation, now);
    set(conditions, STALLED, true, reason, message, generation, now);
}

/// Says that a reconcile fails, and is tried again.
pub fn failing(
    conditions: &mut Vec<Condition>,
    message: &str,
    generation: Option<i64>,
    now: Timestamp,
) {
    set(conditions, READY, false, "ReconcileFailed", message, generation, now);
    set(conditions, RECONCILING, true, "ReconcileFailed", message, generation, now);
}

/// Reason and message of what stands in the way, where a person is needed.
pub fn stall_of(conditions: &[Condition]) -> Option<(&str, &str)> {
    let stalled = conditions.iter().find(|c| c.type_ == STALLED && c.status == "True")?;
    Some((&stalled.reason, &stalled.message))
}

/// Takes a condition away.
pub fn remove(conditions: &mut Vec<Condition>, kind: &str) {
    conditions.retain(|c| c.type_ != kind);
}

/// A message cut to what a condition or an event may hold.
pub fn shorten(message: &str) -> String {
    if message.len() <= LONGEST {
        return message.to_owned();
    }
    let mut end = LONGEST;
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &message[..end])
}
