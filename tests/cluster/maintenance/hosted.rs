//! A `MaintenanceWindow` whose bridge the operator runs as a real pod.

use std::process::Stdio;

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Secret};
use kube::{
    ResourceExt,
    api::{DeleteParams, ListParams},
    runtime::watcher,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time::timeout,
};

use crate::support::{
    bridge::{PORT, serve},
    market::{NAME, SYNC_MS, Selling, selling, spec},
    namespace::Namespace,
    operator::Operator,
    sonm_node::{KEY, Node, WORKER},
    stand_in::binary,
    wait,
    window::Window,
    workload,
};

/// Forwards a port to the Node, as on a real machine: the Node listens on loopback only.
async fn forwarder(node: &Node) -> (Child, u16) {
    let url = node.bridge()[2].to_owned();
    let to = url.strip_prefix("http://").expect("a URL");
    let mut child = Command::new(binary())
        .args(["forward", "--listen", "0.0.0.0:0", "--to", to])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the forwarder starts");
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let line = timeout(wait::TIMEOUT, lines.next_line()).await.expect("it says where it listens");
    let line = line.expect("it is read").expect("a line");
    let port = line.rsplit(':').next().and_then(|port| port.parse().ok());
    (child, port.expect("a port"))
}

/// Returns the selector of the Deployments of bridges.
fn bridges() -> watcher::Config {
    watcher::Config::default().labels("torpor.dev/bridge-of=maintenancewindow.worker")
}

#[tokio::test]
async fn an_operator_run_bridge_outlives_a_foreground_deletion_until_the_orders_are_back() {
    let namespace = Namespace::create("window-hosted").await;
    let selling = Selling::start(&namespace, selling(), SYNC_MS).await;
    let (_forwarder, port) = forwarder(&selling.node).await;
    serve(&namespace, "sonm-node", port).await;
    let key: Secret = workload::object(json!({
        "metadata": {"name": "sonm-key"},
        "stringData": {"master.key": KEY},
    }));
    workload::create(&namespace, &key).await;
    let _operator = Operator::start(&namespace);
    let sonm = json!({
        "node": format!("http://sonm-node:{PORT}"),
        "worker": WORKER,
        "keySecretRef": {"name": "sonm-key", "key": "master.key"},
    });
    let window =
        Window::create(&namespace, NAME, spec(json!({}), json!({"source": {"sonm": sonm}}))).await;
    let status = window.until_condition("InMaintenance", "True").await;
    assert_eq!(status["deals"]["withdrawn"], true, "{status:#}");
    let made = wait::until_all::<Deployment>(&namespace.api(), bridges(), "a bridge", |all| {
        !all.is_empty()
    })
    .await;
    assert!(made.iter().all(|bridge| bridge.owner_references().is_empty()));

    // The market is down when the window is deleted: bridge and window stay until the market is
    // notified.
    selling.faults(json!({"node": "unavailable"})).await;
    window.delete(&DeleteParams::foreground()).await;
    let waits =
        |status: &Value| status["phase"] == "Restoring" && status["deals"]["withdrawn"] == true;
    window.until("it waits for the market", waits).await;
    let of_window = ListParams::default().labels("torpor.dev/bridge-of=maintenancewindow.worker");
    let left = namespace.api::<Deployment>().list(&of_window).await.expect("they are listed");
    assert!(left.items.iter().any(|bridge| bridge.metadata.deletion_timestamp.is_none()));
    selling.faults(json!({})).await;
    wait::until_gone(&window.api, NAME).await;
    let left = namespace.api::<Deployment>().list(&of_window).await.expect("they are listed");
    assert_eq!(workload::names(&left.items), Vec::<String>::new());
    selling.until_as_before(&namespace, &["1", "2"]).await;
}
