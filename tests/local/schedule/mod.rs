//! Schedules against a slow and obvious model that walks through time minute by minute, and by example
//! for each way in which others miss a time.

use std::collections::BTreeMap;

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};
use proptest::prelude::*;
use torpor::api::schedule as api;
use torpor::schedule::DesiredState::{Awake, Hibernated};
use torpor::schedule::{
    Basis, Cause, Cron, CronError, Desired, DesiredCause, DesiredState, Override, Schedule,
    ScheduleError, StateAt, Transition, time_zone,
};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn raw(
    zone: &str,
    rules: &[(&str, &str)],
    exceptions: &[(&str, &str, DesiredState)],
) -> api::Schedule {
    let rules = rules.iter().map(|(hibernate, wake)| api::ScheduleRule {
        hibernate: (*hibernate).to_owned(),
        wake: (*wake).to_owned(),
    });
    let exceptions = exceptions.iter().map(|(from, to, state)| api::Exception {
        from: (*from).to_owned(),
        to: (*to).to_owned(),
        state: *state,
        reason: None,
    });
    api::Schedule {
        time_zone: zone.to_owned(),
        rules: rules.collect(),
        exceptions: exceptions.collect(),
    }
}

fn schedule(
    zone: &str,
    rules: &[(&str, &str)],
    exceptions: &[(&str, &str, DesiredState)],
) -> Schedule {
    Schedule::parse(&raw(zone, rules, exceptions)).unwrap()
}

/// The changes after `now`, each in turn.
fn expect_changes(schedule: &Schedule, now: &str, expected: &[(DesiredState, &str)]) {
    let mut now = at(now);
    for (state, at) in expected {
        let next = schedule.next_transition(now).unwrap();
        assert_eq!((next.state, next.at.to_string().as_str()), (*state, *at), "after {now}");
        now = next.at;
    }
}

fn expect_states(schedule: &Schedule, states: &[(&str, DesiredState)]) {
    for (now, state) in states {
        assert_eq!(schedule.state_at(at(now)).state, *state, "{now}");
    }
}

// What others miss.

#[test]
fn a_wake_that_was_missed_by_any_time_is_caught_up() {
    let nights = schedule("Europe/Kyiv", &[("0 20 * * 1-5", "0 7 * * 1-5")], &[]);
    // Nobody looked at 07:00; whenever somebody does, it is awake.
    expect_states(
        &nights,
        &[
            ("2026-06-09T03:59:59Z", Hibernated),
            ("2026-06-09T04:00:00Z", Awake),
            ("2026-06-09T04:01:01Z", Awake),
            ("2026-06-09T16:59:59Z", Awake),
            ("2026-06-09T17:00:00Z", Hibernated),
        ],
    );
    // After months as well: what counts is the latest edge, not the one that was awaited.
    let january = schedule("Etc/UTC", &[("0 0 1 1 *", "0 0 1 2 *")], &[]);
    expect_states(
        &january,
        &[("2026-01-31T23:59:59Z", Hibernated), ("2026-12-31T23:59:59Z", Awake)],
    );
}

#[test]
fn a_weekday_is_that_of_the_zone() {
    // Monday 00:30 in Auckland is Sunday noon in UTC, Friday 22:00 in Los Angeles Saturday.
    let auckland = schedule("Pacific/Auckland", &[("0 0 * * 6", "30 0 * * 1")], &[]);
    expect_changes(&auckland, "2026-06-13T00:00:00Z", &[(Awake, "2026-06-14T12:30:00Z")]);
    let angeles = schedule("America/Los_Angeles", &[("0 22 * * 5", "0 6 * * 1")], &[]);
    expect_changes(
        &angeles,
        "2026-06-12T12:00:00Z",
        &[(Hibernated, "2026-06-13T05:00:00Z"), (Awake, "2026-06-15T13:00:00Z")],
    );
}

