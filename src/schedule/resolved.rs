//! The desired state of an object at a time: its override, else its `state` or `schedule`.

use jiff::Timestamp;

use super::error::ScheduleError;
use super::{Cause, DesiredState, Schedule, StateAt, Transition, whole_seconds};
use crate::api::schedule as api;

/// A parsed `spec.override`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Override {
    /// The state until the override expires.
    pub state: DesiredState,
    /// The instant at which the override expires.
    pub until: Timestamp,
}

impl Override {
    /// Parses an override. Fractions of a second are dropped.
    pub fn parse(raw: &api::Override) -> Result<Self, ScheduleError> {
        let api::Override { state, until } = raw;
        let time = until.parse().map_err(|_| ScheduleError::Until(until.clone()))?;
        Ok(Self { state: *state, until: whole_seconds(time) })
    }
}

/// `spec.state` or `spec.schedule`, which decides while no override is in force.
#[derive(Clone, Debug)]
pub enum Basis {
    /// `spec.state`: it does not change with time.
    State(DesiredState),
    /// `spec.schedule`.
    Schedule(Schedule),
}

impl Basis {
    /// Parses `state` or `schedule`. Fails unless exactly one is set.
    pub fn parse(
        state: Option<DesiredState>,
        schedule: Option<&api::Schedule>,
    ) -> Result<Self, ScheduleError> {
        match (state, schedule) {
            (Some(state), None) => Ok(Self::State(state)),
            (None, Some(schedule)) => Schedule::parse(schedule).map(Self::Schedule),
            (None, None) | (Some(_), Some(_)) => Err(ScheduleError::StateOrSchedule),
        }
    }

    fn state_at(&self, now: Timestamp) -> (DesiredState, DesiredCause) {
        match self {
            Self::State(state) => (*state, DesiredCause::State),
            Self::Schedule(schedule) => {
                let StateAt { state, cause } = schedule.state_at(now);
                (state, DesiredCause::Schedule(cause))
            }
        }
    }

    fn next_transition(&self, now: Timestamp) -> Option<Transition> {
        match self {
            Self::State(_) => None,
            Self::Schedule(schedule) => schedule.next_transition(now),
        }
    }
}

/// The desired state at a time.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Resolved {
    /// The desired state.
    pub state: DesiredState,
    /// The field of the spec that decides the state.
    pub cause: DesiredCause,
    /// The next transition, as long as nobody edits the object.
    pub next: Option<Transition>,
}

/// The field of the spec that decides the desired state.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum DesiredCause {
    /// `spec.override`.
    Override {
        /// The instant at which the override expires.
        until: Timestamp,
    },
    /// `spec.state`.
    State,
    /// `spec.schedule`.
    Schedule(Cause),
}

impl Resolved {
    /// Returns the desired state at `now`. An override that has not expired takes precedence. `next` is
    /// the soonest change of the state: an override that expires into the same state is no transition.
    pub fn at(basis: &Basis, overriding: Option<&Override>, now: Timestamp) -> Self {
        match overriding.filter(|overriding| now < overriding.until) {
            None => {
                let (state, cause) = basis.state_at(now);
                Self { state, cause, next: basis.next_transition(now) }
            }
            Some(&Override { state, until }) => {
                let (after, _) = basis.state_at(until);
                let next = if after == state {
                    basis.next_transition(until)
                } else {
                    Some(Transition { state: after, at: until })
                };
                Self { state, cause: DesiredCause::Override { until }, next }
            }
        }
    }
}
