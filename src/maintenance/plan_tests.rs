//! The planner alone, against a worker and a market that a test directs.

#![allow(clippy::needless_pass_by_value, reason = "JSON is written where it is handed over")]

use serde_json::json;

use super::*;
use crate::api::condition::{DEALS_CLEAR, IN_MAINTENANCE};
use crate::api::condition::{READY, STALLED};
use crate::deals::test_market::at;
use crate::maintenance::test_world::World;

use WindowPhase::{
    Blocked, Cancelled, Completed, Draining, InMaintenance, Missed, Refused, Restoring, Scheduled,
};

fn once(start: i64, duration: &str) -> serde_json::Value {
    json!({"start": at(start).to_string(), "duration": duration})
}

fn is_as_before(world: &World) {
    assert!(world.up("worker") && world.up("agent"));
    for plan in ["plan-a", "plan-b"] {
        assert_eq!(world.market.live(plan), 1, "{plan}");
    }
    assert_eq!(world.market.announced, None);
    assert!(world.market.kept.is_empty());
}

#[test]
fn a_window_is_announced_drained_held_and_brought_back() {
    let mut world = World::selling(once(100, "60s"), json!({}));
    world.run();
    assert_eq!(world.phase(), Some(Scheduled));
    assert_eq!(world.market.announced, Some(at(100)));
    world.until(105);
    assert_eq!(world.market.orders.len(), 0);
    assert!(world.up("worker"), "the second look is not due");
    world.until(125);
    assert_eq!(world.phase(), Some(InMaintenance));
    assert_eq!(world.condition(IN_MAINTENANCE).unwrap().0, "True");
    assert!(!world.up("worker") && !world.up("agent"));
    world.until(162);
    assert_eq!(world.phase(), Some(Completed));
    is_as_before(&world);
    assert!(!world.finalizer);
    assert_eq!(
        world.phases,
        [Scheduled, Draining, InMaintenance, Restoring, Completed],
        "each phase once"
    );
}

#[test]
fn nothing_stops_before_two_clean_looks_that_far_apart() {
    let mut world = World::selling(once(0, "60s"), json!({}));
    world.run();
    assert!(world.market.orders.is_empty());
    // The first clean look follows the answer to the drain.
    world.after(1);
    world.after(9);
    assert!(world.up("worker"));
    world.after(1);
    assert!(!world.up("worker"));
}

#[test]
fn an_operator_that_is_started_again_looks_twice_again() {
    let mut world = World::selling(once(0, "60s"), json!({}));
    world.until(9);
    world.crash();
    world.until(18);
    assert!(world.up("worker"));
    world.until(22);
    assert!(!world.up("worker"));
}

#[test]
fn a_forward_deal_blocks_the_window() {
    let mut world = World::selling(once(20, "100s"), json!({}));
    world.market.strike(Some(at(60)));
    world.run();
    assert_eq!(world.market.announced, Some(at(60)), "never earlier than its end");
    world.until(40);
    assert_eq!(world.phase(), Some(Blocked));
    assert_eq!(world.condition(DEALS_CLEAR), Some(("False", "ForwardDeals")));
    assert_eq!(world.status.earliest_start.as_ref().map(|time| time.0), Some(at(60)));
    assert!(world.up("worker"));
    world.until(85);
    assert_eq!(world.phase(), Some(InMaintenance));
    world.until(125);
    assert_eq!(world.phase(), Some(Completed), "it ends when it was to end");
}

#[test]
fn what_is_closed_at_the_announced_time_is_kept_before_it() {
    let mut world = World::selling(once(20, "400s"), json!({}));
    world.market.strike(Some(at(200)));
    world.market.strike(None);
    world.until(100);
    assert!(world.market.kept.is_empty(), "it may end by itself until then");
    world.until(199);
    assert_eq!(world.market.announced, Some(at(200)));
    let kept: Vec<_> = world.market.kept.iter().map(|order| order.restore.as_str()).collect();
    assert_eq!(kept.len(), 1);
    assert_eq!(world.market.live(kept[0]), 1, "nothing is touched");
}

