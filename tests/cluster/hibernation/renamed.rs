//! A deploy while asleep brings ConfigMaps of other names.

use k8s_openapi::api::{apps::v1::Deployment, core::v1::ConfigMap};
use kube::{Api, ResourceExt, api::DeleteParams};
use serde_json::{Value, json};

use crate::support::{
    hibernation::{Hibernation, asleep, condition, message},
    hold::until_held,
    namespace::Namespace,
    object::reason,
    scene::Scene,
    wait,
    workload::{self, WELL_BEHAVED},
};

/// Creates the ConfigMap of a project that is awake.
async fn config_map(namespace: &Namespace, name: &str, labels: Value) {
    let config_map: ConfigMap = workload::object(json!({
        "metadata": {"name": name, "labels": labels}, "data": {"HIBERNATE_MODE": "false"},
    }));
    workload::create(namespace, &config_map).await;
}

#[tokio::test]
async fn a_newcomer_of_a_deploy_that_renames_the_config_map_is_held_all_the_same() {
    let scene = Scene::create("renamed").await;
    scene.deploy("worker", 1).await;
    config_map(&scene.namespace, "env-1", json!({})).await;
    let spec = json!({
        "state": "Hibernated",
        "workloads": [{"kind": "Deployment", "all": true}],
        "configMaps": [{"name": "env-1"}],
    });
    let hibernation = asleep(&scene, spec).await;
    let config_maps: Api<ConfigMap> = scene.namespace.api();
    config_maps.delete("env-1", &DeleteParams::default()).await.expect("it is deleted");
    config_map(&scene.namespace, "env-2", json!({})).await;
    let newcomer = workload::deployment("newcomer", 2, WELL_BEHAVED, 1);
    workload::create(&scene.namespace, &newcomer).await;
    until_held(&scene, "newcomer").await;
    let missing = |status: &Value| reason(status, "Stalled") == "ConfigMapNotFound";
    let status = hibernation.until("the missing name is told", missing).await;
    assert!(message(&status, "Stalled").contains("ConfigMap env-1"), "{status:#}");
    hibernation.patch(json!({"spec": {"configMaps": [{"name": "env-2"}]}})).await;
    hibernation.until_phase("Hibernated").await;
}

/// Returns a patch by which a Deployment reads all keys of a ConfigMap.
fn reads(name: &str) -> Value {
    json!({"spec": {"template": {"spec": {"containers": [
        {"name": "main", "envFrom": [{"configMapRef": {"name": name}}]},
    ]}}}})
}

#[tokio::test]
async fn an_api_that_is_rolled_to_another_config_map_is_restarted_once_that_is_overridden() {
    let scene = Scene::create("rolled").await;
    let labels = json!({"app": "shop"});
    config_map(&scene.namespace, "env-1", labels.clone()).await;
    scene.deploy("api", 1).await;
    scene.kubectl(&["patch", "deployment/api", "--patch", &reads("env-1").to_string()]);
    workload::until_ready(&scene.namespace, "api").await;
    let spec = json!({
        "state": "Hibernated",
        "workloads": [{"kind": "Deployment", "name": "api", "action": "Restart"}],
        "configMaps": [{"selector": {"matchLabels": labels}, "set": {"HIBERNATE_MODE": "true"}}],
    });
    let hibernation = Hibernation::create(&scene.namespace, "project", spec).await;
    hibernation.until_phase("Hibernated").await;

    // It gets its label only later.
    config_map(&scene.namespace, "env-2", json!({})).await;
    scene.kubectl(&["patch", "deployment/api", "--patch", &reads("env-2").to_string()]);
    let told = |status: &Value| {
        condition(status, "Hibernated") == "False"
            && status["message"].as_str().is_some_and(|message| message.contains("ConfigMap env-2"))
    };
    hibernation.until("it is told which ConfigMap is not overridden", told).await;
    scene.kubectl(&["label", "configmap/env-2", "app=shop"]);
    hibernation.until_phase("Hibernated").await;
    let overridden = wait::until::<ConfigMap>(
        &scene.namespace.api(),
        "env-2",
        "it is overridden",
        |config_map| {
            let mode = config_map.data.as_ref().and_then(|data| data.get("HIBERNATE_MODE"));
            mode.is_some_and(|mode| mode == "true")
        },
    )
    .await;
    let since = |annotated: &ConfigMap| {
        let entries = annotated.managed_fields().iter();
        entries
            .filter(|entry| entry.manager.as_deref() == Some("torpor"))
            .filter_map(|entry| entry.time.as_ref().map(|time| time.0))
            .min()
            .expect("Torpor has written it")
    };
    let pods = workload::pods(&scene.namespace, "api").await.into_iter();
    for pod in pods.filter(|pod| pod.metadata.deletion_timestamp.is_none()) {
        let started = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
        assert!(started >= Some(since(&overridden)), "{} reads what was before", pod.name_any());
    }
    let restarts: Api<Deployment> = scene.namespace.api();
    let api = restarts.get("api").await.expect("it is there");
    assert_eq!(workload::replicas(&api), 1);
}
