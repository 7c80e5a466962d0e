//! Errors that only the operator can detect become a condition within seconds.

use futures::future::join_all;
use k8s_openapi::api::{
    apps::v1::{DaemonSet, ReplicaSet, StatefulSet},
    core::v1::{ConfigMap, Secret},
};
use kube::api::ListParams;
use serde_json::{Value, json};

use super::{Row, Written, create, section};
use crate::support::{
    database::Database,
    hibernation::{Hibernation, condition, message},
    object::reason,
    scene::Scene,
    workload::{self, WELL_BEHAVED},
};

const FOUND: &str = "The operator reports these within seconds, before any hibernation, and stops nothing. `kubectl describe hib` \
    shows the message, and\n[conditions.md](conditions.md) has the remedy. In this \
    namespace `cornice-db` is the Secret of a database that Cornice uses.";

const ADMITTED: &str = "Valid input that may surprise.";

/// The place where the status shows the answer.
enum Shows {
    /// `Stalled=True` with this reason.
    Stalled(&'static str),
    /// `PreflightPassed=False` with this reason.
    Preflight(&'static str),
    /// `Ready=True`.
    Ready,
    /// `status.plan`, of a dry run.
    Plan,
}

use Shows::{Plan, Preflight, Ready, Stalled};

const SCHEDULES: [(&str, Shows); 4] = [
    (
        "schedule: {rules: [{hibernate: \"0 20 * * *\", wake: \"99 7 * * *\"}]}",
        Stalled("ScheduleInvalid"),
    ),
    (
        "schedule: {rules: [{hibernate: \"0 20 * * *\", wake: \"0 7 * * MONTAG\"}]}",
        Stalled("ScheduleInvalid"),
    ),
    (
        "# the 31st of February\nschedule: {rules: [{hibernate: \"0 0 31 2 *\", wake: \"0 7 * * *\"}]}",
        Stalled("ScheduleInvalid"),
    ),
    (
        "# in Kyiv the 24th begins before that\nschedule: {timeZone: Europe/Kyiv, exceptions: \
         [{from: 2026-12-24, to: \"2026-12-23T21:00:00Z\", state: Awake}]}",
        Stalled("ScheduleInvalid"),
    ),
];

const OBJECTS: [(&str, Shows); 12] = [
    ("workloads: [{kind: Unicorn, name: worker}]", Stalled("UnknownKind")),
    (
        "workloads: [{kind: Deployment, selector: {matchExpressions: [{key: app, operator: Like}]}}]",
        Stalled("SpecInvalid"),
    ),
    (
        "# a ReplicaSet of a Deployment\nworkloads: [{kind: ReplicaSet, name: REPLICASET}]",
        Stalled("ControlledBy"),
    ),
    (
        "# a Deployment that is paused\nworkloads: [{kind: Deployment, name: paused, action: Restart}]",
        Stalled("CannotRestart"),
    ),
    (
        "# its update strategy is OnDelete\nworkloads: [{kind: DaemonSet, name: by-hand, action: Restart}]",
        Stalled("CannotRestart"),
    ),
    (
        "# its rolling update is partitioned\nworkloads: [{kind: StatefulSet, name: canary, action: Restart}]",
        Stalled("CannotRestart"),
    ),
    ("configMaps: [{name: missing}]", Stalled("ConfigMapNotFound")),
    ("configMaps: [{selector: {matchLabels: {app: missing}}}]", Stalled("ConfigMapNotFound")),
    ("# it is immutable\nconfigMaps: [{name: frozen}]", Stalled("ConfigMapImmutable")),
    (
        "# LOGO is in binaryData\nconfigMaps: [{name: pictures, set: {LOGO: none}}]",
        Stalled("ConfigMapKeyBinary"),
    ),
    (
        "# 70 KiB are in it\nconfigMaps: [{name: large, set: {A: \"\", B: \"\"}}]",
        Stalled("HoldTooLarge"),
    ),
    (
        "# another Hibernation holds the key at \"one\"\nconfigMaps: [{name: shared, set: {MODE: two}}]",
        Stalled("HoldConflict"),
    ),
];

const DATABASES: [(&str, Shows); 13] = [
    ("database: {secretRef: {name: missing, key: URL}}", Stalled("CreateContainerConfigError")),
    ("database: {secretRef: {name: cornice-db, key: URL}}", Stalled("CreateContainerConfigError")),
    ("# URL: cornice\ndatabase: {secretRef: {name: urls, key: word}}", Stalled("PreflightRefused")),
    (
        "# URL: mysql://cornice@db/cornice\ndatabase: {secretRef: {name: urls, key: mysql}}",
        Stalled("PreflightRefused"),
    ),
    (
        "# URL: postgresql://cornice@nowhere.invalid/cornice\ndatabase: {secretRef: {name: urls, key: nowhere}}",
        Preflight("Failed"),
    ),
    (
        "# a URL with a wrong password\ndatabase: {secretRef: {name: urls, key: password}}",
        Preflight("Failed"),
    ),
    (
        "# a URL with a database that is not there\ndatabase: {secretRef: {name: urls, key: other}}",
        Preflight("Failed"),
    ),
    (
        "database: {secretRef: {name: cornice-db, key: DATABASE_URL}, truncate: {tables: {runtime: [requests, order]}}}",
        Stalled("PreflightRefused"),
    ),
    (
        "database: {secretRef: {name: cornice-db, key: DATABASE_URL}, truncate: {schema: cornice}}",
        Stalled("PreflightRefused"),
    ),
    (
        "database: {secretRef: {name: cornice-db, key: DATABASE_URL}, truncate: {scope: All, confirm: production}}",
        Stalled("PreflightRefused"),
    ),
    (
        "# agent_findings refers to agent_runs\ndatabase: {secretRef: {name: cornice-db, key: DATABASE_URL}, \
         truncate: {tables: {runtime: [agent_runs]}}}",
        Stalled("PreflightRefused"),
    ),
    (
        "database: {secretRef: {name: cornice-db, key: DATABASE_URL}, truncate: {pod: {tolerations: [{operator: Like}]}}}",
        Stalled("WriteRejected"),
    ),
    (
        "database: {secretRef: {name: cornice-db, key: DATABASE_URL}, truncate: {pod: {resources: {requests: {memory: 1Gi}, \
         limits: {memory: 1Mi}}}}}",
        Stalled("WriteRejected"),
    ),
];

const NOT_REFUSED: [(&str, Shows); 7] = [
    (
        "# a name beats a selector, and that beats all\nworkloads: [{kind: Deployment, all: true, except: [paused], stage: 2}, \
         {kind: Deployment, name: worker, stage: 1}]\ndryRun: true",
        Plan,
    ),
    (
        "# of equals Stop beats Restart\nworkloads: [{kind: Deployment, name: worker, action: Restart}, \
         {kind: Deployment, name: worker}]\ndryRun: true",
        Plan,
    ),
    (
        "# and then the first one counts\nworkloads: [{kind: Deployment, name: worker, stage: 3}, \
         {kind: Deployment, name: worker, stage: 4}]\ndryRun: true",
        Plan,
    ),
    (
        "# a name beats a selector, key by key\nconfigMaps: [{selector: {matchLabels: {app: cornice}}, \
         set: {A: a, B: b}}, {name: env, set: {B: c}}]\ndryRun: true",
        Plan,
    ),
    (
        "# there is none of that name\nstate: Hibernated\nworkloads: [{kind: Deployment, name: wroker}]",
        Ready,
    ),
    (
        "# it is over: state counts\noverride: {state: Hibernated, until: \"2026-01-01T00:00:00Z\"}",
        Ready,
    ),
    ("# nothing is named\nstate: Hibernated", Ready),
];

/// Returns the tables of the page.
pub(super) async fn sections() -> Vec<String> {
    let scene = Scene::create("conditions").await;
    let database = Database::seeded(&scene.namespace).await;
    let replica_set = prepare(&scene, &database).await;
    // Names of what only this run knows.
    let known = |text: &str| {
        text.replace(&replica_set, "worker-5d4f8c7b9")
            .replace(&database.name, "cornice")
            .replace(&scene.namespace.name, "project")
    };
    let found = SCHEDULES.iter().chain(&OBJECTS).chain(&DATABASES).enumerate();
    let found = join_all(found.map(async |(number, (yaml, shows))| {
        let yaml = yaml.replace("REPLICASET", &replica_set);
        row(&scene, &format!("found-{number}"), &yaml, shows).await
    }));
    let admitted = join_all(NOT_REFUSED.iter().enumerate().map(async |(number, (yaml, shows))| {
        row(&scene, &format!("admitted-{number}"), yaml, shows).await
    }));
    let (found, admitted) = futures::join!(found, admitted);
    let cleaned = |rows: Vec<Row>| -> Vec<Row> {
        rows.into_iter()
            .map(|row| Row {
                written: known(&row.written),
                caught: row.caught,
                message: known(&row.message),
            })
            .collect()
    };
    mended(&scene).await;
    vec![
        section("Found by the operator", FOUND, &cleaned(found)),
        section("Not refused", ADMITTED, &cleaned(admitted)),
    ]
}

/// Creates the objects of the rows. Returns the name of a `ReplicaSet` that a Deployment owns.
async fn prepare(scene: &Scene, database: &Database) -> String {
    let namespace = &scene.namespace;
    let mut paused = workload::deployment("paused", 0, WELL_BEHAVED, 1);
    paused.spec.as_mut().expect("a spec").paused = Some(true);
    workload::create(namespace, &paused).await;
    let template = serde_json::to_value(&paused).expect("it is JSON")["spec"]["template"].take();
    let controller = |name: &str, more: Value| {
        let mut spec =
            json!({"selector": {"matchLabels": {"app": "paused"}}, "template": template});
        if let (Some(spec), Value::Object(more)) = (spec.as_object_mut(), more) {
            spec.extend(more);
        }
        json!({"metadata": {"name": name}, "spec": spec})
    };
    let strategy = json!({"updateStrategy": {"type": "OnDelete"}});
    let mut by_hand: DaemonSet = workload::object(controller("by-hand", strategy));
    let pod = by_hand.spec.as_mut().and_then(|spec| spec.template.spec.as_mut()).expect("a spec");
    // No node has it.
    pod.node_selector = Some([("no-node".to_owned(), "has-it".to_owned())].into());
    workload::create(namespace, &by_hand).await;
    let partitioned = json!({
        "serviceName": "canary", "replicas": 0,
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}},
    });
    workload::create::<StatefulSet>(
        namespace,
        &workload::object(controller("canary", partitioned)),
    )
    .await;
    for (name, more) in [
        ("frozen", json!({"immutable": true})),
        ("pictures", json!({"binaryData": {"LOGO": "AAAA"}})),
        ("large", json!({"data": {"A": "a".repeat(35 * 1024), "B": "b".repeat(35 * 1024)}})),
        ("shared", json!({"data": {"MODE": "w"}})),
        ("env", json!({"data": {"A": "1", "B": "2"}})),
    ] {
        let mut config_map = json!({"metadata": {"name": name, "labels": {"app": if name == "env" { "cornice" } else { name }}}});
        if let (Some(config_map), Value::Object(more)) = (config_map.as_object_mut(), more) {
            config_map.extend(more);
        }
        workload::create::<ConfigMap>(namespace, &workload::object(config_map)).await;
    }
    let url = database.url("");
    let (before, after) = url.rsplit_once('/').expect("a URL has a path");
    let urls: Secret = workload::object(json!({
        "metadata": {"name": "urls"},
        "stringData": {
            "word": "cornice",
            "mysql": "mysql://cornice@db/cornice",
            "nowhere": "postgresql://cornice@nowhere.invalid/cornice",
            "password": url.replace("p%40ss%2Fword", "guessed"),
            "other": format!("{before}/{after}_2"),
        },
    }));
    workload::create(namespace, &urls).await;
    let holder =
        json!({"state": "Hibernated", "configMaps": [{"name": "shared", "set": {"MODE": "one"}}]});
    let holder = Hibernation::create(namespace, "other", holder).await;
    holder.until_phase("Hibernated").await;
    scene.deploy("worker", 1).await;
    let replica_sets = namespace.api::<ReplicaSet>();
    let of_worker = ListParams::default().labels("app=worker");
    let owned = replica_sets.list(&of_worker).await.expect("they are listed");
    workload::names(&owned.items).into_iter().next().expect("the Deployment has one")
}

