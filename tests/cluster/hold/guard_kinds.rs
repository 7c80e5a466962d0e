//! The hold guard of kinds of other projects, against their real definitions.

use serde_json::{Value, json};

use super::guard::{dry_run, sync};
use crate::support::{
    guard::{self, Guard},
    hibernation::{Hibernation, asleep, condition, woken},
    kubectl::exactly,
    other_kinds::{OtherScene, manifest, scales},
    release::torpor,
    scene::Scene,
    wait,
};

const OBJECTS: [&str; 4] = [
    "scaledobject.keda.sh/worker",
    "rollout.argoproj.io/web",
    "kustomization.kustomize.toolkit.fluxcd.io/apps",
    "cluster.postgresql.cnpg.io/db",
];

/// Returns the manifests in Git. That of the Kustomization says that it is not suspended, and that of the `Cluster` that it
/// is not hibernated.
fn git(version: &str) -> [Value; 4] {
    let metadata = |more: Value| {
        let mut annotations = json!({"version": version});
        for (name, value) in more.as_object().expect("annotations") {
            annotations[name] = value.clone();
        }
        annotations
    };
    let rollout = json!({
        "replicas": 3,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "main", "image": "none.invalid/rollout"}]},
        },
        "strategy": {"canary": {}},
    });
    let kustomization = json!({
        "interval": "10m", "prune": true, "path": "./", "suspend": false,
        "sourceRef": {"kind": "GitRepository", "name": "apps"},
    });
    let cluster = json!({"instances": 1, "storage": {"size": "1Gi"}});
    [
        manifest("ScaledObject", "worker", metadata(json!({})), scales("worker")),
        manifest("Rollout", "web", metadata(json!({})), rollout),
        manifest("Kustomization", "apps", metadata(json!({})), kustomization),
        manifest("Cluster", "db", metadata(json!({"cnpg.io/hibernation": "off"})), cluster),
    ]
}

/// Returns for each object a change of its lever, the lever, its value while held, and the words of a denial.
fn changes() -> [(Value, &'static str, Value, &'static str); 4] {
    let annotation = |name: &str, value: Value| json!({"metadata": {"annotations": {name: value}}});
    [
        (
            annotation("autoscaling.keda.sh/paused-replicas", Value::Null),
            "/metadata/annotations/autoscaling.keda.sh~1paused-replicas",
            json!("0"),
            "the annotation autoscaling.keda.sh/paused-replicas stays as it is",
        ),
        (
            json!({"spec": {"replicas": 3}}),
            "/spec/replicas",
            json!(0),
            "spec.replicas stays as it is",
        ),
        (
            json!({"spec": {"suspend": false}}),
            "/spec/suspend",
            json!(true),
            "spec.suspend stays as it is",
        ),
        (
            annotation("cnpg.io/hibernation", json!("off")),
            "/metadata/annotations/cnpg.io~1hibernation",
            json!("on"),
            "the annotation cnpg.io/hibernation stays as it is",
        ),
    ]
}

/// Deploys everything from Git and hibernates it.
async fn hibernated(test: &str) -> (OtherScene, Hibernation, [Value; 4]) {
    let other = guard::other_scene(test).await;
    let scene = &other.scene;
    scene.deploy("worker", 1).await;
    sync(scene, &git("1"), &[]).expect("it is applied");
    let before = OBJECTS.map(|object| exactly(scene, object));
    let kinds = ["ScaledObject", "Rollout", "Kustomization", "Cluster"];
    let all = kinds.map(|kind| json!({"kind": kind, "all": true}));
    let hibernation = asleep(scene, json!({"state": "Hibernated", "workloads": all})).await;
    (other, hibernation, before)
}

/// Returns the values of the levers.
fn levers(scene: &Scene) -> [Value; 4] {
    let mut objects = OBJECTS.iter().zip(changes());
    std::array::from_fn(|_| {
        let (object, (_, lever, ..)) = objects.next().expect("four");
        exactly(scene, object).pointer(lever).cloned().unwrap_or_default()
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_denied_change_of_a_lever_of_the_table_names_the_holder_and_locks_nobody_out() {
    let (mut other, hibernation, before) = hibernated("guard-kinds-deny").await;
    let scene = &other.scene;
    let _guard = Guard::create_with_presets(&scene.namespace, "Deny");
    let holder = format!("is held by Hibernation/{}/project: ", scene.namespace.name);
    for (object, (change, _, _, words)) in OBJECTS.iter().zip(changes()) {
        let denied =
            wait::poll("the guard denies", async || dry_run(scene, object, &change).err()).await;
        assert!(denied.contains(&holder) && denied.contains(words), "{denied}");
        // Everything else may change.
        let other = json!({"metadata": {"annotations": {"version": "2"}}});
        dry_run(scene, object, &other).expect("it is admitted");
    }
    // The operator itself is not denied.
    woken(&hibernation).await;
    assert_eq!(OBJECTS.map(|object| exactly(scene, object)), before);
    hibernation.set_state("Hibernated").await;
    hibernation.until_phase("Hibernated").await;

    // A dead operator locks nobody out.
    other.scene.operator.kill9();
    for (object, (mut change, ..)) in OBJECTS.iter().zip(changes()) {
        dry_run(&other.scene, object, &change).expect_err("it is still held");
        change["metadata"]["annotations"]["torpor.dev/hold-guard"] = json!("Off");
        dry_run(&other.scene, object, &change).expect("it is admitted");
    }
    torpor(&other.scene, &["--all"]).success();
    assert_eq!(OBJECTS.map(|object| exactly(&other.scene, object)), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_lever_of_the_table_stays_as_it_is_and_the_rest_of_a_commit_arrives() {
    let (other, hibernation, before) = hibernated("guard-kinds-keep").await;
    let scene = &other.scene;
    let _guard = Guard::create_with_presets(&scene.namespace, "Keep");
    for (object, (change, lever, value, _)) in OBJECTS.iter().zip(changes()) {
        wait::poll("the guard keeps", async || {
            let patched = dry_run(scene, object, &change).expect("it is admitted");
            (patched.pointer(lever) == Some(&value)).then_some(())
        })
        .await;
    }
    let held = changes().map(|(_, _, value, _)| value);
    for _ in 0..4 {
        sync(scene, &git("1"), &[]).expect("it is admitted");
    }
    assert_eq!(levers(scene), held);

    // A commit: all arrives but the lever.
    sync(scene, &git("2"), &[]).expect("it is admitted");
    assert_eq!(levers(scene), held);
    for object in OBJECTS {
        assert_eq!(exactly(scene, object)["metadata"]["annotations"]["version"], "2", "{object}");
    }
    let status = hibernation.until_condition("Hibernated", "True").await;
    assert_eq!(condition(&status, "Ready"), "True");
    for workload in status["workloads"].as_array().into_iter().flatten() {
        assert_eq!(workload["foreignWrites"], Value::Null, "{workload:#}");
    }

    woken(&hibernation).await;
    sync(scene, &git("1"), &[]).expect("nothing is held");
    assert_eq!(OBJECTS.map(|object| exactly(scene, object)), before);
}
