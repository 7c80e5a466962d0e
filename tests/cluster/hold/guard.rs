//! The hold guard: admission policies that keep other clients from changing held fields.

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use serde_json::{Value, json};

use crate::support::{
    cluster::kubectl_or_error,
    config_map::config_map,
    guard::{self, Guard},
    hibernation::{Hibernation, asleep, condition, woken},
    hold::{held, until_held},
    kubectl::{exactly, file},
    object::of_workload,
    release::torpor,
    scene::Scene,
    wait,
    workload::{self, WELL_BEHAVED, manifest, template},
};

const OBJECTS: [&str; 4] =
    ["deployment/web", "cronjob/nightly", "daemonset/agent", "configmap/environment"];

/// Returns the manifests in Git: all held fields are in them.
fn git(replicas: i32, version: &str) -> Vec<Value> {
    let nightly = workload::cron_job("nightly", "exit 0");
    let mut nightly = serde_json::to_value(nightly).expect("it is JSON");
    nightly["apiVersion"] = json!("batch/v1");
    nightly["kind"] = json!("CronJob");
    nightly["spec"]["suspend"] = json!(false);
    let mut template = template("agent", "Always", WELL_BEHAVED);
    template["spec"]["nodeSelector"] = json!({"kubernetes.io/os": "linux"});
    let agent = json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "agent"},
        "spec": {"selector": {"matchLabels": {"app": "agent"}}, "template": template},
    });
    let data = json!({"HIBERNATE_MODE": "false", "INGEST_ENABLED": "true", "VERSION": version});
    vec![manifest("web", replicas, version), nightly, agent, config_map("environment", Some(data))]
}

/// Applies manifests as a `GitOps` tool does.
pub(super) fn sync(scene: &Scene, manifests: &[Value], more: &[&str]) -> Result<(), String> {
    for manifest in manifests {
        let file = file(scene, manifest);
        let apply =
            ["apply", "--server-side", "--force-conflicts", "--field-manager=kustomize-controller"];
        let namespace = ["--namespace", scene.namespace.name.as_str()];
        kubectl_or_error(&[&apply[..], &namespace, more, &["--filename", &file]].concat())?;
    }
    Ok(())
}

/// Deploys everything from Git and hibernates it.
async fn hibernated(test: &str) -> (Scene, Hibernation, [Value; 4]) {
    let scene = guard::scene(test).await;
    sync(&scene, &git(2, "1"), &[]).expect("it is applied");
    workload::until_ready(&scene.namespace, "web").await;
    wait::until::<DaemonSet>(&scene.namespace.api(), "agent", "ready", |agent| {
        agent.status.as_ref().is_some_and(|status| status.number_ready > 0)
    })
    .await;
    let before = OBJECTS.map(|object| exactly(&scene, object));
    let all = ["Deployment", "CronJob", "DaemonSet"].map(|kind| json!({"kind": kind, "all": true}));
    let spec = json!({
        "state": "Hibernated", "workloads": all, "configMaps": [{"name": "environment"}],
    });
    let hibernation = asleep(&scene, spec).await;
    (scene, hibernation, before)
}

/// Patches an object in a server-side dry run. Returns the object as it would be.
pub(super) fn dry_run(scene: &Scene, object: &str, patch: &Value) -> Result<Value, String> {
    let (namespace, patch) = (scene.namespace.name.as_str(), patch.to_string());
    let command = ["--namespace", namespace, "patch", object, "--type=merge", "--dry-run=server"];
    kubectl_or_error(&[&command[..], &["--output=json", "--patch", &patch]].concat())
        .map(|json| serde_json::from_str(&json).expect("kubectl prints JSON"))
}

