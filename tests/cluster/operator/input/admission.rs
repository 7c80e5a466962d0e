//! The API server refuses specs that are invalid by themselves.

use super::{Row, Written, create, long};
use crate::support::namespace::Namespace;

/// The text above the table.
pub(super) const ABOUT: &str = "The definition in `crds/` refuses these: the object is not stored.";

/// Returns Hibernations that are refused, each for one reason.
fn written() -> Vec<Written> {
    [when(), workloads(), config_maps(), database(), deals()].into_iter().flatten().collect()
}

fn when() -> Vec<Written> {
    let mut rows: Vec<Written> = [
        "{}",
        "state: Awake\nschedule: {rules: [{hibernate: \"0 20 * * *\", wake: \"0 7 * * *\"}]}",
        "state: Asleep",
        "state: hibernated",
        "onDelete: Drop",
        "dryRun: \"yes\"",
        "wake: {maxConcurrent: 0}",
        "progressDeadline: soon",
        "progressDeadline: 0s",
        "progressDeadline: -10m",
        "progressDeadline: 1s",
        "progressDeadline: 48h",
        "progressDeadline: 10",
        "workload: [{kind: Deployment, name: worker}]",
        "schedule: {}",
        "schedule: {rules: []}",
        "schedule: {timeZone: Mars/Olympus, rules: [{hibernate: \"0 20 * * *\", wake: \"0 7 * * *\"}]}",
        "schedule: {timeZone: \"+02:00\", rules: [{hibernate: \"0 20 * * *\", wake: \"0 7 * * *\"}]}",
        "schedule: {timeZone: europe/kyiv, rules: [{hibernate: \"0 20 * * *\", wake: \"0 7 * * *\"}]}",
        "schedule: {rules: [{hibernate: \"@daily\", wake: \"0 7 * * *\"}]}",
        "schedule: {rules: [{hibernate: \"0 20 * *\", wake: \"0 7 * * *\"}]}",
        "schedule: {rules: [{hibernate: \"0 20 * * *\", wake: \"0 0 7 * * *\"}]}",
        "schedule: {rules: [{hibernate: 20:00, wake: 07:00}]}",
        "schedule: {rules: [{}]}",
        "schedule: {rules: [{wake: \"0 7 * * *\"}]}",
        "schedule: {rules: [{hibernate: \"0 7 * * *\", wake: \"0 7 * * *\"}]}",
        "schedule: {exceptions: [{from: 2026-02-30, to: 2026-12-24, state: Awake}]}",
        "schedule: {exceptions: [{from: 2026-12-24, to: 2027-02-29, state: Awake}]}",
        "schedule: {exceptions: [{from: 24.12.2026, to: 2027-01-02, state: Awake}]}",
        "schedule: {exceptions: [{from: 2026-12-24, to: 2026-12-23, state: Hibernated}]}",
        "schedule: {exceptions: [{from: \"2026-12-24T18:00:00Z\", to: \"2026-12-24T19:00:00+02:00\", state: Awake}]}",
        "schedule: {exceptions: [{from: 2026-12-24, to: 2027-01-02}]}",
        "override: {state: Awake}",
        "override: {state: Awake, until: 2026-12-24}",
        "override: {state: Awake, until: \"2026-12-24 20:00\"}",
    ]
    .map(Written::from)
    .into();
    let rule = "{hibernate: \"0 20 * * *\", wake: \"0 7 * * *\"}";
    rows.push(long(
        "schedule: {rules: [33 of them]}",
        format!("schedule: {{rules: [{}]}}", [rule; 33].join(", ")),
    ));
    rows.push(long(
        "schedule: {exceptions: [{from: 2026-12-24, to: 2027-01-02, state: Awake, reason: 257 letters}]}",
        format!(
            "schedule: {{exceptions: [{{from: 2026-12-24, to: 2027-01-02, state: Awake, reason: {}}}]}}",
            "x".repeat(257)
        ),
    ));
    rows.push(Written::from("metadata: {name: Cornice}"));
    rows.push(long(
        "metadata: {name: 64 letters}",
        format!("metadata: {{name: {}}}", "a".repeat(64)),
    ));
    rows
}

