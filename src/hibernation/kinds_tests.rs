//! Kinds of other projects: down when they say so and their workloads are, and as they were afterwards.

use serde_json::{Value, json};

use crate::api::schedule::DesiredState;
use crate::hibernation::test_world::{World, emptying};
use crate::hibernation::validate::validate;
use crate::hold::subject::Controller;
use crate::transition::pod::PodView;
use crate::transition::test_world::{deployment, merge, owned_by, pod, replica_set};
use crate::transition::unavailable::Unavailable;

const PAUSED: &str = "autoscaling.keda.sh/paused-replicas";
const HIBERNATION: &str = "cnpg.io/hibernation";

pub(super) fn of_table(kind: &str, version: &str, name: &str, spec: Value) -> Value {
    let mut object = json!({
        "apiVersion": version,
        "kind": kind,
        "metadata": {
            "namespace": "ns", "name": name, "uid": format!("uid-of-{name}"),
            "resourceVersion": "1", "generation": 1,
        },
    });
    object["spec"] = spec;
    object
}

pub(super) fn scaled_object(name: &str, target: &str) -> Value {
    let spec = json!({"scaleTargetRef": {"name": target}});
    of_table("ScaledObject", "keda.sh/v1alpha1", name, spec)
}

pub(super) fn cluster() -> Value {
    of_table("Cluster", "postgresql.cnpg.io/v1", "db", json!({"instances": 1}))
}

pub(super) fn says(object: &mut Value, condition: &str, status: &str) {
    object["status"]["conditions"] = json!([{"type": condition, "status": status}]);
}

/// Returns a running pod with that owner.
fn owned(app: &str, kind: &str, owner: &str) -> PodView {
    let (kind, name, uid) = (kind.to_owned(), owner.to_owned(), format!("uid-of-{owner}"));
    PodView { owners: vec![Controller { kind, name, uid }], terminating: false, ..pod(app, None) }
}

pub(super) fn spec(workloads: Value) -> Value {
    let mut spec = json!({"state": "Hibernated"});
    spec["workloads"] = workloads;
    spec
}

/// Returns the phase and the message.
pub(super) fn said(world: &World) -> String {
    format!("{:?}: {}", world.status.phase, world.status.message.clone().unwrap_or_default())
}

#[track_caller]
pub(super) fn waits_for(world: &mut World, words: &str) {
    world.after(1);
    let said = said(world);
    assert!(said.contains("Hibernating") && said.contains(words), "{words} in {said}");
}

#[track_caller]
pub(super) fn goes_down(world: &mut World) {
    world.after(1);
    world.after(6);
    assert!(said(world).contains("Some(Hibernated)"), "{}", said(world));
}

#[test]
fn a_scaled_object_is_down_when_it_is_paused_and_its_target_has_no_pods() {
    for original in [None, Some("3"), Some("0")] {
        let mut object = scaled_object("scaler", "worker");
        if let Some(original) = original {
            object["metadata"]["annotations"] = json!({PAUSED: original});
        }
        let entries = json!([{"kind": "ScaledObject", "name": "scaler"}]);
        let objects = [deployment("another", 3), object, deployment("worker", 2)];
        let mut world = World::new(spec(entries), objects);
        world.replica_sets = vec![replica_set("worker", 2, &owned_by("Deployment", "worker"))];
        world.pods = vec![owned("worker", "ReplicaSet", "worker-1")];
        world.run();
        assert_eq!(world.object("scaler")["metadata"]["annotations"][PAUSED], "0");
        assert_eq!(world.replicas("worker"), 2, "KEDA scales it, and not Torpor");
        waits_for(&mut world, "ScaledObject scaler: its condition Paused is not True");
        says(world.object("scaler"), "Paused", "True");
        waits_for(&mut world, "Deployment worker still asks for 2 replicas");
        *world.object("worker") = deployment("worker", 0);
        waits_for(&mut world, "ReplicaSet worker-1 is not at 0 replicas yet");
        world.replica_sets = vec![replica_set("worker", 0, &owned_by("Deployment", "worker"))];
        waits_for(&mut world, "Pod worker-pod is still running");
        world.pods.clear();
        goes_down(&mut world);

        world.ask(DesiredState::Awake);
        assert_eq!(
            world.object("scaler")["metadata"]["annotations"].get(PAUSED).and_then(Value::as_str),
            original,
            "it is as it was"
        );
        let conditions = |paused: &str| json!([{"type": "Paused", "status": paused}, {"type": "Ready", "status": "True"}]);
        if original.is_none() {
            world.object("scaler")["status"]["conditions"] = conditions("True");
            world.after(1);
            assert!(said(&world).contains("Waking"), "{}", said(&world));
        }
        // KEDA says Paused for any number.
        let paused = if original.is_none() { "False" } else { "True" };
        world.object("scaler")["status"]["conditions"] = conditions(paused);
        world.after(1);
        assert!(said(&world).contains("Some(Awake)"), "{}", said(&world));
    }
}

