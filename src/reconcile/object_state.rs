//! The operator's memory of one object between reconciles. The operator may lose it, and observes
//! everything again.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::metrics::Counted;
use crate::transition::plan::PlanState;

/// An object at rest is left alone for so long, whatever changes around it: an iteration costs a dozen
/// requests, and others may write several times a second.
const REST: Duration = Duration::from_secs(1);

/// What is remembered of one object.
#[derive(Clone, Debug, Default)]
pub struct ObjectState {
    /// Where the object is at rest: until when nothing has to be observed.
    pub at_rest: Option<AtRest>,
    /// When the object was last found at rest, and its version then.
    pub last_rest: Option<(Instant, Version)>,
    /// What its plans leave to the next.
    pub plan: PlanState,
    /// Failures in a row, for the backoff.
    pub failures: u32,
    /// Conflicts in a row.
    pub conflicts: u32,
    /// Where the metrics count the object.
    pub counted: Counted,
    /// Counts the changes in its namespace, so that none is missed during a reconcile.
    pub changes: u64,
}

/// Conflicts in a row after which they count as failures. Something answers each write with a conflict then.
const CONFLICTS: u32 = 5;

impl ObjectState {
    /// Returns whether a conflict only means that the object has changed since it was read.
    pub fn reads_again(&self) -> bool {
        self.conflicts < CONFLICTS
    }

    /// Notes a change that may concern the object: it has to be looked at, also where a reconcile is under way.
    pub fn note_change(&mut self) {
        self.at_rest = None;
        self.changes += 1;
    }

    /// Returns the rest of an object that is still at rest.
    pub fn rest(&self, version: &Version, now: Timestamp) -> Option<&AtRest> {
        let rest = self.at_rest.as_ref()?;
        let due = rest.until.is_some_and(|until| until <= now);
        (rest.version == *version && !due).then_some(rest)
    }

    /// Returns for how long an object is still left alone that was at rest a moment ago.
    pub fn rest_left(&self, version: &Version, now: Instant) -> Option<Duration> {
        let (since, of) = self.last_rest.as_ref()?;
        let left = REST.checked_sub(now.duration_since(*since))?;
        (of == version && !left.is_zero()).then_some(left)
    }
}

/// An object that is as its spec asks.
#[derive(Clone, Debug, PartialEq)]
pub struct AtRest {
    /// The version of the object.
    pub version: Version,
    /// When time brings the next change; none if nothing does.
    pub until: Option<Timestamp>,
}

/// The version of an object, its status aside.
#[derive(Clone, Debug, PartialEq)]
pub struct Version {
    uid: Option<String>,
    generation: Option<i64>,
    finalizers: Option<Vec<String>>,
}

impl Version {
    /// Returns the version that metadata tells of.
    pub fn of(meta: &ObjectMeta) -> Self {
        Self {
            uid: meta.uid.clone(),
            generation: meta.generation,
            finalizers: meta.finalizers.clone().filter(|finalizers| !finalizers.is_empty()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_object_rests_for_a_second_unless_it_is_changed_itself() {
        let version = |generation: i64| {
            let meta = json!({"uid": "u", "generation": generation});
            Version::of(&serde_json::from_value(meta).unwrap())
        };
        let since = Instant::now();
        let state = ObjectState { last_rest: Some((since, version(1))), ..ObjectState::default() };
        let after = |milliseconds| since + Duration::from_millis(milliseconds);
        assert_eq!(ObjectState::default().rest_left(&version(1), since), None);
        assert_eq!(state.rest_left(&version(1), after(300)), Some(Duration::from_millis(700)));
        assert_eq!(state.rest_left(&version(2), after(300)), None);
        assert_eq!(state.rest_left(&version(1), after(1000)), None);
    }
}
