//! Each kind of held object goes down and is restored exactly.

use std::collections::BTreeMap;

use k8s_openapi::api::{
    apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet},
    batch::v1::{CronJob, Job},
    core::v1::ConfigMap,
};
use kube::{Resource, core::NamespaceResourceScope};
use serde_json::{Value, json};

use crate::support::{
    hibernation::Hibernation,
    namespace::Namespace,
    scene::Scene,
    wait::{self, Watched},
    workload::{self, WELL_BEHAVED, authored, controller, template},
};

async fn all<K>(namespace: &Namespace, names: &[&str], into: &mut BTreeMap<String, Value>)
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Watched,
{
    for name in names {
        let object: K = namespace.api().get(name).await.expect("it is there");
        let mut value = authored(&object);
        if let Some(annotations) = value["metadata"]["annotations"].as_object_mut() {
            // The DaemonSet controller counts the templates that there were.
            annotations.remove("deprecated.daemonset.template.generation");
        }
        into.insert(format!("{} {name}", K::kind(&())), value);
    }
}

/// Returns every object of the test, as its author sees it.
async fn objects(namespace: &Namespace) -> BTreeMap<String, Value> {
    let mut objects = BTreeMap::new();
    all::<Deployment>(namespace, &["two", "none", "api"], &mut objects).await;
    all::<StatefulSet>(namespace, &["stateful"], &mut objects).await;
    all::<ReplicaSet>(namespace, &["bare"], &mut objects).await;
    all::<DaemonSet>(namespace, &["daemon"], &mut objects).await;
    all::<CronJob>(namespace, &["nightly", "suspended"], &mut objects).await;
    all::<Job>(namespace, &["long"], &mut objects).await;
    all::<ConfigMap>(namespace, &["env", "empty"], &mut objects).await;
    objects
}

#[tokio::test]
async fn every_kind_comes_back_as_it_was() {
    let scene = Scene::create("levers").await;
    let namespace = &scene.namespace;
    for (name, replicas) in [("two", 2), ("none", 0), ("api", 1)] {
        let deployment = workload::deployment(name, replicas, WELL_BEHAVED, 1);
        workload::create(namespace, &deployment).await;
    }
    let stateful = controller::<StatefulSet>("stateful", json!({"serviceName": "stateful"}));
    workload::create(namespace, &stateful).await;
    workload::create(namespace, &controller::<ReplicaSet>("bare", json!({"replicas": 1}))).await;
    workload::create(namespace, &controller::<DaemonSet>("daemon", json!({}))).await;
    workload::create(namespace, &workload::cron_job("nightly", "exit 0")).await;
    let mut suspended = workload::cron_job("suspended", "exit 0");
    suspended.spec.as_mut().expect("a spec").suspend = Some(true);
    workload::create(namespace, &suspended).await;
    let long: Job = workload::object(json!({
        "metadata": {"name": "long"},
        "spec": {"template": template("long", "Never", WELL_BEHAVED)},
    }));
    workload::create(namespace, &long).await;
    for (name, data) in
        [("env", json!({"HIBERNATE_MODE": "no", "OTHER": "x"})), ("empty", json!({}))]
    {
        let config_map: ConfigMap = workload::object(json!({
            "metadata": {"name": name, "labels": {"config": "yes"}}, "data": data,
        }));
        workload::create(namespace, &config_map).await;
    }
    for name in ["two", "api"] {
        workload::until_ready(namespace, name).await;
    }
    wait::until::<DaemonSet>(&namespace.api(), "daemon", "ready", |daemon| {
        daemon.status.as_ref().is_some_and(|s| s.number_ready > 0)
    })
    .await;
    let before = objects(namespace).await;

    let by_name = |kind: &str, name: &str| json!({"kind": kind, "name": name});
    let spec = json!({
        "state": "Hibernated",
        "workloads": [
            {"kind": "Deployment", "all": true},
            {"kind": "Deployment", "name": "api", "action": "Restart"},
            by_name("StatefulSet", "stateful"),
            by_name("ReplicaSet", "bare"),
            by_name("DaemonSet", "daemon"),
            {"kind": "CronJob", "all": true},
            by_name("Job", "long"),
        ],
        "configMaps": [{"selector": {"matchLabels": {"config": "yes"}}}],
    });
    let hibernation = Hibernation::create(namespace, "project", spec).await;
    hibernation.until_phase("Hibernated").await;
    let asleep = objects(namespace).await;
    for name in ["Deployment two", "Deployment none", "StatefulSet stateful", "ReplicaSet bare"] {
        assert_eq!(asleep[name]["spec"]["replicas"], 0, "{name}");
    }
    for name in ["CronJob nightly", "CronJob suspended", "Job long"] {
        assert_eq!(asleep[name]["spec"]["suspend"], true, "{name}");
    }
    for name in ["ConfigMap env", "ConfigMap empty"] {
        let data = &asleep[name]["data"];
        assert_eq!(
            (&data["HIBERNATE_MODE"], &data["INGEST_ENABLED"]),
            (&json!("true"), &json!("false"))
        );
    }
    for name in ["two", "stateful", "bare", "daemon", "long"] {
        let pods = workload::pods(namespace, name).await;
        assert_eq!(workload::names(&pods), Vec::<String>::new(), "{name}");
    }
    assert_eq!(workload::pods(namespace, "api").await.len(), 1);
    assert_eq!(asleep["Deployment api"]["spec"]["replicas"], 1);

    hibernation.set_state("Awake").await;
    hibernation.until_phase("Awake").await;
    let after = objects(namespace).await;
    for (name, before) in &before {
        assert_eq!(&after[name], before, "{name}");
    }
}
