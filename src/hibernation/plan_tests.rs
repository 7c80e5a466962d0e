//! The planner alone.

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::*;
use crate::api::hibernation::Phase;
use crate::api::hold_state::EpisodeTruncation;
use crate::hibernation::test_world::{World, emptying};
use crate::hold::lever::RESTART_ANNOTATION;
use crate::transition::job::Purpose;
use crate::transition::observe::JobView;
use crate::transition::plan::{Confirmations, Contest, Next, PlanMemory};
use crate::transition::test_world::{deployment, obeyed, pod};

#[test]
fn nothing_is_emptied_before_two_clear_looks_five_seconds_apart() {
    let mut world = World::new(emptying(json!({})), [deployment("worker", 2)]);
    let plan = world.run();
    assert_eq!(world.replicas("worker"), 0);
    assert_eq!(plan.next, Next::Wait(SignedDuration::from_secs(5)));
    world.after(4);
    assert_eq!(world.created, Vec::<String>::new());
    world.after(1);
    assert_eq!(world.created.len(), 1);
    world.job_succeeds();
    world.after(1);
    assert_eq!(world.status.phase, Some(Phase::Hibernated));
    assert_eq!(world.episode().truncation, EpisodeTruncation::Done);
}

#[test]
fn a_pod_in_the_second_look_makes_the_next_one_the_first() {
    let mut world = World::new(emptying(json!({})), [deployment("worker", 2)]);
    world.run();
    world.pods = vec![pod("worker", None)];
    world.after(5);
    world.pods.clear();
    world.after(1);
    world.after(4);
    assert_eq!(world.created, Vec::<String>::new());
    world.after(1);
    assert_eq!(world.created.len(), 1);
}

#[test]
fn an_attempt_is_recorded_before_its_job_is_created_and_found_again_after_a_crash() {
    let mut world = World::new(emptying(json!({})), [deployment("worker", 2)]);
    world.run();
    world.now += SignedDuration::from_secs(5);
    let job = |plan: &Plan<HibernationStatus>| {
        plan.actions.iter().find_map(|action| match action {
            Action::CreateJob(attempt, Purpose::Truncation) => Some(attempt.clone()),
            _ => None,
        })
    };
    let attempt = job(&world.iterate()).expect("the Job is to be created");
    assert_eq!(world.episode().attempt.as_ref(), Some(&attempt));
    // The operator dies, and its looks with it.
    world.memory.confirmations = Confirmations::default();
    world.now += SignedDuration::from_secs(20);
    assert_eq!(job(&world.iterate()), None, "it looks twice again");
    world.now += SignedDuration::from_secs(5);
    assert_eq!(job(&world.iterate()), Some(attempt), "the same Job with the same fence");
}

#[test]
fn a_writer_takes_the_job_back_and_the_next_one_waits_for_its_fence() {
    let mut world = World::truncating();
    world.pods = vec![pod("worker", None)];
    // The deletion is lost with the operator, and done by the next one.
    world.now += SignedDuration::from_secs(1);
    world.iterate();
    assert_eq!(world.deleted, Vec::<String>::new());
    world.after(1);
    assert_eq!(world.deleted, world.created);
    world.pods.clear();
    world.after(5);
    world.after(5);
    // 180 s for the attempt and 30 s for the clocks, from its record.
    world.after(210 - 13);
    assert_eq!(world.created.len(), 1);
    world.after(2);
    assert_eq!(world.created.len(), 2);
    assert_eq!(world.episode().attempt.as_ref().map(|attempt| attempt.number), Some(2));
}

