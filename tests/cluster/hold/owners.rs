//! A woken object is exactly as before, down to its managedFields.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use kube::{Api, ResourceExt, api::DeleteParams};
use serde_json::{Value, json};
use torpor::hold::record::{ANNOTATION, LABEL, Record};

use crate::support::{
    config_map::config_map,
    hibernation::{Hibernation, asleep, of, woken},
    hold::{until_held, untouched},
    kubectl::{apply, create, exactly, file},
    release::torpor,
    scene::Scene,
    wait,
    workload::{self, manifest},
};

fn daemon(name: &str, selector: Option<Value>) -> Value {
    let mut manifest = manifest(name, 1, "1");
    manifest["kind"] = json!("DaemonSet");
    let spec = manifest["spec"].as_object_mut().expect("a spec");
    spec.remove("replicas");
    if let Some(selector) = selector {
        spec["template"]["spec"]["nodeSelector"] = selector;
    }
    manifest
}

/// Creates an object for each common way to write manifests. Returns the names of the objects.
fn everybody(scene: &Scene) -> Vec<String> {
    let deployment = |name: &str| manifest(name, 1, "1");
    let plain = |name: &str| {
        let mut manifest = deployment(name);
        manifest["spec"]["template"]["metadata"].as_object_mut().expect("it").remove("annotations");
        manifest
    };
    // kubectl apply.
    scene.kubectl(&["apply", "--filename", &file(scene, &deployment("client-side"))]);
    // A server-side apply with several fields, and one beside another that has but the replicas.
    apply(scene, "argocd-controller", &deployment("server-side"));
    apply(scene, "argocd-controller", &deployment("shared"));
    let only_replicas = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "shared"},
        "spec": {"replicas": 1},
    });
    apply(scene, "autoscaler", &only_replicas);
    // Helm 3 updates, Helm 4 applies.
    create(scene, "helm", &deployment("helm-three"));
    apply(scene, "helm", &deployment("helm-four"));
    // An apply that leaves the replicas to the default, and to a person.
    let mut defaulted = deployment("defaulted");
    defaulted["spec"].as_object_mut().expect("a spec").remove("replicas");
    apply(scene, "flux", &defaulted);
    defaulted["metadata"]["name"] = json!("scaled");
    apply(scene, "flux", &defaulted);
    scene.kubectl(&["scale", "deployment/scaled", "--replicas=2"]);
    // Restarted ones: with and without annotations of their pods before.
    apply(scene, "flux", &deployment("api"));
    create(scene, "kubectl-create", &plain("plain-api"));
    apply(scene, "flux", &daemon("agent", Some(json!({"kubernetes.io/os": "linux"}))));
    create(scene, "helm", &daemon("helm-agent", Some(json!({"kubernetes.io/os": "linux"}))));
    create(scene, "helm", &daemon("anywhere", None));
    let values = json!({"HIBERNATE_MODE": "no", "OTHER": "1"});
    apply(scene, "flux", &config_map("env", Some(values.clone())));
    create(scene, "helm", &config_map("env-helm", Some(values)));
    create(scene, "helm", &config_map("env-other", Some(json!({"OTHER": "1"}))));
    create(scene, "helm", &config_map("env-none", None));
    let deployments = [
        "client-side",
        "server-side",
        "shared",
        "helm-three",
        "helm-four",
        "defaulted",
        "scaled",
        "api",
        "plain-api",
    ];
    let objects = deployments.map(|name| format!("deployment/{name}")).into_iter();
    let others = [
        "daemonset/agent",
        "daemonset/helm-agent",
        "daemonset/anywhere",
        "configmap/env",
        "configmap/env-helm",
        "configmap/env-other",
        "configmap/env-none",
    ];
    objects.chain(others.map(str::to_owned)).collect()
}

fn of_everybody() -> Value {
    let restart = |name: &str| json!({"kind": "Deployment", "name": name, "action": "Restart"});
    json!({
        "state": "Hibernated",
        "workloads": [
            {"kind": "Deployment", "all": true}, restart("api"), restart("plain-api"),
            {"kind": "DaemonSet", "all": true},
        ],
        "configMaps": [
            {"name": "env"}, {"name": "env-helm"}, {"name": "env-other"}, {"name": "env-none"},
        ],
    })
}

