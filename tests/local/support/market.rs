//! A SONM market with a bridge, and accessors of the bridge's answers.

use std::path::PathBuf;

use serde_json::{Value, json};
use torpor::deals::types::Commitments;

use super::bridge::Bridge;
use super::sonm_node::{CONSUMER, Market, Node, WORKER, plan};

impl Market {
    pub(crate) fn of(plans: Vec<Value>) -> Self {
        Self { plans, ..Self::default() }
    }
}

/// Returns a plan with a Forward deal that ends in so many seconds.
pub(crate) fn forward(id: &str, price: u64, ends_in: u64) -> Value {
    let mut plan = plan(id, price);
    plan["deal"] = json!({"consumer": CONSUMER, "ends_in_s": ends_in, "began_s_ago": 600});
    plan
}

impl Node {
    /// Writes another file into the Node's folder.
    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        self.folder.write(name, text)
    }

    /// Returns the ID of the order that a plan has on the market.
    pub(crate) async fn order_of(&self, plan: &str) -> u64 {
        let plan = self.truth().await["model"]["workers"][WORKER]["plans"][plan].clone();
        plan["order"].as_u64().unwrap_or_else(|| panic!("{plan} has no order"))
    }

    /// Returns the names of the existing plans.
    pub(crate) async fn plans(&self) -> Vec<String> {
        let truth = self.truth().await;
        let plans = truth["model"]["workers"][WORKER]["plans"].as_object().unwrap();
        plans.keys().cloned().collect()
    }

    /// Returns the calls of a method, as request and answer.
    pub(crate) async fn calls(&self, method: &str) -> Vec<(Value, Value)> {
        let truth = self.truth().await;
        let journal = truth["model"]["journal"].as_array().unwrap();
        let calls = journal.iter().map(|entry| &entry["call"]);
        calls
            .filter(|call| call["method"].as_str().is_some_and(|name| name.ends_with(method)))
            .map(|call| (call["request"].clone(), call["answer"].clone()))
            .collect()
    }

    /// Checks that no promise to a consumer was broken.
    pub(crate) async fn kept_its_promises(&self) {
        let truth = self.truth().await;
        assert_eq!(truth["broken"], json!([]));
    }
}

pub(crate) fn orders(seen: &Commitments) -> Vec<&str> {
    seen.orders.as_slice().iter().map(|order| order.id.as_str()).collect()
}

pub(crate) fn deals(seen: &Commitments) -> Vec<&str> {
    seen.deals.as_slice().iter().map(|deal| deal.id.as_str()).collect()
}

pub(crate) fn tasks(seen: &Commitments) -> Vec<&str> {
    seen.tasks.as_slice().iter().map(|task| task.id.as_str()).collect()
}

pub(crate) fn failures(seen: &Commitments) -> Vec<(&str, &str)> {
    let failures = seen.failures.as_slice().iter();
    failures.map(|failure| (failure.id.as_str(), failure.detail.as_str())).collect()
}

/// Returns the payloads with which the orders are offered again.
pub(crate) fn payloads(seen: &Commitments) -> Value {
    let orders = seen.orders.as_slice().iter();
    let mut all: Vec<Value> =
        orders.map(|order| json!({"id": order.id, "restore": order.restore})).collect();
    for deal in seen.deals.as_slice() {
        if let Some(restore) = &deal.restore {
            all.push(json!({"id": deal.id, "restore": restore}));
        }
    }
    all.into()
}

/// Returns a payload without its signature.
pub(crate) fn unsigned(restore: &str) -> &str {
    let signed = restore.strip_prefix("hmac-sha256:");
    signed.and_then(|signed| signed.split_once(':')).map_or(restore, |(_, payload)| payload)
}

pub(crate) async fn started(market: Market) -> (Bridge, Node) {
    let node = Node::start(&market).await;
    let bridge = Bridge::open(&node.bridge()).await;
    (bridge, node)
}
