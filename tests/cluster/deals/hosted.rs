//! The bridges that the operator runs, as real pods. The tests create them with the operator's
//! rights only, those of the chart.

use std::collections::BTreeMap;

use k8s_openapi::api::{
    apps::v1::Deployment,
    coordination::v1::Lease,
    core::v1::{ConfigMap, Pod, Secret, Service},
    networking::v1::NetworkPolicy,
};
use kube::{
    Api, Resource, ResourceExt,
    api::{DeleteParams, DynamicObject, ListParams, PostParams},
    runtime::watcher,
};
use serde_json::{Value, json};
use torpor::apiserver::request;
use torpor::deals::hosted::{self, Error};
use torpor::hold::record::Holder;

use crate::support::{
    cluster::kubectl,
    database::Database,
    hosting::{Scene, WINDOW, problem, read},
    wait::{self, Watched},
    workload,
};

/// Returns a source whose query needs no table. Kubernetes would turn two `$` into one.
fn orders(id: &str) -> Value {
    json!({"postgres": {
        "secretRef": {"name": "cornice-db", "key": "DATABASE_URL"},
        "query": format!(
            "SELECT $${id}$$ AS id, 'order' AS kind, NULL::text AS term, NULL::timestamptz AS ends_at"
        ),
    }})
}

/// Returns the objects of one kind with the bridge's label, by name.
async fn labelled<K>(scene: &Scene) -> BTreeMap<String, K>
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope> + Watched,
{
    let labels = ListParams::default().labels("torpor.dev/bridge-of=maintenancewindow.worker");
    let list = scene.namespace.api::<K>().list(&labels).await.expect("they are listed");
    list.items.into_iter().map(|object| (object.name_any(), object)).collect()
}

/// Returns the generation of each object of a bridge, or its resourceVersion if its kind has none.
async fn versions(scene: &Scene) -> BTreeMap<String, String> {
    fn of<K: Resource<DynamicType = ()>>(
        objects: BTreeMap<String, K>,
    ) -> impl Iterator<Item = (String, String)> {
        objects.into_iter().map(|(name, object)| {
            let generation = object.meta().generation.map(|generation| generation.to_string());
            let version = generation.or(object.resource_version()).unwrap_or_default();
            (format!("{} {name}", K::kind(&())), version)
        })
    }
    let all = of(labelled::<Deployment>(scene).await)
        .chain(of(labelled::<Service>(scene).await))
        .chain(of(labelled::<NetworkPolicy>(scene).await))
        .chain(of(labelled::<ConfigMap>(scene).await));
    all.collect()
}

async fn epoch(scene: &Scene) -> String {
    let config = scene.namespace.api::<ConfigMap>().get("torpor-mw-worker-bridge").await;
    config.expect("it is there").data.expect("data")["epoch"].clone()
}

/// Returns the pods of the bridge that are not terminating.
async fn pods(scene: &Scene) -> Vec<String> {
    let pods = labelled::<Pod>(scene).await.into_values();
    pods.filter(|pod| pod.metadata.deletion_timestamp.is_none())
        .filter_map(|pod| pod.uid())
        .collect()
}

