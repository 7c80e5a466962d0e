//! Precedence of rules, exceptions and the override.

use torpor::api::schedule as api;
use torpor::schedule::DesiredState::{Awake, Hibernated};
use torpor::schedule::{
    Basis, Cause, DesiredCause, Override, Resolved, Schedule, ScheduleError, StateAt, Transition,
};

use crate::support::schedule::{at, expect_changes, expect_states, raw, schedule};

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
fn a_rule_may_leave_out_one_of_its_times() {
    // Without `wake` it sleeps until a person or an override wakes it.
    let nights = raw("Etc/UTC", &[("0 20 * * *", "")], &[]);
    let now = at("2026-06-10T07:00:00Z");
    let basis = Basis::parse(None, Some(&nights)).unwrap();
    let asleep = Resolved::at(&basis, None, now);
    assert_eq!((asleep.state, asleep.next), (Hibernated, None));
    let wake = Override { state: Awake, until: at("2026-06-12T12:00:00Z") };
    let woken = Resolved::at(&basis, Some(&wake), now);
    assert_eq!(woken.state, Awake);
    assert_eq!(woken.next, Some(Transition { state: Hibernated, at: wake.until }));
    // A rule that only wakes ends the nights of another one earlier.
    let mornings = schedule("Etc/UTC", &[("0 20 * * *", "0 9 * * *"), ("", "0 6 * * 3")], &[]);
    expect_changes(
        &mornings,
        "2026-06-08T12:00:00Z",
        &[
            (Hibernated, "2026-06-08T20:00:00Z"),
            (Awake, "2026-06-09T09:00:00Z"),
            (Hibernated, "2026-06-09T20:00:00Z"),
            // A Wednesday.
            (Awake, "2026-06-10T06:00:00Z"),
            (Hibernated, "2026-06-10T20:00:00Z"),
        ],
    );
    assert_eq!(mornings.state_at(at("2026-06-10T07:00:00Z")).cause, Cause::Rule { index: 1 });
    // Its own time, where the other rule hibernates: Awake wins.
    let tied = schedule("Etc/UTC", &[("0 20 * * *", ""), ("", "0 20 * * 3")], &[]);
    expect_states(&tied, &[("2026-06-10T20:00:00Z", Awake), ("2026-06-11T20:00:00Z", Hibernated)]);
    let neither = Schedule::parse(&raw("Etc/UTC", &[("0 20 * * *", ""), ("", "")], &[]));
    assert_eq!(neither.unwrap_err(), ScheduleError::Rule(1));
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
fn a_state_that_lasts_for_decades_has_no_next_transition() {
    // Beyond the horizon an exception counts once it comes near.
    let far = schedule("Etc/UTC", &[], &[("2070-01-01", "2070-01-01", Hibernated)]);
    assert_eq!(far.next_transition(at("2026-06-10T07:00:00Z")), None);
    expect_changes(&far, "2030-01-01T00:00:00Z", &[(Hibernated, "2070-01-01T00:00:00Z")]);
    expect_states(&far, &[("2070-01-01T12:00:00Z", Hibernated)]);
    // Between exceptions the rules decide, and what they did meanwhile counts after them.
    let gaps = schedule(
        "Etc/UTC",
        &[("0 20 1 * *", "0 7 3 * *")],
        &[
            ("2026-06-05", "2026-06-10", Awake),
            ("2026-06-20", "2026-07-02", Awake),
            ("2026-07-04", "2026-08-02", Awake),
        ],
    );
    expect_changes(
        &gaps,
        "2026-06-04T00:00:00Z",
        &[
            (Hibernated, "2026-07-03T00:00:00Z"),
            (Awake, "2026-07-03T07:00:00Z"),
            (Hibernated, "2026-08-03T00:00:00Z"),
            (Awake, "2026-08-03T07:00:00Z"),
            (Hibernated, "2026-09-01T20:00:00Z"),
        ],
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
        Resolved::at(&state, Some(&wake), at("2026-06-09T19:59:59Z")),
        Resolved {
            state: Awake,
            cause: DesiredCause::Override { until },
            next: Some(Transition { state: Hibernated, at: until }),
        }
    );
    let after = Resolved::at(&state, Some(&wake), until);
    assert_eq!(after, Resolved { state: Hibernated, cause: DesiredCause::State, next: None });
    assert_eq!(Resolved::at(&state, None, until), after);

    let nights = raw("Etc/UTC", &[("0 20 * * *", "0 7 * * *")], &[]);
    let nights = Basis::parse(None, Some(&nights)).unwrap();
    // It ends in the state that it asks for: the change is the schedule's next one.
    let long = Override { state: Awake, until: at("2026-06-10T08:00:00Z") };
    let during = Resolved::at(&nights, Some(&long), at("2026-06-09T23:00:00Z"));
    assert_eq!(during.next, Some(Transition { state: Hibernated, at: at("2026-06-10T20:00:00Z") }));
    let expired = Resolved::at(&nights, Some(&long), at("2026-06-10T08:00:00Z"));
    assert_eq!(expired.cause, DesiredCause::Schedule(Cause::Rule { index: 0 }));
    // It ends just as the schedule turns.
    let during = Resolved::at(&nights, Some(&wake), at("2026-06-09T12:00:00Z"));
    assert_eq!(during.next, Some(Transition { state: Hibernated, at: until }));
}
