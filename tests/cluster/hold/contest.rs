//! Other field managers write held fields again and again.

use std::time::Duration;

use k8s_openapi::api::{apps::v1::Deployment, events::v1::Event};
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::support::{
    hibernation::{asleep, message, of, woken},
    hold::until_held,
    kubectl::{exactly, file},
    object::{condition, of_workload, reason},
    scene::Scene,
    workload::{self, manifest},
};

/// Applies the manifest of Git again and again, as a tool does that finds a difference: at once, and after
/// each of these pauses, in seconds. The operator is killed after the second time.
async fn reverts(test: &str, manager: &str, pauses: &[u64], says: &str) {
    let mut scene = Scene::create(test).await;
    let git = file(&scene, &manifest("worker", 2, "1"));
    let tool = format!("--field-manager={manager}");
    let sync = ["apply", "--server-side", "--force-conflicts", &tool, "--filename", &git];
    scene.kubectl(&sync);
    workload::until_ready(&scene.namespace, "worker").await;
    let before = exactly(&scene, "deployment/worker");
    let hibernation = asleep(&scene, of("worker", json!({}))).await;
    for (count, pause) in (1..).zip([0].iter().chain(pauses)) {
        // The time between two syncs is what is tested.
        tokio::time::sleep(Duration::from_secs(*pause)).await;
        scene.kubectl(&sync);
        until_held(&scene, "worker").await;
        let counted = |status: &Value| {
            of_workload(status, "worker")["foreignWrites"]["count"] == json!(count)
        };
        let status = hibernation.until("the change is counted", counted).await;
        let contested = reason(&status, "Stalled") == "Contested";
        assert_eq!(contested, count >= 3, "change {count}: {status:#}");
        if count == 2 {
            scene.operator.kill9();
            scene.operator.restart();
        }
    }
    let status = hibernation.until_condition("Hibernated", "True").await;
    assert_eq!(reason(&status, "Stalled"), "Contested");
    assert!(message(&status, "Stalled").contains(says), "{status:#}");
    assert_eq!(contested_events(&scene).await, 1);

    // All ends with the hibernation.
    woken(&hibernation).await;
    assert_eq!(exactly(&scene, "deployment/worker"), before);
    hibernation.set_state("Hibernated").await;
    let status = hibernation.until_condition("Hibernated", "True").await;
    assert_eq!(condition(&status, "Stalled"), "False");
}

/// Counts the Events that tell of a contest.
async fn contested_events(scene: &Scene) -> usize {
    let events: Api<Event> = scene.namespace.api();
    let events = events.list(&ListParams::default()).await.expect("events are listed");
    events.iter().filter(|event| event.reason.as_deref() == Some("Contested")).count()
}

#[tokio::test]
async fn flux_is_reverted_at_once_and_named() {
    let says = "spec.ignore of the Flux Kustomization: {target: {labelSelector: torpor.dev/held}, paths: [/spec/replicas]}";
    reverts("flux", "kustomize-controller", &[10, 10, 10], says).await;
}

#[tokio::test]
async fn argo_cd_that_backs_off_is_reverted_at_once_and_named() {
    let says = "managedFieldsManagers: [torpor]";
    reverts("argo", "argocd-controller", &[2, 6, 18], says).await;
}

#[tokio::test]
async fn who_scales_it_again_and_again_is_named_and_changes_nothing() {
    let scene = Scene::create("contested").await;
    scene.deploy("worker", 2).await;
    let hibernation = asleep(&scene, of("worker", json!({}))).await;
    for _ in 0..3 {
        scene.kubectl(&["scale", "deployment/worker", "--replicas=1"]);
        until_held(&scene, "worker").await;
    }
    scene.kubectl(&["scale", "deployment/worker", "--replicas=1"]);
    let contested = |status: &Value| reason(status, "Stalled") == "Contested";
    let status = hibernation.until("contested", contested).await;
    assert!(message(&status, "Stalled").contains("kubectl"), "{status:#}");
    until_held(&scene, "worker").await;

    // A wake in the middle of it does not wait for the contest to end.
    for _ in 0..2 {
        scene.kubectl(&["scale", "deployment/worker", "--replicas=1"]);
    }
    woken(&hibernation).await;
    assert_eq!(workload::replicas(&scene.deployment("worker").await), 2);
}

#[tokio::test]
async fn a_controller_that_never_stops_is_named_with_what_to_configure_and_never_given_up() {
    let scene = Scene::create("never-stops").await;
    scene.deploy("worker", 2).await;
    let hibernation = asleep(&scene, of("worker", json!({}))).await;
    let deployments: Api<Deployment> = scene.namespace.api();
    let controller = tokio::spawn({
        let deployments = deployments.clone();
        async move {
            let params = PatchParams {
                field_manager: Some("argocd-controller".into()),
                ..PatchParams::default()
            };
            let patch = Patch::Merge(json!({"spec": {"replicas": 1}}));
            loop {
                // The controller continues after any answer.
                drop(deployments.patch("worker", &params, &patch).await);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    });
    let contested = |status: &Value| reason(status, "Stalled") == "Contested";
    let status = hibernation.until("contested", contested).await;
    for words in ["argocd-controller", "Deployment worker (/spec/replicas)"] {
        assert!(message(&status, "Stalled").contains(words), "{words}: {status:#}");
    }
    // What runs is never reported as down.
    let running = |status: &Value| of_workload(status, "worker")["state"] == "Changed";
    let status = hibernation.until("it runs", running).await;
    assert_eq!((condition(&status, "Hibernated"), &status["counts"]["down"]), ("False", &json!(0)));
    assert_ne!(status["phase"], "Hibernated");
    // Six times a minute, and without an end.
    for _ in 0..2 {
        scene.until_replicas("worker", 1).await;
        until_held(&scene, "worker").await;
    }
    controller.abort();
    hibernation.until_condition("Hibernated", "True").await;
    // Its last write may have been under way when it was stopped.
    until_held(&scene, "worker").await;
    woken(&hibernation).await;
    assert_eq!(workload::replicas(&scene.deployment("worker").await), 2);
}
