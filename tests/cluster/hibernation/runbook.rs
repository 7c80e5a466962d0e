//! The lines of the Cornice runbook (docs/runbook.md), each tested with real pods and rows.
//!
//! Most tests share one hold: [`HELD`] runs it once, and each test checks the observations from
//! before, during and after it.

use std::{collections::BTreeMap, sync::LazyLock, time::Duration};

use k8s_openapi::api::{
    apps::v1::Deployment,
    batch::v1::CronJob,
    core::v1::{ConfigMap, Pod},
};
use kube::Api;
use serde_json::{Value, json};
use torpor::api::database::{OPPORTUNITY_TABLES, PRESERVED_TABLES, RUNTIME_TABLES};

use crate::support::{
    cornice,
    database::{Database, Fingerprint, all_tables, kept_by_runtime},
    hibernation::{Hibernation, condition, message},
    namespace::Namespace,
    operator::Operator,
    wait,
    workload::{self, WELL_BEHAVED, authored},
};

/// An observation of Cornice.
struct Observation {
    /// Each workload and `ConfigMap` as its author sees it.
    objects: BTreeMap<&'static str, Value>,
    /// The mode that each pod of the API reports.
    modes: Vec<Value>,
    /// The fingerprints of the preserved tables.
    kept: BTreeMap<String, Fingerprint>,
    /// The row counts of the other tables.
    runtime: BTreeMap<String, i64>,
    /// The definitions of the tables.
    schema: Vec<String>,
    /// The disk space of the runtime tables.
    bytes: i64,
}

impl Observation {
    async fn now(namespace: &Namespace, database: &Database) -> Self {
        let mut objects = BTreeMap::new();
        for name in cornice::DEPLOYMENTS {
            let deployments: Api<Deployment> = namespace.api();
            objects.insert(name, authored(&deployments.get(name).await.expect("it is there")));
        }
        let cron_jobs: Api<CronJob> = namespace.api();
        let nightly = cron_jobs.get("cornice-nightly").await.expect("it is there");
        objects.insert("cornice-nightly", authored(&nightly));
        let config_maps: Api<ConfigMap> = namespace.api();
        let environment = config_maps.get("cornice-env").await.expect("it is there");
        objects.insert("cornice-env", authored(&environment));
        Self {
            objects,
            modes: cornice::modes(namespace).await,
            kept: database.fingerprints(&kept_by_runtime()).await,
            runtime: database.counts(&RUNTIME_TABLES).await,
            schema: database.schema().await,
            bytes: occupied(database).await,
        }
    }

    fn replicas(&self, name: &str) -> &Value {
        &self.objects[name]["spec"]["replicas"]
    }
}

/// A hold of Cornice, from the manifests in `examples/`.
struct Held {
    before: Observation,
    /// The observation as soon as the phase is `Hibernated`.
    asleep: Observation,
    asleep_status: Value,
    /// The number of the monitor's pods when the workers were stopped.
    monitors_when_workers_stop: usize,
    /// The API's answer to a login while on hold.
    login: Value,
    /// The rows that were written while on hold: table, pod and first key.
    written: Vec<(String, String)>,
    /// The workers' replicas after somebody asked for some while on hold.
    scaled_up: i32,
    after: Observation,
}

/// The hold that most tests share. It runs once.
static HELD: LazyLock<Held> =
    LazyLock::new(|| tokio::runtime::Runtime::new().expect("a runtime").block_on(hold_cornice()));

