//! `dryRun` shows the plan of the hibernation and the wake, and changes nothing.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::{
    apps::v1::DaemonSet,
    batch::v1::CronJob,
    core::v1::{ConfigMap, Pod},
};
use serde_json::{Value, json};

use crate::support::{
    cluster::kubectl,
    database::Database,
    hibernation::{Hibernation, condition},
    object::reason,
    scene::Scene,
    wait,
    workload::{self, WELL_BEHAVED},
};

/// Whether an object may change during a dry run: the Hibernation's status, the operator's lease,
/// and the preflight with its pod and events.
fn may_change(object: &str) -> bool {
    ["Event/", "Lease/", "Hibernation/"].iter().any(|kind| object.starts_with(kind))
        || object.contains("/project-preflight-")
}

/// Returns the resourceVersion of every object in the namespace, except of those that may change.
fn versions(scene: &Scene) -> BTreeMap<String, String> {
    let kinds = kubectl(&["api-resources", "--namespaced", "--verbs=list", "--output=name"]);
    let kinds: Vec<&str> = kinds.lines().collect();
    let format = "jsonpath={range .items[*]}{.kind}/{.metadata.name} \
                  {.metadata.resourceVersion}{\"\\n\"}{end}";
    let listed = scene.kubectl(&["get", &kinds.join(","), "--output", format]);
    let lines = listed.lines().filter_map(|line| line.split_once(' '));
    lines
        .map(|(object, version)| (object.to_owned(), version.to_owned()))
        .filter(|(object, _)| !may_change(object))
        .collect()
}

/// Returns the resourceVersions once they no longer change.
async fn settled(scene: &Scene) -> BTreeMap<String, String> {
    let at_rest = async {
        let mut checks = tokio::time::interval(Duration::from_secs(1));
        let mut before = BTreeMap::new();
        loop {
            checks.tick().await;
            let now = versions(scene);
            if now == before {
                return now;
            }
            before = now;
        }
    };
    tokio::time::timeout(wait::TIMEOUT, at_rest).await.expect("the namespace comes to rest")
}

/// Waits until the preflight is over, and returns the lines of the plan.
async fn planned(hibernation: &Hibernation) -> Vec<String> {
    let status = hibernation
        .until("planned", |status| {
            reason(status, "Ready") == "DryRun" && condition(status, "PreflightPassed") == "True"
        })
        .await;
    assert_eq!(condition(&status, "Ready"), "False", "what is asked for is not so");
    let lines = status["plan"].as_array().into_iter().flatten();
    lines.filter_map(Value::as_str).map(str::to_owned).collect()
}

async fn project(scene: &Scene) {
    let namespace = &scene.namespace;
    let daemon = json!({
        "metadata": {"name": "agent"},
        "spec": {
            "selector": {"matchLabels": {"app": "agent"}},
            "template": workload::deployment("agent", 1, WELL_BEHAVED, 1).spec.expect("a spec").template,
        },
    });
    workload::create::<DaemonSet>(namespace, &workload::object(daemon)).await;
    workload::create(namespace, &workload::cron_job("nightly", "exit 0")).await;
    let mut suspended = workload::cron_job("yearly", "exit 0");
    suspended.spec.as_mut().expect("a spec").suspend = Some(true);
    workload::create::<CronJob>(namespace, &suspended).await;
    let environment = json!({"metadata": {"name": "env"}, "data": {"HIBERNATE_MODE": "false"}});
    workload::create::<ConfigMap>(namespace, &workload::object(environment)).await;
    let none = workload::deployment("none", 0, WELL_BEHAVED, 1);
    workload::create(namespace, &none).await;
    futures::join!(Box::pin(scene.deploy("api", 1)), Box::pin(scene.deploy("worker", 2)));
    wait::until::<DaemonSet>(&namespace.api(), "agent", "ready", |agent| {
        agent.status.as_ref().is_some_and(|status| status.number_ready > 0)
    })
    .await;
}

#[tokio::test]
async fn a_dry_run_says_what_it_would_do_there_and_back_and_changes_nothing() {
    let scene = Scene::create("dry-run").await;
    let _database = Database::seeded(&scene.namespace).await;
    project(&scene).await;
    let before = settled(&scene).await;
    assert!(before.keys().any(|object| object.starts_with("ReplicaSet/worker-")), "{before:?}");

    let spec = json!({
        "state": "Hibernated",
        "dryRun": true,
        "workloads": [
            {"kind": "Deployment", "name": "worker", "stage": 1},
            {"kind": "Deployment", "name": "none", "stage": 1},
            {"kind": "Deployment", "selector": {"matchLabels": {"app": "monitor"}}},
            {"kind": "Deployment", "name": "api", "action": "Restart"},
            {"kind": "CronJob", "all": true},
            {"kind": "DaemonSet", "name": "agent"},
        ],
        "configMaps": [{"name": "env"}],
        "database": {
            "secretRef": {"name": "cornice-db", "key": "DATABASE_URL"},
            "truncate": {"beforeStage": 1},
        },
    });
    let hibernation = Hibernation::create(&scene.namespace, "project", spec).await;
    let plan = planned(&hibernation).await;
    let emptied = "7. now: the Runtime tables are truncated (only after a person changes spec.state): \
                   13 tables, about ";
    assert!(plan[6].starts_with(emptied) && plan[6].ends_with(" KiB"), "{}", plan[6]);
    let mut others = plan.clone();
    others.remove(6);
    assert_eq!(
        others,
        [
            "1. now: ConfigMap env: HIBERNATE_MODE from \"false\" to \"true\"",
            "2. now: ConfigMap env: INGEST_ENABLED from not set to \"false\"",
            "3. now: stage 0: DaemonSet agent is removed from all nodes",
            "4. now: stage 0: CronJob nightly is suspended",
            "5. now: stage 0: CronJob yearly stays suspended",
            "6. now: Deployment api is restarted, and stays up",
            "8. now: stage 1: Deployment none stays at 0 replicas",
            "9. now: stage 1: Deployment worker goes from 2 to 0 replicas",
            "10. now: no action: Deployment with app=monitor is not found",
        ]
    );
    assert_eq!(settled(&scene).await, before, "nothing is changed");

    hibernation.patch(json!({"spec": {"dryRun": false}})).await;
    hibernation.until_phase("Hibernated").await;
    wait::until_all::<Pod>(
        &scene.namespace.api(),
        workload::labelled("worker"),
        "gone",
        <[Pod]>::is_empty,
    )
    .await;
    let asleep = settled(&scene).await;
    assert_ne!(asleep["Deployment/worker"], before["Deployment/worker"]);
    hibernation.patch(json!({"spec": {"state": "Awake", "dryRun": true}})).await;
    assert_eq!(
        planned(&hibernation).await,
        [
            "1. now: ConfigMap env: HIBERNATE_MODE back to \"false\"",
            "2. now: ConfigMap env: INGEST_ENABLED is removed, as it did not exist before",
            "3. now: stage 1: Deployment none goes back to 0 replicas",
            "4. now: stage 1: Deployment worker goes back to 2 replicas",
            "5. now: stage 0: DaemonSet agent returns to its nodes",
            "6. now: stage 0: CronJob nightly is resumed",
            "7. now: stage 0: CronJob yearly stays suspended, as it was",
            "8. now: Deployment api is restarted",
            "9. now: no action: Deployment with app=monitor is not found",
        ]
    );
    assert_eq!(settled(&scene).await, asleep, "nothing is changed");
    hibernation.patch(json!({"spec": {"dryRun": false}})).await;
    hibernation.until_phase("Awake").await;
}