#[test]
fn a_pod_behind_several_owners_keeps_an_object_up() {
    let entries = json!([{"kind": "Cluster", "name": "db"}]);
    let mut set = deployment("middle", 1);
    set["metadata"]["ownerReferences"] = owned_by("Cluster", "db");
    let mut world = World::new(spec(entries), [cluster(), set]);
    world.replica_sets = vec![replica_set("middle", 1, &owned_by("Deployment", "middle"))];
    world.pods = vec![owned("middle", "ReplicaSet", "middle-1")];
    world.run();
    says(world.object("db"), HIBERNATION, "True");
    waits_for(&mut world, "Deployment middle still asks for 1 replica");
    world.object("middle")["spec"]["replicas"] = json!(0);
    waits_for(&mut world, "Pod middle-pod is still running");
    world.pods.clear();
    goes_down(&mut world);
}

#[test]
fn an_object_is_up_while_a_workload_that_it_owns_may_start_pods() {
    let owned = |kind: &str, version: &str, name: &str, spec: Value| {
        let mut object = of_table(kind, version, name, spec);
        object["metadata"]["ownerReferences"] = owned_by("Cluster", "db");
        object
    };
    let template = json!({"metadata": {"labels": {"app": "agent"}}, "spec": {}});
    let backup = owned(
        "CronJob",
        "batch/v1",
        "backup",
        json!({"suspend": false, "jobTemplate": {"spec": {"template": template}}}),
    );
    let selector = json!({"matchLabels": {"app": "agent"}});
    let mut agent =
        owned("DaemonSet", "apps/v1", "agent", json!({"selector": selector, "template": template}));
    agent["status"]["desiredNumberScheduled"] = json!(1);
    let entries = json!([{"kind": "Cluster", "name": "db"}]);
    let mut world = World::new(spec(entries), [cluster(), backup, agent]);
    world.run();
    says(world.object("db"), HIBERNATION, "True");
    waits_for(&mut world, "CronJob backup is not suspended");
    waits_for(&mut world, "DaemonSet agent still asks for 1 pod");
    world.object("backup")["spec"]["suspend"] = json!(true);
    world.object("agent")["status"]["desiredNumberScheduled"] = json!(0);
    goes_down(&mut world);
}

#[test]
fn a_database_of_a_later_stage_sleeps_after_the_truncation() {
    let mut emptying = emptying(json!({"beforeStage": 3}));
    emptying["workloads"] = json!([
        {"kind": "Deployment", "name": "worker"}, {"kind": "Cluster", "name": "db", "stage": 3},
    ]);
    let mut world = World::new(emptying, [deployment("worker", 1), cluster()]);
    world.pods = vec![owned("db", "Cluster", "db")];
    world.run();
    world.after(6);
    world.after(6);
    assert_eq!(world.created.len(), 1, "{}", said(&world));
    assert!(world.object("db")["metadata"]["annotations"].get(HIBERNATION).is_none());
    world.job_succeeds();
    world.after(1);
    assert_eq!(world.object("db")["metadata"]["annotations"][HIBERNATION], "on");
    waits_for(&mut world, "Cluster db: its condition cnpg.io/hibernation is not True");
    says(world.object("db"), HIBERNATION, "True");
    waits_for(&mut world, "Pod db-pod is still running");
    world.pods.clear();
    goes_down(&mut world);
}

