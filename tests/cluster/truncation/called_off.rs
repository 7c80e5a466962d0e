//! A truncation that is called off before its COMMIT truncates nothing.

use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use crate::support::{
    database_scene::DatabaseScene,
    hibernation::Hibernation,
    truncation, wait,
    workload::{self, WELL_BEHAVED},
};

/// Counts the rows of a table that the truncation empties.
const COUNT: &str = "SELECT count(*) FROM requests";

/// Returns a scene whose truncation waits for a lock, and the transaction that has the lock.
async fn waiting(
    test: &str,
) -> (DatabaseScene, Hibernation, sqlx::Transaction<'static, sqlx::Postgres>) {
    let scene = DatabaseScene::create(test).await;
    scene.deploy("worker", 1, WELL_BEHAVED, 1).await;
    let workloads = json!([{"kind": "Deployment", "name": "worker"}]);
    let hibernation = scene.hibernation(workloads, json!([])).await;
    let truncate = json!({"spec": {"database": {"truncate": {"lockTimeout": "1m"}}}});
    hibernation.patch(truncate).await;
    hibernation.until_condition("PreflightPassed", "True").await;
    let mut reader = scene.database.pool.begin().await.expect("a transaction begins");
    sqlx::query(COUNT).execute(&mut *reader).await.expect("the table is read");
    hibernation.set_state("Hibernated").await;
    scene
        .database
        .until(
            "the truncation waits for the lock",
            "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND relation = 'requests'::regclass",
        )
        .await;
    (scene, hibernation, reader)
}

#[tokio::test]
async fn rows_stay_where_a_wake_is_asked_for_before_the_commit() {
    let (scene, hibernation, reader) = waiting("called-off").await;
    let rows = scene.database.number(COUNT).await;
    hibernation.set_state("Awake").await;
    let job = truncation::until_job(&scene.namespace, "is called off", |job| {
        truncation::empties(job) && job.spec.as_ref().and_then(|spec| spec.suspend) == Some(true)
    })
    .await;
    let name = job.metadata.name.unwrap_or_default();
    let pods = format!("batch.kubernetes.io/job-name={name}");
    let pods = kube::runtime::watcher::Config::default().labels(&pods);
    wait::until_all::<Pod>(&scene.namespace.api(), pods, "its pods end", <[Pod]>::is_empty).await;
    reader.commit().await.expect("the lock is released");
    let status = hibernation.until_phase("Awake").await;
    assert_eq!(scene.database.number(COUNT).await, rows);
    assert_eq!(status["truncation"], json!(null), "{status:#}");
    workload::until_ready(&scene.namespace, "worker").await;
}

#[tokio::test]
async fn rows_stay_where_the_object_is_deleted_before_the_commit() {
    let (scene, hibernation, reader) = waiting("deleted-early").await;
    let rows = scene.database.number(COUNT).await;
    let delete = kube::api::DeleteParams::default();
    hibernation.api.delete(&hibernation.name, &delete).await.expect("it is deleted");
    truncation::until_job(&scene.namespace, "is called off", |job| {
        truncation::empties(job) && job.spec.as_ref().and_then(|spec| spec.suspend) == Some(true)
    })
    .await;
    scene
        .database
        .until(
            "nobody waits for the lock any more",
            "SELECT count(*) = 0 FROM pg_locks WHERE NOT granted AND relation = 'requests'::regclass",
        )
        .await;
    reader.commit().await.expect("the lock is released");
    assert_eq!(scene.database.number(COUNT).await, rows);
}
