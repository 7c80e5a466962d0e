//! Exceptions of a schedule: periods in which the exception decides the state, not the rules.

use std::cmp::Reverse;

use jiff::Timestamp;
use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;

use super::error::{PeriodError, ScheduleError};
use super::{DesiredState, wall, whole_seconds};
use crate::api::schedule as api;

/// A parsed exception.
#[derive(Clone, Debug)]
pub(super) struct Exception {
    pub(super) period: Period,
    pub(super) state: DesiredState,
    pub(super) reason: Option<String>,
}

/// A part of the timeline, up to the next one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) from: Timestamp,
    /// The index of the exception in force; none where the rules decide.
    pub(super) exception: Option<usize>,
}

impl Exception {
    pub(super) fn parse(
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
        Ok(Self { period, state: *state, reason: reason.clone() })
    }
}

/// Returns the exceptions in force, by time. Where exceptions overlap, the latest `from` decides; of
/// equal ones an exception to `Awake`, then the first in the list.
pub(super) fn timeline(exceptions: &[Exception]) -> Vec<Span> {
    let mut borders: Vec<Timestamp> = exceptions
        .iter()
        .flat_map(|exception| [exception.period.from, exception.period.to])
        .collect();
    borders.sort_unstable();
    borders.dedup();
    let in_force = |at: Timestamp| {
        exceptions
            .iter()
            .enumerate()
            .filter(|(_, exception)| exception.period.contains(at))
            .max_by_key(|(index, exception)| {
                (exception.period.from, exception.state == DesiredState::Awake, Reverse(*index))
            })
            .map(|(index, _)| index)
    };
    borders.into_iter().map(|from| Span { from, exception: in_force(from) }).collect()
}

/// The period of an exception.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Period {
    /// Its first instant.
    pub from: Timestamp,
    /// The first instant after it.
    pub to: Timestamp,
}

impl Period {
    /// Parses `from` and `to`. A date stands for the whole day in the zone, from its first instant (a day
    /// may have no midnight): `to` as a date is the last day of the period. `to` as a time is the
    /// first instant after the period. Fractions of a second are dropped.
    pub fn parse(from: &str, to: &str, zone: &TimeZone) -> Result<Self, PeriodError> {
        let moment = |field, text: &str, days_after: i64| {
            let found = match text.parse::<Date>() {
                Ok(date) if text.len() == 10 => {
                    let day = (0..days_after).try_fold(date, |day, _| day.tomorrow());
                    day.ok().and_then(|day| wall::instant(zone, day.to_datetime(Time::midnight())))
                }
                _ => text.parse().ok().map(whole_seconds),
            };
            found.ok_or_else(|| PeriodError::Moment { field, text: text.to_owned() })
        };
        let period = Self { from: moment("from", from, 0)?, to: moment("to", to, 1)? };
        if period.from < period.to { Ok(period) } else { Err(PeriodError::Order) }
    }

    /// Returns whether `now` is in the period.
    pub fn contains(&self, now: Timestamp) -> bool {
        self.from <= now && now < self.to
    }
}
