//! What a spec that can't be is answered with, and an operator that is killed on the way.

use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{DynamicObject, PostParams};
use serde_json::{Value, json};

use crate::{
    lifecycle::{Scene, of, reason},
    support::{
        hibernation::{Hibernation, message},
        namespace::Namespace,
        workload::{self, WELL_BEHAVED, authored},
    },
};

/// Merges objects, the second one's fields over the first one's.
fn with(mut spec: Value, more: Value) -> Value {
    if let (Some(spec), Value::Object(more)) = (spec.as_object_mut(), more) {
        spec.extend(more);
    }
    spec
}

fn workloads(entry: Value) -> Value {
    Value::from_iter([("state", json!("Awake")), ("workloads", Value::from(vec![entry]))])
}

fn config_maps(entry: Value) -> Value {
    Value::from_iter([("state", json!("Awake")), ("configMaps", Value::from(vec![entry]))])
}

fn schedule(schedule: Value) -> Value {
    Value::from_iter([("schedule", schedule)])
}

fn rule(hibernate: &str, wake: &str) -> Value {
    schedule(json!({"rules": [{"hibernate": hibernate, "wake": wake}]}))
}

fn exception(from: &str, to: &str) -> Value {
    schedule(json!({"exceptions": [{"from": from, "to": to, "state": "Awake"}]}))
}

fn truncate(truncate: Value) -> Value {
    let secret = json!({"name": "db", "key": "URL"});
    let database = Value::from_iter([("secretRef", secret), ("truncate", truncate)]);
    Value::from_iter([("state", json!("Awake")), ("database", database)])
}

/// What can't be, and what is said of it.
fn refused() -> Vec<(Value, &'static str)> {
    let nights = json!({"rules": [{"hibernate": "0 20 * * *", "wake": "0 7 * * *"}]});
    let deployment = |more: Value| workloads(with(json!({"kind": "Deployment"}), more));
    let named = |more: Value| deployment(with(json!({"name": "a"}), more));
    vec![
        (json!({}), "exactly one of `state` (Hibernated or Awake) and `schedule`"),
        (json!({"state": "Awake", "schedule": nights}), "exactly one of `state`"),
        (json!({"state": "Asleep"}), "supported values: \"Hibernated\", \"Awake\""),
        (json!({"state": "Awake", "deals": {}}), "`deals` is not served by this version"),
        (json!({"state": "Awake", "onDelete": "Drop"}), "supported values: \"Wake\", \"Keep\""),
        (json!({"state": "Awake", "progressDeadline": "soon"}), "progressDeadline"),
        (json!({"state": "Awake", "progressDeadline": "1s"}), "progressDeadline"),
        (json!({"state": "Awake", "progressDeadline": "48h"}), "progressDeadline"),
        // Schedules.
        (schedule(json!({})), "at least one entry in 'rules' or 'exceptions'"),
        (schedule(with(nights.clone(), json!({"timeZone": "Mars/Olympus"}))), "IANA name"),
        (schedule(with(nights.clone(), json!({"timeZone": "+02:00"}))), "IANA name"),
        (rule("@daily", "0 7 * * *"), "cron expression of five fields"),
        (rule("0 20 * *", "0 7 * * *"), "cron expression of five fields"),
        (rule("0 7 * * *", "0 0 20 * * 1"), "cron expression of five fields"),
        (rule("0 7 * * *", "0 7 * * *"), "are the same, which always means awake"),
        (exception("2026-02-30", "2026-12-24"), "spec.schedule.exceptions[0].from"),
        (exception("yesterday!", "2026-12-24"), "a date that exists"),
        (exception("2026-12-24", "2026-12-23"), "'to' must come after 'from'"),
        (
            json!({"state": "Awake", "override": {"state": "Awake", "until": "2026-12-24"}}),
            "a time with its offset",
        ),
        // Workloads.
        (deployment(json!({})), "exactly one of `name`, `selector` and `all: true`"),
        (named(json!({"all": true})), "exactly one of `name`, `selector` and `all: true`"),
        (deployment(json!({"all": false})), "`all` can only be true"),
        (deployment(json!({"selector": {}})), "an empty selector would match everything"),
        (
            deployment(json!({"selector": {"matchLabels": {}, "matchExpressions": []}})),
            "an empty selector would match everything",
        ),
        (named(json!({"except": ["b"]})), "`except` goes with `all` or `selector`"),
        (named(json!({"action": "Restart", "stage": 1})), "`action: Restart` has no `stage`"),
        (
            workloads(json!({"kind": "CronJob", "name": "a", "action": "Restart"})),
            "only a Deployment, StatefulSet or DaemonSet can be restarted",
        ),
        (named(json!({"missedRuns": "Run"})), "`missedRuns` is for a CronJob"),
        (named(json!({"stage": -1})), "greater than or equal to 0"),
        (workloads(json!({"kind": "deployment", "name": "a"})), "workloads[0].kind"),
        // ConfigMaps.
        (config_maps(json!({})), "exactly one of `name` and `selector`"),
        (
            config_maps(json!({"name": "a", "selector": {"matchLabels": {"a": "b"}}})),
            "exactly one of",
        ),
        (config_maps(json!({"selector": {}})), "match every ConfigMap"),
        (config_maps(json!({"name": "a", "set": {}})), "`set` is empty"),
        // The database.
        (truncate(json!({"scope": "All"})), "repeat the name of the database in `confirm`"),
        (truncate(json!({"scope": "Everything"})), "supported values: \"Runtime\""),
        (truncate(json!({"lockTimeout": "1h"})), "a duration from 100ms to 1m"),
        (truncate(json!({"beforeStage": 1})), "no workload has a stage as high"),
        (truncate(json!({"tables": {"runtime": ["users"]}})), "both `runtime` and `preserved`"),
        (
            truncate(json!({"tables": {"runtime": ["a"], "opportunities": ["a"]}})),
            "both `runtime` and `opportunities`",
        ),
        (
            json!({"state": "Awake", "database": {"secretRef": {"name": "db"}}}),
            "database.secretRef.key: Required",
        ),
    ]
}

