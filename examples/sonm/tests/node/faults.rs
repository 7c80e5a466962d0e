//! What goes wrong on request.

use std::io::{ErrorKind, Read as _};
use std::time::Duration;

use serde_json::{Value, json};

use super::*;

const TASKS: &str = "WorkerManagementServer/Tasks";

/// Whether the journal has such a call.
fn called(state: &Value, method: &str) -> bool {
    let entries = state["model"]["journal"].as_array().unwrap();
    entries.iter().any(|entry| entry["call"]["method"] == method)
}

#[test]
fn connections_are_refused_until_the_node_is_back() {
    let node = Node::start(&scenario(&json!([])));
    for _ in 0..3 {
        node.set_faults(&json!({"node": "refused"}));
        let refused = node.raw(Some(WORKER), TASKS, b"{}").unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        node.set_faults(&json!({}));
        assert_eq!(node.try_manage("Tasks", &json!({})).0, 200);
    }
}

#[test]
fn an_unavailable_node_answers_503_and_does_nothing() {
    let node = Node::start(&scenario(&json!([spot("s")])));
    node.set_faults(&json!({"node": "unavailable"}));
    assert_eq!(node.try_manage("RemoveAskPlan", &json!({"id": "s"})).0, 503);
    assert_eq!(node.call(None, "DWHServer/GetDeals", &json!({})).0, 503);
    node.set_faults(&json!({}));
    assert!(node.plans()["s"]["status"].is_null());
}

#[test]
fn the_dwh_can_be_down_alone() {
    let node = Node::start(&scenario(&json!([spot("s")])));
    node.set_faults(&json!({"dwh_down": true}));
    assert_eq!(node.call(None, "DWHServer/GetDeals", &json!({})).0, 503);
    let (_, deal) = node.order_and_deal("s");
    assert_eq!(node.call(None, "DealManagementServer/Status", &json!(deal)).0, 200);
    assert_eq!(node.try_manage("AskPlans", &json!({})).0, 200);
}

#[test]
fn answers_are_empty_or_cut_short_for_the_methods_that_are_named() {
    let node = Node::start(&scenario(&json!([spot("s")])));
    let whole = node.plans();
    node.set_faults(&json!({"answer": "empty", "methods": ["WorkerManagementServer/AskPlans"]}));
    assert_eq!(node.try_manage("AskPlans", &json!({})), (200, json!({})));
    assert_ne!(node.manage("Tasks", &json!({})), json!({}));
    node.set_faults(&json!({"answer": "truncated"}));
    let (status, text) = node.raw(Some(WORKER), "WorkerManagementServer/AskPlans", b"{}").unwrap();
    assert_eq!(status, 200);
    assert!(text.starts_with(b"{\"askPlans\"") && serde_json::from_slice::<Value>(&text).is_err());
    node.set_faults(&json!({}));
    assert_eq!(node.plans(), whole);
}

#[test]
fn a_node_with_another_key_understands_nobody() {
    let node = Node::start(&scenario(&json!([])));
    node.set_faults(&json!({"wrong_key": true}));
    let (status, text) = node.raw(Some(WORKER), TASKS, b"{}").unwrap();
    assert_eq!(status, 500);
    assert!(serde_json::from_slice::<Value>(&text).is_err());
    node.set_faults(&json!({}));
    assert_eq!(node.try_manage("Tasks", &json!({})).0, 200);
}

#[test]
fn a_method_fails_as_often_as_it_is_told() {
    let node = Node::start(&scenario(&json!([])));
    let fault = json!({"method": TASKS, "code": "PermissionDenied", "message": "no", "times": 2});
    node.set_faults(&json!({"errors": [fault]}));
    for expected in [403, 403, 200] {
        assert_eq!(node.try_manage("AskPlans", &json!({})).0, 200);
        let (status, answer) = node.try_manage("Tasks", &json!({}));
        assert_eq!(status, expected);
        assert!(expected == 200 || answer == error("PermissionDenied", "no"));
    }
}

