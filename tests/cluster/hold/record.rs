//! Manual changes of annotation, label and object, while it is held and afterwards.

use k8s_openapi::api::{apps::v1::Deployment, batch::v1::Job};
use kube::{Api, ResourceExt, api::DeleteParams};
use serde_json::{Value, json};

use crate::support::{
    cluster::kubectl_or_error,
    hibernation::{Hibernation, asleep, message, of, woken},
    hold::{held, until_held, untouched},
    kubectl::{exactly, exported, file},
    object::reason,
    scene::Scene,
    wait,
    workload::{self, authored, manifest},
};

/// Runs `kubectl replace` until it meets no conflict: it sends the resourceVersion that it has
/// read, and asks the user to retry.
fn replace(scene: &Scene, manifest: &Value) {
    let manifest = file(scene, manifest);
    let arguments = ["--namespace", &scene.namespace.name, "replace", "--filename", &manifest];
    while let Err(said) = kubectl_or_error(&arguments) {
        assert!(said.contains("(Conflict)"), "{said}");
    }
}

fn version(deployment: &Deployment) -> String {
    let template = deployment.spec.as_ref().and_then(|spec| spec.template.metadata.as_ref());
    let annotations = template.and_then(|template| template.annotations.clone());
    annotations.unwrap_or_default().remove("version").unwrap_or_default()
}

#[tokio::test]
async fn a_rollout_undone_while_asleep_keeps_the_hold_and_the_original() {
    let scene = Scene::create("undo-asleep").await;
    let apply = |replicas, version| {
        let manifest = file(&scene, &manifest("worker", replicas, version));
        scene.kubectl(&["apply", "--filename", &manifest]);
    };
    apply(1, "1");
    workload::until_ready(&scene.namespace, "worker").await;
    // A hold in the days of version 1 leaves its annotation on the ReplicaSet of it.
    let hibernation = asleep(&scene, of("worker", json!({}))).await;
    woken(&hibernation).await;
    apply(2, "2");
    workload::until_ready(&scene.namespace, "worker").await;
    hibernation.set_state("Hibernated").await;
    hibernation.until_phase("Hibernated").await;
    scene.kubectl(&["rollout", "undo", "deployment/worker"]);
    let deployments: Api<Deployment> = scene.namespace.api();
    let undone = |worker: &Deployment| version(worker) == "1" && held(worker);
    wait::until(&deployments, "worker", "version 1 and held", undone).await;
    woken(&hibernation).await;
    let worker = scene.deployment("worker").await;
    assert_eq!((workload::replicas(&worker), version(&worker)), (2, "1".to_owned()));
    assert!(untouched(&worker));
}

#[tokio::test]
async fn what_is_replaced_by_its_manifest_is_held_again_and_a_new_template_is_a_deploy() {
    let scene = Scene::create("replace").await;
    let created = file(&scene, &manifest("worker", 2, "1"));
    scene.kubectl(&["create", "--filename", &created]);
    workload::until_ready(&scene.namespace, "worker").await;
    let hibernation = asleep(&scene, of("worker", json!({}))).await;
    // Both marks and the held value are gone with one write.
    replace(&scene, &manifest("worker", 2, "1"));
    until_held(&scene, "worker").await;
    replace(&scene, &manifest("worker", 1, "2"));
    let deployments: Api<Deployment> = scene.namespace.api();
    let deployed = |worker: &Deployment| version(worker) == "2" && held(worker);
    wait::until(&deployments, "worker", "version 2 and held", deployed).await;
    woken(&hibernation).await;
    let worker = scene.deployment("worker").await;
    assert_eq!((workload::replicas(&worker), version(&worker)), (1, "2".to_owned()));
}

#[tokio::test]
async fn what_is_exported_while_asleep_and_put_back_after_the_wake_is_woken_too() {
    let scene = Scene::create("put-back").await;
    scene.deploy("worker", 1).await;
    let hibernation = asleep(&scene, of("worker", json!({}))).await;
    let export = exported(&scene, "deployment/worker");
    woken(&hibernation).await;
    replace(&scene, &export);
    let deployments: Api<Deployment> = scene.namespace.api();
    let back = |worker: &Deployment| untouched(worker) && workload::replicas(worker) == 1;
    wait::until(&deployments, "worker", "awake again", back).await;
    hibernation.until_phase("Awake").await;
}

#[tokio::test]
async fn marks_that_are_edited_by_hand_are_not_believed() {
    let scene = Scene::create("edited").await;
    let before = authored(&scene.deploy("worker", 2).await);
    let hibernation = asleep(&scene, of("worker", json!({}))).await;
    let edited =
        scene.deployment("worker").await.annotations()["torpor.dev/hold"].replace(":2", ":9");
    assert!(edited.contains(":9"), "{edited}");
    let edit = format!("torpor.dev/hold={edited}");
    scene.kubectl(&["annotate", "--overwrite", "deployment/worker", &edit]);
    let deployments: Api<Deployment> = scene.namespace.api();
    let healed = |worker: &Deployment| {
        held(worker) && worker.annotations()["torpor.dev/hold"].contains(":2")
    };
    wait::until(&deployments, "worker", "healed", healed).await;
    scene.kubectl(&["label", "--overwrite", "deployment/worker", "torpor.dev/held=mine"]);
    let healed =
        |worker: &Deployment| healed(worker) && worker.labels()["torpor.dev/held"] != "mine";
    wait::until(&deployments, "worker", "healed", healed).await;
    woken(&hibernation).await;
    assert_eq!(authored(&scene.deployment("worker").await), before);
}

