//! Objects that cannot be held.

use k8s_openapi::api::{apps::v1::ReplicaSet, core::v1::ConfigMap};
use kube::{Api, ResourceExt, api::ListParams};
use serde_json::json;

use crate::support::{
    config_map::create_config_map,
    hibernation::{Hibernation, of, until_stalled, woken},
    hold::{held, untouched},
    scene::Scene,
    workload::{self, WELL_BEHAVED, authored},
};

#[tokio::test]
async fn what_cannot_be_held_is_said_and_nothing_is_stopped() {
    let scene = Scene::create("refused").await;
    let namespace = &scene.namespace;
    let worker = scene.deploy("worker", 1).await;
    create_config_map(&scene, "immutable", json!({"immutable": true})).await;
    create_config_map(
        &scene,
        "binary",
        json!({"data": {}, "binaryData": {"HIBERNATE_MODE": "eA=="}}),
    )
    .await;
    let sets: Api<ReplicaSet> = namespace.api();
    let set = sets.list(&ListParams::default()).await.expect("they are listed").items[0].name_any();
    let mut paused = workload::deployment("paused", 0, WELL_BEHAVED, 1);
    paused.spec.as_mut().expect("a spec").paused = Some(true);
    workload::create(namespace, &paused).await;

    let workers = json!([{"kind": "Deployment", "name": "worker"}]);
    let with = |kind: &str, name: &str, action: &str| json!({"workloads": [workers[0], {"kind": kind, "name": name, "action": action}]});
    let cases = [
        ("controlled", with("ReplicaSet", &set, "Stop"), "ControlledBy", "Deployment worker"),
        (
            "immutable",
            json!({"configMaps": [{"name": "immutable"}]}),
            "ConfigMapImmutable",
            "immutable",
        ),
        (
            "binary",
            json!({"configMaps": [{"name": "binary"}]}),
            "ConfigMapKeyBinary",
            "HIBERNATE_MODE",
        ),
        ("missing", json!({"configMaps": [{"name": "later"}]}), "ConfigMapNotFound", "later"),
        ("paused", with("Deployment", "paused", "Restart"), "CannotRestart", "paused"),
    ];
    for (name, more, why, says) in cases {
        let hibernation = Hibernation::create(namespace, name, of("worker", more)).await;
        until_stalled(&hibernation, why, says).await;
    }
    assert_eq!(authored(&scene.deployment("worker").await), authored(&worker));

    // A Hibernation that waits for a missing object continues by itself once the object exists.
    let missing = Hibernation::existing(namespace, "missing");
    create_config_map(&scene, "later", json!({})).await;
    missing.until_phase("Hibernated").await;
    assert!(held(&scene.deployment("worker").await));
}

#[tokio::test]
async fn two_that_want_different_values_of_one_key_are_in_conflict() {
    let scene = Scene::create("conflict").await;
    create_config_map(&scene, "env", json!({})).await;
    let spec = |value: &str| {
        json!({
            "state": "Hibernated",
            "configMaps": [{"name": "env", "set": {"HIBERNATE_MODE": value}}],
        })
    };
    let first = Hibernation::create(&scene.namespace, "first", spec("yes")).await;
    first.until_phase("Hibernated").await;
    let second = Hibernation::create(&scene.namespace, "second", spec("maybe")).await;
    until_stalled(&second, "HoldConflict", "Hibernation/").await;
    let value = async || {
        let config_maps: Api<ConfigMap> = scene.namespace.api();
        let env = config_maps.get("env").await.expect("it is there");
        assert_eq!(untouched(&env), env.data.as_ref().is_some_and(|d| d["HIBERNATE_MODE"] == "no"));
        env.data.unwrap_or_default()["HIBERNATE_MODE"].clone()
    };
    assert_eq!(value().await, "yes");
    woken(&first).await;
    second.until_phase("Hibernated").await;
    assert_eq!(value().await, "maybe");
    woken(&second).await;
    assert_eq!(value().await, "no");
}
