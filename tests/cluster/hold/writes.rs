//! Foreign writes to a held object.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use serde_json::json;

use crate::support::{
    hibernation::{Hibernation, asleep, of, woken},
    hold::{held, until_held},
    kubectl::file,
    moments::record,
    scene::Scene,
    workload::{self, authored, manifest},
};

#[tokio::test]
async fn a_deploy_while_asleep_is_what_it_wakes_as() {
    let scene = Scene::create("deploy").await;
    let apply = |replicas| {
        let manifest = file(&scene, &manifest("worker", replicas, "1"));
        scene.kubectl(&["apply", "--filename", &manifest]);
    };
    apply(1);
    workload::until_ready(&scene.namespace, "worker").await;
    let hibernation = asleep(&scene, of("worker", json!({}))).await;
    apply(2);
    until_held(&scene, "worker").await;
    woken(&hibernation).await;
    assert_eq!(workload::replicas(&scene.deployment("worker").await), 2);
}

#[tokio::test]
async fn who_applied_it_server_side_deploys_while_asleep_and_meets_no_conflict_once_awake() {
    let scene = Scene::create("server-side").await;
    let apply = |replicas, more: &[&str]| {
        let manifest = file(&scene, &manifest("worker", replicas, "1"));
        let arguments = ["apply", "--server-side", "--field-manager=deployer"];
        scene.kubectl(&[&arguments, more, &["--filename", &manifest]].concat());
    };
    apply(1, &[]);
    workload::until_ready(&scene.namespace, "worker").await;
    let hibernation = asleep(&scene, of("worker", json!({}))).await;
    apply(2, &["--force-conflicts"]);
    until_held(&scene, "worker").await;
    woken(&hibernation).await;
    let worker = scene.deployment("worker").await;
    assert_eq!(workload::replicas(&worker), 2);
    let managers = worker.managed_fields().iter().filter_map(|entry| entry.manager.as_deref());
    assert!(
        !managers.into_iter().any(|manager| manager == "torpor"),
        "nothing is left of the hold"
    );
    apply(3, &[]);
    assert_eq!(workload::replicas(&scene.deployment("worker").await), 3);
}

#[tokio::test]
async fn a_removed_annotation_is_healed_from_the_status() {
    let scene = Scene::create("record-removed").await;
    let before = authored(&scene.deploy("worker", 2).await);
    let hibernation = asleep(&scene, of("worker", json!({}))).await;
    scene.kubectl(&["annotate", "deployment/worker", "torpor.dev/hold-"]);
    until_held(&scene, "worker").await;
    scene.kubectl(&["label", "deployment/worker", "torpor.dev/held-"]);
    until_held(&scene, "worker").await;

    // Both at once, with what it is held at left in place: nothing in it tells of the hold.
    let mut replaced = scene.deployment("worker").await;
    replaced.annotations_mut().remove("torpor.dev/hold");
    replaced.labels_mut().remove("torpor.dev/held");
    let deployments: Api<Deployment> = scene.namespace.api();
    deployments.replace("worker", &PostParams::default(), &replaced).await.expect("it is replaced");
    until_held(&scene, "worker").await;
    woken(&hibernation).await;
    assert_eq!(authored(&scene.deployment("worker").await), before);
}

#[tokio::test]
async fn an_annotation_that_is_removed_while_the_operator_is_down_is_healed_from_the_status() {
    let mut scene = Scene::create("record-removed-down").await;
    let before = authored(&scene.deploy("worker", 2).await);
    let hibernation = asleep(&scene, of("worker", json!({}))).await;
    scene.operator.kill9();
    scene.kubectl(&["annotate", "deployment/worker", "torpor.dev/hold-"]);
    scene.kubectl(&["label", "deployment/worker", "torpor.dev/held-"]);
    hibernation.set_state("Awake").await;
    scene.operator.restart();
    hibernation.until_phase("Awake").await;
    assert_eq!(authored(&scene.deployment("worker").await), before);
}

#[tokio::test]
async fn an_undone_rollout_brings_no_stale_hold_back() {
    let scene = Scene::create("undo").await;
    let apply = |version: &str| {
        let manifest = file(&scene, &manifest("worker", 1, version));
        scene.kubectl(&["apply", "--filename", &manifest]);
    };
    apply("1");
    workload::until_ready(&scene.namespace, "worker").await;
    let hibernation = asleep(&scene, of("worker", json!({}))).await;
    woken(&hibernation).await;
    // Asleep, the Deployment controller copied the annotation to the ReplicaSet of version 1.
    let sets: Api<ReplicaSet> = scene.namespace.api();
    let set = &sets.list(&ListParams::default()).await.expect("they are listed").items[0];
    let stale = json!({"metadata": {"annotations": {
        "torpor.dev/hold": r#"{"/spec/replicas":{"original":9,"holders":[]}}"#,
    }}});
    let patch = PatchParams::default();
    sets.patch(&set.name_any(), &patch, &Patch::Merge(&stale)).await.expect("it is patched");
    apply("2");
    workload::until_ready(&scene.namespace, "worker").await;
    scene.kubectl(&["rollout", "undo", "deployment/worker"]);
    workload::until_ready(&scene.namespace, "worker").await;

    hibernation.set_state("Hibernated").await;
    hibernation.until_phase("Hibernated").await;
    woken(&hibernation).await;
    let worker = scene.deployment("worker").await;
    assert_eq!(workload::replicas(&worker), 1);
    let version = worker.spec.and_then(|s| s.template.metadata).and_then(|m| m.annotations);
    assert_eq!(version.unwrap_or_default()["version"], "1");
}

#[tokio::test]
async fn what_two_hold_comes_back_when_the_last_releases_it() {
    let scene = Scene::create("two").await;
    let before = authored(&scene.deploy("worker", 1).await);
    let spec = of("worker", json!({}));
    let one = Hibernation::create(&scene.namespace, "one", spec.clone()).await;
    one.until_phase("Hibernated").await;
    let other = Hibernation::create(&scene.namespace, "other", spec).await;
    other.until_phase("Hibernated").await;
    let (moments, task) = record(&scene.namespace);
    woken(&one).await;
    assert!(held(&scene.deployment("worker").await), "the other one holds it");
    task.abort();
    for moment in moments.lock().await.iter() {
        assert_eq!(moment["worker"].0, 0, "all the time");
    }
    woken(&other).await;
    assert_eq!(authored(&scene.deployment("worker").await), before);
}
