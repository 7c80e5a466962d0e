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
mod wall;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

use self::cron::HORIZON_YEARS;
pub use self::cron::{Cron, CronError};
use self::days::Month;
pub(crate) use self::error::PeriodError;
pub use self::error::ScheduleError;
pub(crate) use self::exception::Period;
use self::exception::{Exception, Span, timeline};
use self::minutes::DayMinutes;
pub use self::resolved::{Basis, DesiredCause, Override, Resolved};
use crate::api::schedule as api;
pub use crate::api::schedule::DesiredState;

/// A parsed `spec.schedule`.
#[derive(Clone, Debug)]
pub struct Schedule {
    zone: TimeZone,
    rules: Vec<Rule>,
    exceptions: Vec<Exception>,
    /// The exceptions in force, by time; before the first span the rules decide.
    timeline: Vec<Span>,
}

#[derive(Clone, Debug)]
struct Rule {
    hibernate: Cron,
    wake: Cron,
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
        let rules = rules
            .iter()
            .enumerate()
            .map(|(index, rule)| Rule::parse(index, rule))
            .collect::<Result<Vec<_>, _>>()?;
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
        let exception = self.span_at(now).and_then(|span| self.timeline.get(span)?.exception);
        match exception.and_then(|index| Some((index, self.exceptions.get(index)?))) {
            Some((index, exception)) => StateAt {
                state: exception.state,
                cause: Cause::Exception { index, reason: exception.reason.clone() },
            },
            None => self.ruled(wall::reached(&self.zone, now)),
        }
    }

    /// Returns the first change of the state after `now`, exceptions included. `None` if the state does
    /// not change within [`HORIZON_YEARS`] of the last exception or `now`: that is longer than the rarest
    /// cron expression takes to fire again.
    pub fn next_transition(&self, now: Timestamp) -> Option<Transition> {
        let current = self.state_at(now).state;
        let mut span = self.span_at(now);
        let mut from = now;
        loop {
            let following = self.timeline.get(span.map_or(0, |span| span + 1));
            let here = self.state_at(from);
            if here.state != current {
                return Some(Transition { state: here.state, at: from });
            }
            if !matches!(here.cause, Cause::Exception { .. }) {
                let change = self
                    .next_ruled(from)
                    .filter(|change| following.is_none_or(|next| change.at < next.from));
                if change.is_some() {
                    return change;
                }
            }
            from = following?.from;
            span = Some(span.map_or(0, |span| span + 1));
        }
    }

    /// Returns the index of the span of the timeline at `now`.
    fn span_at(&self, now: Timestamp) -> Option<usize> {
        self.timeline.partition_point(|span| span.from <= now).checked_sub(1)
    }

    /// Returns the state by the rules alone when the wall clock has reached a time.
    fn ruled(&self, reached: DateTime) -> StateAt {
        let latest = cron::latest(
            reached,
            |date| self.days(date),
            |date| {
                let mut edges = self.edges(date, DesiredState::Hibernated);
                edges.add(&self.edges(date, DesiredState::Awake));
                edges
            },
        );
        let decided = latest.and_then(|at| {
            [DesiredState::Awake, DesiredState::Hibernated].into_iter().find_map(|state| {
                let fires = |rule: &Rule| {
                    let cron = rule.to(state);
                    cron.fires_on(at.date()) && cron.minutes.contains(at)
                };
                Some(StateAt {
                    state,
                    cause: Cause::Rule { index: self.rules.iter().position(fires)? },
                })
            })
        });
        decided.unwrap_or(StateAt { state: DesiredState::Awake, cause: Cause::Default })
    }

    /// Returns the next transition by the rules alone.
    fn next_ruled(&self, now: Timestamp) -> Option<Transition> {
        let mut reached = wall::reached(&self.zone, now);
        let end = reached.year().saturating_add(HORIZON_YEARS);
        let current = self.ruled(reached).state;
        let other = match current {
            DesiredState::Awake => DesiredState::Hibernated,
            DesiredState::Hibernated => DesiredState::Awake,
        };
        // An edge to the other state is a transition, unless one clock change skips it and an edge back.
        while reached.year() <= end {
            let edge = cron::next(
                reached,
                |date| self.days(date),
                |date| self.deciding_edges(date, other),
            )?;
            let at = wall::instant(&self.zone, edge)?;
            reached = wall::reached(&self.zone, at);
            if self.ruled(reached).state == other {
                return Some(Transition { state: other, at });
            }
        }
        None
    }

    /// Returns the days of the month of a date on which any rule fires. Bit `n` stands for day `n`.
    fn days(&self, date: Date) -> u64 {
        let month = Month::of(date);
        self.rules
            .iter()
            .fold(0, |days, rule| days | rule.hibernate.days(month) | rule.wake.days(month))
    }

    /// Returns the edges of a day: the minutes at which any rule changes the state to `state`.
    fn edges(&self, date: Date, state: DesiredState) -> DayMinutes {
        let mut edges = DayMinutes::default();
        for rule in &self.rules {
            let cron = rule.to(state);
            if cron.fires_on(date) {
                edges.add(&cron.minutes);
            }
        }
        edges
    }

    /// Returns the edges of a day without those at which another rule fires to `Awake`, which wins.
    fn deciding_edges(&self, date: Date, state: DesiredState) -> DayMinutes {
        let mut edges = self.edges(date, state);
        if state == DesiredState::Hibernated {
            edges.remove(&self.edges(date, DesiredState::Awake));
        }
        edges
    }
}

impl Rule {
    fn parse(index: usize, raw: &api::ScheduleRule) -> Result<Self, ScheduleError> {
        let cron = |field, text: &str| {
            Cron::parse(text).map_err(|source| ScheduleError::Cron { index, field, source })
        };
        Ok(Self { hibernate: cron("hibernate", &raw.hibernate)?, wake: cron("wake", &raw.wake)? })
    }

    /// Returns the expression that changes the state to `state`.
    fn to(&self, state: DesiredState) -> &Cron {
        match state {
            DesiredState::Hibernated => &self.hibernate,
            DesiredState::Awake => &self.wake,
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
