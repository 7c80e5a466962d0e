//! The planner on the way back.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::*;
use crate::api::hibernation::Phase;
use crate::hibernation::test_world::World;
use crate::transition::observe::JobView;
use crate::transition::plan::{Action, Next};
use crate::transition::test_world::{deployment, obeyed};

/// Two stages, of which the one that wakes first is ill, past the deadline of that.
fn woken_past_an_ill_one() -> World {
    let spec = json!({"state": "Hibernated", "workloads": [
        {"kind": "Deployment", "name": "worker", "stage": 0},
        {"kind": "Deployment", "name": "ill", "stage": 1},
    ]});
    let mut world = World::new(spec, [deployment("worker", 2), deployment("ill", 1)]);
    world.run();
    world.after(5);
    world.after(5);
    world.spec.basis = Basis::State(DesiredState::Awake);
    while world.replicas("ill") == 0 {
        let plan = world.iterate();
        world.obey(&plan);
    }
    world.object("ill")["status"]["availableReplicas"] = json!(0);
    world.run();
    world.after(600);
    assert_eq!(world.replicas("worker"), 0, "each stage is ready before the next");
    world.after(1);
    assert_eq!(world.replicas("worker"), 2, "one that is ill never keeps the others asleep");
    world
}

/// Returns the time before which a CronJob would skip runs, as the next release says it.
fn skips_before(world: &mut World) -> Option<Timestamp> {
    for _ in 0..10 {
        let plan = world.iterate();
        let releases = plan.actions.iter().find_map(|action| match action {
            Action::Hold { wants, skip_runs_before, .. } if wants.is_empty() => {
                Some(*skip_runs_before)
            }
            _ => None,
        });
        if let Some(before) = releases {
            return before;
        }
        world.obey(&plan);
    }
    panic!("nothing is released: {:?}", world.status);
}

#[test]
fn no_run_is_missed_from_the_time_at_which_the_wake_was_due() {
    let workloads = json!([{"kind": "Deployment", "name": "worker"}]);
    let asleep = |when: serde_json::Value| {
        let mut spec = json!({"workloads": workloads});
        spec.as_object_mut().unwrap().extend(when.as_object().unwrap().clone());
        let mut world = World::new(spec, [deployment("worker", 2)]);
        world.run();
        world.after(5);
        world.after(5);
        assert_eq!(world.status.phase, Some(Phase::Hibernated));
        world
    };
    // The operator is late.
    let rules = json!([{"hibernate": "0 20 * * *", "wake": "0 7 * * *"}]);
    let mut world = asleep(json!({"schedule": {"rules": rules}}));
    world.now = "2026-12-01T07:09:00Z".parse().unwrap();
    assert_eq!(skips_before(&mut world), Some("2026-12-01T07:00:00Z".parse().unwrap()));
    // An override expires.
    let until = "2026-12-01T03:00:00Z";
    let until = json!({"state": "Awake", "override": {"state": "Hibernated", "until": until}});
    let mut world = asleep(until);
    world.now = "2026-12-01T03:00:05Z".parse().unwrap();
    assert_eq!(skips_before(&mut world), Some("2026-12-01T03:00:00Z".parse().unwrap()));
    // A person wakes it.
    let mut world = asleep(json!({"schedule": {"rules": rules}}));
    world.now = "2026-12-01T05:00:00Z".parse().unwrap();
    world.spec.basis = Basis::State(DesiredState::Awake);
    assert_eq!(skips_before(&mut world), Some(world.now));
}

#[test]
fn nothing_wakes_while_a_truncation_may_still_commit() {
    for gone in [false, true] {
        let mut world = World::truncating();
        // A deadline that passes in between passes the fence by nothing.
        world.spec.hold.deadline = SignedDuration::from_secs(5);
        world.ask(DesiredState::Awake);
        if gone {
            // Its pods may still run, or a stale leader's request to create it may still land.
            world.job = JobView::default();
        }
        for wait in [9, 100, 100] {
            world.after(wait);
            assert_eq!(world.replicas("worker"), 0, "gone: {gone}");
        }
        world.after(2);
        assert_eq!(world.replicas("worker"), 2, "gone: {gone}");
        // Its Job goes first, or nobody would know of it any more.
        world.after(1);
        assert_eq!(world.status.phase, Some(Phase::Awake));
    }
    let mut world = World::truncating();
    world.ask(DesiredState::Awake);
    world.job_succeeds();
    world.after(1);
    assert_eq!(world.replicas("worker"), 2, "it has finished");
}

