//! Withdrawn orders whose payloads somebody changed in their ConfigMap.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, api::DeleteParams};
use serde_json::{Value, json};

use crate::support::{
    market::{Scene, offers, spec},
    object::{condition, message, reason},
    sonm_node::plan,
    wait,
    window::Window,
    workload,
};

const NAME: &str = "torpor-maintenancewindow-worker-withdrawn";

/// Takes a window into its maintenance, offers an order of it for nothing in the ConfigMap, and calls the window off.
/// Returns the payloads as they were.
async fn changed(scene: &Scene) -> (Window, Value) {
    let window = scene.window(spec(json!({}), json!({}))).await;
    window.until_condition("InMaintenance", "True").await;
    let kept = scene.namespace.api::<ConfigMap>().get(NAME).await.expect("it is there");
    let before = kept.data.expect("data")["orders.json"].clone();
    let orders: Value = serde_json::from_str(&before).expect("it is JSON");
    let mut forged = orders.clone();
    let restore = forged["orders"][1]["restore"].as_str().expect("a payload");
    let restore = restore.replace("\"perSecond\":\"2\"", "\"perSecond\":\"0\"");
    assert_ne!(orders["orders"][1]["restore"], restore);
    forged["orders"][1]["restore"] = json!(restore);
    keep(scene, &forged.to_string()).await;
    window.change(json!({"suspend": true})).await;
    let refused = |status: &Value| reason(status, "Stalled") == "InvalidRestore";
    let status = window.until("it is refused", refused).await;
    let said = message(&status, "Stalled");
    let id = orders["orders"][1]["id"].as_str().expect("an id");
    for part in [&format!("order {id} "), NAME, "by hand", "orders.json"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(condition(&status, "Ready"), "False", "{status:#}");
    assert_eq!(offers(&scene.selling.node.truth().await), [].into(), "nothing is offered");
    (window, json!(before))
}

async fn keep(scene: &Scene, orders: &str) {
    let data = json!({"data": {"orders.json": orders}});
    workload::merge::<ConfigMap>(&scene.namespace, NAME, data).await;
}

#[tokio::test]
async fn a_changed_payload_is_refused_and_said_until_it_is_put_back() {
    let scene = Scene::create("signed", vec![plan("first", 1), plan("second", 2)]).await;
    let (window, before) = changed(&scene).await;
    keep(&scene, before.as_str().expect("text")).await;
    window.until_phase("Cancelled").await;
    scene.until_as_before(&window, &["1", "2"]).await;
}

#[tokio::test]
async fn orders_that_a_person_offers_by_hand_are_forgotten_with_their_config_map() {
    let scene = Scene::create("signed-by-hand", vec![plan("first", 1), plan("second", 2)]).await;
    let (window, _) = changed(&scene).await;
    let kept: Api<ConfigMap> = scene.namespace.api();
    kept.delete(NAME, &DeleteParams::default()).await.expect("it is deleted");
    let status = window.until_phase("Cancelled").await;
    assert_ne!(condition(&status, "Stalled"), "True", "{status:#}");
    assert_eq!(offers(&scene.selling.node.truth().await), [].into(), "nothing is offered");
    wait::until(&window.api, &window.name, "no finalizer is left", |object| {
        object.metadata.finalizers.is_none()
    })
    .await;
}
