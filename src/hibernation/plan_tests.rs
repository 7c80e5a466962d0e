//! The planner alone.

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::*;
use crate::api::hibernation::Phase;
use crate::api::hold_state::EpisodeTruncation;
use crate::hibernation::test_world::{World, emptying};
use crate::hold::lever::RESTART_ANNOTATION;
use crate::transition::job::Purpose;
use crate::transition::plan::{Confirmations, Next, PlanState};
use crate::transition::test_world::{deployment, pod};

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
            Action::CreateJob(attempt, Purpose::Truncation, _) => Some(attempt.clone()),
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
    (world.finalizer, world.memory) = (false, PlanState::default());
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
fn a_refused_attempt_goes_when_another_begins() {
    let mut world = World::truncating();
    world.job_fails(3);
    world.after(1);
    world.after(300);
    assert_eq!(world.deleted, world.created[..1]);
    assert_eq!(world.created.len(), 2);
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