#[test]
fn nothing_is_truncated_while_a_pod_of_a_sleeping_object_runs() {
    let mut emptying = emptying(json!({}));
    emptying["workloads"] = json!([{"kind": "ScaledObject", "name": "scaler"}]);
    let mut object = scaled_object("scaler", "worker");
    says(&mut object, "Paused", "False");
    let mut world = World::new(emptying, [object, deployment("worker", 0)]);
    world.pods = vec![owned("worker", "ReplicaSet", "worker-1")];
    world.replica_sets = vec![replica_set("worker", 0, &owned_by("Deployment", "worker"))];
    world.run();
    says(world.object("scaler"), "Paused", "True");
    for _ in 0..4 {
        world.after(6);
    }
    assert!(world.created.is_empty(), "it is emptied under a writer: {}", said(&world));
    world.pods.clear();
    world.after(1);
    world.after(6);
    world.after(6);
    assert_eq!(world.created.len(), 1, "{}", said(&world));
}

#[test]
fn a_target_of_an_unknown_kind_keeps_the_truncation_back() {
    let mut emptying = emptying(json!({}));
    emptying["workloads"] = json!([{"kind": "ScaledObject", "name": "scaler"}]);
    let mut object = scaled_object("scaler", "worker");
    object["spec"]["scaleTargetRef"] =
        json!({"apiVersion": "example.com/v1", "kind": "App", "name": "x"});
    says(&mut object, "Paused", "False");
    let mut world = World::new(emptying, [object]);
    world.run();
    says(world.object("scaler"), "Paused", "True");
    world.after(6);
    world.after(6);
    let message = world.status.message.clone().unwrap_or_default();
    assert!(world.created.is_empty() && message.contains("App x may have pods"), "{message}");
}

#[test]
fn a_kind_that_is_not_served_is_said_and_keeps_nothing_else_up() {
    let entries = json!([
        {"kind": "Deployment", "name": "worker"}, {"kind": "ScaledObject", "name": "scaler"},
    ]);
    let mut world = World::new(spec(entries.clone()), [deployment("worker", 2)]);
    world.unavailable = [("ScaledObject", Unavailable::NotServed)].into();
    world.run();
    goes_down(&mut world);
    assert_eq!(world.replicas("worker"), 0);
    let words = "the cluster does not serve ScaledObject of keda.sh/v1alpha1";
    assert!(said(&world).contains(words), "{}", said(&world));
    world.ask(DesiredState::Awake);
    world.after(1);
    assert_eq!(world.replicas("worker"), 2);
    assert_eq!(world.stalled(), Some("KindUnavailable"), "{}", said(&world));

    let mut emptying = emptying(json!({}));
    emptying["workloads"] = entries;
    let mut world = World::new(emptying, [deployment("worker", 2)]);
    world.unavailable = [("ScaledObject", Unavailable::NotServed)].into();
    world.run();
    world.after(6);
    world.after(6);
    assert_eq!(world.replicas("worker"), 0);
    assert!(world.created.is_empty() && said(&world).contains(words), "{}", said(&world));
}

#[test]
fn a_held_object_of_a_kind_that_may_not_be_listed_is_not_forgotten() {
    let entries = json!([{"kind": "ScaledObject", "name": "scaler"}]);
    let mut world = World::new(spec(entries), [scaled_object("scaler", "worker")]);
    world.run();
    says(world.object("scaler"), "Paused", "True");
    goes_down(&mut world);
    world.unavailable = [("ScaledObject", Unavailable::Refused("no".to_owned()))].into();
    world.ask(DesiredState::Awake);
    world.after(60);
    assert_eq!(world.stalled(), Some("KindUnavailable"), "{}", said(&world));
    assert_eq!(world.status.hold.originals.len(), 1, "the status still records it");
    world.unavailable.clear();
    world.after(15);
    world.after(1);
    assert!(world.object("scaler")["metadata"]["annotations"].get(PAUSED).is_none());
}

#[test]
fn a_dry_run_says_what_happens_to_objects_of_other_kinds() {
    let mut dry = spec(json!([
        {"kind": "ScaledObject", "name": "scaler"}, {"kind": "Deployment", "name": "other"},
    ]));
    dry["dryRun"] = json!(true);
    let objects = [
        scaled_object("scaler", "worker"),
        deployment("other", 1),
        scaled_object("second", "other"),
    ];
    let mut world = World::new(dry, objects);
    world.run();
    let plan = world.status.plan.join("\n");
    let taken = format!("ScaledObject scaler: the annotation {PAUSED} from not set to \"0\"");
    assert!(plan.contains(&taken), "{plan}");
    assert!(plan.contains("warning: Deployment other is scaled by ScaledObject second"), "{plan}");
}

