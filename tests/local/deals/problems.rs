//! The client reports the server's problem documents.

use serde_json::{Value, json};
use torpor::deals::problem::{ProblemType, TYPES};

use crate::support::stub::Reply;
use crate::support::world::{World, failed, problem, says};

fn reason(kind: ProblemType) -> &'static str {
    match kind {
        ProblemType::InvalidRequest
        | ProblemType::NotFound
        | ProblemType::MethodNotAllowed
        | ProblemType::BodyTooLarge
        | ProblemType::UnsupportedMediaType
        | ProblemType::MarketInvalid => "MarketInvalid",
        ProblemType::InvalidRestore => "InvalidRestore",
        ProblemType::Unauthenticated => "Unauthenticated",
        ProblemType::UnknownKey => "UnknownKey",
        ProblemType::StaleEpoch => "StaleEpoch",
        ProblemType::Misconfigured => "BridgeMisconfigured",
        ProblemType::MarketRefused => "MarketRefused",
        ProblemType::MarketUnreachable => "MarketUnreachable",
        ProblemType::MarketTimeout => "MarketTimeout",
    }
}

#[tokio::test]
async fn a_problem_is_reported_with_its_reason_and_its_words() {
    for kind in ProblemType::ALL {
        let answer = problem(kind, &format!("worker\u{1b}[2J 7{}", "!".repeat(5000)));
        let (world, _stub) = World::answered(&[Reply::Say(answer)]).await;
        let error = world.change().await.unwrap_err();
        assert_eq!(error.unknown_key(), kind == ProblemType::UnknownKey, "{kind:?}");
        assert_eq!(error.stale_epoch(), kind == ProblemType::StaleEpoch, "{kind:?}");
        let (reported, text) = failed(world.change().await);
        assert_eq!(reported, reason(kind), "{text}");
        assert!(text.starts_with(&format!("{}: worker [2J 7!", kind.title())), "{text}");
    }
}

#[tokio::test]
async fn a_problem_that_is_not_the_contracts_is_reported_by_its_status_alone() {
    let media = "application/problem+json";
    let body = |kind: &str, status: u16| json!({"type": kind, "title": "t", "status": status, "detail": "<script>"});
    let stale = format!("{TYPES}stale-epoch");
    let mut more = body(&stale, 409);
    more["more"] = json!(1);
    for (status, media, body, wanted) in [
        (409, media, body(&stale, 502), "MarketInvalid"),
        (400, media, body(&stale, 400), "MarketInvalid"),
        (409, media, body("about:blank", 409), "MarketInvalid"),
        (409, media, body(&format!("{TYPES}other"), 409), "MarketInvalid"),
        (409, media, more, "MarketInvalid"),
        (409, "application/json", body(&stale, 409), "MarketInvalid"),
        (500, "text/html", json!("<html>"), "MarketInvalid"),
        (502, "text/html", json!("<html>"), "MarketInvalid"),
        (403, "text/html", json!("<html>"), "MarketInvalid"),
        (401, "text/html", json!("<html>"), "Unauthenticated"),
        (503, "text/html", json!("<html>"), "MarketUnreachable"),
        (504, "text/html", Value::Null, "MarketTimeout"),
    ] {
        let answer = says(status, media, &body.to_string());
        let (world, _stub) = World::answered(&[Reply::Say(answer)]).await;
        let error = world.observe().await.unwrap_err();
        assert!(!error.stale_epoch() && !error.unknown_key(), "{body}");
        let (reason, text) = failed(Err::<(), _>(error));
        assert_eq!(reason, wanted, "{status} {body}: {text}");
        assert!(text.contains(&format!("{status} without a problem")), "{text}");
        assert!(!text.contains('<'), "{text}");
    }
}

#[tokio::test]
async fn a_refusal_that_comes_before_the_body_was_read_is_heard() {
    let restore = "x".repeat(65_000);
    let orders: Vec<Value> =
        (0..15).map(|id| json!({"id": id.to_string(), "restore": restore})).collect();
    let orders = serde_json::from_value(json!(orders)).unwrap();
    let reply = Reply::Early(problem(ProblemType::StaleEpoch, "epoch 7 is older than 8"));
    let (world, _stub) = World::answered(&[reply]).await;
    let epoch = torpor::lease::Epoch(7);
    let error = world.client.resume(&world.server(), epoch, orders).await.unwrap_err();
    assert!(error.stale_epoch(), "{error}");
}