#[test]
fn what_is_closed_at_the_start_is_kept_in_the_minute_before_it() {
    let mut world = World::selling(once(100, "60s"), json!({}));
    world.market.strike(None);
    world.until(39);
    assert!(world.market.kept.is_empty(), "it may end by itself until then");
    world.until(45);
    assert_eq!(world.market.kept.len(), 1);
    assert_eq!(world.market.resumed, 0);
    world.change("start", json!(at(500).to_string()));
    world.until(50);
    assert!(world.market.kept.is_empty(), "it is not that time any more");
    assert_eq!(world.market.resumed, 0, "what is there is not offered again");
}

#[test]
fn a_spot_deal_that_is_not_to_be_touched_takes_the_announcement_back() {
    let mut world = World::selling(once(20, "400s"), json!({"spot": "Refuse"}));
    world.market.strike(Some(at(200)));
    world.market.strike(None);
    world.until(100);
    assert_eq!(world.market.announced, Some(at(200)));
    world.until(199);
    assert_eq!(world.market.announced, None);
    assert_eq!(world.phase(), Some(Blocked));
}

#[test]
fn a_wait_past_the_end_is_missed_and_orders_are_offered_again() {
    let mut world = World::selling(once(20, "30s"), json!({}));
    world.until(22);
    assert!(world.market.orders.is_empty());
    world.market.offer("plan-c");
    world.market.strike(Some(at(1000)));
    world.until(40);
    assert_eq!(world.phase(), Some(Blocked));
    assert_eq!(world.market.announced, None, "the announced start would not come");
    assert_eq!(world.market.live("plan-a"), 0, "withdrawn orders stay withdrawn");
    world.until(55);
    assert_eq!(world.phase(), Some(Missed));
    assert_eq!(world.condition(STALLED), Some(("True", "Missed")));
    is_as_before(&world);
}

#[test]
fn a_deal_struck_while_something_stops_turns_it_around() {
    let mut world = World::selling(once(0, "200s"), json!({}));
    // All but the last stage is down, and the worker is up again by a person's hand.
    world.until(12);
    assert!(!world.up("worker") && world.up("agent"));
    let worker = &mut world.objects[0];
    worker["spec"]["replicas"] = json!(2);
    world.market.offer("plan-c");
    world.market.strike(Some(at(60)));
    world.run();
    assert_eq!(world.phase(), Some(Blocked));
    assert!(world.up("worker") && world.up("agent"));
    world.until(90);
    assert_eq!(world.phase(), Some(InMaintenance));
}

#[test]
fn what_can_not_be_seen_stops_nothing() {
    let mut world = World::selling(once(10, "100s"), json!({}));
    world.run();
    world.market.down = true;
    world.until(60);
    assert_eq!(world.phase(), Some(Blocked));
    assert_eq!(world.condition(DEALS_CLEAR), Some(("Unknown", "MarketUnreachable")));
    assert!(world.up("worker"));
    world.market.down = false;
    world.until(100);
    assert_eq!(world.phase(), Some(InMaintenance));
}

#[test]
fn a_market_that_fails_between_the_two_looks_makes_the_next_one_the_first() {
    let mut world = World::selling(once(0, "100s"), json!({}));
    world.until(8);
    world.market.down = true;
    world.until(9);
    world.market.down = false;
    world.until(18);
    assert!(world.up("worker"));
    world.until(30);
    assert!(!world.up("worker"));
}

#[test]
fn postpone_moves_both_ends() {
    let mut world = World::selling(once(20, "50s"), json!({"forward": "Postpone"}));
    world.market.strike(Some(at(60)));
    world.run();
    let window = world.status.window.clone().unwrap();
    assert_eq!((window.planned.0, window.start.0), (at(20), at(60)));
    assert_eq!(window.end.unwrap().0, at(110));
    assert_eq!(world.phase(), Some(Scheduled));
    world.until(80);
    assert_eq!(world.phase(), Some(InMaintenance));
    world.until(112);
    assert_eq!(world.phase(), Some(Completed));
}

#[test]
fn orders_are_offered_again_when_the_window_is_postponed_while_it_drains() {
    let mut world = World::selling(once(10, "50s"), json!({"forward": "Postpone"}));
    world.until(12);
    assert!(world.market.orders.is_empty());
    world.market.offer("plan-c");
    world.market.strike(Some(at(300)));
    world.until(20);
    assert_eq!(world.phase(), Some(Scheduled));
    assert_eq!(world.market.live("plan-a"), 1);
    assert_eq!(world.market.announced, Some(at(300)));
}

