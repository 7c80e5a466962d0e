use serde_json::json;

use super::*;
use crate::plugin::golden;
use crate::plugin::name::Kind;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn shown(object: &Object, live: &[(&str, &str, &str)], now: &str) -> String {
    let zone = object.zone().unwrap_or(TimeZone::UTC);
    let live = live
        .iter()
        .map(|(kind, name, now)| ((kind.to_string(), name.to_string()), now.to_string()));
    render(object, &live.collect(), at(now), &zone, Screen::plain())
}

#[test]
fn a_hibernated_project_is_one_screen() {
    let live = [
        ("CronJob", "nightly", "suspended"),
        ("Deployment", "api", "2 of 2 ready"),
        ("Deployment", "monitor", "0 replicas"),
        ("Deployment", "worker", "0 replicas"),
    ];
    golden::check(
        "status-hibernated",
        &shown(&golden::object("hibernated"), &live, "2026-11-29T23:10:00Z"),
    );
}

#[test]
fn a_project_on_its_way_tells_its_step_and_its_obstacle() {
    let live = [("Deployment", "worker", "0 replicas, 1 pod left")];
    golden::check(
        "status-stalled",
        &shown(&golden::object("stalled"), &live, "2026-11-29T23:59:00Z"),
    );
}

#[test]
fn an_awake_project_shows_the_workloads_that_its_spec_selects() {
    let live = [("Deployment", "gone", "not found"), ("Deployment", "gpu", "2 of 2 ready")];
    golden::check("status-awake", &shown(&golden::object("awake"), &live, "2026-11-29T23:10:00Z"));
}

#[test]
fn a_window_to_come_tells_its_times() {
    golden::check("status-window", &shown(&golden::object("window"), &[], "2026-11-29T23:10:00Z"));
}

#[test]
fn an_object_that_nobody_has_observed_is_shown_without_a_status() {
    let text = shown(&golden::object("new"), &[], "2026-11-29T23:10:00Z");
    golden::check("status-new", &text);
    let bare = Object::parse(Kind::Hibernation, json!({"metadata": {}, "spec": {}})).unwrap();
    let text = shown(&bare, &[], "2026-11-29T23:10:00Z");
    assert!(text.contains("the spec is not valid: schedule: write exactly one"), "{text}");
    let bare = json!({"metadata": {"name": "gpu"}, "spec": {"after": "1h"}, "status": {}});
    let bare = Object::parse(Kind::MaintenanceWindow, bare).unwrap();
    let text = shown(&bare, &[], "2026-11-29T23:10:00Z");
    assert!(text.contains("the operator has not observed the object yet"), "{text}");
}

#[test]
fn all_fields_of_a_status_have_their_line() {
    let object = json!({
        "metadata": {"name": "gpu", "namespace": "miner", "generation": 2},
        "spec": {"start": "2026-12-01T02:00:00Z", "duration": "2h"},
        "status": {
            "observedGeneration": 2,
            "phase": "Blocked",
            "message": "deal 12 is open",
            "window": {"planned": "2026-12-01T02:00:00Z", "start": "2026-12-01T05:00:00Z",
                "end": "2026-12-01T07:00:00Z"},
            "deals": {"open": {"forward": 1, "spot": 0, "orders": 2, "tasks": 1}, "withdrawn": true},
            "earliestStart": "2026-12-01T05:00:00Z",
            "history": [{"phase": "Blocked", "at": "2026-12-01T02:00:00Z", "message": "deal 12"}],
        },
    });
    let text = shown(
        &Object::parse(Kind::MaintenanceWindow, object).unwrap(),
        &[],
        "2026-12-01T02:10:00Z",
    );
    for words in [
        "Phase       Blocked since Tue 2026-12-01 02:00 UTC (10 min ago)",
        "Message     deal 12 is open",
        "postponed from Tue 2026-12-01 02:00",
        "open: 1 Forward deal, 0 Spot deals, 2 orders, 1 task; the earliest start is Tue 2026-12-01",
        "orders are withdrawn",
    ] {
        assert!(text.contains(words), "{words:?} in\n{text}");
    }
}
