//! What stopping a workload would destroy stays; what a status shows is bounded.

use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    core::v1::{ConfigMap, PersistentVolume, PersistentVolumeClaim},
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, PostParams},
};
use serde_json::{Value, json};

use crate::support::{
    hibernation::{Hibernation, asleep, of, woken},
    hold::untouched,
    kubectl::exactly,
    scene::Scene,
    wait,
    workload::{self, WELL_BEHAVED, template},
};

#[tokio::test]
async fn a_stateful_set_that_deletes_its_claims_when_scaled_keeps_them() {
    let scene = Scene::create("claims").await;
    let name = scene.namespace.name.clone();
    let volumes: Api<PersistentVolume> = Api::all(scene.namespace.client.clone());
    let volume = workload::object(json!({
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": "1Mi"}, "accessModes": ["ReadWriteOnce"],
            "storageClassName": name, "persistentVolumeReclaimPolicy": "Retain",
            "hostPath": {"path": format!("/tmp/{name}"), "type": "DirectoryOrCreate"},
        },
    }));
    volumes.create(&PostParams::default(), &volume).await.expect("the volume is created");
    let mut pod = template("db", "Always", WELL_BEHAVED);
    pod["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "data", "mountPath": "/data"}]);
    let set: StatefulSet = workload::object(json!({
        "metadata": {"name": "db"},
        "spec": {
            "replicas": 1, "serviceName": "db",
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Delete"},
            "selector": {"matchLabels": {"app": "db"}},
            "template": pod,
            "volumeClaimTemplates": [{
                "metadata": {"name": "data"},
                "spec": {
                    "storageClassName": name, "accessModes": ["ReadWriteOnce"],
                    "resources": {"requests": {"storage": "1Mi"}},
                },
            }],
        },
    }));
    workload::create(&scene.namespace, &set).await;
    let sets: Api<StatefulSet> = scene.namespace.api();
    let ready = |set: &StatefulSet| set.status.as_ref().and_then(|s| s.ready_replicas) == Some(1);
    wait::until(&sets, "db", "ready", ready).await;
    let claims: Api<PersistentVolumeClaim> = scene.namespace.api();
    let claim = async || claims.get("data-db-0").await.expect("the claim is there");
    let (uid, before) = (claim().await.uid(), exactly(&scene, "statefulset/db"));
    let spec = json!({"state": "Hibernated", "workloads": [{"kind": "StatefulSet", "name": "db"}]});
    let hibernation = asleep(&scene, spec).await;
    assert_eq!(claim().await.uid(), uid);
    assert!(claim().await.metadata.deletion_timestamp.is_none());
    woken(&hibernation).await;
    assert_eq!(exactly(&scene, "statefulset/db"), before);
    wait::until(&sets, "db", "ready", ready).await;
    hibernation.api.delete("project", &DeleteParams::default()).await.expect("it is deleted");
    wait::until_gone(&hibernation.api, "project").await;
    assert_eq!(claim().await.uid(), uid);
    sets.delete("db", &DeleteParams::default()).await.expect("it is deleted");
    volumes.delete(&name, &DeleteParams::default()).await.expect("the volume is deleted");
}

#[tokio::test]
async fn many_large_originals_are_restored_and_the_status_stays_small() {
    let scene = Scene::create("large").await;
    let large = "x".repeat(60_000);
    let maps: Api<ConfigMap> = scene.namespace.api();
    for number in 0..40 {
        let map = workload::object(json!({
            "metadata": {"name": format!("c{number}"), "labels": {"a": "b"}},
            "data": {"HIBERNATE_MODE": large},
        }));
        maps.create(&PostParams::default(), &map).await.expect("it is created");
    }
    let spec = json!({
        "state": "Hibernated",
        "configMaps": [{"selector": {"matchLabels": {"a": "b"}}}],
    });
    let hibernation = asleep(&scene, spec).await;
    let status = hibernation.until("40 held", |status| status["counts"]["held"] == 40).await;
    assert!(status.to_string().len() < 50_000, "{}", status.to_string().len());
    assert!(status.to_string().contains("(60000 bytes, digest "), "{status:#}");
    woken(&hibernation).await;
    for number in 0..40 {
        let map = maps.get(&format!("c{number}")).await.expect("it is there");
        assert_eq!(map.data.as_ref().map(|data| data["HIBERNATE_MODE"] == large), Some(true));
        assert!(untouched(&map));
    }
    hibernation.set_state("Hibernated").await;
    hibernation.until_phase("Hibernated").await;
    hibernation.api.delete("project", &DeleteParams::default()).await.expect("it is deleted");
    wait::until_gone(&hibernation.api, "project").await;
    assert!(untouched(&maps.get("c0").await.expect("it is there")));
}

/// The digest of the restart in the pod template.
fn configuration(api: &Deployment) -> Option<String> {
    let template = api.spec.as_ref()?.template.metadata.as_ref()?;
    template.annotations.as_ref()?.get("torpor.dev/configuration").cloned()
}

#[tokio::test]
async fn two_restart_the_same_api_and_it_is_as_before_when_the_last_one_wakes() {
    let scene = Scene::create("two-restart").await;
    scene.deploy("worker", 1).await;
    scene.deploy("api", 1).await;
    let before = exactly(&scene, "deployment/api");
    let spec = of(
        "worker",
        json!({"workloads": [
            {"kind": "Deployment", "name": "worker"},
            {"kind": "Deployment", "name": "api", "action": "Restart"},
        ]}),
    );
    let nights = Hibernation::create(&scene.namespace, "nights", spec.clone()).await;
    nights.until_phase("Hibernated").await;
    let holidays = Hibernation::create(&scene.namespace, "holidays", spec).await;
    holidays.until_phase("Hibernated").await;
    nights.until_phase("Hibernated").await;
    woken(&nights).await;
    holidays.until_phase("Hibernated").await;
    assert!(configuration(&scene.deployment("api").await).is_some(), "in hibernate mode");
    assert_eq!(workload::replicas(&scene.deployment("worker").await), 0);
    woken(&holidays).await;
    let after = exactly(&scene, "deployment/api");
    let spec = |object: &Value| object["spec"].clone();
    assert_eq!(spec(&after), spec(&before));
    assert_eq!(workload::replicas(&scene.deployment("worker").await), 1);
}
