//! A market that accepts connections and never answers.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use serde_json::json;
use tokio::{io::AsyncReadExt as _, net::TcpListener, sync::watch, task::JoinHandle};

use crate::support::{
    bridge::{PORT, serve},
    hibernation::Hibernation,
    operator::ACCOUNT,
    rights::create_account,
    scene::Scene,
};

/// The objects that wait for the market. The operator has 16 slots.
const WAITING: usize = 64;
/// The most observations that may have timed out, a minute each and some at a time, before an object beside
/// them is asleep.
const BEARABLE: usize = 16;
/// Observations of markets at a time, for one namespace.
const AT_ONCE: usize = 4;

/// A market that never answers. Dropping it stops it.
struct Dead {
    port: u16,
    accepted: watch::Receiver<usize>,
    /// Connections that the operator has given up.
    ended: Arc<AtomicUsize>,
    server: JoinHandle<()>,
}

impl Dead {
    async fn start() -> Self {
        let listener = TcpListener::bind(("0.0.0.0", 0)).await.expect("a port is free");
        let port = listener.local_addr().expect("it has an address").port();
        let (accept, accepted) = watch::channel(0);
        let ended = Arc::new(AtomicUsize::new(0));
        let count = ended.clone();
        let server = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.expect("connections are accepted");
                accept.send_modify(|accepted| *accepted += 1);
                let count = count.clone();
                tokio::spawn(async move {
                    let mut request = Vec::new();
                    drop(stream.read_to_end(&mut request).await);
                    count.fetch_add(1, Ordering::Relaxed);
                });
            }
        });
        Self { port, accepted, ended, server }
    }
}

impl Drop for Dead {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Creates Hibernations that wait for one dead market.
async fn waiting(test: &str) -> (Scene, Dead) {
    let scene = Scene::create(test).await;
    let mut market = Dead::start().await;
    // Without a token of its service account the operator asks no market.
    create_account(&scene.namespace, ACCOUNT).await;
    serve(&scene.namespace, "market", market.port).await;
    for number in 0..WAITING {
        let spec = json!({
            "state": "Hibernated",
            "workloads": [{"kind": "Deployment", "name": "sells"}],
            "deals": {"source": {"service": {"name": "market", "port": PORT}}},
        });
        Hibernation::create(&scene.namespace, &format!("waits-{number}"), spec).await;
    }
    // The first connection was the one that tells that the Service leads there.
    market.accepted.wait_for(|accepted| *accepted > AT_ONCE).await.expect("the market runs");
    (scene, market)
}

#[tokio::test]
async fn objects_that_wait_for_a_dead_market_keep_nobody_else_awake() {
    let (scene, market) = waiting("dead-market").await;
    scene.deploy("worker", 1).await;
    let spec =
        json!({"state": "Hibernated", "workloads": [{"kind": "Deployment", "name": "worker"}]});
    let beside = Hibernation::create(&scene.namespace, "beside", spec).await;
    beside.until_condition("Hibernated", "True").await;
    let ended = market.ended.load(Ordering::Relaxed);
    assert!(ended < BEARABLE, "{ended} observations have timed out meanwhile");
}

#[tokio::test]
async fn an_operator_that_is_told_to_end_does_not_wait_for_a_dead_market() {
    let (mut scene, market) = waiting("ends-beside-dead").await;
    scene.operator.stop().await;
    let ended = market.ended.load(Ordering::Relaxed);
    assert!(ended < BEARABLE, "{ended} observations have timed out meanwhile");
}