async fn hold_cornice() -> Held {
    let namespace = Namespace::create("runbook").await;
    let database = Database::create(&namespace).await;
    let _operator = Operator::start(&namespace);
    cornice::deploy(&namespace).await;
    until_rows_flow(&database).await;

    let before = Observation::now(&namespace, &database).await;
    cornice::apply(&namespace, "examples/cornice/hibernation.yaml");
    let hibernation = Hibernation::existing(&namespace, "cornice");
    let deployments: Api<Deployment> = namespace.api();
    wait::until(&deployments, "cornice-ingest", "stopped", |d| workload::replicas(d) == 0).await;
    let monitors = kube::api::ListParams::default().labels("app=cornice,role=monitor");
    let monitors = namespace.api::<Pod>().list(&monitors).await.expect("pods are listed");

    let asleep_status = hibernation.until_phase("Hibernated").await;
    let asleep = Observation::now(&namespace, &database).await;
    let login = cornice::login(&namespace).await;
    workload::merge::<Deployment>(&namespace, "cornice-ingest", json!({"spec": {"replicas": 2}}))
        .await;
    let workers = wait::until(&deployments, "cornice-ingest", "stopped again", |deployment| {
        let status = deployment.status.as_ref();
        workload::replicas(deployment) == 0 && status.is_some_and(|s| s.replicas.unwrap_or(0) == 0)
    })
    .await;
    // Longer than anything in Cornice waits between two rows.
    wait::never_within::<Pod>(
        &namespace.api(),
        kube::runtime::watcher::Config::default().labels("app=cornice,role=monitor"),
        Duration::from_secs(3),
        "the monitor runs while on hold",
        |pods| !pods.is_empty(),
    )
    .await;
    let written = writers(&database).await;

    hibernation.set_state("Awake").await;
    hibernation.until_phase("Awake").await;
    let after = Observation::now(&namespace, &database).await;
    until_rows_flow(&database).await;
    Held {
        before,
        asleep,
        asleep_status,
        monitors_when_workers_stop: monitors.items.len(),
        login,
        written,
        scaled_up: workload::replicas(&workers),
        after,
    }
}

/// Waits until API, monitor and ingest workers have each written within the last two seconds.
async fn until_rows_flow(database: &Database) {
    for (table, writer) in
        [("market_snapshots", "api"), ("agent_runs", "monitor"), ("hourly_prices", "ingest")]
    {
        database
            .until(
                &format!("rows of {writer}"),
                &format!(
                    "SELECT count(*) > 0 FROM {table} WHERE recorded_by LIKE 'cornice-{writer}-%' \
                     AND recorded_at > now() - interval '2 seconds'"
                ),
            )
            .await;
    }
}

/// Returns each runtime table that has rows, with the pods that wrote them.
async fn writers(database: &Database) -> Vec<(String, String)> {
    let each: Vec<_> = RUNTIME_TABLES
        .iter()
        .map(|table| format!("SELECT DISTINCT '{table}', recorded_by FROM {table}"))
        .collect();
    sqlx::query_as(sqlx::AssertSqlSafe(each.join(" UNION ALL ")))
        .fetch_all(&database.pool)
        .await
        .expect("the tables are read")
}

/// Returns the size of the runtime tables, with indexes and TOAST.
async fn occupied(database: &Database) -> i64 {
    let each: Vec<_> =
        RUNTIME_TABLES.iter().map(|table| format!("pg_total_relation_size('{table}')")).collect();
    database.number(&format!("SELECT {}", each.join(" + "))).await
}

// Goal ---------------------------------------------------------------------------------------------

#[test]
fn background_processing_is_stopped() {
    let asleep = &HELD.asleep;
    assert_eq!(asleep.replicas("cornice-monitor"), 0);
    assert_eq!(asleep.replicas("cornice-ingest"), 0);
    assert_eq!(asleep.objects["cornice-nightly"]["spec"]["suspend"], true);
}

#[test]
fn the_schema_of_the_database_is_preserved() {
    assert!(!HELD.before.schema.is_empty());
    assert_eq!(HELD.asleep.schema, HELD.before.schema);
    assert_eq!(HELD.after.schema, HELD.before.schema);
}

#[test]
fn users_and_encrypted_secrets_are_preserved_row_by_row() {
    for table in PRESERVED_TABLES {
        assert!(HELD.before.kept[table].0 > 0, "{table} has rows");
        assert_eq!(HELD.asleep.kept[table], HELD.before.kept[table], "{table}");
        assert_eq!(HELD.after.kept[table], HELD.before.kept[table], "{table}");
    }
}

#[test]
fn disk_held_by_runtime_tables_is_freed() {
    let freed = HELD.before.bytes - HELD.asleep.bytes;
    assert!(freed > 1_000_000, "freed {freed} bytes");
    let reported = HELD.asleep_status["truncation"]["bytesFreed"].as_i64().unwrap_or_default();
    // More rows came in between the first observation and the truncation.
    assert!(reported >= freed, "reported {reported} bytes of at least {freed}");
}

