//! A Hibernation with deals sleeps once there are no commitments, and offers its orders again at
//! wake.

use serde_json::{Value, json};

use crate::support::{
    bridge::PORT,
    hibernation::{Hibernation, condition},
    market::{NAME, SYNC_MS, Scene, announced, selling},
};

#[tokio::test]
async fn a_project_sleeps_once_its_forward_deal_has_run_out_and_wakes_with_its_orders() {
    let scene = Scene::of("asleep", ("Hibernation", NAME), selling(), SYNC_MS).await;
    let deal = scene.selling.accept("1", 40).await;
    let spec = json!({
        "state": "Hibernated",
        "workloads": [{"kind": "Deployment", "name": NAME}],
        "deals": {"source": {"service": {"name": "market", "port": PORT}}, "settle": "1s"},
    });
    let project = Hibernation::create(&scene.namespace, NAME, spec).await;
    let blocked = |status: &Value| {
        condition(status, "DealsClear") == "False" && status["earliestStart"].is_string()
    };
    let status = project.until("it waits for the deal", blocked).await;
    assert_eq!(status["deals"]["forward"][0]["id"], json!(deal));
    assert_eq!(status["phase"], "Awake");
    assert_eq!(condition(&status, "Ready"), "False");
    assert_ne!(scene.replicas().await, 0);
    project.until_phase("Hibernated").await;
    let truth = scene.selling.node.truth().await;
    assert_eq!(truth["broken"], json!([]));
    project.set_state("Awake").await;
    project.until_condition("Ready", "True").await;
    let truth =
        scene.selling.until("it is not announced", |truth| announced(truth).is_none()).await;
    assert_eq!(truth["broken"], json!([]));
    // The plan of the expired Forward deal is over; the plan of the Spot deal is offered again.
    let spot = |truth: &Value| crate::support::market::offers(truth).get("2") == Some(&(1, 1));
    scene.selling.until("it is offered again", spot).await;
}