#[test]
fn turned_around_before_the_fence_it_is_the_same_hibernation() {
    let mut world = World::truncating();
    let before = world.episode().clone();
    world.ask(DesiredState::Awake);
    world.after(1);
    world.ask(DesiredState::Hibernated);
    assert_eq!(world.episode().id, before.id);
    assert_eq!(world.episode().attempt, before.attempt);
    world.after(5);
    world.job_succeeds();
    world.after(1);
    assert_eq!(world.status.phase, Some(Phase::Hibernated));
    assert_eq!(world.created.len(), 1);
}

#[test]
fn turned_around_behind_the_fence_it_is_another_hibernation() {
    let mut world = World::truncating();
    world.job_succeeds();
    world.after(1);
    let before = world.episode().clone();
    world.spec.basis = Basis::State(DesiredState::Awake);
    let plan = world.iterate();
    world.obey(&plan);
    assert_eq!(world.status.phase, Some(Phase::Waking));
    world.ask(DesiredState::Hibernated);
    assert_eq!(world.deleted, world.created, "its Job goes before it is forgotten");
    assert_eq!(world.episode().id, before.id);
    world.after(1);
    assert_ne!(world.episode().id, before.id);
    world.after(5);
    assert_eq!(world.created.len(), 2, "a person has asked for it again");
    world.job_succeeds();
    world.after(1);
    world.ask(DesiredState::Awake);
    assert_eq!(world.replicas("worker"), 2);
}

#[test]
fn past_the_deadline_on_the_way_back_the_next_stage_comes_all_the_same() {
    let mut world = woken_past_an_ill_one();
    assert_eq!(world.stalled(), Some("NotReady"));
    assert_eq!(world.status.phase, Some(Phase::Waking));
    world.object("ill")["status"]["availableReplicas"] = json!(1);
    world.after(1);
    assert_eq!(world.status.phase, Some(Phase::Awake));
    assert_eq!(world.stalled(), None);
}

#[test]
fn what_was_woken_is_its_owners_again_though_the_wake_goes_on() {
    let mut world = woken_past_an_ill_one();
    world.object("worker")["spec"]["replicas"] = json!(7);
    obeyed(world.object("worker"));
    world.after(1);
    assert_eq!(world.replicas("worker"), 7);
    world.ask(DesiredState::Hibernated);
    world.after(5);
    world.after(5);
    assert_eq!(world.replicas("worker"), 0);
    world.object("ill")["status"]["availableReplicas"] = json!(1);
    world.ask(DesiredState::Awake);
    assert_eq!(world.replicas("worker"), 7);
}

#[test]
fn what_the_spec_lets_go_stays_down_while_a_truncation_may_still_commit() {
    let mut world = World::truncating();
    world.spec.hold.workloads.clear();
    world.run();
    assert_eq!(world.replicas("worker"), 0);
    assert_eq!(world.deleted, world.created, "the Job is taken back");
    world.after(211);
    assert_eq!(world.replicas("worker"), 2);
}

#[test]
fn one_that_is_ill_is_named_all_the_while_that_the_others_come_up() {
    let stage =
        |name: &str, stage: i32| json!({"kind": "Deployment", "name": name, "stage": stage});
    let spec = json!({
        "state": "Hibernated",
        "workloads": [stage("late", 0), stage("next", 1), stage("ill", 2)],
    });
    let ready = |world: &mut World, name: &str, ready: bool| {
        let object = world.object(name);
        let replicas = if ready { object["spec"]["replicas"].clone() } else { json!(0) };
        object["status"]["availableReplicas"] = replicas;
    };
    let names = ["late", "next", "ill"];
    let mut world = World::new(spec, names.map(|name| deployment(name, 2)));
    world.run();
    world.after(5);
    world.after(5);
    world.after(5);
    assert_eq!(world.status.phase, Some(Phase::Hibernated));
    world.spec.basis = Basis::State(DesiredState::Awake);
    // Nothing that comes back becomes ready by itself.
    let wait = |world: &mut World, seconds: i64| {
        world.now += SignedDuration::from_secs(seconds);
        for _ in 0..10 {
            let plan = world.iterate();
            let done = plan.next != Next::Again;
            world.obey(&plan);
            for name in names {
                ready(world, name, false);
            }
            if done {
                return;
            }
        }
        panic!("it comes to no end");
    };
    wait(&mut world, 1);
    assert_eq!((world.replicas("ill"), world.replicas("next")), (2, 0));
    assert_eq!(world.stalled(), None);
    wait(&mut world, 601);
    assert_eq!((world.replicas("next"), world.replicas("late")), (2, 0), "the next one comes up");
    for _ in 0..3 {
        assert_eq!(world.stalled(), Some("NotReady"));
        assert!(world.status.message.as_ref().is_some_and(|m| m.contains("ill has 0 of 2")));
        wait(&mut world, 10);
    }
    ready(&mut world, "ill", true);
    let plan = world.iterate();
    assert_eq!(plan.next, Next::Wait(SignedDuration::from_secs(3)));
    assert_eq!(world.stalled(), None, "it clears as soon as it is well again");
}

