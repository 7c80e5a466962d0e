//! A market that is down, gives invalid answers or refuses the token; and a leader that has been
//! replaced.

use serde_json::{Value, json};

use crate::support::{
    hibernation::{condition, message},
    market::{Scene, announced, selling, spec},
    object::reason,
    operator::Operator,
    proxy::{Fate, Request},
    sonm_node::plan,
    time::{in_seconds, time},
    window::Window,
};

/// Waits until the window cannot observe its commitments, for this reason. Nothing may have been
/// stopped or announced.
async fn until_unknown(scene: &Scene, window: &Window, why: &str) -> Value {
    let status = window
        .until(why, |s| condition(s, "DealsClear") == "Unknown" && reason(s, "DealsClear") == why)
        .await;
    assert_eq!(status["phase"], "Blocked", "{status:#}");
    assert_ne!(condition(&status, "Ready"), "True", "{status:#}");
    assert_eq!(scene.replicas().await, 2, "{why}");
    assert_eq!(scene.market_changes(), [], "{why}");
    status
}

#[tokio::test]
async fn a_market_that_is_down_or_talks_nonsense_stops_nothing_and_the_window_goes_on_by_itself() {
    let mut scene = Scene::create("window-trouble", selling()).await;
    scene.selling.faults(json!({"node": "refused"})).await;
    let window = scene.window(spec(json!({}), json!({}))).await;
    until_unknown(&scene, &window, "MarketUnreachable").await;
    for nonsense in [json!({"answer": "empty"}), json!({"answer": "truncated"})] {
        scene.selling.faults(nonsense).await;
        let status = until_unknown(&scene, &window, "MarketInvalid").await;
        assert!(!message(&status, "DealsClear").is_empty());
    }
    // The whole of it has to be seen.
    scene.selling.faults(json!({"node": "unavailable"})).await;
    until_unknown(&scene, &window, "MarketUnreachable").await;
    // A bridge that expects another subject. The message says so.
    scene.bridge.kill().await;
    let subject = scene.bridge.answers_only("system:serviceaccount:elsewhere:torpor");
    scene.bridge.restart().await;
    scene.selling.faults(json!({})).await;
    until_unknown(&scene, &window, "Unauthenticated").await;
    // None at all.
    scene.bridge.kill().await;
    until_unknown(&scene, &window, "MarketUnreachable").await;

    scene.bridge.answers_only(&subject);
    scene.bridge.restart().await;
    window.until_condition("InMaintenance", "True").await;
    // Failures while orders are restored are retried.
    let error = |method: &str| json!({"method": method, "code": "Unavailable", "message": "busy", "times": 2});
    let errors = ["CreateAskPlan", "ScheduleMaintenance"]
        .map(|m| error(&format!("WorkerManagementServer/{m}")));
    scene.selling.faults(json!({"errors": errors})).await;
    window.change(json!({"suspend": true})).await;
    window.until_phase("Cancelled").await;
    scene.until_as_before(&window, &["1", "2"]).await;
}

#[tokio::test]
async fn an_announcement_that_failed_is_repeated() {
    let scene = Scene::create("window-announce", vec![plan("first", 1)]).await;
    let method = "WorkerManagementServer/ScheduleMaintenance";
    let error = json!({"method": method, "code": "Unavailable", "message": "busy", "times": 2});
    scene.selling.faults(json!({"errors": [error]})).await;
    let window = scene.window(spec(json!({"after": "2h"}), json!({}))).await;
    let made = |status: &Value| status["deals"]["announcement"]["made"] == true;
    let status = window.until("the market knows", made).await;
    let at = time(&status["deals"]["announcement"]["at"]);
    let truth = scene.selling.node.truth().await;
    assert_eq!(announced(&truth), Some(at));
    let tries =
        scene.market_changes().iter().filter(|(title, _)| title == "PUT /v1/maintenance").count();
    assert!(tries >= 2, "{tries}");
}

#[tokio::test]
async fn what_a_leader_that_stood_still_has_sent_is_refused_once_another_one_leads() {
    let scene = Scene::create("window-stale", vec![plan("first", 1)]).await;
    let mut first = true;
    let announces = |request: &Request| request.title() == "PUT /v1/maintenance";
    scene.proxy.rule(move |request| {
        if announces(request) && std::mem::take(&mut first) { Fate::Held } else { Fate::Pass }
    });
    let window = scene.window(spec(json!({"after": "2h"}), json!({}))).await;
    // Its announcement is held in the proxy.
    scene.proxy.until_request("the announcement", announces).await;
    scene.operator.signal("STOP");
    let _second = Operator::start_second(&scene.namespace);
    let start = in_seconds(3 * 3600);
    window.change(json!({"after": null, "start": start.to_string()})).await;
    scene.selling.until("another one tells", |truth| announced(truth) == Some(start)).await;
    scene.proxy.resume();
    let old = scene.proxy.until_request("an answer", |request| {
        announces(request) && request.answer.is_some() && !request.met(204)
    });
    let answer = old.await.answer.expect("an answer");
    assert_eq!(answer.status, 409);
    let kind = answer.body["type"].as_str().unwrap_or_default();
    assert!(kind.ends_with("/stale-epoch"), "{answer:?}");
    assert_eq!(announced(&scene.selling.node.truth().await), Some(start));
    // It does nothing else either.
    scene.operator.signal("CONT");
    scene.operator.until_lease_lost().await;
}