/// Returns for each object a change of its held field, and the field.
fn changes() -> [(Value, &'static str); 4] {
    let selector = json!({"nodeSelector": {"torpor.dev/held": null}});
    [
        (json!({"spec": {"replicas": 3}}), "/spec/replicas"),
        (json!({"spec": {"suspend": false}}), "/spec/suspend"),
        (json!({"spec": {"template": {"spec": selector}}}), "/spec/template/spec/nodeSelector"),
        (json!({"data": {"HIBERNATE_MODE": "false"}}), "/data/HIBERNATE_MODE"),
    ]
}

#[tokio::test]
async fn a_denied_change_of_a_held_field_names_the_holder_and_locks_nobody_out() {
    let (mut scene, hibernation, before) = hibernated("guard-deny").await;
    let guard = Guard::create(&scene.namespace, "Deny");
    let holder = format!("is held by Hibernation/{}/project: ", scene.namespace.name);
    let stays = [
        "Deployment web",
        "spec.replicas stays 0. ",
        "CronJob nightly",
        "spec.suspend stays true. ",
        "DaemonSet agent",
        "the key torpor.dev/held of spec.template.spec.nodeSelector stays. ",
        "ConfigMap environment",
        "data.HIBERNATE_MODE stays as it is. ",
    ];
    for ((object, (change, _)), words) in OBJECTS.iter().zip(changes()).zip(stays.chunks(2)) {
        let denied =
            wait::poll("the guard denies", async || dry_run(&scene, object, &change).err());
        let message = denied.await;
        assert!(message.contains(&format!("{} {holder}{}", words[0], words[1])), "{message}");
    }
    // A rollout changes no held field.
    let image = json!({"spec": {"template": {"metadata": {"annotations": {"version": "2"}}}}});
    dry_run(&scene, "deployment/web", &image).expect("a rollout is admitted");
    sync(&scene, &git(2, "2")[..1], &[]).expect_err("Git has replicas");

    // The operator itself is not denied.
    woken(&hibernation).await;
    assert_eq!(OBJECTS.map(|object| exactly(&scene, object)), before);
    hibernation.set_state("Hibernated").await;
    hibernation.until_phase("Hibernated").await;

    // A dead operator locks nobody out.
    scene.operator.kill9();
    for (object, (change, _)) in OBJECTS.iter().zip(changes()) {
        dry_run(&scene, object, &change).expect_err("it is still held");
        for way_out in [
            json!({"annotations": {"torpor.dev/hold-guard": "Off"}}),
            json!({"labels": {"torpor.dev/held": null}}),
        ] {
            let mut change = change.clone();
            change["metadata"] = way_out;
            dry_run(&scene, object, &change).expect("it is admitted");
        }
    }
    torpor(&scene, &["--all"]).success();
    assert_eq!(OBJECTS.map(|object| exactly(&scene, object)), before);
    drop(guard);
}

#[tokio::test]
async fn a_kept_field_stays_as_it_is_and_the_rest_of_a_commit_arrives() {
    let (scene, hibernation, before) = hibernated("guard-keep").await;
    let guard = Guard::create(&scene.namespace, "Keep");
    for (object, (change, field)) in OBJECTS.iter().zip(changes()) {
        let as_it_is = exactly(&scene, object);
        let value = as_it_is.pointer(field).expect("it is held");
        wait::poll("the guard keeps", async || {
            let patched = dry_run(&scene, object, &change).expect("it is admitted");
            (patched.pointer(field) == Some(value)).then_some(())
        })
        .await;
    }

    // Git's manifests differ in nothing, so that a tool with a server-side dry run writes nothing. One that
    // writes all the same changes nothing.
    let generation = until_held(&scene, "web").await.metadata.generation;
    for _ in 0..4 {
        sync(&scene, &git(2, "1"), &[]).expect("it is admitted");
    }
    let web = scene.deployment("web").await;
    assert!(held(&web) && web.metadata.generation == generation);

    // A commit: all arrives but the held field.
    sync(&scene, &git(5, "2"), &[]).expect("it is admitted");
    let web = wait::until(&scene.namespace.api(), "web", "the commit", |web: &Deployment| {
        web.spec.as_ref().is_some_and(|spec| {
            let template = serde_json::to_string(&spec.template).expect("it is JSON");
            template.contains(r#""version":"2""#)
        })
    })
    .await;
    assert!(held(&web));
    let environment = exactly(&scene, "configmap/environment");
    assert_eq!(environment["data"]["VERSION"], "2");
    assert_eq!(environment["data"]["HIBERNATE_MODE"], "true");
    let status = hibernation.until_condition("Hibernated", "True").await;
    assert_eq!(condition(&status, "Ready"), "True");
    assert_eq!(of_workload(&status, "web")["foreignWrites"], Value::Null);

    // The wake restores the values from before, and the next sync brings those of Git.
    woken(&hibernation).await;
    assert_eq!(workload::replicas(&scene.deployment("web").await), 2);
    sync(&scene, &git(5, "2"), &[]).expect("nothing is held");
    assert_eq!(workload::replicas(&scene.deployment("web").await), 5);
    sync(&scene, &git(2, "1"), &[]).expect("nothing is held");
    assert_eq!(OBJECTS.map(|object| exactly(&scene, object)), before);
    drop(guard);
}
