//! Mutating admission changes what Torpor writes: nothing is lost, it is told, and it ends by itself.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use kube::{Api, runtime::watcher};
use serde_json::{Value, json};

use crate::support::{
    admission::Policy,
    hibernation::{Hibernation, asleep, message, of, woken},
    hold::{held, until_held, untouched},
    kubectl::{apply, exactly},
    object::{of_workload, reason},
    scene::Scene,
    wait,
    workload::{self, manifest},
};

/// The replicas stay as they were.
const KEEP: &str =
    r#"JSONPatch{op: "replace", path: "/spec/replicas", value: oldObject.spec.replicas}"#;

fn two_workloads(deadline: &str) -> Value {
    json!({
        "state": "Hibernated",
        "workloads": [{"kind": "Deployment", "all": true}],
        "progressDeadline": deadline,
    })
}

#[tokio::test]
async fn an_original_that_admission_keeps_from_coming_back_stays_recorded_until_it_is_back() {
    let scene = Scene::create("admission-wake").await;
    scene.deploy("updated", 3).await;
    apply(&scene, "flux", &manifest("applied", 2, "1"));
    workload::until_ready(&scene.namespace, "applied").await;
    let names = ["updated", "applied"];
    let before = names.map(|name| exactly(&scene, &format!("deployment/{name}")));
    let hibernation = asleep(&scene, two_workloads("5s")).await;
    let policy = Policy::create(&scene, "object.spec.replicas > 0", KEEP).await;
    hibernation.set_state("Awake").await;
    let says = |status: &Value, name: &str, sent: i32| {
        let changes = format!("admission changes spec.replicas to 0 where Torpor writes {sent}");
        message(status, "Stalled")
            .contains(&format!("Deployment {name} is not restored: {changes}"))
    };
    let stalled = |status: &Value| {
        status["phase"] == "Waking" && says(status, "updated", 3) && says(status, "applied", 2)
    };
    let status = hibernation.until("stalled", stalled).await;
    assert_eq!(of_workload(&status, "updated")["original"], "3", "{status:#}");
    for name in names {
        let deployment = scene.deployment(name).await;
        assert_eq!(workload::replicas(&deployment), 0);
        assert!(!untouched(&deployment), "{name} keeps its record");
    }
    policy.delete().await;
    hibernation.until_phase("Awake").await;
    for (name, before) in names.into_iter().zip(before) {
        assert_eq!(exactly(&scene, &format!("deployment/{name}")), before, "{name}");
    }
}

#[tokio::test]
async fn a_hold_whose_mark_admission_strips_is_taken_back_told_and_tried_again() {
    let scene = Scene::create("admission-mark").await;
    scene.deploy("worker", 2).await;
    let before = exactly(&scene, "deployment/worker");
    let condition = "has(object.metadata.labels) && 'torpor.dev/held' in object.metadata.labels";
    let strip = r#"JSONPatch{op: "remove", path: "/metadata/labels/torpor.dev~1held"}"#;
    let policy = Policy::create(&scene, condition, strip).await;
    let hibernation =
        Hibernation::create(&scene.namespace, "project", of("worker", json!({}))).await;
    let told = |status: &Value| {
        reason(status, "Stalled") == "WriteRejected"
            && message(status, "Stalled").contains("admission removes the label torpor.dev/held")
    };
    hibernation.until("told", told).await;
    let deployments: Api<Deployment> = scene.namespace.api();
    wait::until(&deployments, "worker", "as before", |_| {
        exactly(&scene, "deployment/worker") == before
    })
    .await;
    // The next tries change nothing.
    let only = watcher::Config::default().fields("metadata.name=worker");
    let changes = |all: &[Deployment]| all.iter().any(|worker| workload::replicas(worker) != 2);
    let long = Duration::from_secs(20);
    wait::never_within(&deployments, only, long, "it is stopped again", changes).await;
    policy.delete().await;
    hibernation.until_phase("Hibernated").await;
    assert!(held(&scene.deployment("worker").await));
    woken(&hibernation).await;
    assert_eq!(exactly(&scene, "deployment/worker"), before);
}

#[tokio::test]
async fn a_policy_that_wants_more_replicas_is_told_as_such_and_not_as_a_foreign_write() {
    let scene = Scene::create("admission-min").await;
    scene.deploy("worker", 3).await;
    let two = r#"JSONPatch{op: "replace", path: "/spec/replicas", value: 2}"#;
    let policy = Policy::create(&scene, "object.spec.replicas < 2", two).await;
    let hibernation =
        Hibernation::create(&scene.namespace, "project", of("worker", json!({}))).await;
    let says =
        "Deployment worker is not held: admission changes spec.replicas to 2 where Torpor writes 0";
    hibernation.until("told", |status| message(status, "Stalled").contains(says)).await;
    scene.until_replicas("worker", 3).await;
    policy.delete().await;
    until_held(&scene, "worker").await;
    hibernation.until_phase("Hibernated").await;
    woken(&hibernation).await;
    assert_eq!(workload::replicas(&scene.deployment("worker").await), 3);
}

#[tokio::test]
async fn a_workload_that_torpor_left_at_zero_without_a_record_is_never_ready() {
    let mut scene = Scene::create("admission-lost").await;
    scene.deploy("worker", 2).await;
    let hibernation = asleep(&scene, of("worker", json!({}))).await;
    scene.operator.kill9();
    for mark in [["annotate", "torpor.dev/hold-"], ["label", "torpor.dev/held-"]] {
        scene.kubectl(&[mark[0], "deployment/worker", mark[1]]);
    }
    let forget =
        ["--subresource=status", "--type=merge", "--patch", r#"{"status":{"originals":null}}"#];
    scene.kubectl(&[&["patch", "hib/project"], &forget[..]].concat());
    hibernation.set_state("Awake").await;
    scene.operator.restart();
    let asks = |status: &Value| reason(status, "Stalled") == "OriginalUnknown";
    let status = hibernation.until("asked for", asks).await;
    assert_eq!(reason(&status, "Ready"), "OriginalUnknown", "{status:#}");
    assert_eq!(status["phase"], "Waking");
    assert!(message(&status, "Stalled").contains("Deployment worker"), "{status:#}");
    // As the message says.
    scene.kubectl(&["scale", "deployment/worker", "--replicas=1"]);
    hibernation.until_phase("Awake").await;
}
