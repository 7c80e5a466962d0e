//! A `MaintenanceWindow` whose bridge the operator runs as a real pod.

use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    ResourceExt,
    api::{DeleteParams, ListParams},
    runtime::watcher,
};
use serde_json::{Value, json};

use crate::support::{
    hosted_market::HostedMarket,
    market::{NAME, spec},
    namespace::Namespace,
    operator::Operator,
    wait,
    window::Window,
    workload,
};

/// Returns the selector of the Deployments of bridges.
fn bridges() -> watcher::Config {
    watcher::Config::default().labels("torpor.dev/bridge-of=maintenancewindow.worker")
}

#[tokio::test]
async fn an_operator_run_bridge_outlives_a_foreground_deletion_until_the_orders_are_back() {
    let namespace = Namespace::create("window-hosted").await;
    let market = HostedMarket::start(&namespace).await;
    let _operator = Operator::start(&namespace);
    let window = Window::create(&namespace, NAME, spec(json!({}), HostedMarket::deals())).await;
    let status = window.until_condition("InMaintenance", "True").await;
    assert_eq!(status["deals"]["withdrawn"], true, "{status:#}");
    let made = wait::until_all::<Deployment>(&namespace.api(), bridges(), "a bridge", |all| {
        !all.is_empty()
    })
    .await;
    assert!(made.iter().all(|bridge| bridge.owner_references().is_empty()));

    // The market is down when the window is deleted: bridge and window stay until the market is
    // notified.
    market.selling.faults(json!({"node": "unavailable"})).await;
    window.delete(&DeleteParams::foreground()).await;
    let waits =
        |status: &Value| status["phase"] == "Restoring" && status["deals"]["withdrawn"] == true;
    window.until("it waits for the market", waits).await;
    let of_window = ListParams::default().labels("torpor.dev/bridge-of=maintenancewindow.worker");
    let left = namespace.api::<Deployment>().list(&of_window).await.expect("they are listed");
    assert!(left.items.iter().any(|bridge| bridge.metadata.deletion_timestamp.is_none()));
    market.selling.faults(json!({})).await;
    wait::until_gone(&window.api, NAME).await;
    let left = namespace.api::<Deployment>().list(&of_window).await.expect("they are listed");
    assert_eq!(workload::names(&left.items), Vec::<String>::new());
    market.selling.until_as_before(&namespace, &["1", "2"]).await;
}
