//! `MaintenanceWindow`s that are suspended, deleted or moved, in each phase.

use jiff::{SignedDuration, Timestamp};
use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::support::{
    market::{Scene, announced, offers, spec},
    sonm_node::plan,
    time::time,
    wait,
    window::Window,
};

/// The phases in which a window is called off, and the settings that bring it there: its start, and
/// the time between the two clean observations. A window that observes for longer than the test
/// takes stays draining.
const PHASES: [(&str, &str, &str); 3] =
    [("Scheduled", "2h", "1s"), ("Draining", "0s", "1h"), ("InMaintenance", "0s", "1s")];

/// Returns two plans with an order each.
fn offering() -> Vec<Value> {
    vec![plan("first", 1), plan("second", 2)]
}

/// Waits until a window is in a phase and the market shows the phase's effects.
async fn reached(scene: &Scene, window: &Window, phase: &str) {
    window.until_in(phase).await;
    match phase {
        "Scheduled" => {
            scene.selling.until("announced", |truth| announced(truth).is_some()).await;
        }
        "Draining" => {
            window.until("all is withdrawn", |status| status["deals"]["open"]["orders"] == 0).await;
            assert_eq!(scene.replicas().await, 2, "a second observation is due");
        }
        "InMaintenance" => {
            window.until_condition("InMaintenance", "True").await;
            assert_eq!(scene.replicas().await, 0);
        }
        _ => {}
    }
}

/// Whether everything is restored except the withdrawn orders.
fn is_restored(status: &Value) -> bool {
    status["phase"] == "Restoring" && status["deals"]["withdrawn"] == true
}

#[tokio::test]
async fn suspended_in_any_phase_everything_is_as_it_was() {
    let scene = Scene::create("window-suspend", offering()).await;
    let window = scene.window(spec(json!({"suspend": true}), json!({}))).await;
    window.until_phase("Cancelled").await;
    assert!(scene.market_changes().is_empty(), "a suspended window changes nothing at the market");
    for (phase, after, settle) in PHASES {
        window.change(json!({"suspend": false, "after": after, "deals": {"settle": settle}})).await;
        reached(&scene, &window, phase).await;
        window.change(json!({"suspend": true})).await;
        let status = window.until_phase("Cancelled").await;
        assert_eq!(status["window"], Value::Null, "{phase}: {status:#}");
        scene.until_as_before(&window, &["1", "2"]).await;
    }
    // While it is restored, since its time is over, with a market that is not there yet.
    window.change(json!({"suspend": false})).await;
    reached(&scene, &window, "InMaintenance").await;
    scene.selling.faults(json!({"node": "refused"})).await;
    window.change(json!({"duration": "1s"})).await;
    window.until("the market is waited for", is_restored).await;
    window.change(json!({"suspend": true, "duration": null})).await;
    window.until("it is suspended", is_restored).await;
    scene.selling.faults(json!({})).await;
    window.until_phase("Cancelled").await;
    scene.until_as_before(&window, &["1", "2"]).await;
    // Blocked by a Forward deal that lasts; afterwards its consumer closes it.
    let deal = scene.selling.accept("2", 3600).await;
    window.change(json!({"suspend": false})).await;
    window.until_in("Blocked").await;
    window.change(json!({"suspend": true})).await;
    window.until_phase("Cancelled").await;
    scene.selling.close(&deal).await;
    scene.until_as_before(&window, &["1"]).await;
}

#[tokio::test]
async fn deleted_in_any_phase_everything_is_as_it_was() {
    let scene = Scene::create("window-delete", offering()).await;
    let now = DeleteParams::default();
    for (phase, after, settle) in PHASES {
        let spec = spec(json!({"after": after}), json!({"settle": settle}));
        let window = scene.window(spec).await;
        reached(&scene, &window, phase).await;
        window.delete(&now).await;
        wait::until_gone(&window.api, &window.name).await;
        scene.selling.until_as_before(&scene.namespace, &["1", "2"]).await;
    }
    // While it is restored, with a market that is not there yet.
    let window = scene.window(spec(json!({}), json!({}))).await;
    reached(&scene, &window, "InMaintenance").await;
    scene.selling.faults(json!({"node": "refused"})).await;
    window.change(json!({"suspend": true})).await;
    window.until("the market is waited for", is_restored).await;
    window.delete(&now).await;
    scene.selling.faults(json!({})).await;
    wait::until_gone(&window.api, &window.name).await;
    scene.selling.until_as_before(&scene.namespace, &["1", "2"]).await;
    // While a Forward deal blocks.
    let deal = scene.selling.accept("2", 3600).await;
    let window = scene.window(spec(json!({}), json!({}))).await;
    window.until_in("Blocked").await;
    window.delete(&now).await;
    wait::until_gone(&window.api, &window.name).await;
    scene.selling.close(&deal).await;
    scene.selling.until_as_before(&scene.namespace, &["1"]).await;
}

/// Moves the start of the window, and waits until it is announced, both plans exist and the second
/// has so many orders.
async fn moved(scene: &Scene, window: &Window, of_the_second: usize) {
    let before = Timestamp::now();
    window.change(json!({"after": "3h"})).await;
    let status = window.until_phase("Scheduled").await;
    let at = time(&status["nextTransition"]["at"]);
    let left = at.duration_since(before);
    assert!(left >= SignedDuration::from_secs(3 * 3600 - 1), "counted from the change: {left}");
    let wanted = [("1", (1, 1)), ("2", (1, of_the_second))];
    let wanted = wanted.map(|(price, counts)| (price.to_owned(), counts)).into();
    let offered = |truth: &Value| announced(truth) == Some(at) && offers(truth) == wanted;
    scene.selling.until("announced anew, and offered again", offered).await;
}

#[tokio::test]
async fn a_start_that_is_changed_counts_in_any_phase() {
    let scene = Scene::create("window-moved", offering()).await;
    let window = scene.window(spec(json!({"after": "2h"}), json!({}))).await;
    for (phase, after, settle) in PHASES {
        window.change(json!({"after": after, "deals": {"settle": settle}})).await;
        reached(&scene, &window, phase).await;
        moved(&scene, &window, 1).await;
        assert_eq!(scene.replicas().await, 2, "{phase}");
    }
    // While a Forward deal blocks.
    let deal = scene.selling.accept("2", 3600).await;
    window.change(json!({"after": "0s"})).await;
    window.until_in("Blocked").await;
    moved(&scene, &window, 0).await;
    scene.selling.close(&deal).await;
    window.delete(&DeleteParams::default()).await;
    wait::until_gone(&window.api, &window.name).await;
    scene.selling.until_as_before(&scene.namespace, &["1"]).await;
}