#[test]
fn what_is_refused_is_left_alone() {
    for (deals, ends_at, reason) in [
        (json!({"forward": "Refuse"}), Some(at(500)), "ForwardDealsRefused"),
        (json!({"spot": "Refuse"}), None, "SpotDealsRefused"),
        (json!({"orders": "Refuse"}), None, "OrdersRefused"),
    ] {
        let mut world = World::selling(once(100, "50s"), deals);
        world.market.strike(ends_at);
        world.until(99);
        assert_eq!(world.market.announced, None, "{reason}: not reached as announced");
        world.until(105);
        assert_eq!(world.phase(), Some(Refused));
        assert_eq!(world.condition(STALLED), Some(("True", reason)));
        assert_eq!(world.condition(READY).unwrap().0, "False");
        is_as_before(&world);
        assert!(!world.finalizer);
        // Another spec is another try.
        world.change("deals", json!(null));
        world.after(1);
        assert_eq!(world.phase(), Some(InMaintenance), "{reason}");
    }
}

#[test]
fn a_spot_deal_is_closed_and_what_it_came_from_is_offered_again() {
    let mut world = World::selling(once(10, "50s"), json!({}));
    world.market.strike(None);
    world.market.tasks.push("task".to_owned());
    world.until(40);
    assert_eq!(world.phase(), Some(InMaintenance));
    world.until(65);
    is_as_before(&world);
}

#[test]
fn suspended_in_any_phase_everything_is_as_it_was() {
    for (when, phase) in [(5, Scheduled), (12, Draining), (40, InMaintenance)] {
        let mut world = World::selling(once(10, "100s"), json!({}));
        world.until(when);
        assert_eq!(world.phase(), Some(phase));
        world.change("suspend", json!(true));
        world.until(when + 10);
        assert_eq!(world.phase(), Some(Cancelled), "{phase:?}");
        is_as_before(&world);
        assert!(!world.finalizer);
        world.change("suspend", json!(false));
        world.until(80);
        assert_eq!(world.phase(), Some(InMaintenance), "its time has not passed");
    }
}

#[test]
fn deleted_in_any_phase_everything_is_as_it_was() {
    for when in [5, 12, 18, 40] {
        let mut world = World::selling(once(10, "100s"), json!({}));
        world.until(when);
        world.deleting_since = Some(world.now);
        world.until(when + 10);
        assert!(world.gone, "deleted at {when}");
        is_as_before(&world);
    }
}

#[test]
fn a_deletion_waits_for_the_market_until_the_deadline() {
    let mut spec = once(10, "100s");
    spec["progressDeadline"] = json!("1m");
    let mut world = World::selling(spec, json!({}));
    world.until(13);
    world.market.down = true;
    world.deleting_since = Some(world.now);
    world.until(70);
    assert!(!world.gone);
    world.until(80);
    assert!(world.gone);
    assert_eq!(world.condition(STALLED), Some(("True", "LeftBehind")));
    assert_eq!(world.market.kept.len(), 2, "what it takes to offer them again stays");
}

#[test]
fn a_changed_start_counts_in_any_phase() {
    for (when, phase) in [(5, Scheduled), (12, Draining), (40, InMaintenance)] {
        let mut world = World::selling(once(10, "100s"), json!({}));
        world.until(when);
        assert_eq!(world.phase(), Some(phase));
        world.change("start", json!(at(300).to_string()));
        world.until(when + 10);
        assert_eq!(world.phase(), Some(Scheduled), "{phase:?}");
        assert_eq!(world.market.announced, Some(at(300)));
        assert_eq!(world.market.live("plan-a"), 1);
        assert!(world.up("worker") && world.up("agent"));
        world.until(330);
        assert_eq!(world.phase(), Some(InMaintenance));
    }
}

#[test]
fn one_that_was_slept_through_starts_late_and_ends_on_time_or_is_missed() {
    let mut world = World::selling(once(10, "100s"), json!({}));
    world.now = at(60);
    world.run();
    world.until(80);
    assert_eq!(world.phase(), Some(InMaintenance));
    world.until(112);
    assert_eq!(world.phase(), Some(Completed));

    let mut world = World::selling(once(10, "100s"), json!({}));
    world.now = at(110);
    world.run();
    assert_eq!(world.phase(), Some(Missed));
    is_as_before(&world);
}

