//! The rules of a schedule: the state that they decide, and the next time at which they change it.
//!
//! Whoever writes a schedule must not be able to occupy the operator, whatever admission lets in. So the days
//! are searched by tables, and each table is made once for a schedule.

use std::sync::OnceLock;

use jiff::civil::{Date, DateTime};

use super::cron::{self, Cron};
use super::days::{self, Month};
use super::error::ScheduleError;
use super::minutes::{DayMinutes, MINUTES, minute_of};
use super::{Cause, DesiredState, StateAt};
use crate::api::schedule as api;

/// The number of rules that admission lets in.
const MOST: usize = 32;

/// A set of expressions: bit `n` is the one with which rule `n` wakes the project, bit `32 + n` the one
/// with which it hibernates it.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
struct Expressions(u64);

/// The rules of a schedule.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    all: Vec<Rule>,
    /// For each minute of a day the expressions that contain it, without duplicates.
    minutes: Vec<Expressions>,
    /// The months that were searched so far, by [`Month::index`].
    months: Vec<OnceLock<Edges>>,
}

#[derive(Clone, Debug)]
struct Rule {
    hibernate: Option<Cron>,
    wake: Option<Cron>,
}

/// The edges of a month.
#[derive(Clone, Debug, Default)]
struct Edges {
    /// The expressions that fire on each day.
    fires: [Expressions; 32],
    /// The days with an edge to Awake. Bit `n` stands for day `n`.
    wake: u64,
    /// The days with an edge to Hibernated. Bit `n` stands for day `n`.
    hibernate: u64,
}

impl Rules {
    /// Parses the rules.
    pub(super) fn parse(raw: &[api::ScheduleRule]) -> Result<Self, ScheduleError> {
        if raw.len() > MOST {
            return Err(ScheduleError::Rules(raw.len()));
        }
        let rules = raw.iter().enumerate().map(|(index, rule)| {
            let cron = |field, text: &Option<String>| {
                text.as_deref().map(Cron::parse).transpose().map_err(|source| ScheduleError::Cron {
                    index,
                    field,
                    source,
                })
            };
            let api::ScheduleRule { hibernate, wake } = rule;
            if hibernate.is_none() && wake.is_none() {
                return Err(ScheduleError::Rule(index));
            }
            Ok(Rule { hibernate: cron("hibernate", hibernate)?, wake: cron("wake", wake)? })
        });
        let mut rules = Self {
            all: rules.collect::<Result<_, _>>()?,
            minutes: Vec::new(),
            months: (0..Month::COUNT).map(|_| OnceLock::new()).collect(),
        };
        rules.minutes = (0..MINUTES).map(|minute| rules.containing(minute)).collect();
        rules.minutes.sort_unstable();
        rules.minutes.dedup();
        Ok(rules)
    }

    fn expressions(&self) -> impl Iterator<Item = (DesiredState, usize, &Cron)> {
        self.all.iter().enumerate().flat_map(|(index, Rule { hibernate, wake })| {
            [(DesiredState::Awake, wake), (DesiredState::Hibernated, hibernate)]
                .into_iter()
                .filter_map(move |(state, cron)| Some((state, index, cron.as_ref()?)))
        })
    }

    fn containing(&self, minute: usize) -> Expressions {
        let mut containing = Expressions::default();
        for (state, index, cron) in self.expressions() {
            if cron.minutes.contains(minute) {
                containing.add(state, index);
            }
        }
        containing
    }

    /// Returns the state when the wall clock has reached a time: that of the rule that fired last.
    pub(super) fn state_at(&self, reached: DateTime) -> StateAt {
        self.state_since(reached, cron::horizon_before(reached))
            .unwrap_or(StateAt { state: DesiredState::Awake, cause: Cause::Default })
    }

    /// Returns the same, if a rule has fired on the day `begin` or later.
    pub(super) fn state_since(&self, reached: DateTime, begin: Date) -> Option<StateAt> {
        let days = |month| {
            let edges = self.edges(month);
            edges.wake | edges.hibernate
        };
        let at = cron::latest(reached, begin, days, |date, to| {
            let fires = self.fires(date);
            let crons = self.expressions().filter(|(state, index, _)| fires.has(*state, *index));
            crons.filter_map(|(_, _, cron)| cron.minutes.last_to(to)).max()
        })?;
        // If rules set both states at a time, the state is Awake.
        [DesiredState::Awake, DesiredState::Hibernated].into_iter().find_map(|state| {
            let index = self
                .firing(at.date(), state)
                .find_map(|(index, cron)| cron.minutes.contains(minute_of(at)).then_some(index))?;
            Some(StateAt { state, cause: Cause::Rule { index } })
        })
    }

