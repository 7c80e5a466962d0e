//! Deletion of the Hibernation, of its namespace, and of held objects.

use futures::future::join3;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Namespace as NamespaceResource};
use kube::{Api, ResourceExt, api::DeleteParams};
use serde_json::{Value, json};

use crate::support::{
    hibernation::{Hibernation, of},
    hold::untouched,
    namespace::Namespace,
    operator::Operator,
    scene::Scene,
    wait,
    workload::{self, STUBBORN, WELL_BEHAVED, authored},
};

async fn delete(hibernation: &Hibernation) {
    let deleted = hibernation.api.delete(&hibernation.name, &DeleteParams::default()).await;
    deleted.expect("the Hibernation is deleted");
}

/// Deletes the Hibernation once `reached` returns. The Deployment must be restored before the
/// Hibernation goes.
async fn wakes_when_deleted(
    scene: &Scene,
    name: &str,
    script: &str,
    grace: i64,
    reached: impl AsyncFnOnce(&Hibernation),
) {
    let deployment = workload::deployment(name, 2, script, grace);
    workload::create(&scene.namespace, &deployment).await;
    let before = authored(&workload::until_ready(&scene.namespace, name).await);
    let spec = of(name, json!({}));
    let hibernation = Hibernation::create(&scene.namespace, name, spec).await;
    reached(&hibernation).await;
    delete(&hibernation).await;
    wait::until_gone(&hibernation.api, name).await;
    let after = scene.deployment(name).await;
    assert_eq!(authored(&after), before, "{name}");
    assert!(workload::ready(&after), "{name} is ready before the object goes");
}

#[tokio::test]
async fn deleted_in_any_phase_it_wakes_what_it_held_and_then_goes() {
    let scene = Scene::create("deleted").await;
    let going_down = wakes_when_deleted(&scene, "going-down", STUBBORN, 10, async |_| {
        scene.until_replicas("going-down", 0).await;
    });
    let asleep = wakes_when_deleted(&scene, "asleep", WELL_BEHAVED, 1, async |hibernation| {
        hibernation.until_phase("Hibernated").await;
    });
    let waking = wakes_when_deleted(&scene, "waking", WELL_BEHAVED, 1, async |hibernation| {
        hibernation.until_phase("Hibernated").await;
        hibernation.set_state("Awake").await;
    });
    Box::pin(join3(going_down, asleep, waking)).await;
}

#[tokio::test]
async fn kept_holds_stay_and_the_next_object_of_that_name_takes_them_over() {
    let scene = Scene::create("kept").await;
    let before = authored(&scene.deploy("worker", 2).await);
    let spec = of("worker", json!({"onDelete": "Keep"}));
    let hibernation = Hibernation::create(&scene.namespace, "project", spec.clone()).await;
    let first = hibernation.until_phase("Hibernated").await;
    delete(&hibernation).await;
    wait::until_gone(&hibernation.api, "project").await;
    let kept = scene.deployment("worker").await;
    assert_eq!(workload::replicas(&kept), 0);
    assert!(!untouched(&kept));

    let hibernation = Hibernation::create(&scene.namespace, "project", spec).await;
    let second = hibernation.until_phase("Hibernated").await;
    assert_eq!(second["episode"]["id"], first["episode"]["id"], "it is the same hibernation");
    assert_eq!(second["episode"]["truncation"], "Unknown");
    let object = hibernation.api.get("project").await.expect("it is there");
    assert_eq!(object.finalizers(), ["torpor.dev/hold"]);
    hibernation.set_state("Awake").await;
    hibernation.until_phase("Awake").await;
    assert_eq!(authored(&scene.deployment("worker").await), before);
}

#[tokio::test]
async fn a_spec_that_cannot_be_read_any_more_does_not_keep_what_it_held() {
    let scene = Scene::create("unreadable").await;
    let before = authored(&scene.deploy("worker", 1).await);
    let spec = of("worker", json!({}));
    let hibernation = Hibernation::create(&scene.namespace, "project", spec).await;
    hibernation.until_phase("Hibernated").await;
    let workloads = json!([{"kind": "Unicorn", "name": "worker"}]);
    hibernation.patch(json!({"spec": {"workloads": workloads}})).await;
    hibernation.until_condition("Stalled", "True").await;
    assert_eq!(workload::replicas(&scene.deployment("worker").await), 0, "held until it is clear");
    delete(&hibernation).await;
    wait::until_gone(&hibernation.api, "project").await;
    assert_eq!(authored(&scene.deployment("worker").await), before);
}

