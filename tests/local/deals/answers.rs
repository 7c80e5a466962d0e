//! The client accepts valid answers only.

use axum::body::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};
use torpor::deals::problem::ProblemType;
use torpor::deals::types::Commitments;

use crate::support::stub::{Reply, Stub};
use crate::support::world::{World, bare, commitments, failed, problem, says, tells};

#[tokio::test]
async fn an_observation_tells_what_binds_and_when_it_was_asked() {
    let (world, stub) = World::answered(&[Reply::Say(tells(&commitments()))]).await;
    let before = Timestamp::now();
    let observation = world.observe().await.unwrap();
    assert!(before <= observation.began && observation.began <= observation.complete);
    assert!(observation.complete <= Timestamp::now());
    let expected: Commitments = serde_json::from_value(commitments()).unwrap();
    assert_eq!(observation.commitments, expected);
    assert_eq!(stub.requests().len(), 1);
}

fn with(key: &str, value: Value) -> Bytes {
    let mut changed = commitments();
    changed[key] = value;
    tells(&changed)
}

fn raw(text: &str) -> Bytes {
    text.to_owned().into()
}

#[tokio::test]
async fn an_observation_that_is_not_exactly_the_contracts_is_none() {
    let good = commitments().to_string();
    let cut = &good[..good.len() - 1];
    let length = good.len();
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
    let nul = json!([{"id": "\u{1b}[2J", "restore": ""}]);
    for (what, answer, wanted) in [
        ("nothing", tells(&json!({})), "missing field"),
        ("null", tells(&Value::Null), "invalid type"),
        ("no JSON", says(200, "application/json", "{"), "EOF"),
        ("no body", says(200, "application/json", ""), "EOF"),
        ("a part", with("complete", json!(false)), "complete is not true"),
        ("more", with("\u{1b}[2Jmore\n", json!(1)), "unknown field"),
        ("a bad id", with("orders", nul), "control character"),
        ("more after it", says(200, "application/json", &format!("{good} {{}}")), "trailing"),
        ("HTML", says(200, "text/html", "<html>ok</html>"), "not application/json"),
        ("another type", says(200, "text/plain", &good), "not application/json"),
        ("no type", raw(&format!("HTTP/1.1 200 OK\r\n\r\n{good}")), "not application/json"),
        ("a problem", says(200, "application/problem+json", "{}"), "not application/json"),
        ("its body only", says(200, "application/json", "{\"type\":\"x\"}"), "unknown field"),
        ("201", says(201, "application/json", &good), "201 without a problem"),
        ("204", bare(204), "204 without a problem"),
        ("404", says(404, "text/html", "<html>"), "404 without a problem"),
        ("cut", raw(&format!("{head}content-length: {length}\r\n\r\n{cut}")), "cut short"),
        (
            "cut between chunks",
            raw(&format!("{head}transfer-encoding: chunked\r\n\r\n{length:x}\r\n{good}\r\n")),
            "cut short",
        ),
        ("cut without a length", raw(&format!("{head}\r\n{cut}")), "EOF"),
        ("no HTTP", raw("SSH-2.0-OpenSSH_9.2\r\n\r\n"), "no HTTP"),
    ] {
        let (world, stub) = World::answered(&[Reply::Say(answer)]).await;
        let (reason, text) = failed(world.observe().await);
        assert_eq!(reason, "MarketInvalid", "{what}: {text}");
        assert!(text.contains(wanted), "{what}: {text}");
        assert_eq!(stub.requests().len(), 1, "{what}: it was asked again");
    }
}

#[tokio::test]
async fn a_change_that_is_not_answered_as_the_contract_says_was_not_made() {
    let empty = json!({"orders": [], "deals": [], "tasks": []});
    let page = says(200, "text/html", "<html>ok</html>");
    let hidden = problem(ProblemType::MarketRefused, "no");
    let hidden = String::from_utf8(hidden.to_vec()).unwrap().replacen("502", "200", 1);
    for (what, answer, wanted) in [
        ("200", bare(200), "200 without a problem"),
        ("HTML", page, "200 without a problem"),
        ("a problem as a success", hidden.into(), "200 without a problem"),
        ("a body", says(202, "application/json", "{}"), "its status 202 forbids a body"),
        ("cut", raw("HTTP/1.1 202 X\r\ncontent-length: 9\r\n\r\n{"), "cut short"),
    ] {
        let (world, stub) = World::answered(&[Reply::Say(answer)]).await;
        let (reason, text) = failed(world.drain(&empty).await);
        assert_eq!(reason, "MarketInvalid", "{what}: {text}");
        assert!(text.contains(wanted), "{what}: {text}");
        assert_eq!(stub.requests().len(), 1, "{what}: it was made again");
    }
    let (world, _stub) = World::answered(&[Reply::Say(bare(202))]).await;
    assert_eq!(failed(world.change().await).0, "MarketInvalid", "204 is wanted here");
    world.drain(&empty).await.unwrap();
}

#[tokio::test]
async fn a_redirect_is_an_error_and_nobody_else_is_asked() {
    let elsewhere = Stub::start(&[Reply::Say(tells(&commitments()))]).await;
    for status in [301, 302, 303, 304, 307, 308] {
        let location = format!("location: http://{}/v1/commitments", elsewhere.address);
        let answer = format!("HTTP/1.1 {status} X\r\n{location}\r\ncontent-length: 0\r\n\r\n");
        let (world, stub) = World::answered(&[Reply::Say(answer.into())]).await;
        for asked in [world.observe().await.map(drop), world.change().await] {
            let (reason, text) = failed(asked);
            assert_eq!(reason, "MarketInvalid", "{status}: {text}");
            assert!(text.contains("redirect"), "{status}: {text}");
        }
        assert_eq!(stub.requests().len(), 2, "{status}");
    }
    assert_eq!(elsewhere.requests().len(), 0);
}

#[tokio::test]
async fn an_answer_is_read_no_further_than_it_may_be_long() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
    let endless = format!("{head}transfer-encoding: chunked\r\n\r\n");
    let announced = format!("{head}content-length: {}\r\n\r\n", 1_u64 << 40);
    let refusal = endless.replace("200", "502");
    let header = format!("x-more: {}\r\n", "x".repeat(1000));
    for (what, first, then, wanted) in [
        ("endless", &endless, &chunk, "more than 2097152 bytes"),
        ("said to be", &announced, &chunk, "more than 2097152 bytes"),
        ("an endless refusal", &refusal, &chunk, "more than 65536 bytes"),
        ("an endless head", &head.to_owned(), &header, "no HTTP"),
    ] {
        let reply = Reply::Forever(first.clone().into(), then.clone().into());
        let (world, _stub) = World::answered(&[reply]).await;
        let (reason, text) = failed(world.observe().await);
        assert_eq!(reason, "MarketInvalid", "{what}: {text}");
        assert!(text.contains(wanted), "{what}: {text}");
    }
    let changed = Reply::Forever(endless.replace("200", "204").into(), chunk.into());
    let (world, _stub) = World::answered(&[changed]).await;
    world.change().await.unwrap();

    // A long answer within the limits is accepted.
    let restore = "x".repeat(65_000);
    let orders: Vec<Value> =
        (0..20).map(|id| json!({"id": id.to_string(), "restore": restore})).collect();
    let (world, _stub) = World::answered(&[Reply::Say(with("orders", json!(orders)))]).await;
    assert_eq!(world.observe().await.unwrap().commitments.orders.as_slice().len(), 20);
}
