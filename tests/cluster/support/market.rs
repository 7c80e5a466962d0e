//! A namespace with a worker that sells, its market with a bridge, and an operator.

use std::{collections::BTreeMap, pin::pin, sync::Arc};

use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::ConfigMap};
use kube::{
    Api, Config, ResourceExt,
    runtime::{WatchStreamExt, watcher},
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use torpor::hold::record::Holder;

use crate::{
    support::sonm_node::{CONSUMER, Market, Node, WORKER, plan, spot},
    support::{
        bridge::{Bridge, PORT, serve},
        namespace::Namespace,
        operator::{ACCOUNT, Operator},
        paper_node::PaperNode,
        proxy::{Proxy, Request},
        rights, wait,
        window::Window,
        workload::{self, authored},
    },
};

/// The name of the window and of the worker's Deployment.
pub(crate) const NAME: &str = "worker";
/// The name of the market's Service.
pub(crate) const SERVICE: &str = "market";
/// The interval at which the worker synchronises its plans.
pub(crate) const SYNC_MS: u64 = 100;

/// Returns a plan with an order, and one with a Spot deal that runs a task.
pub(crate) fn selling() -> Vec<Value> {
    vec![plan("offered", 1), spot("sold", 2)]
}

/// The worker's offers by price: the number of plans and of orders.
type Offers = BTreeMap<String, (usize, usize)>;

/// The worker and its market.
pub(crate) struct Selling {
    pub(crate) node: Arc<Node>,
    host: JoinHandle<()>,
    /// The paper node. It must end the pods before the namespace can go.
    _paper: PaperNode,
    before: Value,
}

impl Selling {
    /// Creates worker and market. The worker synchronises its plans every `sync_ms`, or with 0 only
    /// on request.
    pub(crate) async fn start(namespace: &Namespace, plans: Vec<Value>, sync_ms: u64) -> Self {
        rights::create_account(namespace, ACCOUNT).await;
        let paper = PaperNode::start(namespace, |_| false).await;
        let worker: Deployment = workload::object(json!({
            "metadata": {"name": NAME},
            "spec": {
                "replicas": 2,
                "selector": {"matchLabels": {"app": NAME}},
                "template": paper.pod_template(NAME),
            },
        }));
        workload::create(namespace, &worker).await;
        let settings = json!({"sync_ms": sync_ms, "maintenance_gap_s": 0});
        let market = Market { plans, settings, ..Market::default() };
        let node = Arc::new(Node::start(&market).await);
        let before = authored(&workload::until_ready(namespace, NAME).await);
        let host = tokio::spawn(host(namespace.api(), node.clone()));
        Self { node, host, _paper: paper, before }
    }

    /// Accepts the order with this price as a consumer, for so many seconds. Returns the deal's ID.
    pub(crate) async fn accept(&self, price: &str, seconds: u64) -> String {
        let truth = self.node.truth().await;
        let mut offers = truth["offers"].as_array().expect("offers").iter();
        let offer = offers.find(|offer| offer["terms"]["price"]["perSecond"] == price);
        let order = offer.map(|offer| offer["orders"][0].clone()).expect("it is offered");
        let bid = json!({"duration_s": seconds, "consumer": CONSUMER});
        let deal = self.node.control("POST", &format!("/orders/{order}/accept"), &bid).await;
        deal["deal"].to_string()
    }

    /// Closes a deal as the consumer.
    pub(crate) async fn close(&self, deal: &str) {
        self.node.control("POST", &format!("/deals/{deal}/close"), &Value::Null).await;
    }

    /// Sets the faults of the market from now on.
    pub(crate) async fn faults(&self, faults: Value) {
        self.node.control("PUT", "/faults", &faults).await;
    }

    /// Waits until the market's state is as wanted, and returns it. A market has no watch.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let asked = wait::try_poll(async || Some(self.node.truth().await).filter(&holds));
        if let Some(truth) = asked.await {
            return truth;
        }
        panic!("waited in vain: {what}; there is {:#}", self.node.truth().await)
    }

    /// Waits until exactly these plans, by price, are on the market with one order each, no
    /// maintenance is announced, and the worker is as before. Checks that no promise was broken.
    pub(crate) async fn until_as_before(&self, namespace: &Namespace, prices: &[&str]) {
        let wanted: Offers = prices.iter().map(|price| ((*price).to_owned(), (1, 1))).collect();
        let truth = self.until("as before", |truth| offers(truth) == wanted).await;
        assert_eq!(announced(&truth), None);
        assert_eq!(truth["broken"], json!([]));
        let worker = workload::until_ready(namespace, NAME).await;
        assert_eq!(authored(&worker), self.before);
        let kept = namespace.api::<ConfigMap>().list(&kube::api::ListParams::default()).await;
        let kept = workload::names(&kept.expect("they are listed").items);
        assert!(!kept.iter().any(|name| name.ends_with("-withdrawn")), "{kept:?}");
    }
}

impl Drop for Selling {
    fn drop(&mut self) {
        self.host.abort();
    }
}

