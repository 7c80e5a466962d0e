//! A copy of a held object carries a record that is not its own.

use std::time::Duration;

use k8s_openapi::api::{apps::v1::Deployment, events::v1::Event};
use kube::{Api, ResourceExt, runtime::watcher};
use serde_json::{Value, json};

use crate::support::{
    hibernation::{Hibernation, asleep, of, woken},
    hold::{held, until_held, untouched},
    kubectl::{exported, file},
    release::torpor,
    scene::Scene,
    wait, workload,
};

/// Returns a Deployment as a person exports it for a copy under another name.
fn copy_of(scene: &Scene, name: &str) -> Value {
    let mut object = exported(scene, "deployment/worker");
    object.as_object_mut().expect("an object").remove("status");
    object["metadata"]["name"] = json!(name);
    object["spec"]["selector"]["matchLabels"] = json!({"app": name});
    object["spec"]["template"]["metadata"]["labels"] = json!({"app": name});
    object
}

fn apply(scene: &Scene, manifest: &Value) {
    scene.kubectl(&["apply", "--filename", &file(scene, manifest)]);
}

async fn until_told(scene: &Scene, name: &str) {
    let events: Api<Event> = scene.namespace.api();
    wait::until_all(&events, watcher::Config::default(), "an event of the copy", |events| {
        events.iter().any(|event| {
            event.reason.as_deref() == Some("RecordCopied")
                && event.regarding.as_ref().and_then(|r| r.name.as_deref()) == Some(name)
                && event
                    .note
                    .as_deref()
                    .is_some_and(|note| note.contains("/worker in its annotation"))
        })
    })
    .await;
}

/// Watches for longer than the grace period of the sweep.
async fn stays_at_zero(scene: &Scene, name: &str) {
    let deployments: Api<Deployment> = scene.namespace.api();
    let only = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let started = |all: &[Deployment]| all.iter().any(|one| workload::replicas(one) > 0);
    wait::never_within(&deployments, only, Duration::from_secs(8), "it is started", started).await;
}

#[tokio::test]
async fn a_copy_in_the_same_namespace_is_left_alone_and_told() {
    let scene = Scene::impatient("copy").await;
    scene.deploy("worker", 2).await;
    let hibernation = asleep(&scene, of("worker", json!({}))).await;
    let canary = copy_of(&scene, "canary");
    apply(&scene, &canary);
    until_told(&scene, "canary").await;
    stays_at_zero(&scene, "canary").await;

    // Original and copy are applied again, as they were exported.
    let worker = exported(&scene, "deployment/worker");
    let list = json!({"apiVersion": "v1", "kind": "List", "metadata": {"name": "list"}, "items": [worker, canary]});
    apply(&scene, &list);
    until_held(&scene, "worker").await;
    stays_at_zero(&scene, "canary").await;
    torpor(&scene, &["--all", "--dry-run"])
        .with(0, &["Deployment canary has the record of Deployment"]);
    woken(&hibernation).await;
    assert_eq!(workload::replicas(&scene.deployment("worker").await), 2);
    assert_eq!(workload::replicas(&scene.deployment("canary").await), 0);
    assert!(untouched(&scene.deployment("worker").await));
}

#[tokio::test]
async fn a_copy_that_is_selected_is_held_and_wakes_as_it_was_made() {
    let scene = Scene::impatient("copy-all").await;
    scene.deploy("worker", 2).await;
    let all = json!({"state": "Hibernated", "workloads": [{"kind": "Deployment", "all": true}]});
    let hibernation = asleep(&scene, all).await;
    let mut made = copy_of(&scene, "made");
    apply(&scene, &copy_of(&scene, "canary"));
    made["spec"]["replicas"] = json!(1);
    apply(&scene, &made);
    let deployments: Api<Deployment> = scene.namespace.api();
    for name in ["canary", "made"] {
        let own = |copy: &Deployment| {
            let record = copy.annotations().get("torpor.dev/hold");
            held(copy) && record.is_some_and(|record| record.contains(&format!("\"{name}\"")))
        };
        wait::until(&deployments, name, "held with a record of its own", own).await;
    }
    woken(&hibernation).await;
    for (name, replicas) in [("worker", 2), ("canary", 0), ("made", 1)] {
        let deployment = scene.deployment(name).await;
        assert_eq!(workload::replicas(&deployment), replicas, "{name}");
        assert!(untouched(&deployment), "{name}");
    }
}

#[tokio::test]
async fn what_is_restored_into_another_namespace_is_left_to_a_holder_of_that_name_there() {
    let first = Scene::create("copy-first").await;
    first.deploy("worker", 2).await;
    asleep(&first, of("worker", json!({}))).await;
    let mut worker = copy_of(&first, "worker");
    let second = Scene::impatient("copy-second").await;
    worker["metadata"]["namespace"] = json!(second.namespace.name);
    apply(&second, &worker);
    until_told(&second, "worker").await;
    stays_at_zero(&second, "worker").await;
    let spec = of("worker", json!({"state": "Awake"}));
    let project = Hibernation::create(&second.namespace, "project", spec).await;
    let back = |worker: &Deployment| untouched(worker) && workload::replicas(worker) == 2;
    wait::until::<Deployment>(&second.namespace.api(), "worker", "awake", back).await;
    project.until_phase("Awake").await;
    assert!(held(&first.deployment("worker").await));
}
