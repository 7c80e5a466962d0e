//! Specs that are edited while asleep, sizes at their limit, and objects that cannot be parsed.

use std::collections::BTreeMap;

use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    core::v1::ConfigMap,
};
use kube::{Api, ResourceExt, api::DeleteParams};
use serde_json::{Value, json};

use crate::support::{
    config_map::create_config_map,
    hibernation::{Hibernation, asleep, message, of, until_stalled, woken},
    hold::{held, until_held, untouched},
    kubectl::exactly,
    namespace::Namespace,
    object::reason,
    operator::Operator,
    proxy::Proxy,
    scene::Scene,
    wait,
    workload::{self, WELL_BEHAVED},
};

async fn data(scene: &Scene, name: &str) -> BTreeMap<String, String> {
    let config_maps: Api<ConfigMap> = scene.namespace.api();
    config_maps.get(name).await.expect("it is there").data.unwrap_or_default()
}

#[tokio::test]
async fn a_spec_that_is_edited_while_asleep_is_what_holds() {
    let scene = Scene::create("edited-spec").await;
    scene.deploy("first", 1).await;
    scene.deploy("second", 1).await;
    create_config_map(&scene, "env", json!({})).await;
    create_config_map(&scene, "other", json!({})).await;
    let objects = ["deployment/first", "deployment/second", "configmap/env", "configmap/other"];
    let before = objects.map(|object| exactly(&scene, object));
    let entry =
        |name: &str, stage: i32| json!({"kind": "Deployment", "name": name, "stage": stage});
    let spec = json!({
        "state": "Hibernated",
        "workloads": [entry("first", 0)],
        "configMaps": [{"name": "env", "set": {"A": "1", "HIBERNATE_MODE": "yes"}}, {"name": "other"}],
    });
    let hibernation = asleep(&scene, spec).await;
    // A workload more, stages moved, other values, a key and a ConfigMap less.
    let edit = json!({"spec": {
        "workloads": [entry("first", 3), entry("second", 1)],
        "configMaps": [{"name": "env", "set": {"HIBERNATE_MODE": "deep"}}],
    }});
    hibernation.patch(edit).await;
    let all = |status: &Value| status["phase"] == "Hibernated" && status["counts"]["held"] == 3;
    hibernation.until("all of it is held", all).await;
    hibernation.until_phase("Hibernated").await;
    assert!(held(&scene.deployment("first").await) && held(&scene.deployment("second").await));
    let env = data(&scene, "env").await;
    assert_eq!((env.get("A"), env["HIBERNATE_MODE"].as_str()), (None, "deep"));
    assert_eq!(exactly(&scene, "configmap/other"), before[3]);
    woken(&hibernation).await;
    for (object, before) in objects.iter().zip(before) {
        assert_eq!(exactly(&scene, object), before, "{object}");
    }
}

#[tokio::test]
async fn labels_that_change_while_asleep_decide_who_is_held() {
    let scene = Scene::create("labels").await;
    for name in ["worker", "second"] {
        scene.deploy(name, 1).await;
        scene.kubectl(&["label", "deployment", name, "sleeps=yes"]);
    }
    let selector = |value: &str| json!([{"kind": "Deployment", "selector": {"matchLabels": {"sleeps": value}}}]);
    let spec = json!({"state": "Hibernated", "workloads": selector("yes")});
    let hibernation = asleep(&scene, spec).await;
    // The workload is renamed out of it.
    scene.kubectl(&["label", "--overwrite", "deployment/worker", "sleeps=no"]);
    scene.until_replicas("worker", 1).await;
    assert!(held(&scene.deployment("second").await));
    // The spec is moved to the other one.
    hibernation.patch(json!({"spec": {"workloads": selector("no")}})).await;
    until_held(&scene, "worker").await;
    scene.until_replicas("second", 1).await;
    hibernation.until_phase("Hibernated").await;
    woken(&hibernation).await;
    for name in ["worker", "second"] {
        let deployment = scene.deployment(name).await;
        assert!(untouched(&deployment) && workload::replicas(&deployment) == 1, "{name}");
    }
}

#[tokio::test]
async fn originals_are_kept_up_to_the_limit_and_refused_beyond_it() {
    let scene = Scene::create("size").await;
    let create = async |name: &str, size: usize| {
        create_config_map(&scene, name, json!({"data": {"A": "x".repeat(size)}})).await;
    };
    let of = |name: &str| json!({"state": "Hibernated", "configMaps": [{"name": name, "set": {"A": "1"}}]});
    // How long the record is besides the value.
    create("small", 1000).await;
    let small = Hibernation::create(&scene.namespace, "small", of("small")).await;
    small.until_phase("Hibernated").await;
    let config_maps: Api<ConfigMap> = scene.namespace.api();
    let held = config_maps.get("small").await.expect("it is there");
    let longest = 64 * 1024 - (held.annotations()["torpor.dev/hold"].len() - 1000);
    // Of the same length of names.
    create("large", longest).await;
    create("giant", longest + 1).await;
    let before = exactly(&scene, "configmap/large");
    let large = Hibernation::create(&scene.namespace, "large", of("large")).await;
    large.until_phase("Hibernated").await;
    assert_eq!(data(&scene, "large").await["A"], "1");
    woken(&large).await;
    assert_eq!(exactly(&scene, "configmap/large"), before);
    let giant = Hibernation::create(&scene.namespace, "giant", of("giant")).await;
    until_stalled(&giant, "HoldTooLarge", "64 KiB").await;
    assert_eq!(data(&scene, "giant").await["A"].len(), longest + 1);
}