#[tokio::test]
async fn an_original_that_is_recorded_nowhere_is_asked_for_and_not_guessed() {
    let mut scene = Scene::create("unknown").await;
    scene.deploy("worker", 2).await;
    let hibernation = asleep(&scene, of("worker", json!({}))).await;
    scene.operator.kill9();
    scene.kubectl(&["annotate", "deployment/worker", "torpor.dev/hold-"]);
    let forget =
        ["--subresource=status", "--type=merge", "--patch", r#"{"status":{"originals":null}}"#];
    scene.kubectl(&[&["patch", "hib/project"], &forget[..]].concat());
    scene.operator.restart();
    let status = hibernation
        .until("asked for", |status| reason(status, "Stalled") == "OriginalUnknown")
        .await;
    let said = message(&status, "Stalled");
    assert!(
        said.contains("/spec/replicas")
            && said.contains("Set it to the value that it should have when awake"),
        "{said}"
    );
    assert_eq!(workload::replicas(&scene.deployment("worker").await), 0, "nobody guesses");
    // As the message says.
    scene.kubectl(&["scale", "deployment/worker", "--replicas=1"]);
    until_held(&scene, "worker").await;
    hibernation.until_phase("Hibernated").await;
    woken(&hibernation).await;
    assert_eq!(workload::replicas(&scene.deployment("worker").await), 1);
}

#[tokio::test]
async fn of_two_holders_one_keeps_and_one_wakes() {
    let scene = Scene::impatient("keep-and-wake").await;
    scene.deploy("worker", 1).await;
    scene.deploy("second", 1).await;
    let before = exactly(&scene, "deployment/worker");
    let keeps =
        Hibernation::create(&scene.namespace, "keeps", of("worker", json!({"onDelete": "Keep"})));
    let keeps = keeps.await;
    keeps.until_phase("Hibernated").await;
    let wakes = Hibernation::create(&scene.namespace, "wakes", of("worker", json!({}))).await;
    wakes.until_phase("Hibernated").await;
    let orphans = Hibernation::create(&scene.namespace, "orphans", of("second", json!({}))).await;
    orphans.until_phase("Hibernated").await;
    for hibernation in [&keeps, &wakes] {
        let name = &hibernation.name;
        hibernation.api.delete(name, &DeleteParams::default()).await.expect("it is deleted");
        wait::until_gone(&hibernation.api, name).await;
    }
    // The sweep leaves kept objects alone: their holder is gone for longer than that of the
    // released object.
    orphans.patch(json!({"metadata": {"finalizers": null}})).await;
    orphans.api.delete("orphans", &DeleteParams::default()).await.expect("it is deleted");
    wait::until::<Deployment>(&scene.namespace.api(), "second", "released", untouched).await;
    assert!(held(&scene.deployment("worker").await), "it is kept");
    let next =
        Hibernation::create(&scene.namespace, "keeps", of("worker", json!({"state": "Awake"})))
            .await;
    let deployments: Api<Deployment> = scene.namespace.api();
    wait::until(&deployments, "worker", "released", untouched).await;
    next.until_phase("Awake").await;
    assert_eq!(exactly(&scene, "deployment/worker"), before);
}

#[tokio::test]
async fn what_is_held_by_somebody_who_is_gone_is_released() {
    let scene = Scene::impatient("orphaned").await;
    scene.deploy("worker", 1).await;
    let before = exactly(&scene, "deployment/worker");
    let hibernation = asleep(&scene, of("worker", json!({}))).await;
    hibernation.patch(json!({"metadata": {"finalizers": null}})).await;
    hibernation.api.delete("project", &DeleteParams::default()).await.expect("it is deleted");
    let deployments: Api<Deployment> = scene.namespace.api();
    wait::until(&deployments, "worker", "released", untouched).await;
    assert_eq!(exactly(&scene, "deployment/worker"), before);
}

#[tokio::test]
async fn what_is_torpors_own_is_never_held() {
    let scene = Scene::create("own").await;
    scene.deploy("worker", 1).await;
    let mut operator = workload::deployment("operator", 1, workload::WELL_BEHAVED, 1);
    operator.labels_mut().insert("app.kubernetes.io/name".to_owned(), "torpor".to_owned());
    workload::create(&scene.namespace, &operator).await;
    let job = |name: &str, labels: Value| -> Job {
        let mut template =
            serde_json::to_value(workload::deployment(name, 1, workload::WELL_BEHAVED, 1))
                .expect("it is JSON")["spec"]["template"]
                .take();
        template["spec"]["restartPolicy"] = json!("Never");
        workload::object(json!({
            "metadata": {"name": name, "labels": labels}, "spec": {"template": template},
        }))
    };
    let own = job("truncation", json!({"app.kubernetes.io/managed-by": "torpor"}));
    workload::create(&scene.namespace, &own).await;
    workload::create(&scene.namespace, &job("long", json!({}))).await;
    let spec = json!({
        "state": "Hibernated",
        "workloads": [{"kind": "Deployment", "all": true}, {"kind": "Job", "all": true}],
    });
    let hibernation = asleep(&scene, spec).await;
    let jobs: Api<Job> = scene.namespace.api();
    let suspended = async |name: &str| {
        jobs.get(name).await.expect("it is there").spec.and_then(|spec| spec.suspend) == Some(true)
    };
    assert!(suspended("long").await && !suspended("truncation").await);
    assert!(held(&scene.deployment("worker").await));
    assert!(untouched(&scene.deployment("operator").await));
    // Nor by name.
    let by_name = Hibernation::create(&scene.namespace, "by-name", of("operator", json!({}))).await;
    by_name.until_phase("Hibernated").await;
    assert!(untouched(&scene.deployment("operator").await));
    woken(&hibernation).await;
}
