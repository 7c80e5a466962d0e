//! Workloads that keep some of their replicas.

use k8s_openapi::api::apps::v1::Deployment;
use serde_json::json;

use crate::support::{
    hibernation::{asleep, woken},
    kubectl::{exactly, file},
    object::of_workload,
    scene::Scene,
    wait,
    workload::{self, manifest},
};

#[tokio::test]
async fn a_reduced_workload_serves_on_and_wakes_with_what_was_deployed_meanwhile() {
    let scene = Scene::create("reduced").await;
    let deploy = |replicas: i32, version: &str| {
        let manifest = file(&scene, &manifest("api", replicas, version));
        let apply = ["apply", "--server-side", "--force-conflicts", "--field-manager=ci"];
        scene.kubectl(&[&apply[..], &["--filename", &manifest]].concat());
    };
    deploy(3, "1");
    scene.deploy("worker", 1).await;
    workload::until_ready(&scene.namespace, "api").await;
    let before = exactly(&scene, "deployment/api");
    let spec = json!({
        "state": "Hibernated",
        "workloads": [
            {"kind": "Deployment", "name": "api", "replicas": 2},
            {"kind": "Deployment", "name": "worker", "replicas": 2},
        ],
    });
    let hibernation = asleep(&scene, spec).await;
    let replicas = async |name| workload::replicas(&scene.deployment(name).await);
    assert_eq!([replicas("api").await, replicas("worker").await], [2, 1]);
    assert_eq!(workload::pods(&scene.namespace, "api").await.len(), 2, "they run on");
    let status = hibernation.until_condition("Ready", "True").await;
    assert_eq!(of_workload(&status, "api")["state"], "Reduced");
    assert_eq!(of_workload(&status, "api")["original"], "3");

    // A smaller number from a deploy counts at once, a larger one at the wake.
    deploy(1, "2");
    let held_at = async |replicas| {
        wait::until(&scene.namespace.api(), "api", "held", |api: &Deployment| {
            workload::replicas(api) == replicas
                && api.metadata.labels.as_ref().is_some_and(|l| l.contains_key("torpor.dev/held"))
                && workload::ready(api)
        })
        .await;
    };
    held_at(1).await;
    deploy(5, "1");
    held_at(2).await;
    woken(&hibernation).await;
    assert_eq!(replicas("api").await, 5);
    deploy(3, "1");
    workload::until_ready(&scene.namespace, "api").await;
    assert_eq!(exactly(&scene, "deployment/api"), before);
}
