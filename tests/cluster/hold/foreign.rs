//! Foreign writes to held objects are judged by their field manager, and reported.

use k8s_openapi::api::{autoscaling::v2::HorizontalPodAutoscaler, events::v1::Event};
use kube::{Api, runtime::watcher};
use serde_json::{Value, json};

use crate::support::{
    hibernation::{asleep, of, woken},
    hold::{held, until_held},
    kubectl::exactly,
    object::of_workload,
    scene::Scene,
    wait, workload,
};

#[tokio::test]
async fn who_peeks_is_named_in_the_status_and_by_an_event_and_changes_nothing() {
    let scene = Scene::create("peek").await;
    scene.deploy("worker", 2).await;
    let hibernation = asleep(&scene, of("worker", json!({}))).await;
    scene.kubectl(&["scale", "deployment/worker", "--replicas=1"]);
    until_held(&scene, "worker").await;
    let says = "kubectl set replicas to 1 through /scale";
    let reported = |status: &Value, says: &str| {
        let message = of_workload(status, "worker")["message"].as_str().unwrap_or_default();
        message.contains(says) && message.contains("; reverted. The wake restores 2")
    };
    let status = hibernation.until("reported", |status| reported(status, says)).await;
    assert_eq!(of_workload(&status, "worker")["original"], "2");
    let events: Api<Event> = scene.namespace.api();
    wait::until_all(&events, watcher::Config::default(), "an event of it", |events| {
        events.iter().any(|event| {
            event.reason.as_deref() == Some("ForeignChange")
                && event.note.as_deref().is_some_and(|note| note.contains(says))
        })
    })
    .await;
    // A field manager that owns no other field does not deploy either.
    let patch =
        ["--type=merge", "--field-manager=some-scaler", "--patch", r#"{"spec":{"replicas":7}}"#];
    scene.kubectl(&[&["patch", "deployment/worker"], &patch[..]].concat());
    hibernation.until("reported", |status| reported(status, "some-scaler set replicas to 7")).await;
    until_held(&scene, "worker").await;
    woken(&hibernation).await;
    assert_eq!(workload::replicas(&scene.deployment("worker").await), 2);
}

#[tokio::test]
async fn an_autoscaler_rests_while_it_is_held_and_owns_its_replicas_again() {
    let scene = Scene::create("hpa").await;
    scene.deploy("worker", 1).await;
    let autoscaler: HorizontalPodAutoscaler = workload::object(json!({
        "metadata": {"name": "worker"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "worker"},
            "minReplicas": 2, "maxReplicas": 3,
        },
    }));
    workload::create(&scene.namespace, &autoscaler).await;
    scene.until_replicas("worker", 2).await;
    workload::until_ready(&scene.namespace, "worker").await;
    let before = exactly(&scene, "deployment/worker");
    let hibernation = asleep(&scene, of("worker", json!({}))).await;
    let autoscalers: Api<HorizontalPodAutoscaler> = scene.namespace.api();
    wait::until(&autoscalers, "worker", "disabled", |autoscaler| {
        let status = autoscaler.status.as_ref().and_then(|status| status.conditions.as_ref());
        status.into_iter().flatten().any(|condition| {
            condition.reason.as_deref() == Some("ScalingDisabled") && condition.status == "False"
        })
    })
    .await;
    assert!(held(&scene.deployment("worker").await));
    woken(&hibernation).await;
    assert_eq!(exactly(&scene, "deployment/worker"), before);
}
