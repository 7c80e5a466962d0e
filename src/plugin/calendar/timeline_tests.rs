use serde_json::{Value, json};

use super::*;
use crate::plugin::name::Kind;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[expect(clippy::needless_pass_by_value, reason = "callers write literals")]
fn object(kind: Kind, spec: Value, status: Value) -> Object {
    let object = json!({"metadata": {"name": "cornice"}, "spec": spec, "status": status});
    Object::parse(kind, object).unwrap()
}

fn told(object: &Object, from: &str, end: &str) -> Vec<(String, State)> {
    let timeline = of(object, at(from), at(end)).unwrap();
    timeline.parts.iter().map(|part| (part.from.to_string(), part.state)).collect()
}

fn same(told: &[(String, State)], expected: &[(&str, State)]) {
    let told: Vec<_> = told.iter().map(|(at, state)| (at.as_str(), *state)).collect();
    assert_eq!(told, expected);
}

use State::{Down, Up};

#[test]
fn an_override_and_exceptions_are_part_of_the_timeline() {
    let spec = json!({
        "schedule": {
            "rules": [{"hibernate": "0 20 * * *", "wake": "0 7 * * *"}],
            "exceptions": [{"from": "2026-12-02", "to": "2026-12-02", "state": "Awake", "reason": "demo"}],
        },
        "override": {"state": "Hibernated", "until": "2026-12-01T12:00:00Z"},
    });
    let object = object(Kind::Hibernation, spec, Value::Null);
    let timeline = of(&object, at("2026-12-01T10:00:00Z"), at("2026-12-04T00:00:00Z")).unwrap();
    same(
        &told(&object, "2026-12-01T10:00:00Z", "2026-12-04T00:00:00Z"),
        &[
            ("2026-12-01T10:00:00Z", Down),
            ("2026-12-01T12:00:00Z", Up),
            ("2026-12-01T20:00:00Z", Down),
            ("2026-12-02T00:00:00Z", Up),
            ("2026-12-03T00:00:00Z", Down),
            ("2026-12-03T07:00:00Z", Up),
            ("2026-12-03T20:00:00Z", Down),
        ],
    );
    let by: Vec<&str> = timeline.parts.iter().map(|part| part.by.as_str()).collect();
    assert_eq!(by[0], "spec.override");
    assert_eq!(by[3], "spec.schedule.exceptions[0] (demo)");
    assert_eq!(timeline.parts[6].to, Some(at("2026-12-04T07:00:00Z")));
    assert_eq!(timeline.at(at("2026-12-01T19:59:59Z")), Some(Up));
    assert_eq!(timeline.at(at("2026-12-01T20:00:00Z")), Some(Down));
    assert_eq!(timeline.at(at("2026-12-04T00:00:00Z")), None);
}

#[test]
fn a_state_has_no_end_and_a_restless_schedule_is_cut() {
    let state = object(Kind::Hibernation, json!({"state": "Hibernated"}), Value::Null);
    same(
        &told(&state, "2026-12-01T10:00:00Z", "2026-12-04T00:00:00Z"),
        &[("2026-12-01T10:00:00Z", Down)],
    );
    let spec =
        json!({"schedule": {"rules": [{"hibernate": "*/2 * * * *", "wake": "1-59/2 * * * *"}]}});
    let restless = object(Kind::Hibernation, spec, Value::Null);
    let timeline = of(&restless, at("2026-12-01T10:00:00Z"), at("2026-12-15T00:00:00Z")).unwrap();
    assert!(timeline.is_cut);
    assert_eq!(timeline.parts.len(), MOST);
    assert_eq!(timeline.at(at("2026-12-10T00:00:00Z")), None);
}

#[test]
fn a_window_that_was_postponed_runs_over_the_next_one() {
    let spec = json!({"schedule": {"cron": "0 2 * * *"}, "duration": "20h"});
    let status = json!({"window": {"planned": "2026-12-01T02:00:00Z", "start": "2026-12-01T10:00:00Z",
        "end": "2026-12-02T06:00:00Z"}});
    let moved = object(Kind::MaintenanceWindow, spec.clone(), status);
    same(
        &told(&moved, "2026-12-01T00:00:00Z", "2026-12-04T00:00:00Z"),
        &[
            ("2026-12-01T00:00:00Z", Up),
            ("2026-12-01T10:00:00Z", Down),
            ("2026-12-02T06:00:00Z", Up),
            ("2026-12-03T02:00:00Z", Down),
            ("2026-12-03T22:00:00Z", Up),
        ],
    );
    // Of a file, a window that would have begun does not begin.
    let file = object(Kind::MaintenanceWindow, spec, Value::Null);
    same(
        &told(&file, "2026-12-01T03:00:00Z", "2026-12-02T12:00:00Z"),
        &[("2026-12-01T03:00:00Z", Up), ("2026-12-02T02:00:00Z", Down)],
    );
}

#[test]
fn a_window_that_is_on_comes_first_and_one_that_is_over_does_not_come_again() {
    let on = json!({"window": {"planned": "2026-12-01T02:00:00Z", "start": "2026-12-01T02:00:00Z", "begun": true}});
    let endless = object(Kind::MaintenanceWindow, json!({"start": "2026-12-01T02:00:00Z"}), on);
    same(
        &told(&endless, "2026-12-01T10:00:00Z", "2026-12-04T00:00:00Z"),
        &[("2026-12-01T10:00:00Z", Down)],
    );
    let last = json!({"last": {"planned": "2026-12-01T02:00:00Z", "over": "2026-12-01T03:00:00Z",
        "outcome": "Completed", "reason": "Completed", "message": ""}});
    let spec = json!({"start": "2026-12-01T02:00:00Z", "duration": "9h"});
    let over = object(Kind::MaintenanceWindow, spec, last);
    same(
        &told(&over, "2026-12-01T10:00:00Z", "2026-12-04T00:00:00Z"),
        &[("2026-12-01T10:00:00Z", Up)],
    );
}

#[test]
fn a_spec_that_is_not_valid_says_why() {
    let invalid = object(Kind::Hibernation, json!({}), Value::Null);
    let error = of(&invalid, at("2026-12-01T10:00:00Z"), at("2026-12-04T00:00:00Z")).unwrap_err();
    assert!(error.contains("exactly one of 'state' and 'schedule'"), "{error}");
}
