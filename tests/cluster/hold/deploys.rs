//! Deploys while asleep that the held value does not show: a no-op apply afterwards finds what is there.

use k8s_openapi::api::{apps::v1::Deployment, core::v1::ConfigMap};
use kube::Api;
use serde_json::{Value, json};

use crate::support::{
    config_map::config_map,
    hibernation::{Hibernation, asleep, of, woken},
    hold::{held, untouched},
    kubectl::file,
    object::of_workload,
    scene::Scene,
    wait,
    workload::{self, manifest},
};

/// Returns a manifest with this number of replicas, or without the field.
fn shop(replicas: Option<i32>) -> Value {
    let mut shop = manifest("shop", replicas.unwrap_or_default(), "1");
    if replicas.is_none() {
        shop["spec"].as_object_mut().expect("a spec").remove("replicas");
    }
    shop
}

fn server_side(scene: &Scene, manifest: &Value) {
    let flux = ["--server-side", "--field-manager=flux", "--force-conflicts"];
    scene.kubectl(&[&["apply"], &flux[..], &["--filename", &file(scene, manifest)]].concat());
}

fn client_side(scene: &Scene, manifest: &Value) {
    scene.kubectl(&["apply", "--filename", &file(scene, manifest)]);
}

async fn until_told(hibernation: &Hibernation, says: &str) {
    hibernation
        .until(says, |status| {
            let message = of_workload(status, "shop")["message"].as_str().unwrap_or_default();
            message.contains(says)
        })
        .await;
}

async fn replicas(scene: &Scene) -> i32 {
    workload::replicas(&scene.deployment("shop").await)
}

#[tokio::test]
async fn a_server_side_apply_without_the_field_gets_the_default_now_and_at_its_next_apply() {
    let scene = Scene::create("left-out").await;
    server_side(&scene, &shop(Some(4)));
    workload::until_ready(&scene.namespace, "shop").await;
    let hibernation = asleep(&scene, of("shop", json!({}))).await;
    server_side(&scene, &shop(None));
    until_told(&hibernation, "flux deployed a manifest without replicas. The wake restores 1")
        .await;
    assert_eq!(replicas(&scene).await, 0);
    woken(&hibernation).await;
    for time in ["after the wake", "after a no-op apply"] {
        assert_eq!(replicas(&scene).await, 1, "{time}");
        server_side(&scene, &shop(None));
    }
    assert!(untouched(&scene.deployment("shop").await));
}

#[tokio::test]
async fn a_client_side_apply_without_the_field_gets_the_default_now_and_at_its_next_apply() {
    let scene = Scene::create("left-out-client").await;
    client_side(&scene, &shop(Some(4)));
    workload::until_ready(&scene.namespace, "shop").await;
    let hibernation = asleep(&scene, of("shop", json!({}))).await;
    client_side(&scene, &shop(None));
    wait::until(&scene.namespace.api(), "shop", "held again", held).await;
    woken(&hibernation).await;
    for time in ["after the wake", "after a no-op apply"] {
        assert_eq!(replicas(&scene).await, 1, "{time}");
        client_side(&scene, &shop(None));
    }
}

#[tokio::test]
async fn an_apply_of_exactly_the_held_value_is_what_it_wakes_to() {
    for (test, apply) in
        [("held-value", server_side as fn(&Scene, &Value)), ("held-value-client", client_side)]
    {
        let scene = Scene::create(test).await;
        apply(&scene, &shop(Some(2)));
        workload::until_ready(&scene.namespace, "shop").await;
        let hibernation = asleep(&scene, of("shop", json!({}))).await;
        apply(&scene, &shop(Some(0)));
        until_told(&hibernation, "set replicas to 0 in a rollout. The wake restores 0").await;
        woken(&hibernation).await;
        assert_eq!(replicas(&scene).await, 0, "{test}");
        apply(&scene, &shop(Some(0)));
        assert_eq!(replicas(&scene).await, 0, "{test}");
        assert!(untouched(&scene.deployment("shop").await), "{test}");
    }
}

#[tokio::test]
async fn a_key_that_an_apply_removes_stays_removed() {
    let scene = Scene::create("removed-key").await;
    let values = json!({"HIBERNATE_MODE": "no", "OTHER": "1"});
    client_side(&scene, &config_map("env", Some(values)));
    let spec = json!({"state": "Hibernated", "configMaps": [{"name": "env"}]});
    let hibernation = asleep(&scene, spec).await;
    client_side(&scene, &config_map("env", Some(json!({"OTHER": "1"}))));
    let maps: Api<ConfigMap> = scene.namespace.api();
    let mode = |map: &ConfigMap| map.data.as_ref().and_then(|d| d.get("HIBERNATE_MODE").cloned());
    wait::until(&maps, "env", "overridden again", |map| mode(map).as_deref() == Some("true")).await;
    woken(&hibernation).await;
    let env = maps.get("env").await.expect("it is there");
    assert_eq!(json!(env.data), json!({"OTHER": "1"}));
}

#[tokio::test]
async fn what_an_autoscaler_scaled_before_a_deploy_without_the_field_stays_its_own() {
    let scene = Scene::create("left-out-hpa").await;
    server_side(&scene, &shop(Some(4)));
    scene.kubectl(&["scale", "deployment/shop", "--replicas=3"]);
    workload::until_ready(&scene.namespace, "shop").await;
    let hibernation = asleep(&scene, of("shop", json!({}))).await;
    server_side(&scene, &shop(None));
    woken(&hibernation).await;
    let deployments: Api<Deployment> = scene.namespace.api();
    wait::until(&deployments, "shop", "as scaled", |shop| workload::replicas(shop) == 3).await;
    server_side(&scene, &shop(None));
    assert_eq!(replicas(&scene).await, 3);
}
