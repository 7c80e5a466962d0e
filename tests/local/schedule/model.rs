//! The model enumerates cron fields and walks through time minute by minute. Generated cases are
//! mostly around changes of the clock.

use std::collections::BTreeMap;

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};
use proptest::prelude::*;
use torpor::api::schedule as api;
use torpor::schedule::DesiredState::{Awake, Hibernated};
use torpor::schedule::{DesiredState, time_zone};

use crate::support::schedule::raw;

/// A cron field as the generator made it: its text, and the values by enumeration.
#[derive(Clone, Debug)]
struct Field {
    text: String,
    values: Vec<i8>,
    any: bool,
}

#[derive(Clone, Debug)]
pub(super) struct ModelCron {
    fields: [Field; 5],
}

impl ModelCron {
    pub(super) fn text(&self) -> String {
        self.fields.each_ref().map(|field| field.text.as_str()).join(" ")
    }

    pub(super) fn fires(&self, wall: DateTime) -> bool {
        let [minute, hour, day, month, weekday] = &self.fields;
        let has = |field: &Field, value: i8| field.values.contains(&value);
        let by_day = has(day, wall.day());
        let by_weekday = has(weekday, wall.date().weekday().to_sunday_zero_offset());
        let on_day = match (day.any, weekday.any) {
            (true, true) => true,
            (true, false) => by_weekday,
            (false, true) => by_day,
            (false, false) => by_day || by_weekday,
        };
        has(minute, wall.minute()) && has(hour, wall.hour()) && has(month, wall.month()) && on_day
    }
}

fn every(min: i8, max: i8) -> Field {
    Field { text: "*".into(), values: (min..=max).collect(), any: true }
}

fn one(value: i8) -> Field {
    Field { text: value.to_string(), values: vec![value], any: false }
}

fn field(min: i8, max: i8) -> impl Strategy<Value = Field> {
    let value = min..=max;
    prop_oneof![
        1 => Just(every(min, max)),
        4 => value.clone().prop_map(one),
        2 => (value.clone(), value.clone()).prop_map(|(a, b)| {
            Field { text: format!("{a},{b}"), values: vec![a, b], any: false }
        }),
        2 => (value.clone(), value).prop_map(|(a, b)| {
            let (a, b) = (a.min(b), a.max(b));
            Field { text: format!("{a}-{b}"), values: (a..=b).collect(), any: false }
        }),
        1 => (2..=7_usize).prop_map(move |step| Field {
            text: format!("*/{step}"),
            values: (min..=max).step_by(step).collect(),
            any: false,
        }),
    ]
}

pub(super) fn cron() -> impl Strategy<Value = ModelCron> {
    // Hours around those at which clocks change, more often than not.
    let hour = prop_oneof![3 => (0..=4_i8).prop_map(one), 1 => (22..=23_i8).prop_map(one), 2 => field(0, 23)];
    let day = prop_oneof![4 => Just(every(1, 31)), 1 => field(1, 31)];
    let month = prop_oneof![8 => Just(every(1, 12)), 1 => field(1, 12)];
    let weekday = prop_oneof![2 => Just(every(0, 6)), 1 => field(0, 6)];
    (field(0, 59), hour, day, month, weekday).prop_map(|(minute, hour, day, month, weekday)| {
        ModelCron { fields: [minute, hour, day, month, weekday] }
    })
}

const ZONES: [&str; 14] = [
    "Etc/UTC",
    "Europe/Kyiv",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "Asia/Tehran",
    "Africa/Cairo",
    "Asia/Beirut",
    "America/Sao_Paulo",
    "Africa/Casablanca",
    "America/Nuuk",
    "America/Havana",
    "Pacific/Chatham",
    "Pacific/Apia",
];

/// Generates a zone and a minute, mostly at a change of the clock.
pub(super) fn place() -> impl Strategy<Value = (&'static str, Timestamp)> {
    (prop::sample::select(&ZONES[..]), 1_262_304_000_i64..1_893_456_000, any::<u8>()).prop_map(
        |(name, second, choice)| {
            let around = Timestamp::from_second(second - second % 60).unwrap();
            let zone = time_zone(name).unwrap();
            let change = zone.following(around).next().map(|change| change.timestamp());
            (name, change.filter(|_| choice % 4 != 0).unwrap_or(around))
        },
    )
}

/// An end of an exception, in days or minutes from the generated minute.
#[derive(Clone, Debug)]
enum Moment {
    Day(i64),
    Minute(i64),
}

/// The days before and after the generated minute through which the model walks.
const BEFORE: i64 = 5;
pub(super) const AFTER: i64 = 2;