#[test]
fn a_night_goes_over_midnight() {
    let nights = schedule("Etc/UTC", &[("0 22 * * *", "0 6 * * *")], &[]);
    expect_states(
        &nights,
        &[
            ("2026-06-09T21:59:59Z", Awake),
            ("2026-06-09T22:00:00Z", Hibernated),
            ("2026-06-10T00:00:00Z", Hibernated),
            ("2026-06-10T05:59:59Z", Hibernated),
            ("2026-06-10T06:00:00Z", Awake),
        ],
    );
}

#[test]
fn the_night_of_friday_ends_on_saturday() {
    let nights = schedule("Etc/UTC", &[("0 22 * * 1-5", "0 6 * * 2-6")], &[]);
    // Friday the 12th.
    expect_changes(
        &nights,
        "2026-06-12T12:00:00Z",
        &[
            (Hibernated, "2026-06-12T22:00:00Z"),
            (Awake, "2026-06-13T06:00:00Z"),
            (Hibernated, "2026-06-15T22:00:00Z"),
            (Awake, "2026-06-16T06:00:00Z"),
        ],
    );
    // Written for working days alone, it sleeps through the weekend.
    let weekends = schedule("Etc/UTC", &[("0 22 * * 1-5", "0 6 * * 1-5")], &[]);
    expect_changes(
        &weekends,
        "2026-06-12T12:00:00Z",
        &[(Hibernated, "2026-06-12T22:00:00Z"), (Awake, "2026-06-15T06:00:00Z")],
    );
}

#[test]
fn what_wraps_around_works_or_is_refused() {
    // A night in several hours, written as two ranges; a week that wraps around.
    let many = schedule("Etc/UTC", &[("0 22-23,0-5 * * *", "0 6-21 * * *")], &[]);
    expect_states(&many, &[("2026-06-09T03:30:00Z", Hibernated), ("2026-06-09T21:59:00Z", Awake)]);
    let week = schedule("Etc/UTC", &[("0 0 * * SAT", "0 0 * * WED")], &[]);
    expect_states(
        &week,
        &[
            ("2026-06-12T23:59:00Z", Awake),
            ("2026-06-13T00:00:00Z", Hibernated),
            ("2026-06-16T23:59:00Z", Hibernated),
            ("2026-06-17T00:00:00Z", Awake),
        ],
    );
    for wrapping in ["0 22-6 * * *", "0 22 * * FRI-MON", "0 22 * NOV-FEB *"] {
        let error = Schedule::parse(&raw("Etc/UTC", &[(wrapping, "0 6 * * *")], &[])).unwrap_err();
        assert!(
            matches!(error, ScheduleError::Cron { index: 0, field: "hibernate", .. }),
            "{error}"
        );
        assert!(error.to_string().contains("as two"), "{error}");
    }
}

#[test]
fn a_day_with_a_change_of_the_clock_is_not_24_hours() {
    let days = schedule("Europe/Kyiv", &[("0 20 * * *", "0 7 * * *")], &[]);
    // 07:00 is 07:00 on the wall, whether the night had 10 hours or 12.
    expect_changes(
        &days,
        "2026-03-28T12:00:00Z",
        &[
            (Hibernated, "2026-03-28T18:00:00Z"),
            (Awake, "2026-03-29T04:00:00Z"),
            (Hibernated, "2026-03-29T17:00:00Z"),
        ],
    );
    expect_changes(
        &days,
        "2026-10-24T12:00:00Z",
        &[(Hibernated, "2026-10-24T17:00:00Z"), (Awake, "2026-10-25T05:00:00Z")],
    );
}