#[tokio::test]
async fn a_namespace_goes_with_a_hibernation_that_sleeps_in_it() {
    let namespace = Namespace::create("namespace").await;
    // Otherwise the lease would go with the namespace, and the operator would exit.
    let home = Namespace::create("namespace-home").await;
    let operator = Operator::start_from(&namespace, &home.name, &[]);
    let scene = Scene { operator, namespace };
    scene.deploy("worker", 1).await;
    let spec = of("worker", json!({}));
    Hibernation::create(&scene.namespace, "project", spec).await.until_phase("Hibernated").await;
    let namespaces: Api<NamespaceResource> = Api::all(scene.namespace.client.clone());
    let name = &scene.namespace.name;
    namespaces.delete(name, &DeleteParams::default()).await.expect("it is deleted");
    wait::until_gone(&namespaces, name).await;
}

#[tokio::test]
async fn what_is_deleted_and_made_again_while_asleep_is_held_and_wakes_as_its_new_self() {
    let scene = Scene::create("made-again").await;
    scene.deploy("worker", 2).await;
    let spec = of("worker", json!({}));
    let hibernation = Hibernation::create(&scene.namespace, "project", spec).await;
    hibernation.until_phase("Hibernated").await;
    let deployments: Api<Deployment> = scene.namespace.api();
    deployments.delete("worker", &DeleteParams::background()).await.expect("it is deleted");
    wait::until_gone(&deployments, "worker").await;
    let again = workload::deployment("worker", 1, WELL_BEHAVED, 1);
    let before = authored(&workload::create(&scene.namespace, &again).await);
    scene.until_replicas("worker", 0).await;
    hibernation.until_phase("Hibernated").await;
    hibernation.set_state("Awake").await;
    hibernation.until_phase("Awake").await;
    assert_eq!(authored(&scene.deployment("worker").await), before);
}

#[tokio::test]
async fn a_newcomer_that_matches_is_held_too() {
    let scene = Scene::create("newcomer").await;
    scene.deploy("worker", 1).await;
    let spec = json!({
        "state": "Hibernated",
        "workloads": [{"kind": "Deployment", "selector": {"matchExpressions": [
            {"key": "app", "operator": "In", "values": ["worker", "newcomer"]},
        ]}}],
    });
    let hibernation = Hibernation::create(&scene.namespace, "project", spec).await;
    hibernation.until_phase("Hibernated").await;
    for (name, held) in [("stranger", 1), ("newcomer", 0)] {
        let deployment = workload::deployment(name, 1, WELL_BEHAVED, 1);
        workload::create(&scene.namespace, &deployment).await;
        scene.until_replicas(name, held).await;
    }
    let status = hibernation.until("both are held", |status| status["counts"]["held"] == 2).await;
    let names: Vec<_> = status["workloads"].as_array().into_iter().flatten().collect();
    assert!(names.iter().all(|workload| workload["name"] != "stranger"), "{names:?}");
    hibernation.until_phase("Hibernated").await;
    hibernation.set_state("Awake").await;
    hibernation.until_phase("Awake").await;
    for name in ["worker", "newcomer", "stranger"] {
        let deployment = workload::until_ready(&scene.namespace, name).await;
        assert_eq!(workload::replicas(&deployment), 1, "{name}");
        assert!(untouched(&deployment), "{name}");
    }
}

#[tokio::test]
async fn what_an_entry_held_is_released_when_the_entry_is_removed() {
    let scene = Scene::create("removed").await;
    let stays = scene.deploy("stays", 1);
    let goes = scene.deploy("goes", 1);
    let (_, before) = futures::join!(stays, goes);
    let entry = |name: &str| json!({"kind": "Deployment", "name": name});
    let spec = json!({"state": "Hibernated", "workloads": [entry("stays"), entry("goes")]});
    let hibernation = Hibernation::create(&scene.namespace, "project", spec).await;
    hibernation.until_phase("Hibernated").await;
    hibernation.patch(json!({"spec": {"workloads": [entry("stays")]}})).await;
    hibernation
        .until("one is held", |status| {
            status["counts"]["held"] == 1
                && status["originals"].as_object().map(serde_json::Map::len) == Some(1)
        })
        .await;
    let after = workload::until_ready(&scene.namespace, "goes").await;
    assert_eq!(authored(&after), authored(&before));

    // The object belongs to its owner again.
    workload::merge::<Deployment>(&scene.namespace, "goes", json!({"spec": {"replicas": 0}})).await;
    hibernation.patch(json!({"metadata": {"labels": {"look": "again"}}})).await;
    workload::merge::<Deployment>(&scene.namespace, "stays", json!({"spec": {"replicas": 1}}))
        .await;
    scene.until_replicas("stays", 0).await;
    assert_eq!(workload::replicas(&scene.deployment("goes").await), 0);
    hibernation.until("still asleep", |status: &Value| status["phase"] == "Hibernated").await;
}
