//! `MaintenanceWindow`s that stop nothing, as they are refused or missed; and windows that are
//! postponed or late.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::events::v1::Event;
use kube::{ResourceExt, runtime::watcher};
use serde_json::json;

use crate::support::{
    hibernation::message,
    market::{Scene, announced, offers, selling, spec},
    object::reason,
    sonm_node::plan,
    time::{in_seconds, time},
    wait,
};

/// Waits for an event with this reason.
async fn until_event(scene: &Scene, wanted: &str) -> Event {
    let about = watcher::Config::default().fields("regarding.kind=MaintenanceWindow");
    let is_wanted = |event: &Event| event.reason.as_deref() == Some(wanted);
    let events = wait::until_all::<Event>(&scene.namespace.api(), about, wanted, |events| {
        events.iter().any(is_wanted)
    })
    .await;
    events.into_iter().find(is_wanted).expect("there is one")
}

#[tokio::test]
async fn what_is_not_to_be_touched_refuses_the_window_and_nothing_is_withdrawn() {
    let scene = Scene::create("window-refused", selling()).await;
    let before = offers(&scene.selling.node.truth().await);
    // Within a minute of a start that would be refused none is announced.
    let window = scene.window(spec(json!({"after": "3s"}), json!({"orders": "Refuse"}))).await;
    for (refused, then) in [
        ("OrdersRefused", json!({"orders": null, "spot": "Refuse"})),
        ("SpotDealsRefused", json!({"spot": null, "forward": "Refuse"})),
        ("ForwardDealsRefused", json!(null)),
    ] {
        let status = window
            .until(refused, |s| s["phase"] == "Refused" && reason(s, "Stalled") == refused)
            .await;
        assert_eq!(status["last"]["outcome"], "Refused", "{status:#}");
        assert_eq!(until_event(&scene, refused).await.type_.as_deref(), Some("Warning"));
        assert_eq!(scene.market_changes(), [], "{refused}");
        assert_eq!(scene.replicas().await, 2);
        if refused == "SpotDealsRefused" {
            scene.selling.accept("1", 3600).await;
        }
        // Another spec is another try.
        if !then.is_null() {
            window.change(json!({"deals": then})).await;
        }
    }
    let truth = scene.selling.node.truth().await;
    assert_eq!(truth["broken"], json!([]));
    assert_eq!(before.len(), offers(&truth).len(), "{truth:#}");
    wait::until(&window.api, &window.name, "nothing keeps it", |object| {
        object.finalizers().is_empty()
    })
    .await;
}

#[tokio::test]
async fn a_postponed_window_begins_when_the_forward_deal_has_run_out_and_ends_later_too() {
    let scene = Scene::create("window-postponed", vec![plan("first", 1), plan("second", 2)]).await;
    let postpone = json!({"forward": "Postpone"});
    let window = scene.window(spec(json!({"after": "12h", "duration": "1h"}), postpone)).await;
    window.until_phase("Scheduled").await;
    scene.selling.accept("2", 20).await;
    let planned = in_seconds(4);
    window.change(json!({"after": null, "start": planned.to_string()})).await;
    let moved = window
        .until("it is moved", |status| {
            status["window"]["planned"] == planned.to_string()
                && status["window"]["start"] != status["window"]["planned"]
        })
        .await;
    let start = time(&moved["window"]["start"]);
    assert_eq!(time(&moved["window"]["end"]), start + SignedDuration::from_hours(1));
    assert_eq!(time(&moved["earliestStart"]), start);
    until_event(&scene, "Postponed").await;
    scene.selling.until("announced", |truth| announced(truth) == Some(start)).await;
    window.until_condition("InMaintenance", "True").await;
    assert!(Timestamp::now() > start);
    window.change(json!({"suspend": true})).await;
    window.until_phase("Cancelled").await;
    // The expired deal has ended by itself.
    let truth = scene.selling.until("it is offered", |truth| offers(truth).contains_key("1")).await;
    assert_eq!(truth["broken"], json!([]));
}

#[tokio::test]
async fn a_window_that_was_slept_through_is_missed_and_one_that_is_on_begins_late_and_ends_in_time()
{
    let mut scene = Scene::create("window-missed", vec![plan("first", 1)]).await;
    let window = scene.window(spec(json!({"after": "1h"}), json!({}))).await;
    window.until_phase("Scheduled").await;
    scene.selling.until("announced", |truth| announced(truth).is_some()).await;
    scene.operator.stop().await;
    let passed = |long: i64, duration: &str| json!({"after": null, "start": in_seconds(-long).to_string(), "duration": duration});
    window.change(passed(60, "30s")).await;
    scene.operator.restart();
    let status = window.until_in("Missed").await;
    assert_eq!(reason(&status, "Stalled"), "Missed", "{status:#}");
    let event = until_event(&scene, "Missed").await;
    assert_eq!(event.type_.as_deref(), Some("Warning"));
    assert_eq!(event.note.as_deref(), Some(message(&status, "Stalled")));
    scene.until_as_before(&window, &["1"]).await;

    scene.operator.stop().await;
    let late = passed(60, "1h");
    window.change(late.clone()).await;
    scene.operator.restart();
    let status = window.until_condition("InMaintenance", "True").await;
    let start: Timestamp = late["start"].as_str().expect("a start").parse().expect("a time");
    assert_eq!(status["nextTransition"]["state"], "Operating");
    assert_eq!(time(&status["nextTransition"]["at"]), start + SignedDuration::from_hours(1));
    let lasts = Timestamp::now().duration_since(start).as_secs() + 3;
    window.change(json!({"duration": format!("{lasts}s")})).await;
    let status = window.until_phase("Completed").await;
    assert_eq!(time(&status["last"]["over"]), start + SignedDuration::from_secs(lasts));
    scene.until_as_before(&window, &["1"]).await;
}
