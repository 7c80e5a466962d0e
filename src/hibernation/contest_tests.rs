//! Others write held fields again and again.

use serde_json::json;

use crate::api::hibernation::Phase;
use crate::api::hold_state::ForeignWrites;
use crate::api::schedule::DesiredState;
use crate::hibernation::test_world::{World, emptying};
use crate::transition::plan::PlanState;
use crate::transition::test_world::{config_map, deployment};

/// Returns a world with one Deployment of 2 replicas that is asleep.
fn asleep() -> World {
    let spec = json!({
        "state": "Hibernated",
        "workloads": [{"kind": "Deployment", "name": "worker"}],
    });
    let mut world = World::new(spec, [deployment("worker", 2)]);
    world.run();
    world.after(5);
    assert_eq!(world.status.phase, Some(Phase::Hibernated));
    world
}

/// The rival sets the replicas, and Torpor observes it after that time.
fn rival_writes(world: &mut World, after: i64) {
    world.object("worker")["spec"]["replicas"] = json!(2);
    world.after(after);
}

fn writes(world: &World) -> Option<&ForeignWrites> {
    world.status.hold.workloads.iter().find_map(|workload| workload.foreign_writes.as_ref())
}

/// Returns the status of the condition Hibernated.
fn hibernated(world: &World) -> &str {
    let mut conditions = world.status.conditions.iter();
    let hibernated = conditions.find(|condition| condition.type_ == "Hibernated");
    hibernated.map_or("", |condition| condition.status.as_str())
}

#[test]
fn the_third_foreign_write_is_a_contest_whatever_the_interval() {
    for interval in [10, 60, 600, 3600] {
        let mut world = asleep();
        for count in 1..=5 {
            rival_writes(&mut world, interval);
            assert_eq!(world.replicas("worker"), 0, "every {interval} s: it is reverted at once");
            assert_eq!(writes(&world).map(|writes| writes.count), Some(count));
            let contested = (count >= 3).then_some("Contested");
            assert_eq!(world.stalled(), contested, "write {count}, every {interval} s");
        }
        world.after(5);
        assert_eq!(world.status.phase, Some(Phase::Hibernated));
        assert_eq!((hibernated(&world), world.stalled()), ("True", Some("Contested")));
        // It ends when the rival has written nothing for three of its intervals.
        world.after(600.max(3 * interval) - 10);
        assert_eq!(world.stalled(), Some("Contested"), "every {interval} s");
        world.after(10);
        assert_eq!(world.stalled(), None, "every {interval} s");
        assert_eq!(writes(&world).map(|writes| writes.count), Some(5), "the count stays");
        rival_writes(&mut world, 1);
        assert_eq!(world.stalled(), Some("Contested"));
    }
}

#[test]
fn a_contest_outlives_a_restart_of_the_operator() {
    let mut world = asleep();
    for _ in 0..2 {
        rival_writes(&mut world, 600);
    }
    assert_eq!(world.stalled(), None);
    world.memory = PlanState::default();
    world.after(5);
    rival_writes(&mut world, 600);
    assert_eq!(world.stalled(), Some("Contested"));
    world.memory = PlanState::default();
    world.after(10);
    assert_eq!(world.stalled(), Some("Contested"));
}

#[test]
fn a_new_hibernation_knows_nothing_of_an_old_contest() {
    let mut world = asleep();
    for _ in 0..9 {
        rival_writes(&mut world, 1);
    }
    assert_eq!(world.stalled(), Some("Contested"));
    world.ask(DesiredState::Awake);
    world.after(1);
    assert_eq!((world.status.phase, world.stalled()), (Some(Phase::Awake), None));
    world.after(1);
    world.ask(DesiredState::Hibernated);
    assert_eq!(world.replicas("worker"), 0, "its first write waits for nothing");
    world.after(5);
    assert_eq!((hibernated(&world), world.stalled()), ("True", None));
    assert_eq!(writes(&world), None);
}

