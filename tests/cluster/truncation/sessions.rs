//! Nothing is truncated while a pod that nobody stops is connected to the database.

use k8s_openapi::api::apps::v1::Deployment;
use serde_json::{Value, json};

use crate::support::{
    database_scene::DatabaseScene,
    hibernation::{condition, message},
    workload::{self, WELL_BEHAVED},
};

/// Counts the rows of a table that the truncation empties and that nobody else writes to.
const COUNT: &str = "SELECT count(*) FROM simulator_runs";

/// Returns a Deployment of Cornice's monitor, which writes to the database all the time.
fn monitor() -> Deployment {
    workload::object(json!({
        "metadata": {"name": "monitor"},
        "spec": {
            "selector": {"matchLabels": {"app": "monitor"}},
            "template": {
                "metadata": {"labels": {"app": "monitor"}},
                "spec": {
                    "automountServiceAccountToken": false,
                    "terminationGracePeriodSeconds": 1,
                    "containers": [{
                        "name": "cornice",
                        "image": "localhost/cornice:dev",
                        "imagePullPolicy": "IfNotPresent",
                        "args": ["monitor"],
                        "envFrom": [{"secretRef": {"name": "cornice-db"}}],
                    }],
                },
            },
        },
    }))
}

#[tokio::test]
async fn a_session_of_another_pod_keeps_the_rows() {
    let scene = DatabaseScene::create("session").await;
    scene.deploy("worker", 1, WELL_BEHAVED, 1).await;
    workload::create(&scene.namespace, &monitor()).await;
    let connected = "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database() AND usename = datname";
    scene.database.until("the monitor is connected", connected).await;
    // By its address, which the kubelet reports a moment after the container runs.
    workload::until_ready(&scene.namespace, "monitor").await;
    let rows = scene.database.number(COUNT).await;
    assert!(rows > 0);

    let workloads = json!([{"kind": "Deployment", "name": "worker"}]);
    let hibernation = scene.hibernation(workloads, json!([])).await;
    let awake = hibernation.until_condition("PreflightPassed", "True").await;
    let preflight = message(&awake, "PreflightPassed");
    assert!(preflight.contains("of Deployment monitor has"), "{awake:#}");

    hibernation.set_state("Hibernated").await;
    let says = |status: &Value| {
        let message = message(status, "Stalled");
        condition(status, "Stalled") == "True"
            && message.contains("nothing is truncated: Pod monitor-")
            && message.contains("of Deployment monitor has")
    };
    hibernation.until("the pod is named", says).await;
    scene.until_held("worker").await;
    // The Job is tried again.
    let again =
        |status: &Value| status["episode"]["attempt"]["number"].as_i64() > Some(2) && says(status);
    hibernation.until("another attempt is kept back", again).await;
    assert_eq!(scene.database.number(COUNT).await, rows);

    workload::merge::<Deployment>(&scene.namespace, "monitor", json!({"spec": {"replicas": 0}}))
        .await;
    hibernation.until_phase("Hibernated").await;
    scene.assert_truncated().await;
}
