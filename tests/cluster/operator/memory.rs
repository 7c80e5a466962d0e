//! What one tenant stores does not cost the memory that all share.

use std::collections::BTreeMap;

use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, ListParams};
use serde_json::{Value, json};
use torpor::hold::lever::digest;

use crate::support::{
    hibernation::{Hibernation, message, of},
    namespace::Namespace,
    scene::Scene,
    wait, workload,
};

/// The limit of the chart.
const LIMIT: u64 = 128 * 1024 * 1024;

/// Creates ConfigMaps, some at a time.
async fn create(namespace: &Namespace, objects: impl Iterator<Item = Value>) {
    let create = |object: Value| async move {
        workload::create(namespace, &workload::object::<ConfigMap>(object)).await;
    };
    stream::iter(objects.map(create)).buffer_unordered(8).collect::<Vec<()>>().await;
}

/// Returns the labels and annotations of a record by holders that nobody has heard of.
fn forged(number: usize) -> (String, String) {
    let holder = |n: usize| {
        json!({
            "by": format!("Hibernation/nowhere/{}-{number}-{n}", "h".repeat(200)),
            "value": "x", "episode": "e",
        })
    };
    let holders: Vec<Value> = (0..64).map(holder).collect();
    let record = json!({"/data/A": {"holders": holders}}).to_string();
    (digest(&record), record)
}

#[tokio::test]
async fn large_objects_of_a_tenant_do_not_take_the_memory_of_all() {
    let mut scene = Scene::create("memory").await;
    scene.operator.kill9();
    scene.deploy("worker", 1).await;
    let labels = json!({"app": "big"});
    let large = (0..60).map(|number| {
        json!({
            "metadata": {"name": format!("large-{number}"), "labels": labels},
            "data": {"A": "x".repeat(900_000), "HIBERNATE_MODE": "false"},
        })
    });
    create(&scene.namespace, large).await;
    let annotated = (0..100).map(|number| {
        json!({
            "metadata": {
                "name": format!("annotated-{number}"), "annotations": {"a": "x".repeat(250_000)},
            },
        })
    });
    create(&scene.namespace, annotated).await;
    let forged = (0..500).map(|number| {
        let (label, annotation) = forged(number);
        json!({"metadata": {
            "name": format!("forged-{number}"),
            "labels": {"torpor.dev/held": label},
            "annotations": {"torpor.dev/hold": annotation},
        }})
    });
    create(&scene.namespace, forged).await;

    scene.operator.restart();
    let selects = json!({
        "state": "Hibernated",
        "configMaps": [{"selector": {"matchLabels": labels}, "set": {"HIBERNATE_MODE": "true"}}],
    });
    let tenant = Hibernation::create(&scene.namespace, "tenant", selects).await;
    let beside = Hibernation::create(&scene.namespace, "beside", of("worker", json!({}))).await;
    beside.until_condition("Hibernated", "True").await;
    tenant.until_condition("Hibernated", "True").await;
    tenant.set_state("Awake").await;
    tenant.until_phase("Awake").await;

    // What is to be held together is bounded; the object says so, and nobody else notices.
    let values = BTreeMap::from([("A", "held")]);
    let change = json!({
        "state": "Hibernated",
        "configMaps": [{"selector": {"matchLabels": labels}, "set": values}],
    });
    tenant.patch(json!({"spec": change})).await;
    wait::until(&tenant.api, &tenant.name, "it says that this is too much", |object| {
        message(&object.data["status"], "Reconciling").contains("select fewer")
    })
    .await;
    beside.set_state("Awake").await;
    beside.until_phase("Awake").await;
    let peak = scene.operator.peak_memory();
    assert!(peak < LIMIT, "{} MiB", peak >> 20);

    tenant.api.delete(&tenant.name, &DeleteParams::default()).await.expect("it is deleted");
    let config_maps = scene.namespace.api::<ConfigMap>();
    let (all, none) = (ListParams::default(), DeleteParams::default());
    config_maps.delete_collection(&none, &all).await.expect("they are deleted");
}