#[test]
fn an_edge_that_a_change_of_the_clock_skips_takes_effect_at_the_change() {
    // 03:00 to 04:00 is skipped in Kyiv. The cron crate by itself drops the last two.
    for wake in ["30 3 * * *", "30 3,5 * * *", "*/30 3 * * *"] {
        let early = schedule("Europe/Kyiv", &[("0 20 * * *", wake)], &[]);
        expect_changes(&early, "2026-03-29T00:00:00Z", &[(Awake, "2026-03-29T01:00:00Z")]);
        expect_states(
            &early,
            &[("2026-03-29T00:59:59Z", Hibernated), ("2026-03-29T01:00:00Z", Awake)],
        );
    }
    // Both are skipped: the later one decides, as on every other day.
    let backup = schedule("Europe/Kyiv", &[("45 3 * * *", "15 3 * * *")], &[]);
    expect_states(
        &backup,
        &[("2026-03-29T01:00:00Z", Hibernated), ("2026-03-29T12:00:00Z", Hibernated)],
    );
    expect_changes(&backup, "2026-03-29T00:00:00Z", &[(Awake, "2026-03-30T00:15:00Z")]);
    let nap = schedule("Europe/Kyiv", &[("15 3 * * *", "45 3 * * *")], &[]);
    expect_changes(&nap, "2026-03-29T00:00:00Z", &[(Hibernated, "2026-03-30T00:15:00Z")]);
}

#[test]
fn an_edge_that_comes_twice_takes_effect_once() {
    // 03:00 to 04:00 comes twice in Kyiv, from 00:00Z to 02:00Z.
    let nap = schedule("Europe/Kyiv", &[("15 3 * * *", "45 3 * * *")], &[]);
    expect_changes(
        &nap,
        "2026-10-24T23:00:00Z",
        &[
            (Hibernated, "2026-10-25T00:15:00Z"),
            (Awake, "2026-10-25T00:45:00Z"),
            (Hibernated, "2026-10-26T01:15:00Z"),
        ],
    );
    expect_states(&nap, &[("2026-10-25T01:20:00Z", Awake)]);
}

#[test]
fn odd_zones() {
    let day = [("0 20 * * *", "0 7 * * *")];
    let kathmandu = schedule("Asia/Kathmandu", &day, &[]);
    expect_changes(&kathmandu, "2026-06-09T12:00:00Z", &[(Hibernated, "2026-06-09T14:15:00Z")]);
    let adelaide = schedule("Australia/Adelaide", &day, &[]);
    expect_changes(&adelaide, "2026-06-09T09:00:00Z", &[(Hibernated, "2026-06-09T10:30:00Z")]);
    // Half an hour of daylight saving: 02:00 to 02:30 is skipped, 01:30 to 02:00 comes twice.
    let howe = schedule("Australia/Lord_Howe", &[("0 20 * * *", "15 2 * * *")], &[]);
    expect_changes(&howe, "2026-10-03T15:00:00Z", &[(Awake, "2026-10-03T15:30:00Z")]);
    let howe = schedule("Australia/Lord_Howe", &[("0 20 * * *", "45 1 * * *")], &[]);
    expect_changes(&howe, "2026-04-04T12:00:00Z", &[(Awake, "2026-04-04T14:45:00Z")]);
    // No midnight in Cairo on the 24th of April.
    let cairo = schedule("Africa/Cairo", &[("0 0 * * *", "0 6 * * *")], &[]);
    expect_changes(&cairo, "2026-04-23T12:00:00Z", &[(Hibernated, "2026-04-23T22:00:00Z")]);
}

#[test]
fn zones_are_part_of_the_build() {
    assert!(time_zone("Europe/Kyiv").is_some());
    let rules = [("0 20 * * *", "0 7 * * *")];
    for unknown in ["Europe/Nowhere", "+02:00", "Local", ""] {
        let error = Schedule::parse(&raw(unknown, &rules, &[])).unwrap_err();
        assert_eq!(error, ScheduleError::TimeZone(unknown.into()));
    }
}

// Rules, exceptions, override.