/// Starts a bridge to a Node for the object of this kind and name, with a Service that leads
/// through the proxy.
pub(crate) async fn bridge(
    namespace: &Namespace,
    proxy: &mut Proxy,
    node: &Node,
    (kind, name): (&str, &str),
    service: &str,
) -> Bridge {
    let holder =
        Holder { kind: kind.to_owned(), namespace: namespace.name.clone(), name: name.to_owned() };
    let bridge = Bridge::start(&holder, &node.bridge(), "127.0.0.1").await;
    bridge.knows_the_cluster();
    let upstream = format!("http://127.0.0.1:{}", bridge.port).parse().expect("a URL");
    let mut upstream = Config::new(upstream);
    // Its answers are forwarded to the operator.
    upstream.default_retry = false;
    let address = proxy.before(upstream, ([0, 0, 0, 0], 0).into()).await;
    serve(namespace, service, address.port()).await;
    bridge
}

/// Returns the worker's offers.
pub(crate) fn offers(truth: &Value) -> Offers {
    let count = |list: &Value| list.as_array().map_or(0, Vec::len);
    let all = truth["offers"].as_array().expect("offers").iter();
    all.map(|offer| {
        let price = offer["terms"]["price"]["perSecond"].as_str().unwrap_or_default().to_owned();
        (price, (count(&offer["plans"]), count(&offer["orders"])))
    })
    .filter(|(_, counts)| *counts != (0, 0))
    .collect()
}

/// Returns the announced maintenance. One in the far future means none.
pub(crate) fn announced(truth: &Value) -> Option<Timestamp> {
    let at = truth["model"]["workers"][WORKER]["next_maintenance"].as_str();
    let at: Option<Timestamp> = at.map(|at| at.parse().expect("a time"));
    at.filter(|at| at.duration_since(Timestamp::now()) < SignedDuration::from_hours(50 * 365 * 24))
}

/// Stops the stand-in's worker when its Deployment is held, and starts it when the Deployment is
/// released.
async fn host(deployments: Api<Deployment>, node: Arc<Node>) {
    let mine = watcher::Config::default().fields(&format!("metadata.name={NAME}"));
    let mut events = pin!(watcher(deployments, mine).default_backoff().applied_objects());
    while let Some(event) = events.next().await {
        if let Ok(deployment) = event {
            let what = if workload::replicas(&deployment) == 0 { "stop" } else { "start" };
            node.worker("POST", what, &Value::Null).await;
        }
    }
}

/// A worker that sells, and an operator.
pub(crate) struct Scene {
    pub(crate) operator: Operator,
    pub(crate) selling: Selling,
    pub(crate) bridge: Bridge,
    pub(crate) proxy: Proxy,
    pub(crate) namespace: Namespace,
}

impl Scene {
    /// Creates a scene in which the worker synchronises by itself.
    pub(crate) async fn create(test: &str, plans: Vec<Value>) -> Self {
        Self::with_syncs(test, plans, SYNC_MS).await
    }

    /// Creates a scene in which the worker synchronises every `sync_ms`; with 0, only on request.
    pub(crate) async fn with_syncs(test: &str, plans: Vec<Value>, sync_ms: u64) -> Self {
        Self::of(test, ("MaintenanceWindow", NAME), plans, sync_ms).await
    }

    /// Creates a scene whose bridge answers for the object of this kind and name.
    pub(crate) async fn of(
        test: &str,
        object: (&str, &str),
        plans: Vec<Value>,
        sync_ms: u64,
    ) -> Self {
        let (mut proxy, namespace) = (Proxy::start().await, Namespace::create(test).await);
        let selling = Selling::start(&namespace, plans, sync_ms).await;
        let bridge = bridge(&namespace, &mut proxy, &selling.node, object, SERVICE).await;
        Self { operator: Operator::start(&namespace), selling, bridge, proxy, namespace }
    }

    /// Creates the `MaintenanceWindow`.
    pub(crate) async fn window(&self, spec: Value) -> Window {
        Window::create(&self.namespace, NAME, spec).await
    }

    /// Waits until everything is as before and the window has no finalizer.
    pub(crate) async fn until_as_before(&self, window: &Window, prices: &[&str]) {
        wait::until(&window.api, &window.name, "no finalizer is left", |object| {
            object.finalizers().is_empty()
        })
        .await;
        self.selling.until_as_before(&self.namespace, prices).await;
    }

    /// Returns the desired replicas of the worker.
    pub(crate) async fn replicas(&self) -> i32 {
        let worker = self.namespace.api::<Deployment>().get(NAME).await;
        workload::replicas(&worker.expect("it is there"))
    }

    /// Returns the changes sent to the bridge: title and body.
    pub(crate) fn market_changes(&self) -> Vec<(String, Value)> {
        let requests = self.proxy.requests().into_iter();
        requests
            .filter(|request| request.is_of_market() && request.writes())
            .map(|request: Request| (request.title(), request.body))
            .collect()
    }
}

/// Returns the spec of a window for the worker that begins at once and has no end, with these
/// changes.
pub(crate) fn spec(more: Value, deals: Value) -> Value {
    let mut spec = json!({
        "workloads": [{"kind": "Deployment", "name": NAME}],
        "deals": {"source": {"service": {"name": SERVICE, "port": PORT}}, "settle": "1s"},
    });
    if more.get("start").is_none() && more.get("schedule").is_none() {
        spec["after"] = json!("0s");
    }
    for (into, from) in [("", more), ("deals", deals)] {
        for (key, value) in from.as_object().into_iter().flatten() {
            let part = if into.is_empty() { &mut spec } else { &mut spec[into] };
            part[key] = value.clone();
        }
    }
    spec
}