#[test]
fn an_object_that_says_nothing_else_is_down_once_its_controller_has_observed_the_hold() {
    let entries = json!([{"kind": "Rollout", "name": "web"}]);
    let mut rollout = of_table("Rollout", "argoproj.io/v1alpha1", "web", json!({"replicas": 3}));
    rollout["metadata"]["generation"] = json!(2);
    rollout["status"]["observedGeneration"] = json!("1");
    let mut world = World::new(spec(entries), [rollout]);
    world.run();
    assert_eq!(world.replicas("web"), 0);
    waits_for(&mut world, "Rollout web: its controller has not observed the hold yet");
    world.object("web")["status"]["observedGeneration"] = json!("2");
    goes_down(&mut world);
}

#[test]
fn an_object_that_says_that_it_is_down_need_not_have_observed_the_hold() {
    let mut db = cluster();
    db["metadata"]["generation"] = json!(2);
    let entries = json!([{"kind": "Cluster", "name": "db"}]);
    let mut world = World::new(spec(entries), [db]);
    world.run();
    says(world.object("db"), HIBERNATION, "True");
    world.object("db")["status"]["observedGeneration"] = json!(1);
    goes_down(&mut world);
}

#[test]
fn an_object_is_up_while_a_job_of_it_runs() {
    let entries = json!([{"kind": "ScaledJob", "name": "jobs"}]);
    let jobs = of_table("ScaledJob", "keda.sh/v1alpha1", "jobs", json!({}));
    let mut job = of_table("Job", "batch/v1", "jobs-1", json!({}));
    job["metadata"]["ownerReferences"] = owned_by("ScaledJob", "jobs");
    job["status"] = json!({"active": 1});
    let mut world = World::new(spec(entries), [jobs]);
    world.jobs = vec![job];
    world.run();
    says(world.object("jobs"), "Paused", "True");
    waits_for(&mut world, "Job jobs-1 is still running");
    world.jobs[0]["status"] = json!({"conditions": [{"type": "Complete", "status": "True"}]});
    goes_down(&mut world);
}

#[test]
fn a_target_without_replicas_asks_for_one() {
    let entries = json!([{"kind": "ScaledObject", "name": "scaler"}]);
    let mut scaler = scaled_object("scaler", "web");
    scaler["spec"]["scaleTargetRef"] =
        json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "web"});
    let rollout = of_table("Rollout", "argoproj.io/v1alpha1", "web", json!({}));
    let mut world = World::new(spec(entries), [scaler, rollout]);
    world.run();
    says(world.object("scaler"), "Paused", "True");
    waits_for(&mut world, "Rollout web still asks for 1 replica");
    world.object("web")["spec"]["replicas"] = json!(0);
    goes_down(&mut world);
}

#[test]
fn replicas_and_restarts_are_for_built_in_kinds() {
    for (more, words) in [
        (json!({"replicas": 1}), "replicas"),
        (json!({"action": "Restart"}), "cannot be restarted"),
    ] {
        let mut entry = json!({"kind": "Rollout", "name": "web"});
        merge(&mut entry, &more);
        let invalid = serde_json::from_value(spec(json!([entry]))).unwrap();
        let error = validate(&invalid).unwrap_err().to_string();
        assert!(error.contains(words) && error.contains("Rollout"), "{error}");
    }
}

#[test]
fn a_held_object_of_a_kind_that_left_the_table_is_not_forgotten() {
    let entries = json!([{"kind": "Deployment", "name": "worker"}]);
    let mut world = World::new(spec(entries), [deployment("worker", 1)]);
    world.run();
    goes_down(&mut world);
    world.status.hold.originals.insert("Widget/w/uid-of-w".to_owned(), "{}".to_owned());
    world.ask(DesiredState::Awake);
    world.after(1);
    assert_eq!(world.replicas("worker"), 1);
    assert_eq!(world.stalled(), Some("KindUnavailable"), "{}", said(&world));
    assert!(world.status.hold.originals.contains_key("Widget/w/uid-of-w"));
    let words =
        "Widget w is held and cannot be restored, because the operator's table has no kind Widget";
    assert!(said(&world).contains(words), "{}", said(&world));
}