#[test]
fn the_latest_edge_of_all_rules_wins_and_a_tie_is_awake() {
    let three = schedule(
        "Etc/UTC",
        &[("0 20 * * 1-5", "0 7 * * 1-5"), ("0 0 * * 6", "0 7 * * 1"), ("0 7 * * 3", "0 9 * * 3")],
        &[],
    );
    // Wednesday the 10th at 07:00: hibernate by the third, wake by the first.
    assert_eq!(
        three.state_at(at("2026-06-10T07:00:00Z")),
        StateAt { state: Awake, cause: Cause::Rule { index: 0 } }
    );
    assert_eq!(three.state_at(at("2026-06-10T09:00:00Z")).cause, Cause::Rule { index: 2 });
    assert_eq!(three.state_at(at("2026-06-13T09:00:00Z")).cause, Cause::Rule { index: 1 });
    // Always a tie: never a change, and the search ends.
    let tied = schedule("Etc/UTC", &[("* * * * *", "*/1 * * * *")], &[]);
    expect_states(&tied, &[("2026-06-10T07:00:00Z", Awake)]);
    assert_eq!(tied.next_transition(at("2026-06-10T07:00:00Z")), None);
}

#[test]
fn leap_days() {
    let leap = schedule("Etc/UTC", &[("0 0 29 2 *", "0 0 1 3 *")], &[]);
    expect_states(
        &leap,
        &[
            ("2026-02-28T12:00:00Z", Awake),
            ("2028-02-29T12:00:00Z", Hibernated),
            ("2103-06-01T00:00:00Z", Awake),
        ],
    );
    expect_changes(&leap, "2096-03-01T00:00:00Z", &[(Hibernated, "2104-02-29T00:00:00Z")]);
    let whole_day = schedule("Etc/UTC", &[], &[("2028-02-29", "2028-02-29", Hibernated)]);
    expect_changes(
        &whole_day,
        "2026-01-01T00:00:00Z",
        &[(Hibernated, "2028-02-29T00:00:00Z"), (Awake, "2028-03-01T00:00:00Z")],
    );
}

#[test]
fn an_exception_holds_whatever_the_rules_say_and_then_they_apply_again() {
    let holidays = schedule(
        "Europe/Kyiv",
        &[("0 20 * * *", "0 7 * * *")],
        &[
            ("2026-12-24", "2027-01-02", Hibernated),
            ("2026-12-28T10:00:00Z", "2026-12-28T12:00:00Z", Awake),
        ],
    );
    expect_changes(
        &holidays,
        "2026-12-23T12:00:00Z",
        &[
            // Asleep since the evening, and asleep into the exception: no change at midnight.
            (Hibernated, "2026-12-23T18:00:00Z"),
            // The one with the later `from` wins.
            (Awake, "2026-12-28T10:00:00Z"),
            (Hibernated, "2026-12-28T12:00:00Z"),
            // The last day is the whole day; then the night goes on until 07:00.
            (Awake, "2027-01-03T05:00:00Z"),
            (Hibernated, "2027-01-03T18:00:00Z"),
        ],
    );
    assert_eq!(
        holidays.state_at(at("2027-01-02T21:59:59Z")).cause,
        Cause::Exception { index: 0, reason: None }
    );
    assert_eq!(holidays.state_at(at("2027-01-02T22:00:00Z")).cause, Cause::Rule { index: 0 });
}

#[test]
fn of_exceptions_with_the_same_beginning_an_awake_one_wins() {
    for (first, second) in [(Awake, Hibernated), (Hibernated, Awake)] {
        let tie = schedule(
            "Etc/UTC",
            &[("0 20 * * *", "0 7 * * *")],
            &[
                ("2026-12-24", "2026-12-24", first),
                ("2026-12-24T00:00:00Z", "2026-12-25T00:00:00Z", second),
            ],
        );
        expect_states(&tie, &[("2026-12-24T03:00:00Z", Awake), ("2026-12-24T22:00:00Z", Awake)]);
    }
    // Without rules it is awake outside.
    let bare = schedule("Etc/UTC", &[], &[("2026-12-24", "2026-12-24", Hibernated)]);
    assert_eq!(bare.state_at(at("2026-12-25T00:00:00Z")).cause, Cause::Default);
    assert_eq!(bare.next_transition(at("2026-12-25T00:00:00Z")), None);
}

