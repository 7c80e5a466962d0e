//! The Job of the truncation: its own container's end counts, and it is called off the moment that the object
//! is not to sleep any more.

use serde_json::json;

use crate::api::hibernation::{OnDelete, Phase};
use crate::api::hold_state::{AttemptEnd, EpisodeTruncation};
use crate::api::schedule::DesiredState;
use crate::hibernation::test_world::{World, emptying};
use crate::transition::test_world::{deployment, pod};

/// Asks for something else while the truncation's Job runs.
type Change = fn(&mut World);

const CHANGES: [(&str, Change); 4] = [
    ("state: Awake", |world| world.ask(DesiredState::Awake)),
    ("dryRun", |world| {
        world.spec.dry_run = true;
        world.run();
    }),
    ("a deletion", |world| {
        world.deleting_since = Some(world.now);
        world.run();
    }),
    ("a deletion with onDelete: Keep", |world| {
        world.spec.on_delete = OnDelete::Keep;
        world.deleting_since = Some(world.now);
        world.run();
    }),
];

#[test]
fn a_truncation_is_called_off_the_moment_that_something_else_is_asked_for() {
    for (name, change) in CHANGES {
        let mut world = World::truncating();
        change(&mut world);
        assert_eq!(world.suspended, world.created, "{name}");
        assert_eq!(world.replicas("worker"), 0, "{name}: it may still commit");
        // Its container ended without COMMIT, and its controller creates no other.
        world.job.pods = 1;
        world.job.stopped = true;
        world.job.terminated = vec![(1, String::new())];
        world.after(1);
        assert_eq!(world.status.database.truncation, None, "{name}");
        assert_eq!(world.suspended.len(), 1, "{name}: once");
    }
}

#[test]
fn a_wake_goes_on_once_the_container_of_the_suspended_job_has_ended() {
    let mut world = World::truncating();
    world.ask(DesiredState::Awake);
    world.job.pods = 1;
    world.job.terminated = vec![(1, String::new())];
    world.after(1);
    assert_eq!(world.replicas("worker"), 0, "its controller may create another pod");
    world.job.stopped = true;
    world.after(1);
    assert_eq!(world.replicas("worker"), 2);
    world.after(1);
    assert_eq!(world.status.phase, Some(Phase::Awake));
}

#[test]
fn a_truncation_that_committed_before_it_was_called_off_is_recorded() {
    for (name, change) in CHANGES {
        let mut world = World::truncating();
        change(&mut world);
        world.job_succeeds();
        world.after(1);
        assert!(world.status.database.truncation.is_some(), "{name}");
    }
}

#[test]
fn a_job_that_is_created_late_is_called_off_too() {
    let mut world = World::truncating();
    let job = std::mem::take(&mut world.job);
    world.ask(DesiredState::Awake);
    assert_eq!(world.suspended, Vec::<String>::new());
    world.job = job;
    world.after(1);
    assert_eq!(world.suspended, world.created);
}

#[test]
fn the_end_of_the_own_container_counts_whatever_runs_on_beside_it() {
    let report = json!({
        "outcome": "Done", "message": "", "tables": [], "refusals": [],
        "totals": {"tables": 3, "rows": 7, "bytes": 9},
    });
    let mut world = World::truncating();
    world.job.pods = 1;
    world.job.terminated = vec![(0, report.to_string())];
    world.job.last_end = Some(world.now);
    world.after(9);
    assert_eq!(world.suspended, Vec::<String>::new(), "the Job may finish by itself");
    world.after(1);
    assert_eq!(world.status.phase, Some(Phase::Hibernated));
    assert_eq!(world.episode().truncation, EpisodeTruncation::Done);
    assert_eq!(world.suspended, world.created, "no other pod follows");
    // Past every deadline nothing is emptied again, and the wake does not wait.
    world.after(600);
    assert_eq!(world.created.len(), 1);
    world.ask(DesiredState::Awake);
    assert_eq!(world.replicas("worker"), 2);

    let mut world = World::truncating();
    world.job.pods = 1;
    world.job.terminated = vec![(3, String::new())];
    world.after(1);
    assert_eq!(world.stalled(), Some("TruncationRefused"));
    assert_eq!(world.suspended, world.created);
}

#[test]
fn a_failure_that_the_job_tries_again_is_not_its_end() {
    let mut world = World::truncating();
    world.job.pods = 1;
    world.job.terminated = vec![(1, String::new())];
    world.after(1);
    assert_eq!(world.episode().attempt.as_ref().and_then(|attempt| attempt.ended), None);
    world.job_succeeds();
    world.after(1);
    let ended = world.episode().attempt.as_ref().and_then(|attempt| attempt.ended);
    assert_eq!(ended, Some(AttemptEnd::Succeeded));
}

/// Returns the number of the last preflight.
fn preflights(world: &World) -> i32 {
    world.status.database.preflight.as_ref().map_or(0, |preflight| preflight.attempt.number)
}

#[test]
fn the_preflight_is_repeated_daily_and_before_a_hibernation_if_it_is_older_than_an_hour() {
    let mut world = World::new(emptying(json!({})), [deployment("worker", 2)]);
    world.ask(DesiredState::Awake);
    assert_eq!(preflights(&world), 1);
    world.after(24 * 3600 - 1);
    assert_eq!(preflights(&world), 1);
    world.after(1);
    assert_eq!(preflights(&world), 2);
    world.now += jiff::SignedDuration::from_secs(3599);
    world.ask(DesiredState::Hibernated);
    assert_eq!((preflights(&world), world.replicas("worker")), (2, 0), "it is fresh");
    world.ask(DesiredState::Awake);
    world.after(1);
    world.now += jiff::SignedDuration::from_hours(1);
    world.ask(DesiredState::Hibernated);
    assert_eq!((preflights(&world), world.replicas("worker")), (3, 0));
}

#[test]
fn a_result_is_recorded_though_a_writer_turned_up_since() {
    let mut world = World::truncating();
    world.pods = vec![pod("debug", None)];
    world.job.pods = 1;
    world.job.terminated = vec![(0, String::new())];
    world.job.last_end = Some(world.now);
    world.after(1);
    assert_eq!(world.deleted, Vec::<String>::new(), "it has committed");
    world.job_succeeds();
    world.after(1);
    assert_eq!(world.episode().truncation, EpisodeTruncation::Done);
}