fn moment() -> impl Strategy<Value = Moment> {
    prop_oneof![
        (-BEFORE + 2..=AFTER).prop_map(Moment::Day),
        (-(BEFORE - 1) * 1440..AFTER * 1440).prop_map(Moment::Minute),
        (-180..180_i64).prop_map(Moment::Minute),
    ]
}

/// Orders the two ends. A date beside a time of the same day may still be out of order.
fn ordered((from, to, state): (Moment, Moment, DesiredState)) -> (Moment, Moment, DesiredState) {
    let minute = |moment: &Moment| match moment {
        Moment::Day(offset) => offset * 1440,
        Moment::Minute(offset) => *offset,
    };
    if minute(&from) <= minute(&to) { (from, to, state) } else { (to, from, state) }
}

#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) zone: &'static str,
    around: Timestamp,
    rules: Vec<(ModelCron, ModelCron)>,
    exceptions: Vec<(Moment, Moment, DesiredState)>,
}

pub(super) fn case() -> impl Strategy<Value = Case> {
    let state = prop_oneof![Just(Awake), Just(Hibernated)];
    (
        place(),
        prop::collection::vec((cron(), cron()), 1..4),
        prop::collection::vec((moment(), moment(), state).prop_map(ordered), 0..4),
    )
        .prop_map(|((zone, around), rules, exceptions)| Case {
            zone,
            around,
            rules,
            exceptions,
        })
}

impl Case {
    pub(super) fn minute(&self, offset: i64) -> Timestamp {
        self.around + SignedDuration::from_mins(offset)
    }

    fn day(&self, zone: &TimeZone, offset: i64) -> Date {
        zone.to_datetime(self.around).date() + offset.days()
    }

    pub(super) fn raw(&self, zone: &TimeZone) -> api::Schedule {
        let text = |moment: &Moment| match moment {
            Moment::Day(offset) => self.day(zone, *offset).to_string(),
            Moment::Minute(offset) => self.minute(*offset).to_string(),
        };
        let rules: Vec<_> =
            self.rules.iter().map(|(hibernate, wake)| (hibernate.text(), wake.text())).collect();
        let rules: Vec<_> = rules.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        let exceptions: Vec<_> = self
            .exceptions
            .iter()
            .map(|(from, to, state)| (text(from), text(to), *state))
            .collect();
        let exceptions: Vec<_> =
            exceptions.iter().map(|(a, b, state)| (a.as_str(), b.as_str(), *state)).collect();
        raw(self.zone, &rules, &exceptions)
    }

    /// Walks minute by minute. Returns the state of each minute from the first one that the rules
    /// decide.
    pub(super) fn walk(&self, zone: &TimeZone) -> BTreeMap<Timestamp, DesiredState> {
        let mut states = BTreeMap::new();
        let mut now = self.minute(-BEFORE * 1440);
        let end = self.minute(AFTER * 1440);
        // The latest time that the wall clock has shown.
        let mut shown = zone.to_datetime(now) - 1.minute();
        let mut ruled = None;
        // When each exception was first seen to hold.
        let mut begun: Vec<Option<Timestamp>> = vec![None; self.exceptions.len()];
        while now < end {
            // Each wall-clock minute that is new, in its order: none, one, or all that were skipped.
            let wall = zone.to_datetime(now);
            while shown < wall {
                shown += 1.minute();
                if self.rules.iter().any(|(_, wake)| wake.fires(shown)) {
                    ruled = Some(Awake);
                } else if self.rules.iter().any(|(hibernate, _)| hibernate.fires(shown)) {
                    ruled = Some(Hibernated);
                }
            }
            let mut holding: Option<(Timestamp, DesiredState)> = None;
            for ((from, to, state), begun) in self.exceptions.iter().zip(&mut begun) {
                let from_passed = match from {
                    Moment::Day(offset) => shown.date() >= self.day(zone, *offset),
                    Moment::Minute(offset) => now >= self.minute(*offset),
                };
                let to_passed = match to {
                    Moment::Day(offset) => shown.date() > self.day(zone, *offset),
                    Moment::Minute(offset) => now >= self.minute(*offset),
                };
                if from_passed && begun.is_none() {
                    *begun = Some(now);
                }
                if let (Some(from), false) = (*begun, to_passed)
                    && holding.is_none_or(|(latest, _)| (from, *state == Awake) >= (latest, false))
                    && holding != Some((from, Awake))
                {
                    holding = Some((from, *state));
                }
            }
            if let Some(state) = holding.map(|(_, state)| state).or(ruled) {
                states.insert(now, state);
            }
            now += SignedDuration::from_mins(1);
        }
        states
    }
}
