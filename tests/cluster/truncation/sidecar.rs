//! A container that admission adds to the truncation's pod, and that never ends.

use k8s_openapi::api::batch::v1::Job;
use kube::api::ListParams;
use serde_json::json;

use crate::support::{
    admission::Policy, database_scene::DatabaseScene, truncation, workload::WELL_BEHAVED,
};

#[tokio::test]
async fn a_sidecar_that_never_ends_keeps_no_result_back_and_lets_nothing_run_again() {
    let scene = DatabaseScene::create("sidecar").await;
    let _policy = Policy::with_sidecars(&scene.namespace).await;
    scene.deploy("worker", 1, WELL_BEHAVED, 1).await;
    let workloads = json!([{"kind": "Deployment", "name": "worker"}]);
    // The preflight passes beside it.
    let hibernation = scene.hibernation(workloads, json!([])).await;
    hibernation.set_state("Hibernated").await;
    let status = hibernation.until_phase("Hibernated").await;
    scene.assert_truncated().await;
    let attempt = &status["episode"]["attempt"];
    assert_eq!((&attempt["number"], &attempt["ended"]), (&json!(1), &json!("Succeeded")));
    // No pod of the Job follows, however its sidecar ends.
    truncation::until_job(&scene.namespace, "is suspended or finished", |job| {
        let suspended = job.spec.as_ref().and_then(|spec| spec.suspend) == Some(true);
        truncation::empties(job) && (suspended || truncation::succeeded(job))
    })
    .await;
    scene
        .database
        .execute("INSERT INTO requests (path, recorded_by) VALUES ('/late', 'the test')")
        .await;
    hibernation.set_state("Awake").await;
    hibernation.until_phase("Awake").await;
    assert_eq!(scene.database.number("SELECT count(*) FROM requests").await, 1);
    let jobs = scene.namespace.api::<Job>().list(&ListParams::default()).await;
    assert!(jobs.expect("jobs are listed").iter().all(|job| !truncation::empties(job)));
}
