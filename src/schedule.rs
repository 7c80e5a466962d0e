//! What is wanted at a given time: rules, zone, exceptions and override, without any clock or I/O.
//!
//! A [`Schedule`] is read once from its raw form and then answers two questions: which state holds
//! [at](Schedule::state_at) a time, and when does it [change next](Schedule::next_transition). Nothing
//! depends on having been asked before, so a time missed while the operator was down is caught up by
//! asking again.
//!
//! Rules work on the zone's wall clock, which is never taken to go back: a time that a change of the
//! clock skips takes effect at the change, one that is passed twice takes effect once. Of several times
//! skipped together the latest on the wall clock decides, as it would have without the change.

mod cron;
mod wall;

use std::cmp::Reverse;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

pub use self::cron::{Cron, CronError, HORIZON_YEARS};
use self::cron::{DayMinutes, Months};
use crate::api::schedule as api;
pub use crate::api::schedule::DesiredState;

/// Why a schedule or an override cannot be used, and what to write instead.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ScheduleError {
    /// Neither `state` nor `schedule`, or both.
    #[error("write exactly one of 'state' and 'schedule'")]
    StateOrSchedule,
    /// Neither a rule nor an exception.
    #[error(
        "the schedule has neither rules nor exceptions; write at least one, or 'state' instead of \
         'schedule'"
    )]
    Empty,
    /// A zone that the operator does not know.
    #[error(
        "timeZone: '{0}' is not a time zone that is known here; write an IANA name such as \
         'Europe/Kyiv' or 'Etc/UTC'"
    )]
    TimeZone(String),
    /// A cron expression.
    #[error("rules[{index}].{field}: {source}")]
    Cron {
        /// Which rule.
        index: usize,
        /// `hibernate` or `wake`.
        field: &'static str,
        /// What is wrong with it.
        source: CronError,
    },
    /// A date or time of an exception.
    #[error(
        "exceptions[{index}].{field}: '{text}' is neither a date that exists, such as '2026-12-24', \
         nor a time with its offset, such as '2026-12-24T18:00:00Z'; write one of the two"
    )]
    Moment {
        /// Which exception.
        index: usize,
        /// `from` or `to`.
        field: &'static str,
        /// What was written.
        text: String,
    },
    /// An exception that ends before it begins.
    #[error(
        "exceptions[{index}]: it ends ('{to}') before it begins ('{from}') in {zone}; write a later \
         'to' (of two dates both belong to the exception)"
    )]
    Order {
        /// Which exception.
        index: usize,
        /// As written.
        from: String,
        /// As written.
        to: String,
        /// The zone in which dates are read.
        zone: String,
    },
    /// The end of an override.
    #[error(
        "override.until: '{0}' is not a time with its offset; write one such as \
         '2026-12-28T20:00:00Z'"
    )]
    Until(String),
}

/// A schedule that has been read.
#[derive(Clone, Debug)]
pub struct Schedule {
    zone: TimeZone,
    rules: Vec<Rule>,
    /// The months in which any rule has an edge.
    months: Months,
    exceptions: Vec<Exception>,
    /// Which exception holds from when, by time; before the first none does.
    timeline: Vec<Span>,
}

#[derive(Clone, Debug)]
struct Rule {
    hibernate: Cron,
    wake: Cron,
}

#[derive(Clone, Debug)]
struct Exception {
    from: Timestamp,
    to: Timestamp,
    state: DesiredState,
    reason: Option<String>,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    from: Timestamp,
    exception: Option<usize>,
}

/// What a schedule wants at a time.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StateAt {
    /// The state.
    pub state: DesiredState,
    /// What decided it.
    pub cause: Cause,
}

/// What decides the state in a schedule.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Cause {
    /// The rule with the latest edge (the first of those that have it).
    Rule {
        /// Its place in `rules`.
        index: usize,
    },
    /// The exception that holds.
    Exception {
        /// Its place in `exceptions`.
        index: usize,
        /// The reason that it gives.
        reason: Option<String>,
    },
    /// Neither: awake.
    Default,
}