fn object(name: &str, spec: &Value) -> DynamicObject {
    workload::object(json!({
        "apiVersion": "torpor.dev/v1alpha1",
        "kind": "Hibernation",
        "metadata": {"name": name},
        "spec": spec,
    }))
}

#[tokio::test]
async fn what_cannot_be_is_refused_with_what_to_write_instead() {
    let namespace = Namespace::create("admission").await;
    let api = Hibernation::existing(&namespace, "project").api;
    let rehearsed = PostParams { dry_run: true, ..PostParams::default() };
    let mut wrong = Vec::new();
    for (spec, says) in refused() {
        match api.create(&rehearsed, &object("project", &spec)).await {
            Ok(_) => wrong.push(format!("{spec} was admitted")),
            Err(error) if !error.to_string().contains(says) => {
                wrong.push(format!("{spec} was not told {says:?}, but: {error}"));
            }
            Err(_) => {}
        }
    }
    let long = "a".repeat(64);
    let answer = api.create(&rehearsed, &object(&long, &json!({"state": "Awake"}))).await;
    assert!(answer.is_err_and(|error| error.to_string().contains("63 characters at most")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn what_only_a_search_can_tell_is_a_condition_soon() {
    let scene = Scene::create("conditions").await;
    let cases = [
        ("kind", workloads(json!({"kind": "Unicorn", "name": "a"})), "UnknownKind", "Unicorn"),
        ("never", rule("0 0 31 2 *", "0 7 * * *"), "ScheduleInvalid", "rules[0].hibernate"),
        ("number", rule("0 20 * * *", "99 7 * * *"), "ScheduleInvalid", "rules[0].wake"),
    ];
    for (name, spec, why, says) in cases {
        let hibernation = Hibernation::create(&scene.namespace, name, spec).await;
        let status = hibernation.until(why, |status| reason(status, "Stalled") == why).await;
        assert!(message(&status, "Stalled").contains(says), "{status:#}");
        assert_eq!(reason(&status, "Ready"), why);
    }
    // Once it can be read, it is as if nothing had been.
    let mended = Hibernation::existing(&scene.namespace, "number");
    mended.patch(rule_patch("0 20 * * *", "0 20 1 1 *")).await;
    mended.until_condition("Stalled", "False").await;
}

fn rule_patch(hibernate: &str, wake: &str) -> Value {
    json!({"spec": rule(hibernate, wake)})
}

// The operator is killed ---------------------------------------------------------------------------

/// Two Deployments in two stages go to sleep and wake; when so many replicas of one are asked for,
/// on the way that is meant, the operator is killed and started again.
async fn converges(test: &str, waking: bool, killed_at: (&str, i32)) {
    let mut scene = Scene::create(test).await;
    let mut before = Vec::new();
    for (name, replicas) in [("first", 1), ("second", 2)] {
        let deployment = workload::deployment(name, replicas, WELL_BEHAVED, 2);
        workload::create(&scene.namespace, &deployment).await;
        before.push(authored(&workload::until_ready(&scene.namespace, name).await));
    }
    let spec = of(
        "first",
        json!({"workloads": [
            {"kind": "Deployment", "name": "first", "stage": 0},
            {"kind": "Deployment", "name": "second", "stage": 1},
        ]}),
    );
    let hibernation = Hibernation::create(&scene.namespace, "project", spec).await;
    if waking {
        hibernation.until_phase("Hibernated").await;
        hibernation.set_state("Awake").await;
    }
    scene.until_replicas(killed_at.0, killed_at.1).await;
    scene.operator.kill9();
    scene.operator.restart();
    if !waking {
        hibernation.until_phase("Hibernated").await;
        let counts = |d: &Deployment| workload::replicas(d);
        let replicas =
            (counts(&scene.deployment("first").await), counts(&scene.deployment("second").await));
        assert_eq!(replicas, (0, 0));
        hibernation.set_state("Awake").await;
    }
    hibernation.until_phase("Awake").await;
    for (name, before) in ["first", "second"].iter().zip(&before) {
        assert_eq!(&authored(&scene.deployment(name).await), before, "{name}");
    }
}

#[tokio::test]
async fn killed_after_the_first_hold_it_goes_on() {
    converges("killed-first", false, ("first", 0)).await;
}

#[tokio::test]
async fn killed_after_the_last_hold_it_goes_on() {
    converges("killed-last", false, ("second", 0)).await;
}

#[tokio::test]
async fn killed_while_it_wakes_it_goes_on() {
    converges("killed-waking", true, ("second", 2)).await;
}