/// Creates the object of a row, and waits for its answer.
async fn row(scene: &Scene, name: &str, yaml: &str, shows: &Shows) -> Row {
    let written = Written::from(yaml);
    let created = create(&scene.namespace, written.manifest(name), false, None).await;
    assert_eq!(created, Ok(()), "{yaml}");
    let hibernation = Hibernation::existing(&scene.namespace, name);
    let (caught, message) = match shows {
        Stalled(why) => {
            let status = hibernation
                .until(why, |s| condition(s, "Stalled") == "True" && reason(s, "Stalled") == *why)
                .await;
            assert_ne!(status["phase"], "Hibernating", "nothing is stopped: {yaml}");
            (format!("`{why}`"), message(&status, "Stalled").to_owned())
        }
        Preflight(why) => {
            let kind = "PreflightPassed";
            let status = hibernation
                .until(why, |s| condition(s, kind) == "False" && reason(s, kind) == *why)
                .await;
            (format!("`{kind}=False`, `{why}`"), message(&status, kind).to_owned())
        }
        Ready => {
            let status = hibernation.until_condition("Ready", "True").await;
            ("`Ready=True`".to_owned(), message(&status, "Ready").to_owned())
        }
        Plan => {
            let status = hibernation.until("a plan", |status| status["plan"].is_array()).await;
            let lines = status["plan"].as_array().into_iter().flatten();
            let lines: Vec<_> = lines.filter_map(Value::as_str).collect();
            ("`status.plan`".to_owned(), lines.join("; "))
        }
    };
    // Names of Jobs begin with the object's.
    Row { written: yaml.to_owned(), caught, message: message.replace(name, "cornice") }
}

/// Checks that the objects recover by themselves once the cause is gone.
async fn mended(scene: &Scene) {
    let missing: ConfigMap = workload::object(json!({"metadata": {"name": "missing"}}));
    workload::create(&scene.namespace, &missing).await;
    let place = |says: &str| {
        let mut all = SCHEDULES.iter().chain(&OBJECTS);
        all.position(|(yaml, _)| yaml.starts_with(says)).expect("there is such a row")
    };
    let number = place("configMaps: [{name: missing}]");
    let found = Hibernation::existing(&scene.namespace, &format!("found-{number}"));
    found.until_condition("Stalled", "False").await;
    let number = place("schedule: {rules: [{hibernate: \"0 20 * * *\", wake: \"99 7");
    let found = Hibernation::existing(&scene.namespace, &format!("found-{number}"));
    let rules = json!([{"hibernate": "0 20 * * *", "wake": "0 20 1 1 *"}]);
    found.patch(json!({"spec": {"schedule": {"rules": rules}}})).await;
    found.until_condition("Stalled", "False").await;
}
