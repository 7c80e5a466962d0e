//! `torpor release` restores held objects without an operator.

use std::collections::BTreeSet;

use axum::http::Method;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::ConfigMap};
use kube::api::{ApiResource, DynamicObject, PostParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use torpor::api::MaintenanceWindow;
use torpor::hold::record::{ANNOTATION, LABEL, Record};

use crate::support::{
    cluster,
    config_map::create_config_map,
    hibernation::{Hibernation, asleep, of, woken},
    hold::{held, untouched},
    kubectl::{exactly, file},
    proxy::{Fate, Proxy},
    release::{Ended, command, torpor},
    scene::Scene,
    wait,
    workload::{self, manifest},
};

/// Writes a hold of another holder into the annotation.
async fn held_by_another(scene: &Scene, name: &str, holder: &str) {
    let deployment = scene.deployment(name).await;
    let mut record: Record = deployment
        .annotations()
        .get(ANNOTATION)
        .map(|text| serde_json::from_str(text).expect("a record"))
        .unwrap_or_default();
    let held = record.levers.entry("/spec/replicas".to_owned()).or_default();
    held.original = held.original.take().or(Some(json!(workload::replicas(&deployment))));
    let holder = format!("{holder}/{}/other", scene.namespace.name);
    let holding = json!({"by": holder, "value": 0, "episode": "e"});
    held.holders.push(serde_json::from_value(holding).expect("a holding"));
    let (annotation, label) = record.written();
    let patch = json!({
        "metadata": {"annotations": {ANNOTATION: annotation}, "labels": {LABEL: label}},
        "spec": {"replicas": 0},
    });
    workload::merge::<Deployment>(&scene.namespace, name, patch).await;
}

/// Creates two Deployments that a Hibernation holds. A `MaintenanceWindow` holds one of them too, and
/// the operator is gone.
async fn held_by_two(test: &str) -> Scene {
    let mut scene = Scene::create(test).await;
    scene.deploy("worker", 1).await;
    scene.deploy("second", 1).await;
    let all = json!({"workloads": [{"kind": "Deployment", "all": true}]});
    asleep(&scene, of("worker", all)).await;
    scene.operator.kill9();
    held_by_another(&scene, "worker", "MaintenanceWindow").await;
    scene
}

#[tokio::test]
async fn everything_is_released_without_an_operator_and_exactly_as_it_was() {
    let mut scene = Scene::create("release-all").await;
    scene.deploy("worker", 2).await;
    scene.deploy("api", 1).await;
    workload::create(&scene.namespace, &workload::cron_job("nightly", "exit 0")).await;
    create_config_map(&scene, "env", json!({})).await;
    let objects = ["deployment/worker", "deployment/api", "cronjob/nightly", "configmap/env"];
    let before = objects.map(|object| exactly(&scene, object));
    let more = json!({
        "workloads": [
            {"kind": "Deployment", "name": "worker"}, {"kind": "CronJob", "name": "nightly"},
            {"kind": "Deployment", "name": "api", "action": "Restart"},
        ],
        "configMaps": [{"name": "env"}],
    });
    let hibernation = asleep(&scene, of("worker", more)).await;
    scene.operator.kill9();

    let versions = || {
        objects.map(|object| {
            scene.kubectl(&["get", object, "--output=jsonpath={.metadata.resourceVersion}"])
        })
    };
    let there = versions();
    let seen = torpor(&scene, &["--all", "--dry-run"]);
    let seen =
        seen.with(0, &["nothing was changed", "warning: hib/project exists", "state: Awake"]);
    assert_eq!(seen.row("deployment/worker"), "deployment/worker | replicas | 0 | 2 | hib/project");
    assert_eq!(
        seen.row("cronjob/nightly"),
        "cronjob/nightly | suspend | true | false | hib/project"
    );
    assert_eq!(
        seen.row("configmap/env | HIBERNATE_MODE"),
        "configmap/env | HIBERNATE_MODE | true | no | hib/project"
    );
    assert_eq!(
        seen.row("configmap/env | INGEST_ENABLED"),
        "configmap/env | INGEST_ENABLED | false | (not set) | hib/project"
    );
    assert_eq!(versions(), there);

    torpor(&scene, &["--all"]).with(0, &["4 restored"]);
    for (object, before) in objects.iter().zip(before) {
        assert_eq!(exactly(&scene, object), before, "{object}");
    }
    torpor(&scene, &["--all"]).with(0, &["no object is held in namespace"]);
    torpor(&scene, &["hib/project"]).with(1, &["hib/project holds nothing in namespace"]);
    // An awake Hibernation holds nothing again: no warning.
    hibernation.set_state("Awake").await;
    held_by_another(&scene, "worker", "Hibernation").await;
    let ended = torpor(&scene, &["--all"]).with(0, &["1 restored"]);
    assert!(!ended.err.contains("warning"), "{}", ended.err);
}

#[tokio::test]
async fn one_holder_is_released_and_the_others_stay() {
    let scene = held_by_two("release-one").await;
    torpor(&scene, &["hib/unknown"]).with(1, &["holders there: hib/project, mw/other"]);

    let seen = torpor(&scene, &["--dry-run", "hib/project"]);
    assert_eq!(
        seen.row("deployment/worker"),
        "deployment/worker | replicas | 0 | (stays held) | hib/project, mw/other"
    );
    let said = ["deployment/worker: still held by mw/other", "1 restored, 1 still held by others"];
    torpor(&scene, &["hib/project"]).with(0, &said);
    assert_eq!(workload::replicas(&scene.deployment("second").await), 1);
    assert_eq!(workload::replicas(&scene.deployment("worker").await), 0);
    // The last holder exists and may hold again until it is suspended.
    let window = json!({
        "apiVersion": "torpor.dev/v1alpha1", "kind": "MaintenanceWindow",
        "metadata": {"name": "other"}, "spec": {"start": "2000-01-01T00:00:00Z"},
    });
    let window: DynamicObject = serde_json::from_value(window).expect("an object");
    let resource = ApiResource::erase::<MaintenanceWindow>(&());
    let windows: Api<DynamicObject> =
        Api::namespaced_with(scene.namespace.client.clone(), &scene.namespace.name, &resource);
    windows.create(&PostParams::default(), &window).await.expect("the window is admitted");
    let said = ["warning: mw/other exists", "suspend: true", "kubectl patch mw/other"];
    torpor(&scene, &["mw/other", "--dry-run"]).with(0, &said);
    let patch = r#"{"spec":{"suspend":true}}"#;
    scene.kubectl(&["patch", "mw/other", "--type=merge", "--patch", patch]);
    let ended = torpor(&scene, &["maintenancewindow/other"]).with(0, &["1 restored"]);
    assert!(!ended.err.contains("warning"), "{}", ended.err);
    let worker = scene.deployment("worker").await;
    assert_eq!(workload::replicas(&worker), 1);
    assert!(untouched(&worker));
}

#[tokio::test]
async fn one_object_is_released_whoever_holds_it() {
    let scene = held_by_two("release-object").await;
    torpor(&scene, &["deploy/worker"]).with(0, &["1 restored"]);
    assert!(untouched(&scene.deployment("worker").await));
    assert_eq!(workload::replicas(&scene.deployment("worker").await), 1);
    assert_eq!(workload::replicas(&scene.deployment("second").await), 0);

    // An unknown original is not guessed.
    scene.kubectl(&["annotate", "deployment/second", "torpor.dev/hold-"]);
    let said = ["Deployment second", "is gone or was changed", "originals", "1 not restored"];
    torpor(&scene, &["deployment/second"]).with(1, &said);
    assert_eq!(workload::replicas(&scene.deployment("second").await), 0);
}

#[tokio::test]
async fn a_deploy_while_asleep_is_what_is_released_to() {
    let mut scene = Scene::create("release-deploy").await;
    create_config_map(&scene, "env", json!({})).await;
    let spec = json!({"state": "Hibernated", "configMaps": [{"name": "env"}]});
    asleep(&scene, spec).await;
    scene.operator.kill9();
    let patch = r#"{"data":{"HIBERNATE_MODE":"deployed","OTHER":"1"}}"#;
    scene.kubectl(&[
        "patch",
        "configmap/env",
        "--field-manager=unknown",
        "--type=merge",
        "--patch",
        patch,
    ]);
    let seen = torpor(&scene, &["--all", "--dry-run"]);
    assert!(
        seen.row("configmap/env | HIBERNATE_MODE").contains("| deployed | deployed |"),
        "{}",
        seen.out
    );
    torpor(&scene, &["--all"]).success();
    let config_maps: Api<ConfigMap> = scene.namespace.api();
    let data = config_maps.get("env").await.expect("it is there").data.unwrap_or_default();
    assert_eq!(data.get("HIBERNATE_MODE").map(String::as_str), Some("deployed"));
    assert_eq!(data.get("INGEST_ENABLED"), None);
}

#[tokio::test]
async fn who_writes_while_it_is_released_loses_nothing_and_all_the_same_it_is_released() {
    let mut scene = Scene::create("release-conflict").await;
    let names = ["deployed", "labelled", "scaled"];
    let written = |name: &str, version| file(&scene, &manifest(name, 2, version));
    for name in names {
        scene.kubectl(&["apply", "--filename", &written(name, "1")]);
    }
    for name in names {
        workload::until_ready(&scene.namespace, name).await;
    }
    let before = ["deployment/labelled", "deployment/scaled"].map(|name| exactly(&scene, name));
    let all = json!([{"kind": "Deployment", "all": true}]);
    asleep(&scene, json!({"state": "Hibernated", "workloads": all})).await;
    scene.operator.kill9();

    let deploy = file(&scene, &manifest("deployed", 3, "2"));
    let (proxy, namespace) = (Proxy::start().await, scene.namespace.name.clone());
    let mut met = BTreeSet::new();
    proxy.rule(move |request| {
        // Between its read and its write.
        if request.method == Method::PATCH && met.insert(request.name().to_owned()) {
            let write: &[&str] = match request.name() {
                "deployed" => &["apply", "--filename", &deploy],
                "labelled" => &["label", "deployment/labelled", "touched=yes"],
                _ => &["scale", "deployment/scaled", "--replicas=1"],
            };
            cluster::kubectl(&[&["--namespace", &namespace], write].concat());
        }
        Fate::Pass
    });
    let arguments = ["--namespace", &scene.namespace.name, "--all"];
    let mut release = command(&arguments);
    release.env("KUBECONFIG", proxy.kubeconfig(&scene.namespace.name));
    let ended = tokio::task::spawn_blocking(move || release.output()).await.expect("it is run");
    Ended::of(&ended.expect("it runs")).with(0, &["3 restored"]);
    let patches = |name| {
        let requests = proxy.requests();
        let all = requests.iter().filter(|r| r.method == Method::PATCH && r.name() == name);
        all.map(|request| request.met(409)).collect::<Vec<_>>()
    };
    for name in names {
        let conflicts = patches(name);
        let (first, last) = (conflicts.first(), conflicts.last());
        assert_eq!((first, last), (Some(&true), Some(&false)), "{name}: {conflicts:?}");
    }
    scene.kubectl(&["label", "deployment/labelled", "touched-"]);
    assert_eq!(["deployment/labelled", "deployment/scaled"].map(|o| exactly(&scene, o)), before);
    let deployed = scene.deployment("deployed").await;
    assert!(untouched(&deployed));
    assert_eq!(workload::replicas(&deployed), 3, "a deploy is what it is released to");
}

#[tokio::test]
async fn what_is_released_under_a_living_hibernation_is_held_again_as_it_was_warned() {
    let scene = Scene::create("release-living").await;
    scene.deploy("worker", 1).await;
    let hibernation: Hibernation = asleep(&scene, of("worker", json!({}))).await;
    let deployments: Api<Deployment> = scene.namespace.api();
    let released = deployments.get("worker").await.expect("it is there").resource_version();
    torpor(&scene, &["hib/project"])
        .with(0, &["warning: hib/project exists and holds the released objects again"]);
    wait::until(&deployments, "worker", "held again", |worker| {
        held(worker) && worker.resource_version() != released
    })
    .await;
    woken(&hibernation).await;
    assert_eq!(workload::replicas(&scene.deployment("worker").await), 1);
}
