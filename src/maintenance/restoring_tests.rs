//! After a window: orders come back after the workloads, and a workload that stays ill ends no later
//! window.

use serde_json::json;

use super::*;
use crate::api::condition::{READY, STALLED};
use crate::deals::test_market::at;
use crate::maintenance::test_world::World;
use crate::transition::test_world::obeyed;

use WindowPhase::{Cancelled, Completed, InMaintenance, Restoring, Scheduled};

const NIGHT: &str = "Hibernation/ns/night";

/// A window from 10 to 60, with a deadline of a minute.
fn once() -> World {
    let mut world = World::selling(
        json!({"start": at(10).to_string(), "duration": "50s", "progressDeadline": "1m"}),
        json!({}),
    );
    world.elsewhere = true;
    world.until(40);
    assert_eq!(world.phase(), Some(InMaintenance));
    world
}

fn is_withdrawn(world: &World) {
    assert_eq!(world.market.live("plan-a") + world.market.live("plan-b"), 0);
    assert!(world.market.announced.is_some(), "the market knows of the maintenance");
}

fn is_offered_once(world: &World) {
    assert!(world.up("worker") && world.up("agent"));
    assert_eq!((world.market.live("plan-a"), world.market.live("plan-b")), (1, 1));
    assert_eq!(world.market.announced, None);
    assert_eq!(world.market.resumed, 2);
    assert!(world.market.kept.is_empty());
    assert!(!world.finalizer);
}

fn says(world: &World, text: &str) {
    let message = world.status.message.as_deref().unwrap_or_default();
    assert!(message.contains(text), "{message}");
}

#[test]
fn orders_stay_withdrawn_while_another_object_holds_a_workload() {
    for other in [NIGHT, "MaintenanceWindow/ns/other"] {
        for suspend in [false, true] {
            let mut world = once();
            world.hold_by(other, "worker", true);
            if suspend {
                world.change("suspend", json!(true));
            }
            world.until(90);
            assert_eq!(world.phase(), Some(Restoring));
            assert_eq!(world.condition(READY), Some(("False", "NotReady")));
            let (kind, name) =
                (other.split('/').next().unwrap(), other.split('/').next_back().unwrap());
            says(&world, &format!("Deployment worker is held by {kind} {name}"));
            assert!(!world.up("worker") && world.up("agent"));
            is_withdrawn(&world);
            world.until(140);
            assert_eq!(world.condition(STALLED), Some(("True", "ProgressDeadlineExceeded")));
            says(&world, "Deployment worker is held by");
            is_withdrawn(&world);
            world.hold_by(other, "worker", false);
            world.until(150);
            assert_eq!(world.phase(), Some(if suspend { Cancelled } else { Completed }));
            is_offered_once(&world);
        }
    }
}

#[test]
fn orders_stay_withdrawn_while_a_workload_is_ill() {
    let mut world = once();
    world.ill = vec!["agent"];
    world.until(140);
    assert_eq!(world.phase(), Some(Restoring));
    assert_eq!(world.condition(STALLED), Some(("True", "NotReady")));
    says(&world, "Deployment agent has 0 of 1 replicas ready");
    is_withdrawn(&world);
    world.object("agent")["status"]["availableReplicas"] = json!(1);
    world.until(150);
    assert_eq!(world.phase(), Some(Completed));
    is_offered_once(&world);
}

#[test]
fn orders_stay_withdrawn_while_somebody_keeps_every_workload_at_zero() {
    let mut world = once();
    for name in ["worker", "agent"] {
        world.hold_by(NIGHT, name, true);
    }
    world.until(62);
    for name in ["worker", "agent"] {
        world.hold_by(NIGHT, name, false);
        let object = world.object(name);
        object["spec"]["replicas"] = json!(0);
        obeyed(object);
    }
    world.until(90);
    assert_eq!(world.phase(), Some(Restoring));
    says(&world, "Deployment worker is scaled to 0");
    is_withdrawn(&world);
    for name in ["worker", "agent"] {
        let object = world.object(name);
        object["spec"]["replicas"] = json!(2);
        obeyed(object);
    }
    world.until(100);
    assert_eq!(world.phase(), Some(Completed));
    is_offered_once(&world);
}