/// A change of state.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Transition {
    /// The state from then on.
    pub state: DesiredState,
    /// The first instant of it.
    pub at: Timestamp,
}

impl Schedule {
    /// Reads a schedule.
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
        let months = rules.iter().fold(Months::default(), |all, rule| {
            all.union(rule.hibernate.months).union(rule.wake.months)
        });
        let timeline = timeline(&exceptions);
        Ok(Self { zone, rules, months, exceptions, timeline })
    }

    /// The state at `now`: that of the exception that holds, else of the latest edge of all rules at
    /// or before `now`.
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

    /// The next instant after `now` from which on the state, exceptions included, is another one.
    /// `None` if there is none within [`HORIZON_YEARS`] of the last exception or `now`, which is
    /// longer than the rarest cron expression takes to come again.
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

    /// The place in the timeline of what holds at `now`.
    fn span_at(&self, now: Timestamp) -> Option<usize> {
        self.timeline.partition_point(|span| span.from <= now).checked_sub(1)
    }

    /// The state by the rules alone when the wall clock has reached a time.
    fn ruled(&self, reached: DateTime) -> StateAt {
        let latest = cron::latest(reached, self.months, |date| {
            let mut edges = self.edges(date, DesiredState::Hibernated);
            edges.add(&self.edges(date, DesiredState::Awake));
            edges
        });
        let decided = latest.and_then(|at| {
            [DesiredState::Awake, DesiredState::Hibernated].into_iter().find_map(|state| {
                let fires = |rule: &Rule| {
                    let cron = rule.to(state);
                    cron.minutes.contains(at) && cron.fires_on(at.date())
                };
                Some(StateAt {
                    state,
                    cause: Cause::Rule { index: self.rules.iter().position(fires)? },
                })
            })
        });
        decided.unwrap_or(StateAt { state: DesiredState::Awake, cause: Cause::Default })
    }

    /// The next change by the rules alone.
    fn next_ruled(&self, now: Timestamp) -> Option<Transition> {
        let mut reached = wall::reached(&self.zone, now);
        let end = reached.year().saturating_add(HORIZON_YEARS);
        let current = self.ruled(reached).state;
        let other = match current {
            DesiredState::Awake => DesiredState::Hibernated,
            DesiredState::Hibernated => DesiredState::Awake,
        };
        // An edge to the other state is a change, unless the clock jumped over it and an edge back.
        while reached.year() <= end {
            let edge = cron::next(reached, self.months, |date| self.deciding_edges(date, other))?;
            let at = wall::instant(&self.zone, edge)?;
            reached = wall::reached(&self.zone, at);
            if self.ruled(reached).state == other {
                return Some(Transition { state: other, at });
            }
        }
        None
    }

    /// The minutes of a day at which any rule turns to `state`.
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

    /// The same, without those at which a tie makes it awake.
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

    /// What turns it to that state.
    fn to(&self, state: DesiredState) -> &Cron {
        match state {
            DesiredState::Hibernated => &self.hibernate,
            DesiredState::Awake => &self.wake,
        }
    }
}

impl Exception {
    fn parse(
        index: usize,
        raw: &api::Exception,
        zone: &TimeZone,
        zone_name: &str,
    ) -> Result<Self, ScheduleError> {
        let api::Exception { from, to, state, reason } = raw;
        let period = Period::parse(from, to, zone).map_err(|error| match error {
            PeriodError::Moment { field, text } => ScheduleError::Moment { index, field, text },
            PeriodError::Order => ScheduleError::Order {
                index,
                from: from.clone(),
                to: to.clone(),
                zone: zone_name.to_owned(),
            },
        })?;
        Ok(Self { from: period.from, to: period.to, state: *state, reason: reason.clone() })
    }
}

/// A span of time as an exception gives it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Period {
    /// Its first instant.
    pub from: Timestamp,
    /// The first instant after it.
    pub to: Timestamp,
}

