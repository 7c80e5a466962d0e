//! Kinds of other projects are held and restored like built-in ones, against their real definitions.

use std::process::Command;

use k8s_openapi::{
    api::apps::v1::Deployment,
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, ResourceExt,
    api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, PostParams},
};
use serde_json::{Value, json};

use crate::support::{
    afterwards::afterwards,
    cluster::bare_client,
    hibernation::{Hibernation, asleep, until_stalled, woken},
    kubectl::{apply, create as create_by, exactly},
    namespace::Namespace,
    object::of_workload,
    operator::Operator,
    other_kinds::{
        self, OtherScene, PAUSED, api, established, manifest, of_each_kind, presets, scaled_object,
    },
    release::torpor,
    scene::Scene,
    wait,
};

fn name_of(manifest: &Value) -> String {
    let kind = manifest["kind"].as_str().expect("a kind");
    let kind = presets().iter().find(|of| of.name == kind).expect("a preset");
    let name = manifest["metadata"]["name"].as_str().expect("a name");
    format!("{}.{}.{}/{name}", kind.plural, kind.version, kind.group)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_preset_holds_and_wakes_as_it_was() {
    let OtherScene { scene, controllers: _controllers } = OtherScene::create("presets").await;
    let mut objects = Vec::new();
    for (index, manifest) in of_each_kind().into_iter().enumerate() {
        // By different tools.
        match index % 3 {
            0 => create_by(&scene, "helm", &manifest),
            1 => apply(&scene, "kustomize-controller", &manifest),
            _ => apply(&scene, "argocd-controller", &manifest),
        }
        objects.push(name_of(&manifest));
    }
    let exact = || objects.iter().map(|object| exactly(&scene, object)).collect::<Vec<_>>();
    let before = exact();
    let entries: Vec<_> =
        presets().iter().map(|kind| json!({"kind": kind.name, "all": true})).collect();
    let spec = json!({"state": "Hibernated", "workloads": entries});
    let hibernation = asleep(&scene, spec).await;
    for (kind, object) in of_each_kind().iter().zip(exact()) {
        let kind = presets().iter().find(|of| of.name == kind["kind"]).expect("a preset");
        let lever = kind.stop.expect("a lever");
        let value = &kind.entry.as_ref().expect("an entry").value;
        assert_eq!(object.pointer(lever), Some(value), "{object:#}");
        assert!(object["metadata"]["labels"]["torpor.dev/held"].is_string(), "{object:#}");
    }
    woken(&hibernation).await;
    for ((object, before), after) in objects.iter().zip(&before).zip(exact()) {
        assert_eq!(&after, before, "{object}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scaled_object_takes_its_target_down_and_back() {
    let OtherScene { scene, controllers: _controllers } = OtherScene::create("scaled").await;
    scene.deploy("worker", 2).await;
    scaled_object(&scene.namespace, "worker", json!({}), "worker").await;
    let spec = json!({
        "state": "Hibernated", "workloads": [{"kind": "ScaledObject", "name": "worker"}],
    });
    let hibernation = asleep(&scene, spec).await;
    let target = scene.deployment("worker").await;
    assert_eq!(target.spec.as_ref().and_then(|spec| spec.replicas), Some(0));
    assert!(!target.labels().contains_key("torpor.dev/held"), "KEDA scales it, and not Torpor");
    let pods = crate::support::workload::pods(&scene.namespace, "worker").await;
    assert!(pods.is_empty(), "its pods are gone when it is down");

    // A foreign edit is put back, and told.
    scene.kubectl(&[
        "annotate",
        "scaledobjects.keda.sh/worker",
        &format!("{PAUSED}=5"),
        "--overwrite",
    ]);
    hibernation
        .until("the edit is told", |status| {
            let message = of_workload(status, "worker")["message"].as_str().unwrap_or_default();
            message.contains("to \"5\"") && message.contains("reverted")
        })
        .await;
    wait::until(&api(&scene.namespace, "ScaledObject"), "worker", "held again", |object| {
        object.annotations().get(PAUSED).map(String::as_str) == Some("0")
    })
    .await;
    woken(&hibernation).await;
    let object = api(&scene.namespace, "ScaledObject").get("worker").await.expect("it is there");
    assert!(object.annotations().is_empty() && object.labels().is_empty(), "{object:#?}");
    scene.until_replicas("worker", 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_that_a_scaled_object_scales_is_said_beforehand() {
    let OtherScene { scene, controllers: _controllers } = OtherScene::create("scaled-by").await;
    scene.deploy("worker", 1).await;
    scaled_object(&scene.namespace, "scaler", json!({}), "worker").await;
    let spec = json!({"state": "Awake", "workloads": [{"kind": "Deployment", "name": "worker"}]});
    let hibernation = Hibernation::create(&scene.namespace, "project", spec).await;
    until_stalled(&hibernation, "ScaledBy", "name ScaledObject scaler in spec.workloads").await;
    hibernation
        .patch(json!({"spec": {"workloads": [{"kind": "ScaledObject", "name": "scaler"}]}}))
        .await;
    hibernation.until_condition("Stalled", "False").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn release_restores_objects_of_other_kinds_without_the_operator() {
    let OtherScene { mut scene, controllers: _controllers } =
        OtherScene::create("kinds-release").await;
    let suspended = manifest(
        "Kustomization",
        "apps",
        json!({}),
        json!({
            "interval": "10m", "prune": true, "sourceRef": {"kind": "GitRepository", "name": "apps"},
        }),
    );
    other_kinds::create(&scene.namespace, suspended).await;
    scaled_object(&scene.namespace, "worker", json!({PAUSED: "3"}), "none").await;
    let spec = json!({
        "state": "Hibernated",
        "workloads": [{"kind": "Kustomization", "all": true}, {"kind": "ScaledObject", "all": true}],
    });
    asleep(&scene, spec).await;
    scene.operator.stop().await;
    torpor(&scene, &["scaledobject/worker"]).success();
    torpor(&scene, &["--all"]).success();
    let object = api(&scene.namespace, "ScaledObject").get("worker").await.expect("it is there");
    assert_eq!(object.annotations().get(PAUSED).map(String::as_str), Some("3"));
    let object = api(&scene.namespace, "Kustomization").get("apps").await.expect("it is there");
    assert_ne!(object.data["spec"]["suspend"], true, "{object:#?}");
    assert!(object.labels().is_empty());
}

/// A definition that is deleted with the test.
struct Definition(String);

impl Drop for Definition {
    fn drop(&mut self) {
        let name = self.0.clone();
        afterwards(&format!("definition {name}"), async move {
            let definitions: Api<CustomResourceDefinition> = Api::all(bare_client().await);
            definitions.delete(&name, &DeleteParams::default()).await.map(drop)
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kind_that_is_not_served_stalls_nobody_and_is_held_once_it_is() {
    let namespace = Namespace::create("unserved").await;
    let group = format!("{}.example.com", namespace.name);
    let table = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{group}.yaml"));
    let entry = json!([{
        "kind": "Widget", "group": group, "version": "v1", "plural": "widgets",
        "lever": "/spec/suspend", "value": true,
    }]);
    std::fs::write(&table, entry.to_string()).expect("the table is written");
    let more = ["--kinds", table.to_str().expect("a path")];
    let operator = Operator::start_from(&namespace, &namespace.name, &more);
    let scene = Scene { operator, namespace };
    scene.deploy("worker", 1).await;
    let spec = json!({
        "state": "Hibernated",
        "workloads": [{"kind": "Deployment", "all": true}, {"kind": "Widget", "all": true}],
    });
    let hibernation = asleep(&scene, spec).await;
    let said = |status: &Value| {
        status["message"].as_str().unwrap_or_default().contains("does not serve Widget")
    };
    hibernation.until("it names the kind", said).await;
    scene.until_replicas("worker", 0).await;

    let definition = json!({
        "metadata": {"name": format!("widgets.{group}")},
        "spec": {
            "group": group, "scope": "Namespaced", "names": {"kind": "Widget", "plural": "widgets"},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {
                    "type": "object", "x-kubernetes-preserve-unknown-fields": true,
                }},
            }],
        },
    });
    let definitions: Api<CustomResourceDefinition> = Api::all(scene.namespace.client.clone());
    let definition = serde_json::from_value(definition).expect("a definition");
    definitions.create(&PostParams::default(), &definition).await.expect("it is created");
    let definition = Definition(format!("widgets.{group}"));
    established(&scene.namespace, &definition.0).await;
    hibernation.until("the kind is served", |status| !said(status)).await;
    let kind = GroupVersionKind::gvk(&group, "v1", "Widget");
    let resource = ApiResource::from_gvk_with_plural(&kind, "widgets");
    let widgets: Api<DynamicObject> =
        Api::namespaced_with(scene.namespace.client.clone(), &scene.namespace.name, &resource);
    let widget = json!({
        "apiVersion": format!("{group}/v1"), "kind": "Widget", "metadata": {"name": "one"}, "spec": {"size": 1},
    });
    let widget = serde_json::from_value(widget).expect("an object");
    widgets.create(&PostParams::default(), &widget).await.expect("it is created");
    wait::until(&widgets, "one", "held", |widget| widget.data["spec"]["suspend"] == true).await;
    woken(&hibernation).await;
    let widget = widgets.get("one").await.expect("it is there");
    assert_eq!(widget.data["spec"], json!({"size": 1}));
    scene.namespace.api::<Deployment>().get("worker").await.expect("it is there");
}

#[test]
fn an_operator_with_a_bad_table_does_not_start_and_names_each_entry() {
    let table = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("bad-table.yaml");
    let text = "\
- {kind: Deployment, group: apps.example.com, version: v1, plural: deployments, lever: /spec/replicas, value: 0}
- {kind: Widget, group: example.com, version: v1, plural: widgets, lever: /status/phase, value: x}
- {kind: Gadget, group: example.com, version: v1, plural: gadgets, lever: /metadata/annotations/a, value: 1}";
    std::fs::write(&table, text).expect("the table is written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_torpor"));
    let output = command
        .args(["run", "--image", "none", "--admin-address", "127.0.0.1:0", "--kinds"])
        .arg(&table)
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{said}");
    for words in [
        "entry 1 (Deployment): kind Deployment is built in",
        "entry 2 (Widget): lever",
        "entry 3 (Gadget): value",
    ] {
        assert!(said.contains(words), "{words} in {said}");
    }
}
