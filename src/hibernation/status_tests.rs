//! What the status says.

use serde_json::{Value, json};

use super::*;
use crate::hibernation::test_world::{World, emptying};
use crate::transition::test_world::deployment;

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