fn workloads() -> Vec<Written> {
    let mut rows: Vec<Written> = [
        "workloads: [{kind: Deployment}]",
        "workloads: [{kind: Deployment, name: worker, all: true}]",
        "workloads: [{kind: Deployment, name: worker, selector: {matchLabels: {app: cornice}}}]",
        "workloads: [{kind: Deployment, all: false}]",
        "workloads: [{kind: Deployment, selector: {}}]",
        "workloads: [{kind: Deployment, selector: {matchLabels: {}, matchExpressions: []}}]",
        "workloads: [{kind: Deployment, selector: {app: cornice}}]",
        "workloads: [{kind: Deployment, name: worker, except: [api]}]",
        "workloads: [{kind: Deployment, name: Worker_1}]",
        "workloads: [{kind: Deployment, name: worker, action: Pause}]",
        "workloads: [{kind: Deployment, name: api, action: Restart, stage: 1}]",
        "workloads: [{kind: CronJob, name: nightly, action: Restart}]",
        "workloads: [{kind: Deployment, name: worker, missedRuns: Run}]",
        "workloads: [{kind: Deployment, name: worker, replicas: -1}]",
        "workloads: [{kind: Deployment, name: worker, replicas: half}]",
        "workloads: [{kind: DaemonSet, name: agent, replicas: 1}]",
        "workloads: [{kind: Deployment, name: api, replicas: 0, action: Restart}]",
        "workloads: [{kind: Deployment, name: worker, stage: -1}]",
        "workloads: [{kind: Deployment, name: worker, stage: 1001}]",
        "workloads: [{kind: Deployment, name: worker, stage: first}]",
        "workloads: [{kind: deployment, name: worker}]",
        "workloads: [{kind: deployments.apps, name: worker}]",
        "workloads: [{name: worker}]",
        "workloads: {kind: Deployment, name: worker}",
    ]
    .map(Written::from)
    .into();
    rows.push(long(
        "workloads: [101 of them]",
        format!("workloads: [{}]", ["{kind: Deployment, name: worker}"; 101].join(", ")),
    ));
    rows.push(long(
        "workloads: [{kind: Deployment, name: 254 letters}]",
        format!("workloads: [{{kind: Deployment, name: {}}}]", "a".repeat(254)),
    ));
    rows.push(long(
        "workloads: [{kind: Deployment, all: true, except: [257 of them]}]",
        format!(
            "workloads: [{{kind: Deployment, all: true, except: [{}]}}]",
            ["worker"; 257].join(", ")
        ),
    ));
    rows
}

fn config_maps() -> Vec<Written> {
    let mut rows: Vec<Written> = [
        "configMaps: [{}]",
        "configMaps: [{name: env, selector: {matchLabels: {app: cornice}}}]",
        "configMaps: [{selector: {}}]",
        "configMaps: [{name: Env}]",
        "configMaps: [{name: env, set: {}}]",
        "configMaps: [{name: env, set: {HIBERNATE_MODE: true}}]",
        "configMaps: [{name: env, set: {\"HIBERNATE MODE\": \"true\"}}]",
    ]
    .map(Written::from)
    .into();
    rows.push(long(
        "configMaps: [33 of them]",
        format!("configMaps: [{}]", ["{name: env}"; 33].join(", ")),
    ));
    let keys: Vec<_> = (0..65).map(|number| format!("K{number}: \"\"")).collect();
    rows.push(long(
        "configMaps: [{name: env, set: {65 keys}}]",
        format!("configMaps: [{{name: env, set: {{{}}}}}]", keys.join(", ")),
    ));
    rows.push(long(
        "configMaps: [{name: env, set: {K: 4097 letters}}]",
        format!("configMaps: [{{name: env, set: {{K: {}}}}}]", "x".repeat(4097)),
    ));
    rows
}

