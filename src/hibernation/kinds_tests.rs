//! Kinds of other projects: down when they say so and their workloads are, and as they were afterwards.

use serde_json::{Value, json};

use crate::api::schedule::DesiredState;
use crate::hibernation::test_world::{World, emptying};
use crate::hold::subject::Controller;
use crate::transition::pod::PodView;
use crate::transition::test_world::{deployment, owned_by, pod, replica_set};
use crate::transition::unavailable::Unavailable;

const PAUSED: &str = "autoscaling.keda.sh/paused-replicas";
const HIBERNATION: &str = "cnpg.io/hibernation";

fn of_table(kind: &str, version: &str, name: &str, spec: Value) -> Value {
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

fn scaled_object(name: &str, target: &str) -> Value {
    let spec = json!({"scaleTargetRef": {"name": target}});
    of_table("ScaledObject", "keda.sh/v1alpha1", name, spec)
}

fn cluster() -> Value {
    of_table("Cluster", "postgresql.cnpg.io/v1", "db", json!({"instances": 1}))
}

fn says(object: &mut Value, condition: &str, status: &str) {
    object["status"]["conditions"] = json!([{"type": condition, "status": status}]);
}

/// Returns a running pod with that owner.
fn owned(app: &str, kind: &str, owner: &str) -> PodView {
    let (kind, name, uid) = (kind.to_owned(), owner.to_owned(), format!("uid-of-{owner}"));
    PodView { owners: vec![Controller { kind, name, uid }], terminating: false, ..pod(app, None) }
}

fn spec(workloads: Value) -> Value {
    let mut spec = json!({"state": "Hibernated"});
    spec["workloads"] = workloads;
    spec
}

/// Returns the phase and the message.
fn said(world: &World) -> String {
    format!("{:?}: {}", world.status.phase, world.status.message.clone().unwrap_or_default())
}

#[track_caller]
fn waits_for(world: &mut World, words: &str) {
    world.after(1);
    let said = said(world);
    assert!(said.contains("Hibernating") && said.contains(words), "{words} in {said}");
}

#[track_caller]
fn goes_down(world: &mut World) {
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
        let mut world = World::new(spec(entries), [object, deployment("worker", 2)]);
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
fn nothing_is_truncated_while_what_may_scale_a_workload_cannot_be_listed() {
    for why in ["Failed", "Refused"] {
        let unavailable = match why {
            "Failed" => Unavailable::Failed("conversion webhook failed".to_owned()),
            _ => Unavailable::Refused("conversion webhook failed".to_owned()),
        };
        let mut world = World::new(emptying(json!({})), [deployment("worker", 2)]);
        world.unavailable = [("ScaledObject", unavailable.clone())].into();
        world.run();
        world.after(6);
        world.after(6);
        assert_eq!(world.replicas("worker"), 0, "only the truncation waits");
        assert_eq!(world.stalled(), Some("KindUnavailable"), "{}", said(&world));
        let words = "nothing is truncated: ScaledObject cannot be listed, and one may scale a held workload up again";
        assert!(world.created.is_empty() && said(&world).contains(words), "{}", said(&world));
        assert!(said(&world).contains("conversion webhook failed"), "{}", said(&world));
        world.unavailable.clear();
        for _ in 0..3 {
            world.after(61);
        }
        assert_eq!(world.created.len(), 1, "{}", said(&world));

        // Without a truncation nobody waits for it.
        let entries = json!([{"kind": "Deployment", "name": "worker"}]);
        let mut world = World::new(spec(entries), [deployment("worker", 2)]);
        world.unavailable = [("ScaledObject", unavailable)].into();
        world.run();
        goes_down(&mut world);
        assert!(!said(&world).contains("cannot be listed"), "{}", said(&world));
    }
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
fn a_workload_that_a_scaled_object_scales_is_said_beforehand() {
    let entries = json!([{"kind": "Deployment", "name": "worker"}]);
    let mut awake = spec(entries.clone());
    awake["state"] = json!("Awake");
    let mut world = World::new(awake, [deployment("worker", 2), scaled_object("scaler", "worker")]);
    world.run();
    assert_eq!(world.stalled(), Some("ScaledBy"), "{}", said(&world));
    let words = "name ScaledObject scaler in spec.workloads instead of Deployment worker";
    assert!(said(&world).contains(words), "{}", said(&world));

    // With a truncation it is a rival, who may start a writer.
    let mut world = World::new(
        emptying(json!({})),
        [deployment("worker", 2), scaled_object("scaler", "worker")],
    );
    world.run();
    world.after(6);
    world.after(6);
    assert_eq!(world.replicas("worker"), 0);
    assert!(world.created.is_empty() && said(&world).contains(words), "{}", said(&world));

    // One that is named too, or that is paused, is none.
    let both = json!([
        {"kind": "Deployment", "name": "worker"}, {"kind": "ScaledObject", "name": "scaler"},
    ]);
    let mut paused = scaled_object("scaler", "worker");
    says(&mut paused, "Paused", "True");
    for (entries, scaler) in [(both, scaled_object("scaler", "worker")), (entries, paused)] {
        let mut awake = spec(entries);
        awake["state"] = json!("Awake");
        let mut world = World::new(awake, [deployment("worker", 2), scaler]);
        world.run();
        assert_eq!(world.stalled(), None, "{}", said(&world));
    }
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
