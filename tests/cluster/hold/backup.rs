//! A restore from a backup, in any order, restores nothing twice and loses no original.

use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::support::{
    hibernation::{Hibernation, asleep, of, woken},
    hold::{held, untouched},
    kubectl::{exported, file},
    release::torpor,
    scene::Scene,
    wait, workload,
};

/// A project that was backed up while asleep and then deleted.
struct Backup {
    scene: Scene,
    workload: Value,
    hibernation: Value,
    status: Value,
}

impl Backup {
    async fn of(test: &str) -> Self {
        let scene = Scene::create(test).await;
        scene.deploy("worker", 2).await;
        let hibernation = asleep(&scene, of("worker", json!({}))).await;
        let workload = exported(&scene, "deployment/worker");
        let mut exported = exported(&scene, "hib/project");
        let status = exported["status"].take();
        exported.as_object_mut().expect("an object").remove("status");
        // A disaster: the operator does not observe the deletion.
        let mut scene = scene;
        scene.operator.kill9();
        let deployments: Api<Deployment> = scene.namespace.api();
        deployments.delete("worker", &DeleteParams::background()).await.expect("it is deleted");
        hibernation.patch(json!({"metadata": {"finalizers": null}})).await;
        hibernation.api.delete("project", &DeleteParams::default()).await.expect("it is deleted");
        wait::until_gone(&deployments, "worker").await;
        wait::until_gone(&hibernation.api, "project").await;
        scene.operator.restart();
        Self { scene, workload, hibernation: exported, status }
    }

    fn restore(&self, manifest: &Value) {
        self.scene.kubectl(&["create", "--filename", &file(&self.scene, manifest)]);
    }

    async fn restore_status(&self) {
        let hibernation = Hibernation::existing(&self.scene.namespace, "project");
        let patch = Patch::Merge(json!({"status": self.status}));
        let patched =
            hibernation.api.patch_status("project", &PatchParams::default(), &patch).await;
        patched.expect("its status is restored");
    }

    async fn sleeps_on_and_wakes_as_it_was(&self) {
        let hibernation = Hibernation::existing(&self.scene.namespace, "project");
        let deployments: Api<Deployment> = self.scene.namespace.api();
        wait::until(&deployments, "worker", "held", held).await;
        hibernation
            .until("asleep, with what it holds", |status| {
                status["phase"] == "Hibernated" && status["counts"]["held"] == 1
            })
            .await;
        woken(&hibernation).await;
        let worker = self.scene.deployment("worker").await;
        assert_eq!(workload::replicas(&worker), 2);
        assert!(untouched(&worker));
    }
}

#[tokio::test]
async fn restored_workloads_first_it_sleeps_on_and_wakes_as_it_was() {
    let backup = Backup::of("backup-down").await;
    backup.restore(&backup.workload);
    backup.restore(&backup.hibernation);
    backup.sleeps_on_and_wakes_as_it_was().await;
}

#[tokio::test]
async fn restored_hibernation_first_it_sleeps_on_and_wakes_as_it_was() {
    let backup = Backup::of("backup-up").await;
    backup.restore(&backup.hibernation);
    let hibernation = Hibernation::existing(&backup.scene.namespace, "project");
    hibernation.until_phase("Hibernated").await;
    backup.restore(&backup.workload);
    backup.sleeps_on_and_wakes_as_it_was().await;
}

#[tokio::test]
async fn restored_with_its_status_it_sleeps_on_and_wakes_as_it_was() {
    let backup = Backup::of("backup-status").await;
    backup.restore(&backup.hibernation);
    backup.restore_status().await;
    backup.restore(&backup.workload);
    backup.sleeps_on_and_wakes_as_it_was().await;
}

#[tokio::test]
async fn restored_under_a_hibernation_that_is_awake_by_now_it_wakes() {
    let mut backup = Backup::of("backup-awake").await;
    backup.hibernation["spec"]["state"] = json!("Awake");
    backup.restore(&backup.hibernation);
    let hibernation = Hibernation::existing(&backup.scene.namespace, "project");
    hibernation.until_phase("Awake").await;
    backup.restore(&backup.workload);
    let deployments: Api<Deployment> = backup.scene.namespace.api();
    let back = |worker: &Deployment| untouched(worker) && workload::replicas(worker) == 2;
    wait::until(&deployments, "worker", "awake", back).await;
}

#[tokio::test]
async fn restored_into_another_namespace_it_is_released_by_a_person_though_its_holder_lives_in_the_first()
 {
    let first = Scene::create("backup-first").await;
    first.deploy("worker", 1).await;
    asleep(&first, of("worker", json!({}))).await;
    let mut exported = exported(&first, "deployment/worker");
    let second = Scene::create("backup-second").await;
    exported["metadata"]["namespace"] = json!(second.namespace.name);
    second.kubectl(&["create", "--filename", &file(&second, &exported)]);
    torpor(&second, &["deployment/worker"]).success();
    let worker = second.deployment("worker").await;
    assert!(untouched(&worker));
    assert_eq!(workload::replicas(&worker), 1);
    assert!(held(&first.deployment("worker").await));
}
