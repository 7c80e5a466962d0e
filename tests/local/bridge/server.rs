//! The HTTP server of every bridge: good and bad requests, and shutdown.

use serde_json::{Value, json};

use crate::support::bridge::{Bridge, command, detail, ends, problem};
use crate::support::http::send;
use crate::support::sonm_node::{Market, Node};

const JSON: (&str, &str) = ("content-type", "application/json");

async fn empty_market() -> (Bridge, Node) {
    let node = Node::start(&Market::default()).await;
    let bridge = Bridge::open(&node.bridge()).await;
    (bridge, node)
}

#[tokio::test]
async fn every_mistake_is_a_problem_that_says_which() {
    let (bridge, _node) = empty_market().await;
    let epoch = ("torpor-epoch", "1");
    let drain = br#"{"orders":[],"deals":[],"tasks":[]}"#;
    let path = "/v1/drain";
    let big = vec![b' '; 1024 * 1024 + 1];
    let long = json!({"orders": ["x".repeat(257)], "deals": [], "tasks": []}).to_string();
    let many = json!({"orders": vec!["x"; 10_001], "deals": [], "tasks": []}).to_string();
    type Case<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], &'a [u8], u16, &'a str, &'a str);
    let cases: &[Case] = &[
        ("GET", "/v1/nothing", &[], b"", 404, "not-found", "docs/deals-api.yaml"),
        ("GET", "/", &[], b"", 404, "not-found", ""),
        ("PATCH", path, &[epoch], b"", 405, "method-not-allowed", "Allow"),
        ("DELETE", "/v1/commitments", &[epoch], b"", 405, "method-not-allowed", ""),
        ("POST", path, &[JSON], drain, 400, "invalid-request", "Torpor-Epoch"),
        ("POST", path, &[JSON, ("torpor-epoch", "-1")], drain, 400, "invalid-request", ""),
        ("POST", path, &[JSON, ("torpor-epoch", "+1")], drain, 400, "invalid-request", ""),
        ("POST", path, &[JSON, ("torpor-epoch", "")], drain, 400, "invalid-request", ""),
        (
            "POST",
            path,
            &[JSON, ("torpor-epoch", "18446744073709551616")],
            drain,
            400,
            "invalid-request",
            "",
        ),
        ("POST", path, &[JSON, epoch, epoch], drain, 400, "invalid-request", "once"),
        ("DELETE", "/v1/maintenance", &[], b"", 400, "invalid-request", "Torpor-Epoch"),
        ("POST", path, &[epoch], drain, 415, "unsupported-media-type", ""),
        (
            "POST",
            path,
            &[epoch, ("content-type", "text/plain")],
            drain,
            415,
            "unsupported-media-type",
            "",
        ),
        ("POST", path, &[JSON, epoch], b"", 400, "invalid-request", "the body"),
        ("POST", path, &[JSON, epoch], b"{", 400, "invalid-request", "the body"),
        ("POST", path, &[JSON, epoch], b"{}", 400, "invalid-request", "missing field `orders`"),
        (
            "POST",
            path,
            &[JSON, epoch],
            b"{\"orders\":[],\"deals\":[],\"tasks\":[],\"x\":1}",
            400,
            "invalid-request",
            "unknown field `x`",
        ),
        (
            "POST",
            path,
            &[JSON, epoch],
            b"{\"orders\":[],\"orders\":[],\"deals\":[],\"tasks\":[]}",
            400,
            "invalid-request",
            "duplicate",
        ),
        (
            "POST",
            path,
            &[JSON, epoch],
            b"{\"orders\":[],\"deals\":[],\"tasks\":[]} x",
            400,
            "invalid-request",
            "trailing",
        ),
        ("POST", path, &[JSON, epoch], long.as_bytes(), 400, "invalid-request", "256 characters"),
        ("POST", path, &[JSON, epoch], many.as_bytes(), 400, "invalid-request", "10000"),
        ("POST", path, &[JSON, epoch], &big, 413, "body-too-large", "1048576"),
        (
            "PUT",
            "/v1/maintenance",
            &[JSON, epoch],
            b"{\"at\":\"soon\"}",
            400,
            "invalid-request",
            "",
        ),
        (
            "POST",
            "/v1/resume",
            &[JSON, epoch],
            b"{\"orders\":[{\"id\":\"a\",\"restore\":\"x\"}]}",
            422,
            "invalid-restore",
            "order a",
        ),
    ];
    for (method, path, headers, body, status, kind, text) in cases {
        let answer = bridge.ask(method, path, headers, body).await;
        let shown = String::from_utf8_lossy(&body[..body.len().min(60)]);
        assert_eq!(problem(&answer), (*status, (*kind).to_owned()), "{method} {path} {shown}");
        assert!(detail(&answer).contains(text), "{method} {path} {shown}: {answer:?}");
    }
    let answer = send(bridge.address, "POST", "/healthz", &[], b"").await;
    assert_eq!(problem(&answer), (405, "method-not-allowed".to_owned()));
}

#[tokio::test]
async fn changes_are_answered_as_the_contract_says() {
    let (bridge, _node) = empty_market().await;
    let at = json!({"at": "2030-12-01T02:00:00Z"});
    let charset = [("content-type", "Application/JSON; charset=utf-8"), ("torpor-epoch", "1")];
    let announced = bridge.ask("PUT", "/v1/maintenance", &charset, at.to_string().as_bytes()).await;
    assert_eq!(announced.status, 204, "{announced:?}");
    assert_eq!(bridge.change("DELETE", "/v1/maintenance", 1, &Value::Null).await.status, 204);
    bridge.drain(2, &json!({})).await;
    assert_eq!(bridge.resume(3, &json!([])).await.status, 204);
    let old = bridge.change("PUT", "/v1/maintenance", 2, &at).await;
    assert_eq!(problem(&old), (409, "stale-epoch".to_owned()));
    assert_eq!(bridge.resume(u64::MAX, &json!([])).await.status, 204);
}

#[tokio::test]
async fn it_ends_in_order_when_it_is_told_to() {
    let (bridge, _node) = empty_market().await;
    assert_eq!(bridge.observe().await.status, 200);
    assert_eq!(bridge.terminate().await, 0);
}

#[tokio::test]
async fn the_help_shows_how() {
    for arguments in [&[][..], &["sonm"], &["postgres"]] {
        let output = command(arguments).arg("--help").output().await.unwrap();
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("Example") && text.contains("torpor bridge"), "{text}");
    }
}

#[tokio::test]
async fn what_cannot_be_listened_on_is_said() {
    let (bridge, node) = empty_market().await;
    let taken = bridge.address.to_string();
    let mut second = command(&node.bridge());
    let (status, text) =
        ends(second.args(["--insecure-no-authentication", "--listen", &taken])).await;
    assert_eq!(status, 1);
    assert!(text.contains(&format!("cannot listen at {taken}")), "{text}");
}
