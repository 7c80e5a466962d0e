//! From when on the start of a window counts, and what is recorded of one that did not come.

use serde_json::json;

use super::*;
use crate::api::condition::STALLED;
use crate::deals::test_market::at;
use crate::maintenance::test_world::World;

use WindowPhase::{Blocked, Cancelled, InMaintenance, Missed, Scheduled};

fn without_deals(when: &serde_json::Value) -> World {
    let mut spec = json!({"workloads": [{"kind": "Deployment", "name": "worker"}]});
    for (field, value) in when.as_object().unwrap() {
        spec[field] = value.clone();
    }
    World::new(spec)
}

fn next(world: &World) -> Option<Timestamp> {
    world.status.next_transition.as_ref().map(|next| next.at.0)
}

#[test]
fn after_in_the_place_of_another_start_counts_from_the_change() {
    for when in [
        json!({"start": at(100_000).to_string()}),
        json!({"schedule": {"cron": "0 12 * * *"}, "duration": "1h"}),
    ] {
        let mut world = without_deals(&when);
        world.until(120);
        let field = if when.get("start").is_some() { "start" } else { "schedule" };
        world.replace(field, "after", json!("1m"));
        world.run();
        assert_eq!(next(&world), Some(at(180)), "{when}");
        world.until(179);
        assert!(world.up("worker"), "{when}");
        world.until(181);
        assert!(!world.up("worker"), "{when}");
    }
}

#[test]
fn after_that_comes_back_counts_anew() {
    let mut world = without_deals(&json!({"after": "1m"}));
    world.until(30);
    world.replace("after", "start", json!(at(100_000).to_string()));
    world.until(120);
    world.replace("start", "after", json!("1m"));
    world.until(179);
    assert!(world.up("worker"));
    world.until(181);
    assert!(!world.up("worker"));
}

#[test]
fn a_schedule_that_is_suspended_between_two_windows_has_missed_none() {
    let mut world = without_deals(&json!({"schedule": {"cron": "*/10 * * * *"}, "duration": "1m"}));
    world.until(700);
    let last = world.status.last.clone().unwrap();
    assert_eq!((last.planned.0, last.outcome), (at(600), WindowPhase::Completed));
    world.change("suspend", json!(true));
    world.until(720);
    assert_eq!(world.phase(), Some(Cancelled));
    assert_eq!(world.status.last, Some(last.clone()), "it is known of the earlier window");
    world.change("suspend", json!(false));
    world.until(730);
    assert_eq!(world.phase(), Some(Scheduled));
    assert_eq!(next(&world), Some(at(1200)));
    assert!(!world.phases.contains(&Missed), "{:?}", world.phases);
    assert_eq!(world.status.last, Some(last));
    world.until(1202);
    assert_eq!(world.phase(), Some(InMaintenance));
}

#[test]
fn a_window_of_a_schedule_that_was_suspended_at_its_start_does_not_begin_late() {
    let mut world = without_deals(&json!({"schedule": {"cron": "*/10 * * * *"}, "duration": "5m"}));
    world.until(500);
    world.change("suspend", json!(true));
    world.until(660);
    world.change("suspend", json!(false));
    world.until(670);
    assert!(world.up("worker"));
    assert_eq!(next(&world), Some(at(1200)));
}

#[test]
fn a_start_before_a_changed_schedule_does_not_count() {
    // The object is there since midnight. A window at midnight would still be on.
    let mut world = without_deals(&json!({"schedule": {"cron": "0 1 * * *"}, "duration": "2h"}));
    world.until(1800);
    world.change("schedule", json!({"cron": "0 0 * * *"}));
    world.until(1810);
    assert!(world.up("worker"));
    assert_eq!(world.phase(), Some(Scheduled));
    assert_eq!(next(&world), Some(at(24 * 3600)));
    // Its window would be over.
    world.change("schedule", json!({"cron": "10 0 * * *"}));
    world.change("duration", json!("1m"));
    world.until(1820);
    assert_eq!(world.phases, [Scheduled], "no window was missed");
    // An exception that is taken out counts as a change too.
    let exception = json!([{"from": at(1500).to_string(), "to": at(1700).to_string()}]);
    world.change("schedule", json!({"cron": "*/10 * * * *", "exceptions": exception}));
    world.change("duration", json!("9m"));
    world.until(1850);
    world.change("schedule", json!({"cron": "*/10 * * * *"}));
    world.until(1860);
    assert!(world.up("worker"));
    assert_eq!(next(&world), Some(at(2400)));
}

#[test]
fn a_window_that_was_due_since_the_creation_begins_late() {
    let mut world = without_deals(&json!({"schedule": {"cron": "*/10 * * * *"}, "duration": "5m"}));
    world.now = at(650);
    world.run();
    world.after(1);
    assert_eq!(world.phase(), Some(InMaintenance));
    world.until(901);
    assert_eq!(world.phase(), Some(Scheduled));
}

#[test]
fn a_window_in_which_nothing_could_be_held_is_missed() {
    let mut world = without_deals(&json!({
        "start": at(10).to_string(), "duration": "1m",
        "configMaps": [{"name": "missing", "set": {"A": "1"}}],
    }));
    world.until(40);
    assert_eq!(world.phase(), Some(Blocked));
    assert_eq!(world.condition(STALLED), Some(("True", "ConfigMapNotFound")));
    world.until(75);
    assert_eq!(world.phases, [Scheduled, Blocked, Missed]);
    assert_eq!(world.condition(STALLED), Some(("True", "Missed")));
}