#[test]
fn a_date_is_the_whole_day_even_without_a_midnight() {
    let cairo = schedule("Africa/Cairo", &[], &[("2026-04-24", "2026-04-24", Hibernated)]);
    expect_changes(
        &cairo,
        "2026-04-20T12:00:00Z",
        &[(Hibernated, "2026-04-23T22:00:00Z"), (Awake, "2026-04-24T21:00:00Z")],
    );
    // 25 hours: the clock goes back in the night to the 26th of October.
    let kyiv = schedule("Europe/Kyiv", &[], &[("2026-10-25", "2026-10-25", Hibernated)]);
    expect_changes(
        &kyiv,
        "2026-10-20T12:00:00Z",
        &[(Hibernated, "2026-10-24T21:00:00Z"), (Awake, "2026-10-25T22:00:00Z")],
    );
}

#[test]
fn what_cannot_be_meant_is_refused_with_what_to_write() {
    let rules = [("0 20 * * *", "0 7 * * *")];
    let refused = |schedule: &api::Schedule| Schedule::parse(schedule).unwrap_err();
    assert_eq!(refused(&raw("Etc/UTC", &[], &[])), ScheduleError::Empty);
    for (from, to, field) in [
        ("2026-02-30", "2026-03-01", "from"),
        ("2026-02-28", "2026-02-29", "to"),
        ("2026-02-28", "soon", "to"),
        ("2026-02-28T10:00:00", "2026-03-01", "from"),
        ("2026-02-28", "9999-12-31", "to"),
    ] {
        let error = refused(&raw("Etc/UTC", &rules, &[(from, to, Awake)]));
        assert!(
            matches!(&error, ScheduleError::Moment { field: found, .. } if *found == field),
            "{error}"
        );
    }
    // Only the zone tells: the 23rd of December ends at 10:00Z in Kiritimati.
    let mixed = [("2026-12-23T20:00:00Z", "2026-12-23", Awake)];
    let error = refused(&raw("Pacific/Kiritimati", &rules, &mixed));
    assert!(error.to_string().contains("Pacific/Kiritimati"), "{error}");
    assert!(Schedule::parse(&raw("America/Los_Angeles", &rules, &mixed)).is_ok());
    let error = refused(&raw("Etc/UTC", &[("0 0 * * *", "0 0 31 2 *")], &[]));
    assert!(error.to_string().starts_with("rules[0].wake: "), "{error}");
    let until = api::Override { state: Awake, until: "2026-12-28".into() };
    assert!(matches!(Override::parse(&until), Err(ScheduleError::Until(_))));
    assert_eq!(Basis::parse(None, None).unwrap_err(), ScheduleError::StateOrSchedule);
}

#[test]
fn an_override_beats_both_and_expires_by_itself() {
    let until = at("2026-06-09T20:00:00Z");
    let wake = Override { state: Awake, until };
    let state = Basis::parse(Some(Hibernated), None).unwrap();
    assert_eq!(
        Desired::resolve(&state, Some(&wake), at("2026-06-09T19:59:59Z")),
        Desired {
            state: Awake,
            cause: DesiredCause::Override { until },
            next: Some(Transition { state: Hibernated, at: until }),
        }
    );
    let after = Desired::resolve(&state, Some(&wake), until);
    assert_eq!(after, Desired { state: Hibernated, cause: DesiredCause::State, next: None });
    assert_eq!(Desired::resolve(&state, None, until), after);

    let nights = raw("Etc/UTC", &[("0 20 * * *", "0 7 * * *")], &[]);
    let nights = Basis::parse(None, Some(&nights)).unwrap();
    // It ends in the state that it asks for: the change is the schedule's next one.
    let long = Override { state: Awake, until: at("2026-06-10T08:00:00Z") };
    let during = Desired::resolve(&nights, Some(&long), at("2026-06-09T23:00:00Z"));
    assert_eq!(during.next, Some(Transition { state: Hibernated, at: at("2026-06-10T20:00:00Z") }));
    let expired = Desired::resolve(&nights, Some(&long), at("2026-06-10T08:00:00Z"));
    assert_eq!(expired.cause, DesiredCause::Schedule(Cause::Rule { index: 0 }));
    // It ends just as the schedule turns.
    let during = Desired::resolve(&nights, Some(&wake), at("2026-06-09T12:00:00Z"));
    assert_eq!(during.next, Some(Transition { state: Hibernated, at: until }));
}