/// Why a span cannot be used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PeriodError {
    /// Neither a date nor a time.
    #[error(
        "{field}: '{text}' is neither a date that exists, such as '2026-12-24', nor a time with its \
         offset, such as '2026-12-24T18:00:00Z'; write one of the two"
    )]
    Moment {
        /// `from` or `to`.
        field: &'static str,
        /// What was written.
        text: String,
    },
    /// It ends before it begins.
    #[error("it ends before it begins; write a later 'to' (of two dates both belong to it)")]
    Order,
}

impl Period {
    /// Reads a span. A date is a whole day of the zone, from its first instant (not every day has a
    /// midnight), so `to` as a date is the last day; a time as `to` is not part of the span.
    /// Fractions of a second are dropped.
    pub fn parse(from: &str, to: &str, zone: &TimeZone) -> Result<Self, PeriodError> {
        let moment = |field, text: &str, days_after: i64| {
            let found = match text.parse::<Date>() {
                Ok(date) if text.len() == 10 => {
                    let day = (0..days_after).try_fold(date, |day, _| day.tomorrow());
                    day.ok().and_then(|day| {
                        wall::instant(zone, day.to_datetime(jiff::civil::Time::midnight()))
                    })
                }
                _ => text.parse().ok().map(whole_seconds),
            };
            found.ok_or_else(|| PeriodError::Moment { field, text: text.to_owned() })
        };
        let period = Self { from: moment("from", from, 0)?, to: moment("to", to, 1)? };
        if period.from < period.to { Ok(period) } else { Err(PeriodError::Order) }
    }

    /// Whether `now` is in it.
    pub fn contains(&self, now: Timestamp) -> bool {
        self.from <= now && now < self.to
    }
}

/// The zone of that IANA name, from the zone database that is part of this build.
pub fn time_zone(name: &str) -> Option<TimeZone> {
    wall::zone(name)
}

fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// Which exception holds when: the latest `from`, of the same ones an awake one, then the first.
fn timeline(exceptions: &[Exception]) -> Vec<Span> {
    let mut borders: Vec<Timestamp> =
        exceptions.iter().flat_map(|exception| [exception.from, exception.to]).collect();
    borders.sort_unstable();
    borders.dedup();
    let holding = |at: Timestamp| {
        exceptions
            .iter()
            .enumerate()
            .filter(|(_, exception)| exception.from <= at && at < exception.to)
            .max_by_key(|(index, exception)| {
                (exception.from, exception.state == DesiredState::Awake, Reverse(*index))
            })
            .map(|(index, _)| index)
    };
    borders.into_iter().map(|from| Span { from, exception: holding(from) }).collect()
}

/// A person's word for a while, read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Override {
    /// The state until then.
    pub state: DesiredState,
    /// The first instant at which it holds no more.
    pub until: Timestamp,
}

impl Override {
    /// Reads an override. Fractions of a second are dropped.
    pub fn parse(raw: &api::Override) -> Result<Self, ScheduleError> {
        let api::Override { state, until } = raw;
        let time = until.parse().map_err(|_| ScheduleError::Until(until.clone()))?;
        Ok(Self { state: *state, until: whole_seconds(time) })
    }
}

/// What an object asks for when nobody overrides it: one of `state` and `schedule`.
#[derive(Clone, Debug)]
pub enum Basis {
    /// A state that does not change with time.
    State(DesiredState),
    /// A state that does.
    Schedule(Schedule),
}

impl Basis {
    /// Reads `state` or `schedule`.
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

/// What is wanted of an object at a time, all things considered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Resolved {
    /// The state.
    pub state: DesiredState,
    /// What decided it.
    pub cause: DesiredCause,
    /// The next change, if nobody edits the object.
    pub next: Option<Transition>,
}

/// What decides the state of an object.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum DesiredCause {
    /// The override.
    Override {
        /// When it expires.
        until: Timestamp,
    },
    /// `spec.state`.
    State,
    /// The schedule.
    Schedule(Cause),
}

impl Resolved {
    /// The state at `now`. An override that has not expired beats everything else; the next change
    /// is the soonest instant at which the outcome differs, so an override that ends in the state
    /// that it asked for changes nothing.
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