// Fast path ----------------------------------------------------------------------------------------

#[test]
fn the_environment_says_hibernate_and_no_ingest() {
    let data = &HELD.asleep.objects["cornice-env"]["data"];
    assert_eq!(data, &json!({"HIBERNATE_MODE": "true", "INGEST_ENABLED": "false"}));
}

#[test]
fn the_monitor_is_stopped_before_the_workers() {
    assert_eq!(HELD.monitors_when_workers_stop, 0);
}

#[test]
fn services_stay_shelved_when_somebody_scales_them_up() {
    assert_eq!(HELD.scaled_up, 0);
}

#[test]
fn runtime_tables_are_cleared() {
    for (table, rows) in &HELD.before.runtime {
        assert!(*rows > 0, "{table} had rows");
    }
    for (table, rows) in &HELD.asleep.runtime {
        assert_eq!(*rows, 0, "{table}");
    }
}

#[test]
fn market_and_opportunity_catalogs_are_preserved_row_by_row() {
    for table in OPPORTUNITY_TABLES {
        assert!(HELD.before.kept[table].0 > 0, "{table} has rows");
        assert_eq!(HELD.asleep.kept[table], HELD.before.kept[table], "{table}");
        assert_eq!(HELD.after.kept[table], HELD.before.kept[table], "{table}");
    }
}

// Manual path --------------------------------------------------------------------------------------

#[test]
fn the_api_is_restarted_into_hibernate_mode() {
    assert_eq!(HELD.before.modes.len(), 2);
    assert_eq!(HELD.asleep.modes.len(), 2);
    for mode in &HELD.before.modes {
        assert_eq!((&mode["hibernate"], &mode["ingest"]), (&json!(false), &json!(true)), "{mode}");
    }
    for mode in &HELD.asleep.modes {
        assert_eq!((&mode["hibernate"], &mode["ingest"]), (&json!(true), &json!(false)), "{mode}");
    }
}

#[test]
fn the_api_stays_up_for_login() {
    assert_eq!(HELD.login["user"], "user-1");
}

#[test]
fn identities_are_restarted() {
    assert_eq!(HELD.login["request"], 1, "the first row since");
}

#[test]
fn nothing_is_written_while_on_hold_but_by_the_api() {
    let pods: Vec<_> = HELD.asleep.modes.iter().filter_map(|mode| mode["pod"].as_str()).collect();
    assert_eq!(HELD.written.len(), 1, "{:?}", HELD.written);
    let (table, writer) = &HELD.written[0];
    assert_eq!(table, "requests");
    assert!(pods.contains(&writer.as_str()), "{writer} is not of {pods:?}");
}

#[test]
fn awake_again_everything_is_as_it_was() {
    for (name, before) in &HELD.before.objects {
        assert_eq!(&HELD.after.objects[name], before, "{name}");
    }
    assert_eq!(HELD.after.modes.len(), HELD.before.modes.len());
    for mode in &HELD.after.modes {
        assert_eq!((&mode["hibernate"], &mode["ingest"]), (&json!(false), &json!(true)), "{mode}");
    }
}

#[test]
fn the_status_tells_what_was_emptied() {
    let truncation = &HELD.asleep_status["truncation"];
    assert_eq!(truncation["tables"], RUNTIME_TABLES.len());
    assert_eq!(condition(&HELD.asleep_status, "Truncated"), "True");
    assert_eq!(condition(&HELD.asleep_status, "Hibernated"), "True");
}

// What the cleanup removes, and the notes ----------------------------------------------------------

/// Creates a namespace with a seeded database, a worker and an operator.
async fn small(test: &str) -> (Operator, Namespace, Database) {
    let namespace = Namespace::create(test).await;
    let database = Database::seeded(&namespace).await;
    workload::create(&namespace, &workload::deployment("worker", 1, WELL_BEHAVED, 2)).await;
    workload::until_ready(&namespace, "worker").await;
    (Operator::start(&namespace), namespace, database)
}

