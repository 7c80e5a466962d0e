//! Envelopes, errors, the choice of a worker, who may do what, and the shape of messages.

use serde_json::{Value, json};

use super::*;
use crate::sonm::http;

#[test]
fn a_call_and_its_answer_are_in_envelopes() {
    let node = Node::start(&scenario(&json!([])));
    let (status, answer) = node.try_manage("Tasks", &json!({}));
    assert_eq!((status, answer), (200, json!({})));
    let plain = http(
        node.rest,
        "POST",
        "/WorkerManagementServer/Tasks",
        &[("x-worker-eth-addr", WORKER)],
        b"{}",
    );
    assert_eq!(plain.unwrap().0, 500);
}

#[test]
fn a_key_with_leading_zero_bytes_is_used_without_them() {
    let mut key = [9; 32];
    key[..2].fill(0);
    let node = Node::start_with(&scenario(&json!([])), Some(&key), &[]);
    assert_eq!(node.try_manage("Tasks", &json!({})), (200, json!({})));
}

#[test]
fn an_answer_never_has_the_same_iv_twice() {
    let node = Node::start(&scenario(&json!([])));
    let body = sonm::seal(&[7; 32], b"{}");
    let ask = || http(node.rest, "POST", "/MarketServer/GetOrderByID", &[], &body).unwrap();
    let [first, second] = [ask(), ask()];
    assert_eq!(first.0, 404, "errors are in envelopes too");
    assert_eq!(sonm::unseal(&[7; 32], &first.1), sonm::unseal(&[7; 32], &second.1));
    assert_ne!(first.1[..16], second.1[..16]);
}

#[test]
fn a_wrong_key_gets_an_answer_that_it_cannot_read() {
    let mut node = Node::start(&scenario(&json!([])));
    node.private = Some(vec![8; 32]);
    let method = "WorkerManagementServer/Status";
    let (status, text) = node.raw(Some(WORKER), method, b"{}").unwrap();
    assert_eq!(status, 500);
    assert!(serde_json::from_slice::<Value>(&text).is_err());
}

#[test]
fn insecure_it_speaks_plain_json() {
    let node = Node::start_with(&scenario(&json!([])), None, &[]);
    assert_eq!(node.try_manage("Tasks", &json!({})), (200, json!({})));
}

#[test]
fn a_body_is_mandatory_and_has_to_be_json() {
    let node = Node::start(&scenario(&json!([])));
    for text in ["", "{", "{} {}"] {
        let method = "WorkerManagementServer/Tasks";
        let (status, answer) = node.raw(Some(WORKER), method, text.as_bytes()).unwrap();
        assert_eq!(status, 500, "{text:?}");
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        assert!(answer["error"].as_str().unwrap().starts_with("rpc error: code = Unknown desc = "));
    }
    // Not even an IV.
    let short = http(node.rest, "POST", "/WorkerManagementServer/Tasks", &[], b"short").unwrap();
    assert_eq!(short.0, 500);
}

#[test]
fn only_post_and_only_known_methods_are_answered() {
    let node = Node::start(&scenario(&json!([])));
    let get = http(node.rest, "GET", "/WorkerManagementServer/Status", &[], b"").unwrap();
    assert_eq!(get.0, 405);
    assert_eq!(node.call(None, "WorkerManagementServer/Nothing", &json!({})).0, 404);
    assert_eq!(node.call(None, "WorkerManagement/Status", &json!({})).0, 404);
    // As the Python client writes it.
    assert_eq!(node.call(Some(WORKER), "WorkerManagementServer/Status/", &json!({})).0, 200);
}

#[test]
fn the_header_selects_the_worker() {
    let mut scenario = scenario(&json!([spot("one")]));
    let other = json!({"address": NODE, "plans": [spot("two"), spot("three")]});
    scenario["workers"].as_array_mut().unwrap().push(other);
    let node = Node::start(&scenario);
    let plans = |worker: Option<&str>| {
        let (status, answer) = node.call(worker, "WorkerManagementServer/AskPlans", &json!({}));
        assert_eq!(status, 200, "{answer}");
        answer["askPlans"].as_object().unwrap().keys().cloned().collect::<Vec<_>>()
    };
    assert_eq!(plans(Some(WORKER)), ["one"]);
    assert_eq!(plans(Some(&WORKER.to_ascii_lowercase())), ["one"]);
    assert_eq!(plans(Some(&format!("{WORKER}@worker.example:15010"))), ["one"]);
    assert_eq!(plans(Some(NODE)), ["three", "two"]);
    assert_eq!(plans(None), ["three", "two"], "absent, it is the Node's own address");
}