#[test]
fn questions_are_cheap() {
    let rules: Vec<(String, String)> = (0..32)
        .map(|n| {
            let hibernate = format!("{n} {} * * {}", n % 24, n % 7);
            (hibernate, format!("{} {} 1-{},31 * 6", n + 9, n % 13, n + 1 - n / 31))
        })
        .collect();
    let rules: Vec<(&str, &str)> = rules.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    let many = schedule("America/New_York", &rules, &[]);
    let start = std::time::Instant::now();
    let mut now = at("2026-01-01T00:00:00Z");
    for _ in 0..200 {
        now = many.next_transition(now).unwrap().at;
    }
    println!("{:?} for each", start.elapsed() / 200);
    // Generous: this build is not optimised, and the machine may be busy.
    assert!(start.elapsed().as_millis() < 200 * 20, "{:?}", start.elapsed());
}

// The model.

/// A cron field as the generator made it: its text, and the values by enumeration.
#[derive(Clone, Debug)]
struct Field {
    text: String,
    values: Vec<i8>,
    any: bool,
}

#[derive(Clone, Debug)]
struct ModelCron {
    fields: [Field; 5],
}

impl ModelCron {
    fn text(&self) -> String {
        self.fields.each_ref().map(|field| field.text.as_str()).join(" ")
    }

