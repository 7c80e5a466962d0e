//! A wake whose pods cannot be created says so in Kubernetes' own words.

use k8s_openapi::api::{
    apps::v1::{DaemonSet, StatefulSet},
    core::v1::ResourceQuota,
};
use kube::{Api, api::DeleteParams};
use serde_json::{Value, json};

use crate::support::{
    hibernation::asleep,
    scene::Scene,
    wait,
    workload::{self, controller},
};

#[tokio::test]
async fn a_wake_that_a_quota_prevents_has_the_words_of_each_controller() {
    let scene = Scene::create("quota").await;
    let namespace = &scene.namespace;
    scene.deploy("worker", 1).await;
    workload::create(
        namespace,
        &controller::<StatefulSet>("queue", json!({"serviceName": "queue"})),
    )
    .await;
    workload::create(namespace, &controller::<DaemonSet>("agent", json!({}))).await;
    wait::until::<DaemonSet>(&namespace.api(), "agent", "ready", |agent| {
        agent.status.as_ref().is_some_and(|status| status.number_ready > 0)
    })
    .await;
    let all = ["Deployment", "StatefulSet", "DaemonSet"];
    let all = all.map(|kind| json!({"kind": kind, "all": true}));
    let hibernation = asleep(&scene, json!({"state": "Hibernated", "workloads": all})).await;
    let quota: ResourceQuota =
        workload::object(json!({"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}));
    workload::create(namespace, &quota).await;
    let quotas: Api<ResourceQuota> = namespace.api();
    wait::until(&quotas, "none", "in effect", |quota| quota.status.is_some()).await;

    hibernation.set_state("Awake").await;
    let told = |status: &Value| {
        let message = status["message"].as_str().unwrap_or_default();
        ["Deployment worker has", "StatefulSet queue has", "DaemonSet agent has"]
            .iter()
            .all(|name| message.contains(name))
            && message.matches("exceeded quota: none").count() == 3
    };
    hibernation.until("all three are explained", told).await;

    quotas.delete("none", &DeleteParams::default()).await.expect("it is deleted");
    hibernation.until_phase("Awake").await;
}