fn database() -> Vec<Written> {
    let truncate = |settings: &str| {
        Written::from(
            format!("database: {{secretRef: {{name: db, key: URL}}, truncate: {{{settings}}}}}")
                .as_str(),
        )
    };
    let mut rows: Vec<Written> = [
        "database: {secretRef: {name: db}}",
        "database: {secretRef: {name: Db, key: URL}}",
        "database: {secretRef: {name: db, key: the URL}}",
        "database: {url: postgresql://cornice@db/cornice}",
        "database: {secretRef: {name: db, key: URL}, connection: {host: db, name: cornice, secretName: db}}",
        "database: {connection: {host: db, name: cornice}}",
        "database: {connection: {host: \"db:5432/cornice\", name: cornice, secretName: db}}",
        "database: {connection: {host: db, port: 0, name: cornice, secretName: db}}",
        "database: {connection: {host: db, name: cornice, secretName: db, userKey: the user}}",
        "database: {connection: {host: db, name: cornice, secretName: db, sslMode: VerifyFull}}",
        "workloads: [{kind: Deployment, name: api, replicas: 1}]\ndatabase: {secretRef: {name: db, key: URL}, truncate: {scope: Runtime}}",
    ]
    .map(Written::from)
    .into();
    rows.extend(
        [
            "scope: Everything",
            "scope: All",
            "scope: All, confirm: \"\"",
            "beforeStage: 1",
            "beforeStage: -1",
            "lockTimeout: 0s",
            "lockTimeout: 1h",
            "lockTimeout: -1s",
            "lockTimeout: soon",
            "schema: \"\"",
            "ignorePods: {}",
            "sessions: Sometimes",
            "tables: {runtime: [users]}",
            "tables: {opportunities: [markets]}",
            "tables: {runtime: [orders], opportunities: [orders]}",
            "tables: {runtime: [\"\"]}",
            "pod: {resources: {limits: {memory: lots}}}",
            "pod: {resources: {requests: {cpu: 100millis}}}",
            "pod: {tolerations: [{key: a, tolerationSeconds: soon}]}",
        ]
        .map(truncate),
    );
    let short = |shown: &str, settings: String| Written {
        shown: truncate(shown).shown,
        yaml: truncate(&settings).yaml,
    };
    rows.push(short(
        "tables: {runtime: [201 of them]}",
        format!("tables: {{runtime: [{}]}}", ["a"; 201].join(", ")),
    ));
    rows.push(short(
        "tables: {runtime: [64 letters]}",
        format!("tables: {{runtime: [{}]}}", "a".repeat(64)),
    ));
    rows
}

fn deals() -> Vec<Written> {
    const SERVED: &str = "source: {service: {name: market, port: 80}}";
    const WORKER: &str = "worker: \"0x8125721C2413d99a33E351e1F6Bb4e56b6b633FD\"";
    const DATABASE: &str = "secretRef: {name: db, key: URL}, query: SELECT 1";
    let mut rows: Vec<Written> = [
        "source: {}".to_owned(),
        "source: {service: {name: market}}".to_owned(),
        "source: {service: {name: market, port: 0}}".to_owned(),
        "source: {service: {name: market, port: 443, caConfigMapRef: {name: ca, key: the CA}}}"
            .to_owned(),
        format!("source: {{sonm: {{node: \"http://sonm-node:15031\", {WORKER}}}}}"),
        format!("source: {{sonm: {{node: \"https://sonm-node\", {WORKER}, insecureNode: true}}}}"),
        "source: {sonm: {node: \"http://sonm-node:15031\", worker: w-1, insecureNode: true}}"
            .to_owned(),
        format!("source: {{postgres: {{{DATABASE}, drain: \"UPDATE a SET b = 1\"}}}}"),
        format!("{SERVED}, settle: 0s"),
        format!("{SERVED}, forward: Close"),
        format!("{SERVED}, forward: Postpone"),
    ]
    .map(|settings| Written::from(format!("deals: {{{settings}}}").as_str()))
    .into();
    for (shown, name) in [("46 letters", "a".repeat(46)), ("a.b", "a.b".to_owned())] {
        let written = |name: &str| {
            format!("metadata: {{name: {name}}}\nspec: {{state: Awake, deals: {{{SERVED}}}}}")
        };
        rows.push(long(&written(shown), written(&name)));
    }
    rows
}

/// Returns the rows with the answers.
pub(super) async fn rows() -> Vec<Row> {
    let namespace = Namespace::create("admission").await;
    let mut rows = Vec::new();
    let mut admitted = Vec::new();
    for written in written() {
        match create(&namespace, written.manifest("project"), true, None).await {
            Ok(()) => admitted.push(written.shown),
            Err(message) => {
                rows.push(Row { written: written.shown, caught: "admission".to_owned(), message });
            }
        }
    }
    assert!(admitted.is_empty(), "admitted:\n{}", admitted.join("\n"));
    rows
}
