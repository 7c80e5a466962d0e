//! The desired state at a given time: rules, time zone, exceptions and override. A pure computation:
//! it reads no clock and does no I/O.
//!
//! A [`Schedule`] is parsed once. It then returns the [state](Schedule::state_at) at a time and the
//! [next transition](Schedule::next_transition). It keeps no state of its own, so an operator that was
//! down at a transition catches it up with the next reconcile.
//!
//! Rules follow the wall clock of the zone, and that clock never goes back. A time that a clock change
//! skips takes effect at the change; a time that occurs twice takes effect once. Of several times that
//! one clock change skips, the latest on the wall clock decides, as it would without the change.

mod cron;
mod days;
mod error;
mod exception;
mod field;
mod minutes;
mod resolved;
mod rules;
mod wall;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

pub use self::cron::{Cron, CronError, HORIZON_YEARS};
pub(crate) use self::error::PeriodError;
pub use self::error::ScheduleError;
pub(crate) use self::exception::Period;
use self::exception::{Exception, Span, timeline};
pub use self::resolved::{Basis, DesiredCause, Override, Resolved};
use self::rules::Rules;
use crate::api::schedule as api;
pub use crate::api::schedule::DesiredState;

/// A parsed `spec.schedule`.
#[derive(Clone, Debug)]
pub struct Schedule {
    zone: TimeZone,
    rules: Rules,
    exceptions: Vec<Exception>,
    /// The exceptions in force, by time; before the first span the rules decide.
    timeline: Vec<Span>,
}

/// The state of a schedule at a time.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StateAt {
    /// The state.
    pub state: DesiredState,
    /// The part of the schedule that decides the state.
    pub cause: Cause,
}

/// The part of a schedule that decides the state.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Cause {
    /// The rule that fired last; of several the first in the list.
    Rule {
        /// The index in `rules`.
        index: usize,
    },
    /// The exception in force.
    Exception {
        /// The index in `exceptions`.
        index: usize,
        /// The `reason` of the exception.
        reason: Option<String>,
    },
    /// Neither: `Awake` is the default.
    Default,
}

/// A change of the state.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Transition {
    /// The state after the transition.
    pub state: DesiredState,
    /// The first instant of that state.
    pub at: Timestamp,
}

impl Schedule {
    /// Parses a schedule.
    pub fn parse(raw: &api::Schedule) -> Result<Self, ScheduleError> {
        let api::Schedule { time_zone, rules, exceptions } = raw;
        if rules.is_empty() && exceptions.is_empty() {
            return Err(ScheduleError::Empty);
        }
        let zone =
            wall::zone(time_zone).ok_or_else(|| ScheduleError::TimeZone(time_zone.clone()))?;
        let rules = Rules::parse(rules)?;
        let exceptions = exceptions
            .iter()
            .enumerate()
            .map(|(index, exception)| Exception::parse(index, exception, &zone, time_zone))
            .collect::<Result<Vec<_>, _>>()?;
        let timeline = timeline(&exceptions);
        Ok(Self { zone, rules, exceptions, timeline })
    }

    /// Returns the state at `now`: the state of the exception in force, else of the rule that fired last
    /// at or before `now`.
    pub fn state_at(&self, now: Timestamp) -> StateAt {
        match self.exception_at(now) {
            Some((index, exception)) => StateAt {
                state: exception.state,
                cause: Cause::Exception { index, reason: exception.reason.clone() },
            },
            None => self.rules.state_at(wall::reached(&self.zone, now)),
        }
    }

    /// Returns the first change of the state after `now`, exceptions included. `None` if the state does
    /// not change by the rules within [`HORIZON_YEARS`]: that is longer than the rarest cron expression takes to
    /// fire again. The end of an exception is found however far away it is.
    pub fn next_transition(&self, now: Timestamp) -> Option<Transition> {
        let current = self.state_at(now).state;
        let mut reached = wall::reached(&self.zone, now);
        let end = cron::horizon(reached);
        let mut ruled = self.rules.state_at(reached).state;
        let mut searched = reached.date();
        let mut from = now;
        let mut spans = self.timeline.iter().skip(self.span_at(now).map_or(0, |span| span + 1));
        let mut exception = self.exception_at(now);
        loop {
            let following = spans.next();
            let border = following.map(|next| wall::reached(&self.zone, next.from));
            let state = if let Some((_, exception)) = exception {
                exception.state
            } else {
                // The rules are searched only as far as they decide, and no day twice.
                let begin = searched.max(cron::horizon_before(reached));
                ruled = self.rules.state_since(reached, begin).map_or(ruled, |at| at.state);
                searched = reached.date();
                ruled
            };
            if state != current {
                return Some(Transition { state, at: from });
            }
            if exception.is_none() {
                let change = self
                    .next_ruled(reached, current, border.map_or(end, |at| at.date().min(end)))
                    .filter(|change| following.is_none_or(|next| change.at < next.from));
                if change.is_some() {
                    return change;
                }
            }
            // Exceptions cost no search, however far they reach.
            let border = border.filter(|at| exception.is_some() || at.date() <= end);
            (from, reached) = (following?.from, border?);
            exception = following.and_then(|span| self.exception_in(span));
        }
    }

    fn exception_at(&self, now: Timestamp) -> Option<(usize, &Exception)> {
        self.exception_in(self.timeline.get(self.span_at(now)?)?)
    }

    fn exception_in(&self, span: &Span) -> Option<(usize, &Exception)> {
        let index = span.exception?;
        Some((index, self.exceptions.get(index)?))
    }

    /// Returns the index of the span of the timeline at `now`.
    fn span_at(&self, now: Timestamp) -> Option<usize> {
        self.timeline.partition_point(|span| span.from <= now).checked_sub(1)
    }

    /// Returns the first change by the rules alone, not after the day `end`. `current` is the state when the
    /// wall clock has reached a time.
    fn next_ruled(
        &self,
        mut reached: DateTime,
        current: DesiredState,
        end: Date,
    ) -> Option<Transition> {
        let other = match current {
            DesiredState::Awake => DesiredState::Hibernated,
            DesiredState::Hibernated => DesiredState::Awake,
        };
        // An edge to the other state is a transition, unless one clock change skips it and an edge back.
        loop {
            let edge = self.rules.next(reached, other, end)?;
            let at = wall::instant(&self.zone, edge)?;
            reached = wall::reached(&self.zone, at);
            if self.rules.state_at(reached).state == other {
                return Some(Transition { state: other, at });
            }
        }
    }
}

/// Returns the time zone of an IANA name, from the zone database of this build.
pub fn time_zone(name: &str) -> Option<TimeZone> {
    wall::zone(name)
}

fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}