#[test]
fn only_a_rival_that_writes_more_than_six_times_a_minute_is_slowed_down_for() {
    let mut world = asleep();
    for _ in 0..6 {
        rival_writes(&mut world, 1);
        assert_eq!(world.replicas("worker"), 0);
    }
    let mut up = 0;
    for _ in 0..60 {
        rival_writes(&mut world, 1);
        up += i32::from(world.replicas("worker") > 0);
    }
    assert_eq!(up, 55, "at most six writes in a minute are reverted");
    // What runs is never reported as down.
    rival_writes(&mut world, 1);
    rival_writes(&mut world, 1);
    assert_eq!(world.replicas("worker"), 2);
    assert_eq!((hibernated(&world), world.stalled()), ("False", Some("Contested")));
    assert_eq!(world.status.phase, Some(Phase::Hibernating));
    assert_eq!(world.status.hold.counts.unwrap().down, 0);
    assert_eq!(world.status.hold.workloads[0].state, "Changed");
    // The message stays, also while Torpor waits.
    let message = world.status.message.clone().unwrap();
    assert!(message.contains("Deployment worker (/spec/replicas)"), "{message}");
    // It calms down.
    world.after(12);
    world.after(5);
    assert_eq!((world.replicas("worker"), hibernated(&world)), (0, "True"));
}

#[test]
fn a_rival_that_writes_every_ten_seconds_and_once_too_early_is_soon_reverted_at_once_again() {
    let mut world = asleep();
    for seconds in [10, 10, 10, 10, 10, 1] {
        rival_writes(&mut world, seconds);
        assert_eq!(world.replicas("worker"), 0);
    }
    rival_writes(&mut world, 10);
    assert_eq!(world.replicas("worker"), 2, "six writes took 41 s");
    for _ in 0..12 {
        rival_writes(&mut world, 10);
        assert_eq!(world.replicas("worker"), 0);
    }
}

#[test]
fn a_contest_holds_no_wake_up() {
    let mut world = asleep();
    for _ in 0..7 {
        rival_writes(&mut world, 1);
    }
    assert_eq!(world.replicas("worker"), 2, "the rival is fast");
    world.object("worker")["spec"]["replicas"] = json!(1);
    world.ask(DesiredState::Awake);
    assert_eq!(world.replicas("worker"), 2);
}

#[test]
fn the_message_names_each_object_and_field_and_stays_while_it_is_contested() {
    let spec = json!({
        "state": "Hibernated",
        "workloads": [{"kind": "Deployment", "name": "worker"}],
        "configMaps": [{"name": "env"}],
    });
    let mut world = World::new(spec, [deployment("worker", 2)]);
    world.config_maps.push(config_map("env"));
    world.run();
    world.after(5);
    let mut conditions = Vec::new();
    for _ in 0..6 {
        world.object("env")["data"]["HIBERNATE_MODE"] = json!("false");
        rival_writes(&mut world, 20);
        if world.stalled().is_some() {
            conditions.push(world.status.conditions.iter().find(|c| c.type_ == "Stalled").cloned());
        }
    }
    assert_eq!(conditions.len(), 4);
    conditions.dedup();
    assert_eq!(conditions.len(), 1, "{conditions:?}");
    let message = conditions.pop().flatten().unwrap().message;
    for part in ["Deployment worker (/spec/replicas)", "ConfigMap env (/data/HIBERNATE_MODE)"] {
        assert!(message.contains(part), "{part}: {message}");
    }
}

#[test]
fn nothing_is_truncated_while_a_workload_is_contested() {
    let mut world = World::new(emptying(json!({})), [deployment("worker", 2)]);
    world.run();
    for _ in 0..3 {
        rival_writes(&mut world, 2);
    }
    world.after(5);
    world.after(5);
    assert_eq!(world.replicas("worker"), 0);
    assert_eq!((world.stalled(), world.created.len()), (Some("Contested"), 0));
    world.after(600);
    world.after(5);
    assert_eq!(world.created.len(), 1);
}