    fn fires(&self, wall: DateTime) -> bool {
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

fn cron() -> impl Strategy<Value = ModelCron> {
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

/// A zone and a minute to look around: at a change of the clock more often than not.
fn place() -> impl Strategy<Value = (&'static str, Timestamp)> {
    (prop::sample::select(&ZONES[..]), 1_262_304_000_i64..1_893_456_000, any::<u8>()).prop_map(
        |(name, second, choice)| {
            let around = Timestamp::from_second(second - second % 60).unwrap();
            let zone = time_zone(name).unwrap();
            let change = zone.following(around).next().map(|change| change.timestamp());
            (name, change.filter(|_| choice % 4 != 0).unwrap_or(around))
        },
    )
}

/// An end of an exception, in days or minutes from the place.
#[derive(Clone, Debug)]
enum Moment {
    Day(i64),
    Minute(i64),
}

/// Days before and after the place through which the model walks.
const BEFORE: i64 = 5;
const AFTER: i64 = 2;

fn moment() -> impl Strategy<Value = Moment> {
    prop_oneof![
        (-BEFORE + 2..=AFTER).prop_map(Moment::Day),
        (-(BEFORE - 1) * 1440..AFTER * 1440).prop_map(Moment::Minute),
        (-180..180_i64).prop_map(Moment::Minute),
    ]
}

/// Most of them in order: a date beside a time of the same day may not be.
fn ordered((from, to, state): (Moment, Moment, DesiredState)) -> (Moment, Moment, DesiredState) {
    let minute = |moment: &Moment| match moment {
        Moment::Day(offset) => offset * 1440,
        Moment::Minute(offset) => *offset,
    };
    if minute(&from) <= minute(&to) { (from, to, state) } else { (to, from, state) }
}

#[derive(Clone, Debug)]
struct Case {
    zone: &'static str,
    around: Timestamp,
    rules: Vec<(ModelCron, ModelCron)>,
    exceptions: Vec<(Moment, Moment, DesiredState)>,
}

fn case() -> impl Strategy<Value = Case> {
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
    fn minute(&self, offset: i64) -> Timestamp {
        self.around + SignedDuration::from_mins(offset)
    }

    fn day(&self, zone: &TimeZone, offset: i64) -> Date {
        zone.to_datetime(self.around).date() + offset.days()
    }

    fn raw(&self, zone: &TimeZone) -> api::Schedule {
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

    /// Walks minute by minute and gives the state of each, once the rules have told one.
    fn walk(&self, zone: &TimeZone) -> BTreeMap<Timestamp, DesiredState> {
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

/// Few by default, since each walks through a week; `PROPTEST_CASES` asks for more.
fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig {
        cases: cases.unwrap_or(32),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn agrees_with_the_model(case in case()) {
        let zone = time_zone(case.zone).unwrap();
        let schedule = match Schedule::parse(&case.raw(&zone)) {
            Ok(schedule) => schedule,
            Err(ScheduleError::Order { .. }) => return Err(TestCaseError::reject("order")),
            Err(ScheduleError::Cron { source: CronError::Never(_), .. }) => {
                return Err(TestCaseError::reject("never"));
            }
            Err(error) => panic!("{error}"),
        };
        let model = case.walk(&zone);
        for (now, state) in &model {
            prop_assert_eq!(schedule.state_at(*now).state, *state, "at {}", now);
        }
        // From one change to the next: they are exactly the changes in the model.
        let Some((first, mut state)) = model.first_key_value().map(|(at, state)| (*at, *state)) else {
            return Ok(());
        };
        // An exception alone can be the first thing that the model knows, and then not know again.
        prop_assume!(model.len() == usize::try_from((case.minute(AFTER * 1440).as_second() - first.as_second()) / 60).unwrap());
        let mut expected = Vec::new();
        for (at, now) in &model {
            if *now != state {
                state = *now;
                expected.push(Transition { state, at: *at });
            }
        }
        let end = case.minute(AFTER * 1440);
        let found: Vec<Transition> =
            std::iter::successors(schedule.next_transition(first), |last| schedule.next_transition(last.at))
                .take_while(|transition| transition.at < end)
                .collect();
        prop_assert_eq!(&found, &expected);
        // Whenever it is asked (the operator may have been down since), the answer is the same.
        for offset in (0..AFTER * 1440).step_by(611) {
            let now = case.minute(offset) + SignedDuration::from_secs(17);
            if now > first {
                let next = schedule.next_transition(now).filter(|transition| transition.at < end);
                prop_assert_eq!(next, expected.iter().find(|transition| transition.at > now).copied());
            }
        }
    }

    #[test]
    fn a_cron_is_found_both_ways((name, around) in place(), cron in cron()) {
        let Ok(parsed) = Cron::parse(&cron.text()) else { return Err(TestCaseError::reject("never")) };
        let zone = time_zone(name).unwrap();
        // Both ends are in the open: nothing is skipped or repeated there.
        let start = around - SignedDuration::from_hours(30);
        let end = around + SignedDuration::from_hours(30);
        let mut now = start;
        let mut shown = zone.to_datetime(now);
        let mut fired = Vec::new();
        while now < end {
            now += SignedDuration::from_mins(1);
            let wall = zone.to_datetime(now);
            while shown < wall {
                shown += 1.minute();
                if cron.fires(shown) && fired.last() != Some(&now) {
                    fired.push(now);
                }
            }
        }
        let forward: Vec<Timestamp> =
            std::iter::successors(parsed.next_after(&zone, start), |last| parsed.next_after(&zone, *last))
                .take_while(|at| *at <= end)
                .collect();
        prop_assert_eq!(&forward, &fired);
        let mut backward: Vec<Timestamp> = std::iter::successors(parsed.latest_at(&zone, end), |last| {
            parsed.latest_at(&zone, *last - SignedDuration::from_nanos(1))
        })
        .take_while(|at| *at > start)
        .collect();
        backward.reverse();
        prop_assert_eq!(&backward, &fired);
    }
}