#[test]
fn after_counts_from_the_creation_and_anew_from_a_change() {
    let mut world = World::new(json!({
        "after": "1m",
        "workloads": [{"kind": "Deployment", "name": "worker"}],
    }));
    world.until(30);
    assert_eq!(world.status.next_transition.as_ref().unwrap().at.0, at(60));
    world.change("after", json!("2m"));
    world.run();
    assert_eq!(world.status.next_transition.as_ref().unwrap().at.0, at(150));
    world.until(149);
    assert!(world.up("worker"));
    world.until(150);
    assert!(!world.up("worker"));
    // Without a duration it lasts until it is called off.
    world.until(10_000);
    assert_eq!(world.phase(), Some(InMaintenance));
    world.change("suspend", json!(true));
    world.run();
    assert!(world.up("worker"));
    assert_eq!(world.phase(), Some(Cancelled));
}

#[test]
fn after_no_time_it_begins_at_once() {
    let mut world = World::new(json!({
        "after": "0s",
        "workloads": [{"kind": "Deployment", "name": "worker"}],
    }));
    world.run();
    assert!(!world.up("worker"));
}

#[test]
fn one_window_follows_the_other() {
    let mut world =
        World::selling(json!({"schedule": {"cron": "*/10 * * * *"}, "duration": "5m"}), json!({}));
    world.until(590);
    assert_eq!(world.market.announced, Some(at(600)));
    world.until(630);
    assert_eq!(world.phase(), Some(InMaintenance));
    world.until(905);
    assert_eq!(world.phase(), Some(Scheduled));
    assert_eq!(world.market.announced, Some(at(1200)));
    assert_eq!(world.market.live("plan-a"), 1);
    world.until(1230);
    assert_eq!(world.phase(), Some(InMaintenance));
    assert_eq!(world.market.resumed, 4, "each of the two orders twice");
}

#[test]
fn a_postponed_window_skips_those_that_it_runs_over() {
    let mut world = World::selling(
        json!({"schedule": {"cron": "*/10 * * * *"}, "duration": "5m"}),
        json!({"forward": "Postpone"}),
    );
    world.market.strike(Some(at(1100)));
    world.until(1120);
    assert_eq!(world.phase(), Some(InMaintenance), "from 1100 to 1400");
    world.until(1405);
    assert_eq!(world.status.next_transition.as_ref().unwrap().at.0, at(1800));
}

#[test]
fn an_announcement_that_failed_is_repeated() {
    let mut world = World::selling(once(1000, "60s"), json!({}));
    world.market.down = true;
    world.until(20);
    assert_eq!(world.market.announced, None);
    world.market.down = false;
    world.until(70);
    assert_eq!(world.market.announced, Some(at(1000)));
    assert!(world.announcement().unwrap().made);
    // Somebody else tells the market of another time.
    world.market.announced = Some(at(400));
    world.until(140);
    assert_eq!(world.market.announced, Some(at(1000)));
}

#[test]
fn an_idle_window_without_deals_costs_nothing_and_needs_no_finalizer() {
    let mut world = World::new(json!({
        "start": at(100).to_string(), "duration": "1m",
        "workloads": [{"kind": "Deployment", "name": "worker"}],
    }));
    world.run();
    let plan = world.iterate();
    assert_eq!(plan.next, Next::AtRest);
    assert!(!world.finalizer);
    world.until(102);
    assert!(!world.up("worker") && world.finalizer);
    world.until(163);
    assert_eq!(world.phase(), Some(Completed));
    assert!(world.up("worker") && !world.finalizer);
}

#[test]
fn what_could_not_be_stopped_withdraws_nothing() {
    let mut spec = once(10, "100s");
    spec["configMaps"] = json!([{"name": "missing", "set": {"A": "1"}}]);
    let mut world = World::selling(spec, json!({}));
    world.until(40);
    assert_eq!(world.phase(), Some(Blocked));
    assert_eq!(world.condition(STALLED), Some(("True", "ConfigMapNotFound")));
    assert_eq!(world.market.live("plan-a"), 1);
}

#[path = "plan_properties.rs"]
mod properties;
