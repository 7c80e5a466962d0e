//! The processes: what they keep, where they listen, and what a worker's pod tells.

use std::net::TcpStream;

use serde_json::json;

use super::*;
use crate::sonm::{Process, TemporaryFile};

#[test]
fn a_node_listens_on_loopback_and_a_forwarder_lets_others_in() {
    let node = Node::start(&scenario(&json!([spot("s")])));
    assert!(node.rest.ip().is_loopback());
    let to = node.rest.to_string();
    let forward = Process::start(["forward", "--listen", "0.0.0.0:0", "--to", &to]);
    let listens: std::net::SocketAddr = forward.value("forward").parse().unwrap();
    assert!(listens.ip().is_unspecified());
    let body = sonm::seal(&[7; 32], b"{}");
    let through = std::net::SocketAddr::from(([127, 0, 0, 1], listens.port()));
    let headers = [("x-worker-eth-addr", WORKER)];
    let path = "/WorkerManagementServer/AskPlans";
    let (status, answer) = sonm::http(through, "POST", path, &headers, &body).unwrap();
    assert_eq!(status, 200);
    let answer: Value = serde_json::from_slice(&sonm::unseal(&[7; 32], &answer)).unwrap();
    assert_eq!(answer["askPlans"], node.plans());
    // With no Node behind it, a connection just ends.
    node.set_faults(&json!({"node": "refused"}));
    assert!(sonm::http(through, "POST", path, &headers, &body).is_err());
    forward.terminate();
}

#[test]
fn what_is_kept_in_a_file_outlives_the_process() {
    let file = TemporaryFile::absent();
    let start = || {
        let plans = json!([forward("f", 600), offer("o")]);
        Node::start_with(&scenario(&plans), Some(&[7; 32]), &["--state", file.path()])
    };
    let node = start();
    node.manage("ScheduleMaintenance", &json!("2030-01-02T03:04:05Z"));
    node.manage("RemoveAskPlan", &json!({"id": "o"}));
    node.try_manage("RemoveAskPlan", &json!({"id": "f"}));
    let before = node.state();
    // Nothing is lost, even if it is killed.
    drop(node);
    let node = start();
    assert_eq!(node.manage("NextMaintenance", &json!({})), json!("2030-01-02T03:04:05Z"));
    let plans = node.plans();
    assert_eq!(plans.as_object().unwrap().len(), 1, "the scenario isn't begun again");
    assert_eq!(plans["f"]["status"], 1);
    assert!(plans["f"]["orderID"].is_string());
    assert!(plans["f"]["dealID"].is_null(), "which deal it has was in memory only");
    assert_eq!(node.state()["model"]["chain"], before["model"]["chain"]);
    let journal = |state: &Value| state["model"]["journal"].as_array().unwrap().clone();
    assert!(journal(&node.state()).starts_with(&journal(&before)));
    node.sync();
    assert!(node.plans()["f"]["dealID"].is_string());
}

#[test]
fn a_restarted_worker_forgets_its_deals_until_it_syncs() {
    let node = Node::start(&scenario(&json!([forward("f", 600)])));
    let (order, deal) = node.order_and_deal("f");
    node.control("POST", &format!("/workers/{WORKER}/restart"), &json!({}));
    let plan = node.plans()["f"].take();
    assert_eq!((&plan["orderID"], &plan["dealID"]), (&json!(order), &Value::Null));
    // The chain and the index know better.
    let (_, known) = node.call(None, "MarketServer/GetOrderByID", &json!({"id": order}));
    assert_eq!(known["dealID"], json!(deal));
    let (_, known) = node.call(None, "DWHServer/GetDeals", &json!({"supplierID": WORKER}));
    assert_eq!(known["deals"][0]["deal"]["id"], json!(deal));
    node.sync();
    assert_eq!(node.plans()["f"]["dealID"], json!(deal));
}

#[test]
fn a_workers_process_tells_when_it_stops_and_what_that_breaks() {
    let node = Node::start(&scenario(&json!([forward("f", 600)])));
    let control = node.control.to_string();
    let start = || Process::start(["worker", "--control", &control, "--worker", WORKER]);
    start().terminate();
    // Stopped, it can't be reached, and the market goes on without it.
    assert_eq!(node.try_manage("Status", &json!({})).0, 503);
    assert_eq!(node.call(None, "DWHServer/GetDeals", &json!({})).0, 200);
    let state = node.state();
    let [broken] = &state["broken"].as_array().unwrap()[..] else { panic!("one: {state:#}") };
    let (_, deal) = node.order_and_deal("f");
    assert!(broken["broken"].as_str().unwrap().contains(&format!("Forward deal {deal} was open")));
    let worker = start();
    assert_eq!(node.try_manage("Status", &json!({})).0, 200);
    worker.terminate();
}

#[test]
fn a_worker_that_stops_with_nothing_open_breaks_nothing() {
    let node = Node::start(&scenario(&json!([offer("o"), spot("s")])));
    node.manage("PurgeAskPlansDetailed", &json!({}));
    node.control("POST", &format!("/workers/{WORKER}/stop"), &json!({}));
    assert_eq!(node.state()["broken"], json!([]));
}

#[test]
fn the_journal_has_every_call_with_its_answer() {
    let node = Node::start(&scenario(&json!([])));
    node.try_manage("RemoveAskPlan", &json!({"id": "none"}));
    let state = node.state();
    let call = &state["model"]["journal"][0]["call"];
    assert_eq!(call["method"], "WorkerManagementServer/RemoveAskPlan");
    assert_eq!((&call["selector"], &call["status"]), (&json!(WORKER), &json!(500)));
    assert_eq!(call["request"], json!({"id": "none"}));
    assert_eq!(call["answer"], error("Unknown", "specified ask-plan does not exist"));
}

#[test]
fn offers_are_counted_by_their_terms() {
    let node = Node::start(&scenario(&json!([offer("a"), offer("b"), spot("s")])));
    let orders = |state: &Value| -> Vec<usize> {
        let offers = state["offers"].as_array().unwrap();
        offers.iter().map(|offer| offer["orders"].as_array().unwrap().len()).collect()
    };
    assert_eq!(orders(&node.state()), [2, 0]);
    let terms = node.state()["offers"][0]["terms"].take();
    node.manage("PurgeAskPlansDetailed", &json!({}));
    assert_eq!(orders(&node.state()), [0, 0]);
    node.manage("CreateAskPlan", &terms);
    node.sync();
    assert_eq!(orders(&node.state()), [1, 0]);
}

#[test]
fn bad_scenarios_and_keys_end_the_process_with_a_reason() {
    let scenario = TemporaryFile::new("{}");
    let key = TemporaryFile::new("no key");
    for (arguments, reason) in [
        (["--scenario", scenario.path(), "--insecure"].as_slice(), "missing field `node`"),
        (["--key", key.path()].as_slice(), "64 hexadecimal digits"),
        ([].as_slice(), "--key"),
    ] {
        let output = std::process::Command::new(sonm::BINARY)
            .args(["node", "--port", "0", "--control", "127.0.0.1:0"])
            .args(arguments)
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains(reason), "{said}");
    }
}

#[test]
fn the_control_interface_listens_elsewhere_than_the_node() {
    let node = Node::start(&scenario(&json!([])));
    assert_ne!(node.rest, node.control);
    node.set_faults(&json!({"node": "refused"}));
    assert!(TcpStream::connect(node.rest).is_err());
    assert!(TcpStream::connect(node.control).is_ok());
}