#[test]
fn a_wake_that_has_nothing_to_do_deletes_its_job_all_the_same() {
    let mut world = World::truncating();
    world.job_succeeds();
    world.after(1);
    world.objects.clear();
    world.ask(DesiredState::Awake);
    world.after(1);
    assert_eq!(world.status.phase, Some(Phase::Awake));
    assert_eq!(world.deleted, world.created);
}

/// Returns a world that is asleep, and stays so when its object is deleted.
fn asleep_to_be_kept() -> World {
    let spec = json!({
        "state": "Hibernated",
        "onDelete": "Keep",
        "workloads": [{"kind": "Deployment", "name": "worker"}],
    });
    let mut world = World::new(spec, [deployment("worker", 2)]);
    world.run();
    world.after(5);
    world
}

#[test]
fn what_cannot_be_marked_as_kept_is_waited_for_until_the_deadline() {
    for torn in [false, true] {
        let mut world = asleep_to_be_kept();
        if torn {
            let meta = world.object("worker")["metadata"].as_object_mut().unwrap();
            meta.remove("annotations");
        }
        world.deleting_since = Some(world.now);
        world.reject("worker");
        let plan = world.after(1);
        assert!(matches!(plan.next, Next::Wait(_)), "torn: {torn}");
        world.after(598);
        assert!(world.finalizer, "torn: {torn}");
        world.memory.failures.clear();
        world.run();
        let kept = world.object("worker")["metadata"]["annotations"].to_string();
        assert!(kept.contains("kept"), "torn: {torn}: {kept}");
        assert!(!world.finalizer, "torn: {torn}");
    }
}

#[test]
fn what_can_never_be_marked_as_kept_keeps_no_object_past_the_deadline() {
    let mut world = asleep_to_be_kept();
    world.deleting_since = Some(world.now);
    world.reject("worker");
    world.after(600);
    assert!(world.finalizer);
    world.after(1);
    assert!(!world.finalizer);
}

#[test]
fn a_restarted_one_that_still_runs_as_it_did_asleep_is_named_when_it_wakes() {
    let spec = json!({
        "state": "Hibernated",
        "workloads": [{"kind": "Deployment", "name": "api", "action": "Restart"}],
    });
    let mut world = World::new(spec, [deployment("api", 1)]);
    world.run();
    world.after(5);
    assert_eq!(world.status.phase, Some(Phase::Hibernated));
    world.object("api")["spec"]["paused"] = json!(true);
    world.spec.basis = Basis::State(DesiredState::Awake);
    while world.object("api")["metadata"]["annotations"].get("torpor.dev/hold").is_some() {
        let plan = world.iterate();
        world.obey(&plan);
    }
    // Paused, its controller makes no pod of the template that it has now.
    world.object("api")["status"]["updatedReplicas"] = json!(0);
    world.run();
    assert_eq!(world.status.phase, Some(Phase::Waking));
    world.after(601);
    assert_eq!(world.stalled(), Some("NotReady"));
    let message = world.status.message.clone().unwrap();
    assert!(
        message.contains("api is still rolling out: 0 of 1 replicas are updated, but it is paused"),
        "{message}"
    );
    world.object("api")["status"]["updatedReplicas"] = json!(1);
    world.after(1);
    assert_eq!(world.status.phase, Some(Phase::Awake));
}

#[test]
fn a_wake_waits_for_no_truncation_that_was_refused() {
    let mut world = World::truncating();
    world.job_fails(3);
    world.after(1);
    assert_eq!(world.stalled(), Some("TruncationRefused"));
    // As long as its Job is there, nobody can create it once more.
    assert_eq!(world.deleted, Vec::<String>::new());
    world.ask(DesiredState::Awake);
    assert_eq!(world.replicas("worker"), 2);
    world.after(1);
    assert_eq!(world.status.phase, Some(Phase::Awake));
    assert_eq!(world.deleted, world.created);
}

#[test]
fn a_wake_waits_for_the_fence_of_an_attempt_that_failed_before_the_last_one() {
    let mut world = World::truncating();
    world.job_fails(1);
    world.after(1);
    world.after(5);
    assert_eq!(world.created.len(), 2);
    world.job_succeeds();
    world.after(1);
    assert_eq!(world.status.phase, Some(Phase::Hibernated));
    world.ask(DesiredState::Awake);
    // A stale request to create the first one may land until then.
    world.after(210 - 7);
    assert_eq!(world.replicas("worker"), 0);
    world.after(1);
    assert_eq!(world.replicas("worker"), 2);
}