#[test]
fn a_worker_that_is_not_there_is_unavailable() {
    let node = Node::start(&scenario(&json!([])));
    for worker in [None, Some(CONSUMER)] {
        let (status, answer) = node.call(worker, "WorkerManagementServer/Status", &json!({}));
        assert_eq!(status, 503);
        assert!(answer["error"].as_str().unwrap().contains("code = Unavailable"), "{answer}");
    }
    for malformed in ["", "5aAe", "worker:15010", &format!("{WORKER}@"), &format!("{WORKER}@host")]
    {
        let (status, _) = node.call(Some(malformed), "WorkerManagementServer/Status", &json!({}));
        assert_eq!(status, 500, "{malformed:?}");
    }
}

#[test]
fn only_the_workers_the_masters_and_the_admins_key_manage_it() {
    for (key, allowed) in [(WORKER, true), (NODE, true), (CONSUMER, true), (OTHER, false)] {
        let node = Node::start(&json!({
            "node": key,
            "settings": {"sync_ms": 0},
            "workers": [{"address": WORKER, "master": NODE, "admin": CONSUMER}],
        }));
        assert_eq!(node.try_manage("Status", &json!({})).0, 200, "it is open to all");
        for method in ["Tasks", "AskPlans", "NextMaintenance", "PurgeAskPlansDetailed"] {
            let (status, answer) = node.try_manage(method, &json!({}));
            assert_eq!(status, if allowed { 200 } else { 401 }, "{method} with {key}: {answer}");
            assert!(allowed || answer["error"].as_str().unwrap().contains("Unauthenticated"));
        }
    }
}

const OTHER: &str = "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb";

#[test]
fn messages_have_the_shapes_of_go() {
    let node = Node::start(&scenario(&json!([forward("f", 600), spot("s")])));
    let status = node.manage("Status", &json!({}));
    assert_eq!((&status["ethAddr"], &status["taskCount"]), (&json!(WORKER), &json!(2)));
    assert_eq!(status["master"], NODE);
    let tasks = node.manage("Tasks", &json!({}));
    let tasks = tasks["info"].as_object().unwrap();
    assert_eq!(tasks.len(), 2);
    assert!(tasks.values().all(|task| task["status"] == 3 && task["imageName"] == "busybox"));
    let plans = node.plans();
    assert_eq!(plans["f"]["duration"], json!({"nanoseconds": HOUR}));
    for (plan, spot) in [("f", false), ("s", true)] {
        let plan = &plans[plan];
        assert_eq!(plan["duration"].is_null(), spot);
        assert!(plan["orderID"].is_string() && plan["dealID"].is_string(), "{plan}");
        assert!(plan["status"].is_null(), "active is zero, so absent");
        let (status, answer) = node.call(None, "DealManagementServer/Status", &plan["dealID"]);
        assert_eq!(status, 200);
        let deal = &answer["deal"];
        assert_eq!((&deal["id"], &deal["status"]), (&plan["dealID"], &json!(1)));
        assert_eq!(deal["duration"], if spot { Value::Null } else { json!(600) });
        assert_eq!((&deal["supplierID"], &deal["consumerID"]), (&json!(WORKER), &json!(CONSUMER)));
        let (status, order) =
            node.call(None, "MarketServer/GetOrderByID", &json!({"id": plan["orderID"]}));
        assert_eq!(status, 200);
        assert_eq!((&order["dealID"], &order["orderStatus"]), (&plan["dealID"], &json!(1)));
        assert_eq!((&order["orderType"], &order["authorID"]), (&json!(2), &json!(WORKER)));
    }
}

#[test]
fn the_next_maintenance_is_a_text_and_so_is_its_announcement() {
    let node = Node::start(&scenario(&json!([])));
    let first = node.manage("NextMaintenance", &json!({}));
    assert!(first.as_str().unwrap().starts_with("21"), "{first}");
    let at = json!("2026-01-02T03:04:05Z");
    assert_eq!(node.manage("ScheduleMaintenance", &at), json!({}));
    assert_eq!(node.manage("NextMaintenance", &json!({})), at);
    // Unset, it is the beginning of 1970: maintenance now.
    node.manage("ScheduleMaintenance", &Value::Null);
    assert_eq!(node.manage("NextMaintenance", &json!({})), json!("1970-01-01T00:00:00Z"));
    assert_eq!(node.try_manage("ScheduleMaintenance", &json!({})).0, 500);
}

#[test]
fn what_is_not_on_the_chain_is_not_found() {
    let node = Node::start(&scenario(&json!([])));
    for (method, body) in [
        ("MarketServer/GetOrderByID", json!({"id": "99"})),
        ("MarketServer/GetOrderByID", json!({"id": "x"})),
        ("DealManagementServer/Status", json!("99")),
    ] {
        let (status, answer) = node.call(None, method, &body);
        assert_eq!(status, 404);
        assert!(answer["error"].as_str().unwrap().contains("code = NotFound"), "{answer}");
    }
    assert_eq!(node.call(None, "DealManagementServer/Status", &json!(99)).0, 500);
}
