//! `spec.wake.maxConcurrent`.

use k8s_openapi::api::apps::v1::Deployment;
use kube::runtime::watcher;
use serde_json::json;

use crate::support::{
    hibernation::asleep,
    scene::Scene,
    wait,
    workload::{self, ready, replicas},
};

#[tokio::test]
async fn a_wake_brings_up_one_workload_after_the_other() {
    let scene = Scene::create("pace").await;
    for name in ["first", "second", "third"] {
        scene.deploy(name, 1).await;
    }
    let spec = json!({
        "state": "Hibernated",
        "workloads": [{"kind": "Deployment", "all": true}],
        "wake": {"maxConcurrent": 1},
    });
    let hibernation = asleep(&scene, spec).await;
    hibernation.set_state("Awake").await;
    let all: kube::Api<Deployment> = scene.namespace.api();
    wait::until_all(&all, watcher::Config::default(), "all are ready", |all| {
        let up: Vec<_> = all.iter().filter(|deployment| replicas(deployment) == 1).collect();
        let coming_up: Vec<_> = up.iter().filter(|deployment| !ready(deployment)).collect();
        assert!(coming_up.len() <= 1, "{:?}", workload::names(all));
        up.len() == 3 && coming_up.is_empty()
    })
    .await;
    hibernation.until_phase("Awake").await;
}