    /// Returns the first time after `after`, and not after the day `end`, at which the rules set a state.
    pub(super) fn next(&self, after: DateTime, state: DesiredState, end: Date) -> Option<DateTime> {
        let days = |month| match state {
            DesiredState::Awake => self.edges(month).wake,
            DesiredState::Hibernated => self.edges(month).hibernate,
        };
        cron::next(after, end, days, |date, from| {
            let mut edges = self.minutes_of(date, state);
            if state == DesiredState::Hibernated {
                edges.remove(&self.minutes_of(date, DesiredState::Awake));
            }
            edges.first_from(from)
        })
    }

    fn minutes_of(&self, date: Date, state: DesiredState) -> DayMinutes {
        let mut minutes = DayMinutes::default();
        for (_, cron) in self.firing(date, state) {
            minutes.add(&cron.minutes);
        }
        minutes
    }

    /// Returns the expressions that fire on a day and set a state, each with the index of its rule.
    fn firing(&self, date: Date, state: DesiredState) -> impl Iterator<Item = (usize, &Cron)> {
        let fires = self.fires(date);
        self.expressions()
            .filter(move |(sets, index, _)| *sets == state && fires.has(state, *index))
            .map(|(_, index, cron)| (index, cron))
    }

    fn fires(&self, date: Date) -> Expressions {
        let day = usize::from(date.day().unsigned_abs());
        self.edges(date).fires.get(day).copied().unwrap_or_default()
    }

    /// Returns the edges of the month of a date.
    fn edges(&self, date: Date) -> &Edges {
        let month = Month::of(date);
        self.months[month.index()].get_or_init(|| self.search(month))
    }

    fn search(&self, month: Month) -> Edges {
        let mut edges = Edges::default();
        for (state, index, cron) in self.expressions() {
            for day in days::each(cron.days(month)) {
                edges.fires[usize::from(day.unsigned_abs())].add(state, index);
            }
        }
        for (day, fires) in edges.fires.iter().enumerate() {
            if fires.wakes() {
                edges.wake |= 1 << day;
            }
            // If rules set both states at a time, the state is Awake.
            if self.minutes.iter().any(|minute| minute.and(*fires).only_hibernates()) {
                edges.hibernate |= 1 << day;
            }
        }
        edges
    }
}

impl Expressions {
    fn bit(state: DesiredState, index: usize) -> u64 {
        match state {
            DesiredState::Awake => 1 << index,
            DesiredState::Hibernated => 1 << (MOST + index),
        }
    }

    fn add(&mut self, state: DesiredState, index: usize) {
        self.0 |= Self::bit(state, index);
    }

    fn has(self, state: DesiredState, index: usize) -> bool {
        self.0 & Self::bit(state, index) != 0
    }

    fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    fn wakes(self) -> bool {
        self.0 & u64::from(u32::MAX) != 0
    }

    fn only_hibernates(self) -> bool {
        self.0 != 0 && !self.wakes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::Schedule;
    use serde_json::json;

    #[test]
    fn of_all_months_that_differ_each_is_searched_once() {
        let rules: Vec<_> = (0..MOST)
            .map(|n| json!({"hibernate": format!("{n} 0 * * *"), "wake": format!("{n} 0 * * 0-6")}))
            .collect();
        // Single days, months apart.
        let exceptions: Vec<_> = (0..200)
            .map(|n| format!("{}-{:02}-15", 2027 + n / 6, n % 6 * 2 + 1))
            .map(|day| json!({"from": day, "to": day, "state": "Awake"}))
            .collect();
        let schedule = json!({"rules": rules, "exceptions": exceptions});
        let schedule = Schedule::parse(&serde_json::from_value(schedule).unwrap()).unwrap();
        let now = "2026-12-31T12:00:00Z".parse().unwrap();
        // Both edges of a day are one: the project never hibernates.
        assert_eq!(schedule.next_transition(now), None);
        let searched =
            || schedule.rules.months.iter().filter(|month| month.get().is_some()).count();
        assert_eq!(searched(), 13 * 7);
        assert_eq!(schedule.next_transition(now), None);
        assert_eq!(searched(), 13 * 7);
        assert_eq!(schedule.rules.minutes.len(), 1 + MOST);
    }
}
