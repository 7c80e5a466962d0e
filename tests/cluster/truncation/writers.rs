//! Nothing is truncated while a pod that nobody accounts for may write.

use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    batch::v1::{CronJob, Job},
    core::v1::ConfigMap,
};
use kube::{Api, ResourceExt, api::DeleteParams};
use serde_json::{Value, json};

use crate::support::{
    cluster,
    database_scene::DatabaseScene,
    hibernation::{condition, message},
    object::of_workload,
    truncation, wait,
    workload::{self, STUBBORN, WELL_BEHAVED, template},
};

fn says(text: &str) -> impl Fn(&Value) -> bool {
    move |status| status["message"].as_str().unwrap_or_default().contains(text)
}

/// Returns the owner reference to an object, without `controller: true`.
fn owner(api_version: &str, object: &impl ResourceExt, kind: &str) -> Value {
    json!({
        "apiVersion": api_version, "kind": kind, "name": object.name_any(),
        "uid": object.uid().unwrap_or_default(),
    })
}

#[tokio::test]
async fn a_run_that_somebody_started_by_hand_belongs_to_its_cron_job() {
    let scene = DatabaseScene::create("by-hand").await;
    let namespace = &scene.namespace;
    let cron_job = workload::cron_job("report", WELL_BEHAVED);
    let cron_job: CronJob = workload::create(namespace, &cron_job).await;
    let run = |name: &str| {
        workload::object::<Job>(json!({
            "metadata": {"name": name, "ownerReferences": [owner("batch/v1", &cron_job, "CronJob")]},
            "spec": {"template": template(name, "Never", WELL_BEHAVED)},
        }))
    };
    let jobs: Api<Job> = namespace.api();
    workload::create(namespace, &run("first")).await;
    wait::until(&jobs, "first", "its pod runs", |job| {
        job.status.as_ref().and_then(|status| status.ready) == Some(1)
    })
    .await;
    let workloads = json!([{"kind": "CronJob", "name": "report"}]);
    let hibernation = scene.hibernation(workloads, json!([])).await;
    hibernation.set_state("Hibernated").await;
    hibernation.until("the run is named", says("Job first")).await;
    truncation::assert_not_started_within(namespace, std::time::Duration::from_secs(8)).await;
    jobs.delete("first", &DeleteParams::background()).await.expect("it is deleted");
    hibernation.until_phase("Hibernated").await;
    scene.assert_truncated().await;

    // Asleep it is told as long as it lasts.
    workload::create(namespace, &run("second")).await;
    let told =
        |status: &Value| condition(status, "Hibernated") == "False" && says("Job second")(status);
    hibernation.until("the run is named", told).await;
    jobs.delete("second", &DeleteParams::background()).await.expect("it is deleted");
    hibernation.until_phase("Hibernated").await;
}

#[tokio::test]
async fn a_name_that_matches_nothing_keeps_the_rows() {
    let scene = DatabaseScene::create("misspelt").await;
    scene.deploy("worker", 1, WELL_BEHAVED, 1).await;
    let workloads = json!([{"kind": "Deployment", "name": "wroker"}]);
    let hibernation = scene.hibernation(workloads, json!([])).await;
    let awake = hibernation.until_condition("Stalled", "True").await;
    assert_eq!((&awake["phase"], condition(&awake, "Ready")), (&json!("Awake"), "True"));
    assert!(message(&awake, "Stalled").contains("Deployment wroker does not exist"), "{awake:#}");
    hibernation.set_state("Hibernated").await;
    truncation::assert_not_started_within(&scene.namespace, std::time::Duration::from_secs(12))
        .await;
    hibernation.until("the name is told", says("Deployment wroker does not exist")).await;
    let workloads = json!([{"kind": "Deployment", "name": "worker"}]);
    hibernation.patch(json!({"spec": {"workloads": workloads}})).await;
    hibernation.until_phase("Hibernated").await;
    scene.assert_truncated().await;
}

