//! What the status says.

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::*;
use crate::api::schedule::DesiredState;
use crate::hibernation::test_world::{World, emptying};
use crate::schedule::Basis;
use crate::transition::pod::PodView;
use crate::transition::test_world::{deployment, pod};

fn of_worker() -> Value {
    json!({"state": "Hibernated", "workloads": [{"kind": "Deployment", "name": "worker"}]})
}

#[test]
fn what_is_gone_is_told_of_no_more() {
    let mut world = World::new(of_worker(), [deployment("worker", 2)]);
    world.run();
    world.after(5);
    assert_eq!(world.status.phase, Some(Phase::Hibernated));
    assert_eq!(world.status.hold.counts.map(|counts| counts.held), Some(1));
    assert_eq!((world.status.hold.workloads.len(), world.status.hold.originals.len()), (1, 1));
    world.objects.clear();
    world.after(1);
    assert_eq!(world.status.phase, Some(Phase::Hibernated));
    assert_eq!(world.status.hold.counts, None);
    assert_eq!((world.status.hold.workloads.len(), world.status.hold.originals.len()), (0, 0));
    let says = world.status.message.unwrap_or_default();
    assert_eq!(says, "hibernated, no objects held; Deployment worker is not found");
}

#[test]
fn where_no_database_is_named_nothing_is_said_of_a_truncation() {
    let said = |spec: Value| {
        let mut world = World::new(spec, [deployment("worker", 2)]);
        world.run();
        world.status.conditions.iter().any(|c| c.type_ == TRUNCATED)
    };
    assert!(said(emptying(json!({}))));
    assert!(!said(of_worker()));
}

#[test]
fn a_hibernation_that_selects_nothing_says_so_awake_and_asleep() {
    let all = json!({"state": "Awake", "workloads": [{"kind": "Deployment", "all": true}]});
    let mut world = World::new(all, []);
    let plan = world.run();
    assert!(plan.watches, "an object that comes is noticed");
    let says = "; the spec selects no object: correct spec.workloads and spec.configMaps";
    assert_eq!(world.status.message.clone().unwrap(), format!("awake{says}"));
    world.ask(DesiredState::Hibernated);
    world.after(5);
    let asleep = format!("hibernated, no objects held{says}");
    assert_eq!(world.status.message.clone().unwrap(), asleep);
    world.objects.push(deployment("worker", 2));
    world.ask(DesiredState::Awake);
    assert_eq!(world.status.message.unwrap(), "awake");
}

#[test]
fn a_wake_that_takes_long_has_kubernetes_own_words() {
    let mut world = World::new(of_worker(), [deployment("worker", 2)]);
    world.run();
    world.after(5);
    world.spec.basis = Basis::State(DesiredState::Awake);
    let says = |world: &mut World, seconds: i64| {
        world.now += SignedDuration::from_secs(seconds);
        for _ in 0..10 {
            let plan = world.iterate();
            world.obey(&plan);
            let status = &mut world.object("worker")["status"];
            status["availableReplicas"] = json!(0);
            status["conditions"] = json!([
                {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: small"},
            ]);
            if plan.next != Next::Again {
                break;
            }
        }
        world.status.message.clone().unwrap_or_default()
    };
    let message = says(&mut world, 1);
    assert!(message.contains("worker has 0 of 2 replicas ready"), "{message}");
    let waiting = pod("worker", None);
    world.pods = vec![PodView {
        terminating: false,
        trouble: Some("0/1 nodes are available: 1 Insufficient memory".to_owned()),
        ..waiting
    }];
    let message = says(&mut world, 20);
    for words in [
        "Deployment worker has 0 of 2 replicas ready: exceeded quota: small",
        ": Pod worker-pod: 0/1 nodes are available: 1 Insufficient memory",
    ] {
        assert!(message.contains(words), "{message}");
    }
}
