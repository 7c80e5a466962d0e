//! Workloads that keep some of their replicas.

use serde_json::{Value, json};

use crate::api::hibernation::Phase;
use crate::api::schedule::DesiredState;
use crate::hibernation::test_world::{World, emptying};
use crate::hold::lever::RESTART_ANNOTATION;
use crate::transition::pod::PodView;
use crate::transition::test_world::{deployment, owned_by, pod, replica_set};

fn entry(name: &str, replicas: i32) -> Value {
    json!({"kind": "Deployment", "name": name, "replicas": replicas})
}

fn running(app: &str) -> PodView {
    PodView { terminating: false, ..pod(app, None) }
}

fn states(world: &World) -> Vec<(&str, &str)> {
    let workloads = world.status.hold.workloads.iter();
    workloads.map(|workload| (workload.name.as_str(), workload.state.as_str())).collect()
}

#[test]
fn a_workload_keeps_the_replicas_of_its_entry_and_never_more_than_it_had() {
    let workloads = [entry("many", 2), entry("few", 3), entry("none", 1)];
    let all = [("many", 5), ("few", 1), ("none", 0)];
    let mut world = World::new(
        json!({"state": "Hibernated", "workloads": workloads}),
        all.map(|(name, replicas)| deployment(name, replicas)),
    );
    world.pods = vec![running("many"), running("many"), running("few")];
    world.run();
    world.after(5);
    assert_eq!(["many", "few", "none"].map(|name| world.replicas(name)), [2, 1, 0]);
    assert_eq!(world.status.phase, Some(Phase::Hibernated));
    assert_eq!(states(&world), [("few", "Reduced"), ("many", "Reduced"), ("none", "Down")]);
    assert_eq!(world.status.hold.counts.unwrap().down, 3);
    world.ask(DesiredState::Awake);
    assert_eq!(all.map(|(name, _)| world.replicas(name)), [5, 1, 0]);
    assert_eq!(world.status.phase, Some(Phase::Awake));
}

#[test]
fn a_changed_number_is_written_and_the_wake_restores_all() {
    let spec = |replicas| json!({"state": "Hibernated", "workloads": [entry("api", replicas)]});
    let mut world = World::new(spec(1), [deployment("api", 5)]);
    world.run();
    for replicas in [3, 0, 9, 2] {
        world.spec = World::new(spec(replicas), []).spec;
        world.run();
        assert_eq!(world.replicas("api"), i64::from(replicas.min(5)));
    }
    world.ask(DesiredState::Awake);
    assert_eq!(world.replicas("api"), 5);
}

#[test]
fn more_pods_than_it_keeps_and_pods_that_end_are_waited_for() {
    let spec = json!({"state": "Hibernated", "workloads": [entry("api", 1)]});
    let mut world = World::new(spec, [deployment("api", 3)]);
    let waits = |world: &mut World, says: &str| {
        world.run();
        world.after(5);
        assert_eq!(states(world), [("api", "Stopping")]);
        let message = world.status.hold.workloads[0].message.clone().unwrap_or_default();
        assert!(message.contains(says), "{message}");
        assert_ne!(world.status.phase, Some(Phase::Hibernated));
    };
    world.pods = vec![running("api"), running("api")];
    waits(&mut world, "Pod api-pod is still running");
    world.pods = vec![running("api"), pod("api", None)];
    waits(&mut world, "Pod api-pod is still terminating");
    world.pods = vec![running("api")];
    world.replica_sets = vec![replica_set("api", 2, &owned_by("Deployment", "api"))];
    waits(&mut world, "ReplicaSet api-1 is not at 1 replica yet");
    world.replica_sets = vec![replica_set("api", 1, &owned_by("Deployment", "api"))];
    world.after(1);
    world.after(5);
    assert_eq!(states(&world), [("api", "Reduced")]);
}

#[test]
fn pods_that_stay_keep_the_truncation_back_unless_they_are_restarted_or_ignored() {
    let mut spec = emptying(json!({}));
    spec["workloads"] = json!([entry("worker", 1)]);
    let truncates = |spec: &Value| {
        let mut world = World::new(spec.clone(), [deployment("worker", 2)]);
        world.run();
        let template = &world.object("worker")["spec"]["template"]["metadata"]["annotations"];
        let configuration = template[RESTART_ANNOTATION].as_str().map(str::to_owned);
        world.pods = vec![PodView { configuration, ..running("worker") }];
        for _ in 0..4 {
            world.after(5);
        }
        assert_eq!(world.replicas("worker"), 1);
        (!world.created.is_empty(), world.status.message.clone().unwrap_or_default())
    };
    let (truncates_under_it, message) = truncates(&spec);
    assert!(!truncates_under_it);
    let says =
        "Pod worker-pod may write: Deployment worker keeps 1 replica by spec.workloads[].replicas";
    assert!(message.contains(says), "{message}");
    spec["database"]["truncate"]["ignorePods"] = json!({"matchLabels": {"app": "worker"}});
    assert!(truncates(&spec).0, "its pods are declared harmless");
    spec["database"]["truncate"] = json!({});
    spec["workloads"][0]["action"] = json!("Restart");
    assert!(truncates(&spec).0, "its pods read the overridden ConfigMaps");
}

#[test]
fn a_restarted_workload_keeps_the_replicas_of_its_entry() {
    let mut api = entry("api", 1);
    api["action"] = json!("Restart");
    let spec = json!({"state": "Hibernated", "workloads": [api]});
    let mut world = World::new(spec, [deployment("api", 3)]);
    world.run();
    world.after(5);
    assert_eq!(world.replicas("api"), 1);
    assert_eq!(states(&world), [("api", "Restarted")]);
    world.ask(DesiredState::Awake);
    assert_eq!(world.replicas("api"), 3);
    let annotations = &world.object("api")["spec"]["template"]["metadata"]["annotations"];
    assert_eq!(annotations[RESTART_ANNOTATION], Value::Null);
}
