//! The stand-in as its clients meet it: a process, over the wire.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod faults;
mod market;
mod processes;
mod protocol;
mod sonm;

use serde_json::{Value, json};

use sonm::Node;

const NODE: &str = "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359";
const WORKER: &str = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed";
const CONSUMER: &str = "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB";
const HOUR: u64 = 3_600_000_000_000;

/// A worker of the Node's key with these plans; syncs come when they are asked for.
fn scenario(plans: &Value) -> Value {
    json!({
        "node": NODE,
        "settings": {"sync_ms": 0},
        "workers": [{"address": WORKER, "plans": plans}],
    })
}

/// A plan with a Spot deal, with a task in it.
fn spot(id: &str) -> Value {
    json!({
        "id": id,
        "ask": {"price": {"perSecond": "5"}},
        "deal": {"consumer": CONSUMER, "tasks": [{"image": "busybox"}]},
    })
}

/// A plan with a Forward deal, with a task in it.
fn forward(id: &str, ends_in_s: u64) -> Value {
    json!({
        "id": id,
        "ask": {"duration": {"nanoseconds": HOUR}, "price": {"perSecond": "5"}},
        "deal": {"consumer": CONSUMER, "ends_in_s": ends_in_s, "tasks": [{"image": "busybox"}]},
    })
}

/// A plan with an order.
fn offer(id: &str) -> Value {
    json!({"id": id, "ask": {"duration": {"nanoseconds": HOUR}, "price": {"perSecond": "5"}}})
}

impl Node {
    /// A call to the worker that has to succeed.
    fn manage(&self, method: &str, body: &Value) -> Value {
        let (status, answer) = self.try_manage(method, body);
        assert_eq!(status, 200, "{method}: {answer}");
        answer
    }

    fn try_manage(&self, method: &str, body: &Value) -> (u16, Value) {
        self.call(Some(WORKER), &format!("WorkerManagementServer/{method}"), body)
    }

    fn sync(&self) {
        self.control("POST", "/sync", &json!({}));
    }

    fn advance(&self, seconds: u64) {
        self.control("POST", "/clock", &json!({"advance_s": seconds}));
    }

    fn set_faults(&self, faults: &Value) {
        self.control("PUT", "/faults", faults);
    }

    fn set_defects(&self, defects: &Value) {
        self.control("PUT", &format!("/workers/{WORKER}/defects"), defects);
    }

    /// The plans as the worker tells of them.
    fn plans(&self) -> Value {
        self.manage("AskPlans", &json!({}))["askPlans"].take()
    }

    /// The order and the deal of a plan.
    fn order_and_deal(&self, plan: &str) -> (String, String) {
        let plan = &self.state()["model"]["workers"][WORKER]["plans"][plan];
        (plan["order"].to_string(), plan["deal"].to_string())
    }
}

fn error(code: &str, message: &str) -> Value {
    json!({"error": format!("rpc error: code = {code} desc = {message}")})
}
