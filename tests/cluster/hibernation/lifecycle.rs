//! Hibernation and wake: at the right time, in the right order, and when the state changes midway.

use std::time::Duration;

use futures::future::join3;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::Deployment;
use kube::{ResourceExt, runtime::watcher};
use serde_json::{Value, json};

use crate::support::{
    hibernation::{Hibernation, asleep, condition, message, of},
    moments::record,
    scene::Scene,
    time::in_seconds,
    wait,
    workload::{self, STUBBORN, authored},
};

// When ---------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_schedule_puts_it_to_sleep_and_wakes_it() {
    let scene = Scene::create("schedule").await;
    scene.deploy("worker", 2).await;
    let schedule = |state: &str| {
        json!({"exceptions": [
            {"from": "2020-01-01", "to": "2099-12-31", "state": state, "reason": "holidays"},
        ]})
    };
    let spec = json!({
        "schedule": schedule("Hibernated"),
        "workloads": [{"kind": "Deployment", "name": "worker"}],
    });
    let hibernation = Hibernation::create(&scene.namespace, "project", spec).await;
    let status = hibernation.until_phase("Hibernated").await;
    assert_eq!(workload::replicas(&scene.deployment("worker").await), 0);
    assert!(status["episode"]["cause"].as_str().is_some_and(|c| c.contains("holidays")));
    let next = json!({"state": "Awake", "at": "2100-01-01T00:00:00Z"});
    assert_eq!(status["nextTransition"], next, "a day without a zone is one of UTC");

    hibernation.patch(json!({"spec": {"schedule": schedule("Awake")}})).await;
    let status = hibernation.until_phase("Awake").await;
    assert_eq!(status["nextTransition"], Value::Null, "awake without any rule");
    let worker = scene.deployment("worker").await;
    assert!(workload::ready(&worker) && workload::replicas(&worker) == 2);
}

#[tokio::test]
async fn an_override_to_sleep_expires_by_itself() {
    let scene = Scene::create("override-sleep").await;
    scene.deploy("worker", 1).await;
    let until = in_seconds(12);
    let more = json!({"state": "Awake", "override": {"state": "Hibernated", "until": until}});
    let hibernation = Hibernation::create(&scene.namespace, "project", of("worker", more)).await;
    scene.until_replicas("worker", 0).await;
    let next = json!({"state": "Awake", "at": until});
    hibernation.until("the end is announced", |status| status["nextTransition"] == next).await;
    scene.until_replicas("worker", 1).await;
    assert!(Timestamp::now() >= until, "it slept as long as was asked for");
    let status = hibernation.until_phase("Awake").await;
    assert_eq!(status["nextTransition"], Value::Null);
}

#[tokio::test]
async fn an_override_to_be_awake_expires_by_itself() {
    let scene = Scene::create("override-awake").await;
    scene.deploy("worker", 1).await;
    let until = in_seconds(8);
    let more = json!({"override": {"state": "Awake", "until": until}});
    let hibernation = Hibernation::create(&scene.namespace, "project", of("worker", more)).await;
    let next = json!({"state": "Hibernated", "at": until});
    hibernation.until("the end is announced", |status| status["nextTransition"] == next).await;
    scene.until_replicas("worker", 0).await;
    assert!(Timestamp::now() >= until, "it was awake as long as was asked for");
    hibernation.until_phase("Hibernated").await;
}

#[tokio::test]
async fn a_transition_that_passed_while_the_operator_was_down_is_caught_up() {
    let mut scene = Scene::create("missed").await;
    scene.deploy("worker", 1).await;
    let until = in_seconds(10);
    let more = json!({"override": {"state": "Awake", "until": until}});
    let hibernation = Hibernation::create(&scene.namespace, "project", of("worker", more)).await;
    hibernation.until_phase("Awake").await;
    scene.operator.kill9();
    let left = until.duration_since(Timestamp::now()) + SignedDuration::from_secs(1);
    tokio::time::sleep(left.unsigned_abs()).await;
    assert_eq!(workload::replicas(&scene.deployment("worker").await), 1);
    scene.operator.restart();
    hibernation.until_phase("Hibernated").await;
}

#[tokio::test]
async fn kubectl_waits_for_it_and_the_finalizer_is_there_while_something_is_held() {
    let scene = Scene::create("finalizer").await;
    scene.deploy("worker", 1).await;
    let spec = of("worker", json!({"state": "Awake"}));
    let hibernation = Hibernation::create(&scene.namespace, "project", spec).await;
    hibernation.until_phase("Awake").await;
    let object = hibernation.api.get("project").await.expect("it is there");
    assert_eq!(object.finalizers(), Vec::<String>::new());

    hibernation.set_state("Hibernated").await;
    scene.kubectl(&["wait", "--for=condition=Hibernated", "--timeout=120s", "hib/project"]);
    let object = hibernation.api.get("project").await.expect("it is there");
    assert_eq!(object.finalizers(), ["torpor.dev/hold"]);

    hibernation.set_state("Awake").await;
    hibernation.until_phase("Awake").await;
    wait::until(&hibernation.api, "project", "no finalizer", |o| o.finalizers().is_empty()).await;
}

// In what order ------------------------------------------------------------------------------------

