//! A worker that sells, whose market the operator reaches by a bridge that it runs itself.

use std::process::Stdio;

use k8s_openapi::api::core::v1::Secret;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time::timeout,
};

use super::{
    bridge::{PORT, serve},
    market::{SYNC_MS, Selling, selling},
    namespace::Namespace,
    sonm_node::{KEY, Node, WORKER},
    stand_in::binary,
    wait, workload,
};

/// The worker, and the way from the bridge's pod to its market.
pub(crate) struct HostedMarket {
    pub(crate) selling: Selling,
    _forwarder: Child,
}

impl HostedMarket {
    pub(crate) async fn start(namespace: &Namespace) -> Self {
        let selling = Selling::start(namespace, selling(), SYNC_MS).await;
        let (forwarder, port) = forwarder(&selling.node).await;
        serve(namespace, "sonm-node", port).await;
        let key: Secret = workload::object(json!({
            "metadata": {"name": "sonm-key"},
            "stringData": {"master.key": KEY},
        }));
        workload::create(namespace, &key).await;
        Self { selling, _forwarder: forwarder }
    }

    /// Returns the `deals` of a `MaintenanceWindow` of the worker.
    pub(crate) fn deals() -> Value {
        json!({"source": {"sonm": {
            "node": format!("http://sonm-node:{PORT}"),
            "worker": WORKER,
            "keySecretRef": {"name": "sonm-key", "key": "master.key"},
        }}})
    }
}

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