#[tokio::test]
async fn pods_with_the_labels_of_a_stopped_workload_keep_the_rows_whoever_owns_them() {
    let scene = DatabaseScene::create("alike").await;
    let namespace = &scene.namespace;
    scene.deploy("shop", 1, WELL_BEHAVED, 1).await;
    let rollout: ConfigMap = workload::object(json!({"metadata": {"name": "rollout"}}));
    let rollout = workload::create(namespace, &rollout).await;
    let mut of_rollout = owner("v1", &rollout, "ConfigMap");
    of_rollout["controller"] = json!(true);
    let mut template = template("shop", "Always", WELL_BEHAVED);
    template["metadata"]["labels"]["rollout"] = json!("1");
    let set: ReplicaSet = workload::object(json!({
        "metadata": {"name": "shop-rollout", "ownerReferences": [of_rollout]},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": "shop", "rollout": "1"}},
            "template": template,
        },
    }));
    workload::create(namespace, &set).await;
    wait::until::<ReplicaSet>(&namespace.api(), "shop-rollout", "its pod runs", |set| {
        set.status.as_ref().and_then(|status| status.ready_replicas) == Some(1)
    })
    .await;
    let workloads = json!([{"kind": "Deployment", "all": true}]);
    let hibernation = scene.hibernation(workloads, json!([])).await;
    // With `dryRun` it is told beforehand.
    hibernation.patch(json!({"spec": {"dryRun": true}})).await;
    let planned = |status: &Value| {
        let plan = status["plan"].to_string();
        plan.contains("the labels of Deployment shop, and ConfigMap rollout owns it")
    };
    hibernation.until("the plan tells it", planned).await;
    hibernation.patch(json!({"spec": {"dryRun": false, "state": "Hibernated"}})).await;
    let named = says("it has the labels of Deployment shop, and ConfigMap rollout owns it");
    hibernation.until("the owner is named", named).await;
    truncation::assert_not_started_within(namespace, std::time::Duration::from_secs(8)).await;
    workload::merge::<ReplicaSet>(namespace, "shop-rollout", json!({"spec": {"replicas": 0}}))
        .await;
    hibernation.until_phase("Hibernated").await;
    scene.assert_truncated().await;
}

#[tokio::test]
async fn pods_of_a_workload_that_was_deleted_a_moment_ago_keep_the_rows() {
    let scene = DatabaseScene::create("just-deleted").await;
    let namespace = &scene.namespace;
    scene.deploy("worker", 1, WELL_BEHAVED, 1).await;
    scene.deploy("mailer", 1, STUBBORN, 25).await;
    let workloads = json!([{"kind": "Deployment", "all": true}]);
    let hibernation = scene.hibernation(workloads, json!([])).await;
    let deployments: Api<Deployment> = namespace.api();
    deployments.delete("mailer", &DeleteParams::background()).await.expect("it is deleted");
    wait::until_gone(&deployments, "mailer").await;
    hibernation.set_state("Hibernated").await;
    hibernation.until("its pod is named", says("Pod mailer-")).await;
    truncation::until_job(namespace, "truncates", truncation::empties).await;
    let pods = workload::pods(namespace, "mailer").await;
    assert_eq!(workload::names(&pods), Vec::<String>::new());
    hibernation.until_phase("Hibernated").await;
    scene.assert_truncated().await;
}

#[tokio::test]
async fn a_workload_that_an_operator_controls_keeps_nobody_awake_but_the_rows() {
    let scene = DatabaseScene::create("controlled").await;
    let namespace = &scene.namespace;
    scene.deploy("worker", 1, WELL_BEHAVED, 1).await;
    scene.deploy("collector", 1, WELL_BEHAVED, 1).await;
    let logs: ConfigMap = workload::object(json!({"metadata": {"name": "logs"}}));
    let logs = workload::create(namespace, &logs).await;
    let mut of_logs = owner("v1", &logs, "ConfigMap");
    of_logs["controller"] = json!(true);
    let owned = json!({"metadata": {"ownerReferences": [of_logs]}});
    workload::merge::<Deployment>(namespace, "collector", owned).await;
    let workloads = json!([{"kind": "Deployment", "all": true}]);
    let hibernation = scene.hibernation(workloads, json!([])).await;
    hibernation.set_state("Hibernated").await;
    scene.until_held("worker").await;
    let status = hibernation
        .until("the collector is named", |status| {
            says("stop ConfigMap logs, or list collector in spec.workloads[].except")(status)
                && of_workload(status, "worker")["state"] == "Down"
        })
        .await;
    assert_eq!(of_workload(&status, "collector")["state"], "Skipped", "{status:#}");
    truncation::assert_not_started_within(namespace, std::time::Duration::from_secs(8)).await;
    let collector: Deployment = namespace.api().get("collector").await.expect("it is there");
    assert_eq!(workload::replicas(&collector), 1);
    let workloads = json!([{"kind": "Deployment", "all": true, "except": ["collector"]}]);
    hibernation.patch(json!({"spec": {"workloads": workloads}})).await;
    hibernation.until_phase("Hibernated").await;
    scene.assert_truncated().await;
    cluster::kubectl(&["-n", &namespace.name, "get", "deployment", "collector"]);
}