fn truncating(truncate: &Value) -> Value {
    json!({
        "state": "Hibernated",
        "workloads": [{"kind": "Deployment", "name": "worker"}],
        "database": {
            "secretRef": {"name": "cornice-db", "key": "DATABASE_URL"},
            "truncate": truncate,
        },
    })
}

#[tokio::test]
async fn including_opportunities_empties_their_catalog_besides() {
    let (_operator, namespace, database) = small("opportunities").await;
    let preserved = database.fingerprints(&PRESERVED_TABLES).await;
    let spec = truncating(&json!({"scope": "Opportunities"}));
    Hibernation::create(&namespace, "cornice", spec).await.until_phase("Hibernated").await;
    let mut emptied: Vec<_> = RUNTIME_TABLES.into_iter().chain(OPPORTUNITY_TABLES).collect();
    emptied.sort_unstable();
    assert_eq!(database.empty_of(&all_tables()).await, emptied);
    assert_eq!(database.fingerprints(&PRESERVED_TABLES).await, preserved);
}

#[tokio::test]
async fn including_auth_empties_every_table_of_the_database_that_is_named() {
    let (_operator, namespace, database) = small("auth").await;
    let spec = truncating(&json!({"scope": "All", "confirm": database.name}));
    Hibernation::create(&namespace, "cornice", spec).await.until_phase("Hibernated").await;
    let mut all = all_tables();
    all.sort_unstable();
    assert_eq!(database.empty_of(&all_tables()).await, all);
}

#[tokio::test]
async fn including_auth_stops_and_empties_nothing_where_another_database_is_named() {
    let (_operator, namespace, database) = small("auth-other").await;
    let before = database.fingerprints(&all_tables()).await;
    let spec = truncating(&json!({"scope": "All", "confirm": "another"}));
    let hibernation = Hibernation::create(&namespace, "cornice", spec).await;
    let status = hibernation.until_condition("Stalled", "True").await;
    assert_eq!(condition(&status, "PreflightPassed"), "False", "{status:#}");
    assert!(message(&status, "PreflightPassed").contains("another"), "{status:#}");
    let worker: Deployment = namespace.api().get("worker").await.expect("it is there");
    assert_eq!(workload::replicas(&worker), 1);
    assert_eq!(database.fingerprints(&all_tables()).await, before);
}

#[tokio::test]
async fn the_smallest_footprint_is_no_pod_at_all() {
    let namespace = Namespace::create("footprint").await;
    let _operator = Operator::start(&namespace);
    for (name, replicas) in [("cornice-api", 2), ("cornice-monitor", 1)] {
        let deployment = workload::deployment(name, replicas, WELL_BEHAVED, 2);
        workload::create(&namespace, &deployment).await;
        workload::until_ready(&namespace, name).await;
    }
    let spec = json!({
        "state": "Hibernated",
        "workloads": [{"kind": "Deployment", "all": true}],
        "configMaps": [],
    });
    let hibernation = Hibernation::create(&namespace, "cornice", spec).await;
    hibernation.until_phase("Hibernated").await;
    let pods = namespace.api::<Pod>().list(&kube::api::ListParams::default()).await;
    assert_eq!(workload::names(&pods.expect("pods are listed").items), Vec::<String>::new());
    hibernation.set_state("Awake").await;
    hibernation.until_phase("Awake").await;
    for (name, replicas) in [("cornice-api", 2), ("cornice-monitor", 1)] {
        let deployment: Deployment = namespace.api().get(name).await.expect("it is there");
        assert_eq!(workload::replicas(&deployment), replicas, "{name}");
        assert!(workload::ready(&deployment), "{name}");
    }
}

#[tokio::test]
async fn a_monitor_is_stopped_only_if_present() {
    let (_operator, namespace, database) = small("if-present").await;
    let mut spec = truncating(&json!({"scope": "Runtime"}));
    spec["workloads"] = json!([
        {"kind": "Deployment", "selector": {"matchLabels": {"app": "cornice-monitor"}}},
        {"kind": "Deployment", "name": "worker"},
    ]);
    Hibernation::create(&namespace, "cornice", spec).await.until_phase("Hibernated").await;
    assert_eq!(database.empty_of(&RUNTIME_TABLES).await.len(), RUNTIME_TABLES.len());
}