#[tokio::test]
async fn a_bridge_serves_its_object_and_is_kept_as_it_should_be() {
    let scene = Scene::create("bridge").await;
    let _database = Database::create(&scene.namespace).await;
    scene.until_ready(5, &orders("o-1")).await;
    assert_eq!(
        scene.source(&orders("o-1")).service,
        labelled::<Service>(&scene).await.into_keys().collect::<Vec<_>>().join(" ")
    );

    // The bridge answers the operator only.
    let token = scene.token("torpor", WINDOW).await;
    let (status, seen) = scene.observe(&token).await;
    assert_eq!(status, 200, "{seen}");
    assert_eq!(seen["orders"][0]["id"], "o-1", "{seen}");
    for token in [
        scene.token("default", WINDOW).await,
        scene.token("torpor", "MaintenanceWindow/other").await,
        String::new(),
    ] {
        let (status, seen) = scene.observe(&token).await;
        assert_eq!((status, problem(&seen)), (401, "unauthenticated"), "{seen}");
    }

    // Nothing is written if nothing differs.
    let before = versions(&scene).await;
    assert_eq!(before.len(), 4, "{before:?}");
    let idle = scene.hosting(&scene.idle, 5);
    for refresh in [false, true] {
        let source = read(&orders("o-1"));
        let hosted = idle.ensure(&scene.holder, &source, refresh).await;
        assert!(hosted.expect("it needs no permit").ready);
    }
    assert_eq!(versions(&scene).await, before);

    // Manual changes are reverted, and deleted objects recreated.
    let all = json!({"spec": {"ingress": [{}], "podSelector": {"matchLabels": {"more": "1"}}}});
    workload::merge::<NetworkPolicy>(&scene.namespace, "torpor-mw-worker", all).await;
    let odd = json!({"data": {"epoch": "many", "jwks.json": "{}"}});
    workload::merge::<ConfigMap>(&scene.namespace, "torpor-mw-worker-bridge", odd).await;
    let keys = ["set", "env", "deployment/torpor-mw-worker", "TORPOR_BRIDGE_JWKS={}"];
    kubectl(&[&["--namespace", &scene.namespace.name], &keys[..]].concat());
    scene.ensure(5, &orders("o-1"), false).await.expect("it is ensured");
    assert_eq!(epoch(&scene).await, "5");
    let deployment = scene.namespace.api::<Deployment>().get("torpor-mw-worker").await;
    let deployment = serde_json::to_value(deployment.expect("it is there")).expect("it is JSON");
    let pod = &deployment["spec"]["template"]["spec"];
    let given = pod["containers"][0]["env"].as_array().expect("variables");
    let given = given.iter().find(|variable| variable["name"] == "TORPOR_BRIDGE_JWKS");
    let given = given.and_then(|variable| variable["value"].as_str()).expect("keys");
    assert!(given.contains("\"kid\""), "{given}");
    assert_eq!(pod["volumes"][0]["configMap"]["items"].as_array().map(Vec::len), Some(1));
    let deployments: Api<Deployment> = scene.namespace.api();
    let one = deployments.delete("torpor-mw-worker", &DeleteParams::default()).await;
    one.expect("it is deleted");
    wait::until_gone(&deployments, "torpor-mw-worker").await;
    scene.until_ready(5, &orders("o-1")).await;
    let policies: BTreeMap<String, NetworkPolicy> = labelled(&scene).await;
    let policy = policies["torpor-mw-worker"].spec.clone().expect("a spec");
    let peers = policy.ingress.iter().flatten().flat_map(|rule| rule.from.iter().flatten());
    assert_eq!(peers.count(), 1);
    assert_eq!(policy.pod_selector.and_then(|pods| pods.match_labels).map(|l| l.len()), Some(2));

    // A new setting needs a new pod; the bridge is not ready before.
    let old = pods(&scene).await;
    let first = scene.ensure(5, &orders("o-2"), false).await.expect("it is ensured");
    assert!(!first.ready && !first.message.is_empty(), "{first:?}");
    scene.until_ready(5, &orders("o-2")).await;
    let new = pods(&scene).await;
    assert!(new.len() == 1 && old.len() == 1 && new != old, "{old:?} {new:?}");
    // kube-proxy may lead to the old pod for a moment, and nothing announces the end of that.
    wait::poll("the new bridge answers", async || {
        let (_, seen) = scene.observe(&token).await;
        (seen["orders"][0]["id"] == "o-2").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_leader_that_was_stopped_and_comes_back_is_refused() {
    let scene = Scene::create("bridge-epoch").await;
    let _database = Database::create(&scene.namespace).await;
    scene.until_ready(5, &orders("o-1")).await;
    assert_eq!(epoch(&scene).await, "5");
    let token = scene.token("torpor", WINDOW).await;
    let (status, answer) = scene.announce(&token, 5).await;
    assert_eq!(status, 204, "{answer}");

    // Another operator leads. It writes its epoch before it sends anything.
    leads(&scene, 6).await;
    assert!(scene.ensure(6, &orders("o-1"), false).await.expect("it is ensured").ready);
    assert_eq!(epoch(&scene).await, "6");
    let before = versions(&scene).await;
    let error = scene.ensure(5, &orders("o-2"), true).await.expect_err("it is old");
    assert_eq!(error.reason(), "StaleEpoch", "{error}");
    assert_eq!(versions(&scene).await, before, "it has written nothing");

    // A pod that has seen no change of the new leader knows its epoch all the same.
    scene.until_ready(6, &orders("o-2")).await;
    let (status, answer) = scene.announce(&token, 5).await;
    assert_eq!((status, problem(&answer)), (409, "stale-epoch"), "{answer}");
    let (status, answer) = scene.announce(&token, 6).await;
    assert_eq!(status, 204, "{answer}");

    // Somebody raises the epoch by hand. The Lease still has that of the leader, who corrects it.
    let raised = json!({"data": {"epoch": "2147483647"}});
    workload::merge::<ConfigMap>(&scene.namespace, "torpor-mw-worker-bridge", raised).await;
    let error = scene.ensure(5, &orders("o-2"), false).await.expect_err("it is old");
    assert_eq!(error.reason(), "StaleEpoch", "{error}");
    assert!(error.to_string().contains(&scene.lease.to_string()), "{error}");
    assert_eq!(epoch(&scene).await, "2147483647");
    assert!(scene.ensure(6, &orders("o-2"), false).await.expect("it is ensured").ready);
    assert_eq!(epoch(&scene).await, "6");
}

/// Gives the Lease to a leader of this epoch.
async fn leads(scene: &Scene, epoch: i32) {
    let lease: Lease = workload::object(json!({
        "metadata": {"name": scene.lease.name},
        "spec": {"holderIdentity": "another", "leaseTransitions": epoch},
    }));
    workload::create(&scene.namespace, &lease).await;
}

#[tokio::test]
async fn a_bridge_outlives_its_object_until_it_is_removed() {
    let scene = Scene::create("bridge-gone").await;
    let _database = Database::create(&scene.namespace).await;
    let windows: Api<DynamicObject> = scene.windows();
    let window = json!({
        "apiVersion": "torpor.dev/v1alpha1",
        "kind": "MaintenanceWindow",
        "metadata": {"name": "worker"},
        "spec": {"start": "2036-12-01T02:00:00Z", "deals": {"source": orders("o-1")}},
    });
    let window = workload::object(window);
    windows.create(&PostParams::default(), &window).await.expect("the window is created");
    scene.payloads().save(&scene.holder, &[]).await.expect("nothing is kept");
    scene.until_ready(5, &orders("o-1")).await;
    windows.delete("worker", &DeleteParams::foreground()).await.expect("it is deleted");
    until_window_gone(&windows).await;
    let owned = labelled::<Deployment>(&scene).await.into_values().any(|deployment| {
        deployment.metadata.deletion_timestamp.is_some()
            || !deployment.owner_references().is_empty()
    });
    assert!(!owned, "the garbage collector leaves it alone");
    assert_eq!(versions(&scene).await.len(), 5);
    assert!(scene.ensure(5, &orders("o-1"), false).await.expect("it is ensured").ready);

    // A similar ConfigMap of somebody else stays.
    let theirs = json!({"metadata": {"name": "theirs", "labels": {
        "torpor.dev/bridge-of": "maintenancewindow.worker", "app.kubernetes.io/name": "other",
    }}});
    workload::create::<ConfigMap>(&scene.namespace, &workload::object(theirs)).await;
    wait::poll("nothing is left", async || {
        let removed = scene.hosting(&scene.client, 5).remove(&scene.holder).await;
        (!removed.expect("it goes")).then_some(())
    })
    .await;
    assert!(labelled::<Pod>(&scene).await.is_empty(), "nor pods");
    let left: Vec<_> = versions(&scene).await.into_keys().collect();
    assert_eq!(left, ["ConfigMap theirs", "ConfigMap torpor-maintenancewindow-worker-withdrawn"]);
}

async fn until_window_gone(windows: &Api<DynamicObject>) {
    wait::until_gone(windows, "worker").await;
}

#[tokio::test]
async fn a_bridge_that_waits_names_the_missing_object() {
    let scene = Scene::create("bridge-waits").await;
    // The Secret of a URL, that of a key, and an image; all at once.
    let sonm = json!({"sonm": {
        "node": "http://sonm-node:15031",
        "worker": format!("0x{}", "1".repeat(40)),
        "keySecretRef": {"name": "sonm-key", "key": "master.key"},
    }});
    let postgres = orders("o-1");
    let missing = scene.until(&scene.holder, &postgres, "a Secret is missing", |hosted| {
        hosted.message == "CreateContainerConfigError: secret \"cornice-db\" not found"
    });
    let keyless: Holder = scene.named("keyless");
    let no_key = scene.until(&keyless, &sonm, "a key is missing", |hosted| {
        hosted.message.starts_with("CrashLoopBackOff: torpor: --key-file")
            && hosted.message.contains("cannot be read")
    });
    futures::join!(missing, no_key);
    // The Secret exists now: the bridge recovers by itself.
    let secret: Secret = workload::object(json!({
        "metadata": {"name": "cornice-db"},
        "stringData": {"DATABASE_URL": "postgresql://nobody@nowhere.invalid/none"},
    }));
    workload::create(&scene.namespace, &secret).await;
    wait::until_all::<Pod>(
        &scene.namespace.api(),
        watcher::Config::default().labels("torpor.dev/bridge-of=maintenancewindow.worker"),
        "the bridge's container runs",
        |pods| {
            let status = pods.iter().filter_map(|pod| pod.status.as_ref());
            status
                .flat_map(|s| s.container_statuses.iter().flatten())
                .any(|c| c.state.as_ref().is_some_and(|state| state.running.is_some()))
        },
    )
    .await;
    // Nobody's pod may be the bridge's.
    let quota = json!({"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}});
    let quota = workload::object::<k8s_openapi::api::core::v1::ResourceQuota>(quota);
    workload::create(&scene.namespace, &quota).await;
    let refused: Holder = scene.named("refused");
    scene
        .until(&refused, &postgres, "a quota is in the way", |hosted| {
            hosted.message.starts_with("FailedCreate: ") && hosted.message.contains("quota")
        })
        .await;
}

#[tokio::test]
async fn what_is_not_torpors_is_not_touched_and_who_does_not_lead_writes_nothing() {
    let scene = Scene::create("bridge-names").await;
    let idle = scene.hosting(&scene.idle, 5);
    let source = read(&orders("o-1"));
    let error = idle.ensure(&scene.holder, &source, false).await.expect_err("it does not lead");
    assert!(matches!(error, Error::Request(request::Error::NotPermitted(_))), "{error}");
    assert_eq!(versions(&scene).await, BTreeMap::new());

    let theirs =
        json!({"metadata": {"name": "torpor-mw-worker"}, "spec": {"ports": [{"port": 1}]}});
    workload::create::<Service>(&scene.namespace, &workload::object(theirs)).await;
    let error = scene.ensure(5, &orders("o-1"), false).await.expect_err("the name is taken");
    assert_eq!(error.reason(), "BridgeNameTaken");
    assert!(error.to_string().contains("Service torpor-mw-worker"), "{error}");
    let service = scene.namespace.api::<Service>().get("torpor-mw-worker").await;
    let ports = service.expect("it is there").spec.and_then(|spec| spec.ports);
    assert_eq!(ports.map(|ports| ports[0].port), Some(1));
    // Nor is anything made for an object whose API somebody else serves.
    let served = json!({"service": {"name": "market", "port": 80}});
    let before = versions(&scene).await;
    let hosted = scene.ensure(5, &served, false).await.expect("nothing is to be done");
    assert!(hosted.ready);
    assert_eq!(hosted::source(&scene.holder, &read(&served)).bridge, None);
    assert_eq!(versions(&scene).await, before);
}
