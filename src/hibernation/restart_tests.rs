//! Every pod of a restarted workload started after all overridden ConfigMaps that it reads were overridden.

use serde_json::{Value, json};

use crate::api::hibernation::Phase;
use crate::hibernation::test_world::World;
use crate::hold::lever::RESTART_ANNOTATION;
use crate::transition::test_world::{config_map, deployment};

/// Returns a pod spec that reads a ConfigMap.
fn reads(name: &str) -> Value {
    json!({"containers": [{"name": "main", "envFrom": [{"configMapRef": {"name": name}}]}]})
}

/// Returns a world that is asleep. The API reads the ConfigMap `env-a`.
fn asleep() -> World {
    let mut world = World::new(
        json!({
            "state": "Hibernated",
            "progressDeadline": "30s",
            "workloads": [{"kind": "Deployment", "name": "api", "action": "Restart"}],
            "configMaps": [{
                "selector": {"matchLabels": {"app": "shop"}}, "set": {"HIBERNATE_MODE": "true"},
            }],
        }),
        [deployment("api", 1)],
    );
    world.object("api")["spec"]["template"]["spec"] = reads("env-a");
    world.config_maps.push(config_map("env-a"));
    world.run();
    world.after(5);
    assert_eq!(world.status.phase, Some(Phase::Hibernated));
    world
}

fn restart(world: &mut World) -> Value {
    world.object("api")["spec"]["template"]["metadata"]["annotations"][RESTART_ANNOTATION].clone()
}

#[test]
fn a_deploy_of_another_config_map_restarts_the_workload_once_that_is_overridden() {
    let mut world = asleep();
    let before = restart(&mut world);
    world.object("api")["spec"]["template"]["spec"] = reads("env-b");
    world.config_maps.push(config_map("env-b"));
    world.after(1);
    assert_eq!(world.object("env-b")["data"]["HIBERNATE_MODE"], "true");
    assert_ne!(restart(&mut world), before, "its pods may have started before");
}

#[test]
fn a_config_map_that_is_made_again_restarts_the_workload() {
    let mut world = asleep();
    let before = restart(&mut world);
    world.config_maps = vec![config_map("env-a")];
    world.object("env-a")["metadata"]["uid"] = json!("another");
    world.after(1);
    assert_ne!(restart(&mut world), before);
}

#[test]
fn another_config_map_with_an_overridden_key_is_named() {
    let mut world = asleep();
    world.object("api")["spec"]["template"]["spec"] = reads("env-b");
    world.config_maps.push(config_map("env-b"));
    world.object("env-b")["metadata"]["labels"] = json!({});
    world.after(1);
    assert_ne!(world.status.phase, Some(Phase::Awake));
    let message = world.status.message.clone().unwrap();
    assert!(message.contains("Deployment api reads ConfigMap env-b"), "{message}");
    world.after(31);
    assert_eq!(world.stalled(), Some("ProgressDeadlineExceeded"));
    world.object("env-b")["metadata"]["labels"] = json!({"app": "shop"});
    world.after(1);
    world.after(1);
    assert_eq!(world.stalled(), None);
}

#[test]
fn a_config_map_that_the_workload_does_not_read_restarts_nothing() {
    let mut world = asleep();
    let before = restart(&mut world);
    world.config_maps.push(config_map("env-b"));
    world.after(1);
    assert_eq!(world.object("env-b")["data"]["HIBERNATE_MODE"], "true");
    assert_eq!(restart(&mut world), before);
}