#[test]
fn a_method_can_fail_although_it_was_carried_out() {
    let node = Node::start(&scenario(&json!([offer("o")])));
    let fault = json!({
        "method": "WorkerManagementServer/RemoveAskPlan", "code": "Unavailable",
        "message": "transport is closing", "after": true,
    });
    node.set_faults(&json!({"errors": [fault]}));
    let answer = node.try_manage("RemoveAskPlan", &json!({"id": "o"}));
    assert_eq!(answer, (503, error("Unavailable", "transport is closing")));
    assert_eq!(node.manage("AskPlans", &json!({})), json!({}));
}

#[test]
fn a_slow_call_holds_up_no_other() {
    let node = Node::start(&scenario(&json!([])));
    node.set_faults(&json!({"delay_ms": 60_000, "methods": [TASKS]}));
    let mut slow = node.send(WORKER, TASKS, b"{}");
    assert_eq!(node.try_manage("AskPlans", &json!({})).0, 200);
    slow.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let error = slow.read(&mut [0]).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
    assert!(!called(&node.state(), TASKS));
}

#[test]
fn the_index_lags_by_what_is_set() {
    let mut scenario = scenario(&json!([offer("o")]));
    scenario["settings"]["dwh_lag_ms"] = json!(60_000);
    let node = Node::start(&scenario);
    let (order, _) = node.order_and_deal("o");
    let bid = json!({"duration_s": 600, "consumer": CONSUMER});
    let deal = node.control("POST", &format!("/orders/{order}/accept"), &bid)["deal"].to_string();
    assert_eq!(node.call(None, "DWHServer/GetDeals", &json!({})), (200, json!({})));
    assert_eq!(node.call(None, "DealManagementServer/Status", &json!(deal)).0, 200);
    node.advance(60);
    let (_, answer) = node.call(None, "DWHServer/GetDeals", &json!({}));
    assert_eq!(answer["deals"][0]["deal"]["id"], deal);
}

#[test]
fn a_deadlocked_worker_lets_calls_hang_until_it_is_restarted() {
    let node = Node::start(&scenario(&json!([spot("s")])));
    node.set_defects(&json!({"deadlocked": true}));
    assert_eq!(node.try_manage("Tasks", &json!({})).0, 200, "which needs no plans");
    let method = "WorkerManagementServer/AskPlans";
    let mut client = node.send(WORKER, method, b"{}");
    node.wait("the call hangs", |state| state["hanging"] == 1);
    assert!(!called(&node.state(), method));
    node.control("POST", &format!("/workers/{WORKER}/restart"), &json!({}));
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 503 "), "{}", answer.escape_ascii());
    assert_eq!(node.try_manage("AskPlans", &json!({})).0, 200);
}

#[test]
fn a_worker_whose_containers_are_lost_looks_empty() {
    let node = Node::start(&scenario(&json!([spot("s")])));
    node.set_defects(&json!({"lose_containers": true}));
    assert_eq!(node.try_manage("RemoveAskPlan", &json!({"id": "s"})).0, 500);
    assert_eq!(node.manage("Tasks", &json!({})), json!({}));
    let tasks = node.state()["model"]["workers"][WORKER]["tasks"].take();
    let (id, task) = tasks.as_object().unwrap().iter().next().unwrap();
    assert_eq!((&task["listed"], &task["container"]), (&json!(false), &json!(true)));
    node.control("POST", &format!("/tasks/{id}/end"), &json!({}));
    assert_eq!(node.state()["model"]["workers"][WORKER]["tasks"][id]["container"], false);
}

#[test]
fn the_control_interface_says_what_it_does_not_understand() {
    let node = Node::start(&scenario(&json!([])));
    assert_eq!(node.try_control("PUT", "/faults", &json!({"fault": 1})).0, 400);
    let bid = json!({"consumer": CONSUMER});
    assert_eq!(node.try_control("POST", "/orders/99/accept", &bid).0, 404);
    let stuck = json!({"stuck_plans": ["none"]});
    let path = format!("/workers/{WORKER}/defects");
    assert_eq!(node.try_control("PUT", &path, &stuck).0, 404);
    assert_eq!(node.try_control("POST", &format!("/workers/{CONSUMER}/stop"), &json!({})).0, 404);
    // The protocol's port knows nothing of it.
    assert_eq!(node.call(None, "state", &json!({})).0, 404);
}
