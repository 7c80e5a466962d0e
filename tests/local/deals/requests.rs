//! The client's requests. The server (`stub.rs`) checks each of them against the contract.

use jiff::Timestamp;
use serde_json::{Value, json};
use torpor::deals::types::Order;
use torpor::lease::Epoch;

use crate::support::stub::{Reply, Stub};
use crate::support::world::{World, bare, commitments, failed, tells};

fn orders(value: Value) -> Vec<Order> {
    serde_json::from_value(value).unwrap()
}

fn last(stub: &Stub) -> (String, String, Vec<String>) {
    let request = stub.requests().pop().unwrap();
    let epoch = request.header("torpor-epoch").iter().map(ToString::to_string).collect();
    (request.method, request.path, epoch)
}

fn expected(method: &str, path: &str, epoch: &str) -> (String, String, Vec<String>) {
    (method.to_owned(), path.to_owned(), vec![epoch.to_owned()])
}

#[tokio::test]
async fn every_call_says_what_was_asked_for() {
    let done = Reply::Say(bare(204));
    let replies = [done.clone(), done.clone(), Reply::Say(bare(202)), done.clone(), done];
    let (world, stub) = World::answered(&replies).await;
    let server = world.server();

    let at: Timestamp = "2026-12-01T02:00:00.5Z".parse().unwrap();
    world.client.announce(&server, Epoch(1), Some(at)).await.unwrap();
    assert_eq!(last(&stub), expected("PUT", "/v1/maintenance", "1"));
    assert_eq!(stub.requests()[0].json(), json!({"at": "2026-12-01T02:00:00.5Z"}));

    world.client.announce(&server, Epoch(i32::MAX), None).await.unwrap();
    assert_eq!(last(&stub), expected("DELETE", "/v1/maintenance", "2147483647"));

    let drain = json!({"orders": ["a"], "deals": ["2"], "tasks": ["t", "u"]});
    world.drain(&drain).await.unwrap();
    assert_eq!(last(&stub), expected("POST", "/v1/drain", "7"));
    assert_eq!(stub.requests()[2].json(), drain);

    for (number, resume) in
        [json!([{"id": "a", "restore": "{\"x\":1}"}]), json!([])].into_iter().enumerate()
    {
        world.client.resume(&server, Epoch(3), orders(resume.clone())).await.unwrap();
        assert_eq!(last(&stub), expected("POST", "/v1/resume", "3"));
        assert_eq!(stub.requests()[3 + number].json(), json!({"orders": resume}));
    }
}

#[tokio::test]
async fn an_observation_carries_no_epoch() {
    let (world, stub) = World::answered(&[Reply::Say(tells(&commitments()))]).await;
    world.observe().await.unwrap();
    let observe = ("GET".to_owned(), "/v1/commitments".to_owned(), vec![]);
    assert_eq!(last(&stub), observe);
}

#[tokio::test]
async fn more_than_one_request_may_have_is_not_sent() {
    let (world, stub) = World::answered(&[Reply::Say(bare(204))]).await;
    let server = world.server();
    let restore = |length: usize| json!({"id": "a", "restore": "x".repeat(length)});
    let frame = json!({"orders": orders(json!([restore(0)]))}).to_string().len();
    // Sixteen times 64 KiB is one frame too much.
    let mut fits: Vec<Value> = (0..15).map(|_| restore(65_536)).collect();
    let used = json!({"orders": fits}).to_string().len();
    let entry = frame - json!({"orders": []}).to_string().len() + 1;
    fits.push(restore(1024 * 1024 - used - entry));
    world.client.resume(&server, Epoch(1), orders(json!(fits))).await.unwrap();
    let sent = stub.requests()[0].json().to_string();
    assert_eq!(sent.len(), 1024 * 1024);

    let mut more = fits;
    let length = more[15]["restore"].as_str().unwrap().len();
    more[15] = restore(length + 1);
    let many: Vec<Value> = (0..10_001).map(|_| restore(0)).collect();
    for (orders, says) in
        [(orders(json!(more)), "1048577 bytes"), (orders(json!(many)), "at most 10000 entries")]
    {
        let (reason, text) = failed(world.client.resume(&server, Epoch(1), orders).await);
        assert_eq!(reason, "RequestTooLarge", "{text}");
        assert!(text.contains(says), "{text}");
    }
    assert_eq!(stub.requests().len(), 1);
}