#[tokio::test]
async fn everything_is_exactly_as_it_was_down_to_the_owners_of_fields() {
    let scene = Scene::create("owners").await;
    let objects = everybody(&scene);
    for name in ["client-side", "server-side", "shared", "helm-three", "helm-four", "defaulted"] {
        workload::until_ready(&scene.namespace, name).await;
    }
    wait::until::<DaemonSet>(&scene.namespace.api(), "agent", "ready", |daemon| {
        daemon.status.as_ref().is_some_and(|status| status.number_ready > 0)
    })
    .await;
    let all = || -> BTreeMap<String, Value> {
        objects.iter().map(|object| (object.clone(), exactly(&scene, object))).collect()
    };
    let before = all();
    let hibernation = Hibernation::create(&scene.namespace, "project", of_everybody()).await;
    hibernation.until_phase("Hibernated").await;
    for (object, asleep) in all() {
        assert_ne!(asleep, before[&object], "{object} is held");
    }
    woken(&hibernation).await;
    for (object, after) in all() {
        assert_eq!(after, before[&object], "{object}");
    }
    // So that an apply meets no conflict.
    for (name, manager) in [
        ("server-side", "argocd-controller"),
        ("shared", "argocd-controller"),
        ("helm-four", "helm"),
    ] {
        // Two who share a field can't disagree on it, whoever held it in between.
        let replicas = if name == "shared" { 1 } else { 2 };
        apply(&scene, manager, &manifest(name, replicas, "2"));
    }
    apply(&scene, "flux", &manifest("defaulted", 2, "1"));
    let values = json!({"HIBERNATE_MODE": "changed", "OTHER": "1", "INGEST_ENABLED": "true"});
    apply(&scene, "flux", &config_map("env", Some(values)));
    apply(&scene, "flux", &daemon("agent", Some(json!({"kubernetes.io/arch": "amd64"}))));
}

/// Puts a Deployment into the state between the two writes of a wake, as a crash leaves it: the
/// value is restored, nobody holds it, and ownership is not handed back yet.
async fn between(scene: &Scene, name: &str) {
    let deployment = scene.deployment(name).await;
    let mut record: Record =
        serde_json::from_str(&deployment.annotations()[ANNOTATION]).expect("a record");
    let held = record.levers.get_mut("/spec/replicas").expect("it is held");
    held.holders.clear();
    let original = held.original.clone();
    let (annotation, label) = record.written();
    let patch = json!({
        "metadata": {"annotations": {ANNOTATION: annotation}, "labels": {LABEL: label}},
        "spec": {"replicas": original},
    });
    let (object, patch) = (format!("deployment/{name}"), patch.to_string());
    let as_torpor = ["--type=merge", "--field-manager=torpor", "--patch"];
    scene.kubectl(&[&["patch", &object], &as_torpor[..], &[&patch]].concat());
}

/// Applies a Deployment server-side and puts it to sleep. Returns the Deployment as it was before.
async fn applied_and_asleep(scene: &Scene) -> (Value, Hibernation) {
    apply(scene, "flux", &manifest("worker", 1, "1"));
    workload::until_ready(&scene.namespace, "worker").await;
    let before = exactly(scene, "deployment/worker");
    (before, asleep(scene, of("worker", json!({}))).await)
}

#[tokio::test]
async fn killed_between_the_two_writes_of_a_wake_it_finishes_when_started_again() {
    let mut scene = Scene::create("between").await;
    let (before, hibernation) = applied_and_asleep(&scene).await;
    scene.operator.kill9();
    between(&scene, "worker").await;
    hibernation.set_state("Awake").await;
    scene.operator.restart();
    hibernation.until_phase("Awake").await;
    assert_eq!(exactly(&scene, "deployment/worker"), before);
    apply(&scene, "flux", &manifest("worker", 2, "1"));
}

#[tokio::test]
async fn killed_between_the_two_writes_it_is_finished_even_where_the_holder_is_gone() {
    let mut scene = Scene::impatient("between-gone").await;
    let (before, hibernation) = applied_and_asleep(&scene).await;
    scene.operator.kill9();
    between(&scene, "worker").await;
    hibernation.patch(json!({"metadata": {"finalizers": null}})).await;
    hibernation.api.delete("project", &DeleteParams::default()).await.expect("it is deleted");
    scene.operator.restart();
    let deployments: Api<Deployment> = scene.namespace.api();
    wait::until(&deployments, "worker", "without a trace", untouched).await;
    assert_eq!(exactly(&scene, "deployment/worker"), before);
}

#[tokio::test]
async fn what_is_healed_from_the_status_goes_back_to_its_apply_too() {
    let scene = Scene::create("healed-owner").await;
    let (before, hibernation) = applied_and_asleep(&scene).await;
    scene.kubectl(&["annotate", "deployment/worker", "torpor.dev/hold-"]);
    until_held(&scene, "worker").await;
    woken(&hibernation).await;
    assert_eq!(exactly(&scene, "deployment/worker"), before);
}

#[tokio::test]
async fn what_was_released_and_set_to_zero_since_is_left_alone() {
    let mut scene = Scene::create("let-go").await;
    scene.deploy("worker", 1).await;
    let hibernation = asleep(&scene, of("worker", json!({}))).await;
    // The status still tells of the hold, as after a crash right behind the write.
    scene.operator.kill9();
    torpor(&scene, &["hib/project"]).success();
    scene.kubectl(&["scale", "deployment/worker", "--replicas=0"]);
    hibernation.set_state("Awake").await;
    scene.operator.restart();
    hibernation.until_phase("Awake").await;
    let worker = scene.deployment("worker").await;
    assert_eq!(workload::replicas(&worker), 0);
    assert!(untouched(&worker));
}
