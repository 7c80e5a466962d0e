//! A `MaintenanceWindow` from its announcement to its end.

use jiff::Timestamp;
use k8s_openapi::api::events::v1::Event;
use kube::runtime::watcher;
use serde_json::{Value, json};

use crate::support::{
    hibernation::{condition, message},
    market::{Scene, announced, offers, selling, spec},
    object::reason,
    sonm_node::plan,
    time::{in_seconds, time},
    wait,
};

/// Returns the phases of the history, the first one first.
fn phases(status: &Value) -> Vec<&str> {
    let history = status["history"].as_array().into_iter().flatten();
    history.rev().filter_map(|entry| entry["phase"].as_str()).collect()
}

/// The term of the Forward deal, in seconds: long enough that the window starts before the deal
/// ends.
const PROMISED: u64 = 20;
/// The seconds before the deal's end that a test reserves: a change must be observed before it.
const SOON: i64 = 5;

#[tokio::test]
async fn a_worker_goes_down_once_its_forward_deal_has_run_out_and_comes_back_as_it_was() {
    let plans = [selling(), vec![plan("other", 3), plan("promised", 4)]].concat();
    let scene = Scene::with_syncs("window", plans, 0).await;
    let window = scene.window(spec(json!({"after": "12h"}), json!({}))).await;
    window.until_phase("Scheduled").await;
    let promised = scene.selling.accept("4", PROMISED).await;
    scene.selling.node.sync().await;
    let before = scene.selling.node.truth().await;
    let start = in_seconds(4);
    window.change(json!({"after": null, "start": start.to_string()})).await;

    // The start is due but the Forward deal blocks it. The message names the deal's ID and end, and
    // no earlier maintenance is announced.
    let status = window.until_in("Blocked").await;
    let earliest = time(&status["earliestStart"]);
    assert!(earliest > start, "{status:#}");
    let said = [condition(&status, "DealsClear"), reason(&status, "DealsClear")];
    assert_eq!(said, ["False", "ForwardDeals"]);
    let blocked = message(&status, "DealsClear");
    assert!(blocked.contains(&format!("{promised} ends at {earliest}")), "{blocked}");
    assert_eq!(status["deals"]["forward"][0]["id"], promised);
    let is_announced = |truth: &Value| announced(truth) == Some(earliest);
    let market = scene.selling.until("announced, no earlier", is_announced).await;
    assert_eq!(offers(&market), offers(&before), "nothing is withdrawn");
    assert_eq!(scene.replicas().await, 2);

    // The deal expires. Orders are withdrawn first, then the Spot deal; the worker closes the
    // expired deal.
    let gone = |price: &str| {
        let price = price.to_owned();
        move |truth: &Value| !offers(truth).contains_key(&price)
    };
    scene.selling.until("the Spot deal is closed", gone("2")).await;
    assert!(Timestamp::now() > earliest);
    assert_eq!(scene.replicas().await, 2, "a deal is open");
    for _ in 0..2 {
        scene.selling.node.sync().await;
    }
    let status = window.until_condition("InMaintenance", "True").await;
    assert_eq!(condition(&status, "DealsClear"), "True", "{status:#}");
    assert_eq!(scene.replicas().await, 0);
    let drains: Vec<_> =
        scene.market_changes().into_iter().filter(|(title, _)| title == "POST /v1/drain").collect();
    // Each is of one kind: orders, then deals.
    let of = |kind: &str, what: &Value| what[kind].as_array().is_some_and(|ids| !ids.is_empty());
    let kinds: Vec<_> =
        drains.iter().map(|(_, what)| (of("orders", what), of("deals", what))).collect();
    assert_eq!(kinds[..2], [(true, false), (false, true)], "{drains:#?}");

    // The window ends and everything is restored: withdrawn orders are offered again once.
    let lasts = Timestamp::now().duration_since(start).as_secs() + SOON;
    window.change(json!({"duration": format!("{lasts}s")})).await;
    let status = window.until_phase("Completed").await;
    scene.selling.node.sync().await;
    scene.until_as_before(&window, &["1", "2", "3", "4"]).await;
    assert_eq!(
        phases(&status),
        ["Blocked", "Draining", "InMaintenance", "Restoring", "Completed"],
        "{status:#}"
    );
    until_event(
        &scene,
        &["Announced", "Blocked", "Draining", "InMaintenance", "Restoring", "Completed"],
    )
    .await;
}

/// Waits until there is an event for each of these reasons.
async fn until_event(scene: &Scene, reasons: &[&str]) {
    let mine = watcher::Config::default().fields("regarding.kind=MaintenanceWindow");
    wait::until_all::<Event>(&scene.namespace.api(), mine, "events", |events| {
        let recorded: Vec<_> = events.iter().filter_map(|event| event.reason.as_deref()).collect();
        reasons.iter().all(|reason| recorded.contains(reason))
    })
    .await;
}

#[tokio::test]
async fn the_next_maintenance_is_shown_and_announced_before_anything_is_withdrawn() {
    let scene = Scene::create("window-next", selling()).await;
    let more = json!({"after": "12h35m20s", "duration": "2h"});
    let window = scene.window(spec(more, json!({}))).await;
    let status = window.until_phase("Scheduled").await;
    assert_eq!(status["nextTransition"]["state"], "InMaintenance");
    let at = time(&status["nextTransition"]["at"]);
    let market = scene.selling.until("announced", |truth| announced(truth).is_some()).await;
    assert_eq!(announced(&market), Some(at));
    let said = window.until("the announcement", |s| s["deals"]["announcement"]["made"] == true);
    assert_eq!(time(&said.await["deals"]["announcement"]["at"]), at);
    assert!(scene.market_changes().iter().all(|(title, _)| title == "PUT /v1/maintenance"));
}
