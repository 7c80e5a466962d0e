//! Days, nights and changes of the clock: an example for each known way to miss a transition.

use torpor::schedule::DesiredState::{Awake, Hibernated};
use torpor::schedule::{Schedule, ScheduleError, time_zone};

use crate::support::schedule::{expect_changes, expect_states, raw, schedule};

#[test]
fn a_wake_that_was_missed_by_any_time_is_caught_up() {
    let nights = schedule("Europe/Kyiv", &[("0 20 * * 1-5", "0 7 * * 1-5")], &[]);
    // The operator was down at 07:00. Whenever it is back, the state is Awake.
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
    // After months too: the latest edge counts, not the expected one.
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
        assert!(error.to_string().contains("write two ranges, '"), "{error}");
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