#[test]
fn a_deletion_leaves_orders_behind_that_nobody_serves() {
    let mut world = once();
    world.hold_by(NIGHT, "worker", true);
    world.deleting_since = Some(world.now);
    world.until(90);
    assert!(!world.gone);
    is_withdrawn(&world);
    world.until(110);
    assert!(world.gone);
    assert_eq!(world.condition(STALLED), Some(("True", "LeftBehind")));
    assert_eq!(world.market.kept.len(), 2, "what it takes to offer them again stays");
}

/// Each 3 minutes a window of one minute, the first at 60.
fn again_and_again(deadline: &str, deals: bool) -> World {
    let spec = json!({
        "schedule": {"cron": "1-59/3 * * * *"}, "duration": "1m", "progressDeadline": deadline,
    });
    let mut world = World::selling(spec, json!({}));
    if !deals {
        world.change("deals", json!(null));
    }
    world.ill = vec!["agent"];
    world.elsewhere = true;
    world
}

#[test]
fn past_the_deadline_an_ill_workload_ends_no_later_window() {
    let mut world = again_and_again("10s", false);
    world.until(70);
    assert_eq!(world.phase(), Some(InMaintenance));
    world.until(140);
    let last = world.status.last.clone().unwrap();
    assert_eq!((last.planned.0, last.outcome), (at(60), Completed));
    assert!(last.message.contains("but Deployment agent has 0 of 1 replicas ready"), "{last:?}");
    assert_eq!(world.phase(), Some(Scheduled));
    assert_eq!(world.condition(STALLED), Some(("True", "NotReady")), "it stays said");
    says(&world, "Deployment agent has 0 of 1 replicas ready");
    let next = world.status.next_transition.clone().unwrap();
    assert_eq!((next.state, next.at.0), (WindowState::InMaintenance, at(240)));
    assert!(world.up("worker"));
    world.until(245);
    assert_eq!(world.phase(), Some(InMaintenance));
    assert!(!world.up("worker"));
    world.ill.clear();
    world.until(305);
    assert_eq!(world.phase(), Some(Scheduled));
    assert_eq!(world.condition(READY).unwrap().0, "True");
    assert_eq!(
        world.phases,
        [
            Scheduled,
            InMaintenance,
            Restoring,
            Completed,
            Scheduled,
            InMaintenance,
            Restoring,
            Completed,
            Scheduled,
        ]
    );
}

#[test]
fn at_the_next_start_at_the_latest_a_window_is_over() {
    let mut world = again_and_again("1h", false);
    world.until(230);
    assert_eq!(world.phase(), Some(Restoring));
    assert_eq!(world.status.next_transition.as_ref().unwrap().at.0, at(240));
    world.until(245);
    assert_eq!(world.phase(), Some(InMaintenance));
    assert!(!world.up("worker"));
    assert_eq!(world.status.last.as_ref().unwrap().planned.0, at(60));
}

#[test]
fn orders_stay_withdrawn_over_later_windows_until_the_workloads_serve() {
    let mut world = again_and_again("10s", true);
    world.until(220);
    assert_eq!(world.phase(), Some(Restoring));
    assert_eq!(world.status.next_transition.as_ref().unwrap().at.0, at(240));
    is_withdrawn(&world);
    assert_eq!(world.market.announced, Some(at(60)), "no later start before it sells again");
    world.until(280);
    assert_eq!(world.phase(), Some(InMaintenance));
    assert!(!world.up("worker"));
    is_withdrawn(&world);
    world.until(340);
    assert_eq!(world.phase(), Some(Restoring));
    world.object("agent")["status"]["availableReplicas"] = json!(1);
    world.ill.clear();
    world.until(350);
    assert_eq!(world.phase(), Some(Scheduled));
    assert_eq!((world.market.live("plan-a"), world.market.live("plan-b")), (1, 1));
    assert_eq!(world.market.announced, Some(at(420)));
    assert_eq!(world.market.resumed, 2, "each order once");
}

#[test]
fn the_finalizer_comes_before_the_market_where_an_operator_died_between_the_two() {
    let mut world = World::selling(
        json!({"start": at(0).to_string(), "duration": "90s"}),
        json!({"forward": "Wait", "spot": "Close", "orders": "Withdraw"}),
    );
    world.run();
    world.change("suspend", json!(true));
    world.after(1);
    world.change("suspend", json!(false));
    let plan = world.iterate();
    world.obey(&plan, 0);
    world.crash();
    world.change("suspend", json!(true));
    world.until(60);
    assert_eq!(world.phase(), Some(Cancelled));
    assert!(!world.finalizer);
}