#[tokio::test]
async fn what_would_not_restart_is_refused() {
    let scene = Scene::create("no-restart").await;
    scene.deploy("worker", 1).await;
    let strategies = [
        ("on-delete", json!({"type": "OnDelete"}), "OnDelete"),
        (
            "partitioned",
            json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}),
            "partitioned",
        ),
    ];
    for (name, strategy, says) in strategies {
        let template = serde_json::to_value(workload::deployment(name, 1, WELL_BEHAVED, 1))
            .expect("it is JSON")["spec"]
            .take();
        let stateful: StatefulSet = workload::object(json!({
            "metadata": {"name": name},
            "spec": {
                "serviceName": name, "replicas": 0, "updateStrategy": strategy,
                "selector": template["selector"], "template": template["template"],
            },
        }));
        workload::create(&scene.namespace, &stateful).await;
        let more = json!({"workloads": [
            {"kind": "Deployment", "name": "worker"},
            {"kind": "StatefulSet", "name": name, "action": "Restart"},
        ]});
        let hibernation = Hibernation::create(&scene.namespace, name, of("worker", more)).await;
        until_stalled(&hibernation, "CannotRestart", says).await;
    }
    assert!(untouched(&scene.deployment("worker").await), "and nothing is stopped");
}

/// Writes an invalid status, as another version of the CRD might have.
fn malform(scene: &Scene, name: &str) {
    let status = r#"{"status":{"counts":{"total":3000000000,"held":1,"down":1,"refused":0}}}"#;
    let patch = ["--subresource=status", "--type=merge", "--patch", status];
    scene.kubectl(&[&["patch", "hib", name], &patch[..]].concat());
}

/// Waits until the status says that the Hibernation cannot be parsed, and returns the message. The
/// recorded originals must still be there.
async fn until_malformed(hibernation: &Hibernation) -> String {
    let object = wait::until(&hibernation.api, "project", "malformed", |object| {
        reason(&object.data["status"], "Stalled") == "Malformed"
    })
    .await;
    let status = &object.data["status"];
    assert!(status["originals"].is_object(), "nothing that is recorded is lost");
    message(status, "Stalled").to_owned()
}

#[tokio::test]
async fn an_object_that_cannot_be_parsed_says_so_and_stops_no_other() {
    let mut scene = Scene::create("malformed").await;
    scene.deploy("worker", 1).await;
    scene.deploy("second", 1).await;
    let before = exactly(&scene, "deployment/worker");
    let hibernation = asleep(&scene, of("worker", json!({}))).await;
    scene.operator.kill9();
    malform(&scene, "project");
    scene.operator.restart();
    let said = until_malformed(&hibernation).await;
    assert!(said.contains("3000000000"), "{said}");
    assert!(held(&scene.deployment("worker").await), "and it stays held");
    let other = Hibernation::create(&scene.namespace, "other", of("second", json!({}))).await;
    other.until_phase("Hibernated").await;
    woken(&other).await;

    // Once repaired, it continues.
    let mend = ["--subresource=status", "--type=merge", "--patch", r#"{"status":{"counts":null}}"#];
    scene.kubectl(&[&["patch", "hib/project"], &mend[..]].concat());
    hibernation.set_state("Awake").await;
    hibernation.until_phase("Awake").await;
    assert_eq!(exactly(&scene, "deployment/worker"), before);
}

#[tokio::test]
async fn an_object_that_cannot_be_parsed_wakes_what_it_held_when_it_is_deleted() {
    let mut scene = Scene::create("malformed-gone").await;
    scene.deploy("worker", 1).await;
    let before = exactly(&scene, "deployment/worker");
    let hibernation = asleep(&scene, of("worker", json!({}))).await;
    scene.operator.kill9();
    malform(&scene, "project");
    scene.operator.restart();
    hibernation.api.delete("project", &DeleteParams::default()).await.expect("it is deleted");
    wait::until_gone(&hibernation.api, "project").await;
    let worker = scene.deployment("worker").await;
    assert!(untouched(&worker));
    assert_eq!(exactly(&scene, "deployment/worker"), before);
    let deployments: Api<Deployment> = scene.namespace.api();
    wait::until(&deployments, "worker", "ready", workload::ready).await;
}

#[tokio::test]
async fn a_spec_from_before_the_crd_was_tightened_says_so_and_holds_on_until_it_is_deleted() {
    let (proxy, namespace) = (Proxy::start().await, Namespace::create("malformed-spec").await);
    let scene = Scene { operator: Operator::start_behind(&namespace, &proxy), namespace };
    scene.deploy("worker", 1).await;
    scene.deploy("second", 1).await;
    let before = exactly(&scene, "deployment/worker");
    let hibernation = asleep(&scene, of("worker", json!({"onDelete": "Wake"}))).await;
    // The tests share the CRD, which admits no such spec. The proxy makes the operator read one.
    proxy.change_answers(|request, answer| {
        if request.title() == "GET hibernations/project" {
            answer["spec"]["state"] = json!("Paused");
            answer["spec"]["workloads"] = json!("worker");
        }
    });
    hibernation.patch(json!({"spec": {"progressDeadline": "11m"}})).await;
    let said = until_malformed(&hibernation).await;
    assert!(said.contains("does not parse"), "{said}");
    let other = Hibernation::create(&scene.namespace, "other", of("second", json!({}))).await;
    other.until_phase("Hibernated").await;
    woken(&other).await;
    assert!(held(&scene.deployment("worker").await), "and it stays held");

    hibernation.api.delete("project", &DeleteParams::default()).await.expect("it is deleted");
    wait::until_gone(&hibernation.api, "project").await;
    assert_eq!(exactly(&scene, "deployment/worker"), before);
}