#[tokio::test]
async fn stages_go_down_ascending_and_come_back_descending() {
    let scene = Scene::create("stages").await;
    let names = ["first", "second", "third"];
    Box::pin(join3(scene.deploy("first", 1), scene.deploy("second", 1), scene.deploy("third", 1)))
        .await;
    let workloads: Vec<_> = names
        .iter()
        .enumerate()
        .map(|(stage, name)| json!({"kind": "Deployment", "name": name, "stage": stage * 10}))
        .collect();
    let spec = json!({"state": "Hibernated", "workloads": workloads});
    let (down, task) = record(&scene.namespace);
    let hibernation = Hibernation::create(&scene.namespace, "project", spec).await;
    hibernation.until_phase("Hibernated").await;
    task.abort();
    for moment in down.lock().await.iter().filter(|moment| moment.len() == 3) {
        for pair in names.windows(2) {
            let (before, after) = (moment[pair[0]], moment[pair[1]]);
            assert!(after.0 == 1 || before.1 == 0, "{pair:?}: {moment:?}");
        }
    }
    let (up, task) = record(&scene.namespace);
    hibernation.set_state("Awake").await;
    hibernation.until_phase("Awake").await;
    task.abort();
    for moment in up.lock().await.iter().filter(|moment| moment.len() == 3) {
        for pair in names.windows(2) {
            let (after, before) = (moment[pair[0]], moment[pair[1]]);
            assert!(after.0 == 0 || before.2 == 1, "{pair:?}: {moment:?}");
        }
    }
}

/// Returns a Deployment that is never ready.
fn ill(name: &str, replicas: i32) -> Deployment {
    let mut ill = serde_json::to_value(workload::deployment(name, replicas, "exit 1", 1))
        .expect("a Deployment is JSON");
    // No node has it: it costs no container, and is never ready.
    ill["spec"]["template"]["spec"]["nodeSelector"] = json!({"no-node": "has-it"});
    workload::object(ill)
}

/// Returns the spec of a Hibernation whose Deployment `ill` wakes before its Deployment `healthy`.
fn staged(more: Value) -> Value {
    let workloads = json!([
        {"kind": "Deployment", "name": "healthy", "stage": 0},
        {"kind": "Deployment", "name": "ill", "stage": 1},
    ]);
    let mut spec = of("healthy", json!({"workloads": workloads}));
    if let (Some(spec), Value::Object(more)) = (spec.as_object_mut(), more) {
        spec.extend(more);
    }
    spec
}

#[tokio::test]
async fn one_that_is_ill_keeps_nobody_asleep_and_what_is_awake_is_its_owners_again() {
    let scene = Scene::create("ill").await;
    scene.deploy("healthy", 1).await;
    workload::create(&scene.namespace, &ill("ill", 1)).await;
    let hibernation = asleep(&scene, staged(json!({"progressDeadline": "5s"}))).await;
    hibernation.set_state("Awake").await;
    workload::until_ready(&scene.namespace, "healthy").await;
    let status = hibernation.until_condition("Stalled", "True").await;
    assert!(message(&status, "Stalled").contains("Deployment ill has 0 of 1"), "{status:#}");
    assert_eq!(status["phase"], "Waking");
    assert_ne!(condition(&status, "Ready"), "True");

    // A woken Deployment is not held any more, however long the other one takes.
    scene.kubectl(&["scale", "deployment/healthy", "--replicas=0"]);
    wait::never_within::<Deployment>(
        &scene.namespace.api(),
        watcher::Config::default().fields("metadata.name=healthy"),
        Duration::from_secs(5),
        "somebody's change of what is awake is undone",
        |deployments| workload::replicas(&deployments[0]) != 0,
    )
    .await;
    scene.kubectl(&["scale", "deployment/ill", "--replicas=0"]);
    hibernation.until_phase("Awake").await;
}

// A changed mind -----------------------------------------------------------------------------------

#[tokio::test]
async fn called_off_while_a_pod_still_ends_it_comes_back_from_where_it_is() {
    let scene = Scene::create("called-off").await;
    let stubborn = workload::deployment("worker", 1, STUBBORN, 25);
    workload::create(&scene.namespace, &stubborn).await;
    workload::until_ready(&scene.namespace, "worker").await;
    let before = authored(&scene.deployment("worker").await);
    let spec = of("worker", json!({}));
    let hibernation = Hibernation::create(&scene.namespace, "project", spec).await;
    scene.until_replicas("worker", 0).await;
    hibernation.set_state("Awake").await;
    let status = hibernation.until_phase("Awake").await;
    assert_eq!(authored(&scene.deployment("worker").await), before);
    workload::until_ready(&scene.namespace, "worker").await;
    let history = status["history"].as_array().expect("a history");
    assert!(history.iter().all(|entry| entry["phase"] != "Hibernated"), "{history:?}");
}

#[tokio::test]
async fn sent_back_to_sleep_while_it_wakes_it_keeps_its_originals() {
    let scene = Scene::create("sent-back").await;
    scene.deploy("healthy", 2).await;
    workload::create(&scene.namespace, &ill("ill", 3)).await;
    let hibernation = asleep(&scene, staged(json!({}))).await;
    hibernation.set_state("Awake").await;
    scene.until_replicas("ill", 3).await;
    hibernation.until("waking", |status| status["phase"] == "Waking").await;
    hibernation.set_state("Hibernated").await;
    hibernation.until_phase("Hibernated").await;
    assert_eq!(workload::replicas(&scene.deployment("ill").await), 0);
    assert_eq!(workload::replicas(&scene.deployment("healthy").await), 0);

    hibernation.patch(json!({"spec": {"state": "Awake", "progressDeadline": "5s"}})).await;
    scene.until_replicas("ill", 3).await;
    scene.until_replicas("healthy", 2).await;
}
