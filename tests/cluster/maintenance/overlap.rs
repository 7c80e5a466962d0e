//! Several holders of one worker: two `MaintenanceWindow`s, and a `MaintenanceWindow` and a
//! Hibernation.

use k8s_openapi::api::apps::v1::Deployment;
use serde_json::{Value, json};

use crate::support::{
    bridge::PORT,
    hibernation::{Hibernation, condition, message},
    market::{NAME, SERVICE, Scene, bridge, selling, spec},
    object::Object,
    window::Window,
};

/// Waits until a suspended window only waits for the worker, which another holder keeps down: its
/// orders are not offered before the worker is up, and the window names the holder.
async fn waits_for_the_worker(scene: &Scene, window: &Window, holder: &str) {
    let waits = |status: &Value| {
        status["phase"] == "Restoring"
            && status["deals"]["withdrawn"] == true
            && condition(status, "Ready") == "False"
            && message(status, "Ready").contains(&format!("Deployment {NAME} is held by {holder}"))
    };
    window.until("it waits for the worker", waits).await;
    assert_eq!(scene.replicas().await, 0, "the other one holds it");
    let worker = scene.namespace.api::<Deployment>().get(NAME).await.expect("it is there");
    let hold = worker.metadata.annotations.unwrap_or_default()["torpor.dev/hold"].clone();
    assert!(!hold.contains(&format!("MaintenanceWindow/{}", window.name)), "{hold}");
}

/// Checks that the worker stays down until the second of two holders releases it. The window is
/// suspended first.
async fn the_last_one_releases_it(
    scene: &Scene,
    (other, holder): (&Object, &str),
    released: Value,
    at_rest: &str,
) {
    let window = Window::existing(&scene.namespace, NAME);
    window.change(json!({"suspend": true})).await;
    waits_for_the_worker(scene, &window, holder).await;
    other.patch(json!({"spec": released})).await;
    other.until_phase(at_rest).await;
    window.until_phase("Cancelled").await;
    scene.until_as_before(&window, &["1", "2"]).await;
}

#[tokio::test]
async fn of_two_windows_on_one_worker_the_last_one_releases_it() {
    let scene = Scene::create("window-two", selling()).await;
    let window = scene.window(spec(json!({}), json!({}))).await;
    window.until_condition("InMaintenance", "True").await;
    let mut without = spec(json!({}), json!({}));
    without["deals"] = Value::Null;
    let other = Window::create(&scene.namespace, "other", without).await;
    other.until_condition("InMaintenance", "True").await;
    let other = (&*other, "MaintenanceWindow other");
    the_last_one_releases_it(&scene, other, json!({"suspend": true}), "Cancelled").await;
}

#[tokio::test]
async fn of_a_window_and_a_hibernation_on_one_worker_the_last_one_releases_it() {
    let scene = Scene::create("window-hib", selling()).await;
    let window = scene.window(spec(json!({}), json!({}))).await;
    window.until_condition("InMaintenance", "True").await;
    let sleep = json!({
        "state": "Hibernated",
        "workloads": [{"kind": "Deployment", "name": NAME}],
    });
    let other = Hibernation::create(&scene.namespace, "project", sleep).await;
    other.until_phase("Hibernated").await;
    let other = (&*other, "Hibernation project");
    the_last_one_releases_it(&scene, other, json!({"state": "Awake"}), "Awake").await;
}

#[tokio::test]
async fn two_windows_that_drain_one_worker_at_once_offer_each_order_again_once() {
    let mut scene = Scene::create("window-both", selling()).await;
    let node = scene.selling.node.clone();
    let object = ("MaintenanceWindow", "other");
    let _bridge = bridge(&scene.namespace, &mut scene.proxy, &node, object, "market-2").await;
    // Each has withdrawn all before anything stops.
    let draining = |service: &str| {
        let source = json!({"service": {"name": service, "port": PORT}});
        spec(json!({}), json!({"source": source, "settle": "1h"}))
    };
    let windows = [
        scene.window(draining(SERVICE)).await,
        Window::create(&scene.namespace, "other", draining("market-2")).await,
    ];
    let withdrawn = |status: &Value| {
        let open = &status["deals"]["open"];
        status["phase"] == "Draining" && open["orders"] == 0 && open["spot"] == 0
    };
    for window in &windows {
        window.until("all is withdrawn", withdrawn).await;
    }
    for window in &windows {
        window.change(json!({"deals": {"settle": "1s"}})).await;
    }
    for window in &windows {
        window.until_condition("InMaintenance", "True").await;
    }
    for window in &windows {
        window.change(json!({"suspend": true})).await;
    }
    for window in &windows {
        window.until_phase("Cancelled").await;
    }
    for window in &windows {
        scene.until_as_before(window, &["1", "2"]).await;
    }
}