#[test]
fn a_pod_of_the_old_template_is_a_writer_too() {
    let mut spec = emptying(json!({}));
    spec["workloads"] = json!([{"kind": "Deployment", "name": "api", "action": "Restart"}]);
    let mut world = World::new(spec, [deployment("api", 1)]);
    world.run();
    let template = &world.object("api")["spec"]["template"]["metadata"]["annotations"];
    let digest = template[RESTART_ANNOTATION].as_str().map(str::to_owned);
    assert!(digest.is_some());
    world.pods = vec![pod("api", digest.clone())];
    world.after(5);
    assert_eq!(world.created.len(), 1);
    world.pods = vec![pod("api", digest), pod("api", None)];
    world.after(1);
    assert_eq!(world.deleted, world.created);
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
fn only_a_persons_change_of_state_empties_tables() {
    let asleep = json!({"exceptions": [
        {"from": "2020-01-01", "to": "2099-01-01", "state": "Hibernated"},
    ]});
    let override_ = json!({"state": "Hibernated", "until": "2099-01-01T00:00:00Z"});
    let truncation = |automatic: bool, change: &dyn Fn(&mut Value)| {
        let mut spec = emptying(json!({"automatic": automatic}));
        change(&mut spec);
        let mut world = World::new(spec, [deployment("worker", 2)]);
        world.run();
        world.episode().truncation
    };
    let scheduled = |spec: &mut Value| {
        spec["schedule"] = asleep.clone();
        spec.as_object_mut().unwrap().remove("state");
    };
    let overridden = |spec: &mut Value| {
        spec["override"] = override_.clone();
        spec["state"] = json!("Awake");
    };
    assert_eq!(truncation(false, &|_| {}), EpisodeTruncation::Pending);
    assert_eq!(truncation(false, &scheduled), EpisodeTruncation::NotAsked);
    assert_eq!(truncation(false, &overridden), EpisodeTruncation::NotAsked);
    assert_eq!(truncation(true, &scheduled), EpisodeTruncation::Pending);
    assert_eq!(truncation(true, &overridden), EpisodeTruncation::Pending);
}

#[test]
fn an_expired_override_empties_nothing_and_a_change_of_state_after_it_does() {
    let mut spec = emptying(json!({}));
    spec["override"] = json!({"state": "Awake", "until": "2026-12-01T01:00:00Z"});
    let mut world = World::new(spec, [deployment("worker", 2)]);
    world.run();
    assert_eq!(world.status.phase, Some(Phase::Awake));
    world.after(3601);
    world.after(5);
    assert_eq!(world.status.phase, Some(Phase::Hibernated));
    assert_eq!(world.episode().truncation, EpisodeTruncation::NotAsked);
    world.ask(DesiredState::Awake);
    world.ask(DesiredState::Hibernated);
    assert_eq!(world.episode().truncation, EpisodeTruncation::Pending);
}

#[test]
fn holds_that_are_found_are_taken_over_and_nothing_is_emptied() {
    let mut world = World::truncating();
    let id = world.episode().id.clone();
    world.status = HibernationStatus::default();
    (world.finalizer, world.memory) = (false, PlanMemory::default());
    world.run();
    world.after(5);
    assert_eq!(world.episode().id, id);
    assert_eq!(world.episode().truncation, EpisodeTruncation::Unknown);
    assert_eq!(world.status.phase, Some(Phase::Hibernated));
    assert_eq!(world.created.len(), 1);
    world.ask(DesiredState::Awake);
    assert_eq!(world.replicas("worker"), 2);
}

#[test]
fn tables_are_emptied_before_the_stage_of_the_database_itself() {
    let mut spec = emptying(json!({"beforeStage": 3}));
    spec["workloads"] = json!([
        {"kind": "Deployment", "name": "database", "stage": 3},
        {"kind": "Deployment", "name": "worker", "stage": 2},
    ]);
    let mut world = World::new(spec, [deployment("database", 1), deployment("worker", 2)]);
    world.run();
    world.after(5);
    assert_eq!(world.created.len(), 1);
    assert_eq!((world.replicas("worker"), world.replicas("database")), (0, 1));
    world.job_succeeds();
    world.after(1);
    assert_eq!(world.replicas("database"), 0);
}

#[test]
fn what_is_refused_stops_nothing_of_the_rest() {
    let spec = json!({"state": "Hibernated", "workloads": [
        {"kind": "Deployment", "name": "api", "action": "Restart"},
        {"kind": "Deployment", "name": "worker"},
    ]});
    let mut world = World::new(spec, [deployment("worker", 2), deployment("api", 1)]);
    world.object("api")["spec"]["paused"] = json!(true);
    world.run();
    assert_eq!(world.stalled(), Some("CannotRestart"));
    assert_eq!(world.replicas("worker"), 2);
    world.object("api")["spec"]["paused"] = json!(false);
    world.after(1);
    assert_eq!(world.replicas("worker"), 0);
}

#[test]
fn past_the_deadline_on_the_way_down_it_stalls_and_empties_nothing() {
    let mut world = World::new(emptying(json!({})), [deployment("worker", 2)]);
    world.pods = vec![pod("worker", None)];
    world.run();
    world.after(600);
    assert_eq!(world.stalled(), None);
    world.after(1);
    assert_eq!(world.stalled(), Some("ProgressDeadlineExceeded"));
    assert_eq!(world.created, Vec::<String>::new());
    world.pods.clear();
    world.after(1);
    world.after(5);
    assert_eq!(world.created.len(), 1, "it clears, and it goes on");
}

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
fn a_contest_holds_no_wake_up() {
    let spec = json!({
        "state": "Hibernated",
        "workloads": [{"kind": "Deployment", "name": "worker"}],
    });
    let mut world = World::new(spec, [deployment("worker", 2)]);
    world.run();
    world.after(5);
    let contest = Contest {
        said: String::new(),
        count: 9,
        last: world.now,
        quiet_until: world.now + SignedDuration::from_mins(5),
        manager: "keda".to_owned(),
        rejected: None,
    };
    world.memory.contests.insert("uid-of-worker".to_owned(), contest);
    world.ask(DesiredState::Awake);
    assert_eq!(world.replicas("worker"), 2);
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
fn what_is_held_is_kept_there_whatever_another_step_waits_for() {
    let mut world = World::new(
        json!({
            "state": "Hibernated",
            "workloads": [
                {"kind": "Deployment", "name": "early"},
                {"kind": "Deployment", "name": "late", "stage": 1},
            ],
        }),
        [deployment("early", 1), deployment("late", 3)],
    );
    world.run();
    world.after(5);
    world.after(5);
    world.after(5);
    assert_eq!(world.status.phase, Some(Phase::Hibernated));
    world.pods = vec![pod("early", None)];
    world.object("late")["spec"]["replicas"] = json!(3);
    world.after(1);
    assert_eq!(world.replicas("late"), 0);
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
fn a_restart_that_falls_behind_takes_the_truncation_back_whether_it_can_be_written_or_not() {
    for blocked in [false, true] {
        let mut spec = emptying(json!({}));
        spec["workloads"] = json!([{"kind": "Deployment", "name": "api", "action": "Restart"}]);
        let mut world = World::new(spec, [deployment("api", 1)]);
        world.run();
        world.after(5);
        assert_eq!(world.created.len(), 1);
        let template = &mut world.object("api")["spec"]["template"]["metadata"]["annotations"];
        template.as_object_mut().unwrap().remove(RESTART_ANNOTATION);
        world.object("api")["spec"]["paused"] = json!(blocked);
        let plan = world.iterate();
        world.obey(&plan);
        assert_eq!(world.deleted, world.created, "blocked: {blocked}");
    }
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

#[test]
fn what_cannot_be_marked_as_kept_is_waited_for_until_the_deadline() {
    for torn in [false, true] {
        let spec = json!({
            "state": "Hibernated",
            "onDelete": "Keep",
            "workloads": [{"kind": "Deployment", "name": "worker"}],
        });
        let mut world = World::new(spec, [deployment("worker", 2)]);
        world.run();
        world.after(5);
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
        world.memory.contests.clear();
        world.run();
        let kept = world.object("worker")["metadata"]["annotations"].to_string();
        assert!(kept.contains("kept"), "torn: {torn}: {kept}");
        assert!(!world.finalizer, "torn: {torn}");
    }
}

#[test]
fn what_can_never_be_marked_as_kept_keeps_no_object_past_the_deadline() {
    let spec = json!({
        "state": "Hibernated",
        "onDelete": "Keep",
        "workloads": [{"kind": "Deployment", "name": "worker"}],
    });
    let mut world = World::new(spec, [deployment("worker", 2)]);
    world.run();
    world.after(5);
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
fn a_refused_attempt_goes_when_another_begins() {
    let mut world = World::truncating();
    world.job_fails(3);
    world.after(1);
    world.after(300);
    assert_eq!(world.deleted, world.created[..1]);
    assert_eq!(world.created.len(), 2);
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

#[test]
fn asked_for_while_asleep_the_truncation_waits_for_two_looks_of_its_own() {
    let mut spec = emptying(json!({}));
    spec["state"] = json!("Awake");
    spec["override"] = json!({"state": "Hibernated", "until": "2099-01-01T00:00:00Z"});
    let mut world = World::new(spec, [deployment("worker", 2)]);
    world.run();
    world.after(5);
    assert_eq!(world.status.phase, Some(Phase::Hibernated));
    world.now += SignedDuration::from_hours(2);
    world.spec.override_ = None;
    world.ask(DesiredState::Hibernated);
    assert_eq!(world.episode().truncation, EpisodeTruncation::Pending);
    assert_eq!(world.created, Vec::<String>::new());
    world.after(5);
    assert_eq!(world.created.len(), 1);
}

#[test]
fn after_a_hold_that_was_written_the_next_look_is_the_first() {
    let mut world = World::new(emptying(json!({})), [deployment("worker", 2)]);
    world.run();
    world.object("worker")["spec"]["replicas"] = json!(2);
    world.after(5);
    assert_eq!(world.replicas("worker"), 0);
    assert_eq!(world.created, Vec::<String>::new());
    world.after(5);
    assert_eq!(world.created.len(), 1);
}
