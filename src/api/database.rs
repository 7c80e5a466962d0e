//! The database part of a Hibernation: which tables are emptied, which are kept, and how.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{LocalObjectReference, ResourceRequirements, Toleration};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::workload::{NAME_MESSAGE, NAME_RULE};

/// Tables that `Runtime` empties where an object names none (the runbook's list).
pub const RUNTIME_TABLES: [&str; 13] = [
    "execution_orders",
    "executions",
    "simulator_trades",
    "simulator_runs",
    "agent_findings",
    "agent_runs",
    "opportunity_observations",
    "hourly_prices",
    "market_snapshots",
    "orderbook_snapshots",
    "requests",
    "arb_go_signals",
    "arb_observations",
];

/// Tables that `Opportunities` empties besides (the runbook's `--include-opportunities`).
pub const OPPORTUNITY_TABLES: [&str; 3] =
    ["opportunities", "arb_opportunity_instances", "arb_opportunity_legs"];

/// Tables that only `All` empties (the runbook's `--include-auth`).
pub const PRESERVED_TABLES: [&str; 7] = [
    "users",
    "user_profiles",
    "user_secrets",
    "global_markets",
    "markets",
    "market_links",
    "arb_monitor_profiles",
];

/// How much is emptied. Each scope contains the one before it.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    Deserialize,
    Eq,
    JsonSchema,
    Ord,
    PartialEq,
    PartialOrd,
    Serialize,
    clap::ValueEnum,
)]
#[value(rename_all = "PascalCase")]
pub enum Scope {
    /// The runtime tables.
    #[default]
    Runtime,
    /// The runtime tables and the catalog of opportunities.
    Opportunities,
    /// Every table named, the preserved ones (users, secrets, markets) included.
    All,
}

/// The database that is emptied while the project sleeps.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Database {
    /// Key of a Secret in this namespace that holds the database's URL, as the application uses it
    /// (`postgresql://` and `postgresql+asyncpg://` alike). The operator never reads it; the
    /// truncation Job does.
    pub secret_ref: SecretKeyRef,

    /// Key of a Secret in this namespace that holds the certificate authority (PEM, one or several) by
    /// which the database's server is known, for example `ca.crt`. It goes before an `sslrootcert` in
    /// the URL, whose path is one in the application's container. Where the URL has no `sslmode`, it
    /// means `verify-full`. Default: the public authorities, where the URL asks for verification.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<SecretKeyRef>,

    /// What is emptied, and how.
    #[serde(default)]
    pub truncate: Truncate,
}

/// A key of a Secret in the object's own namespace.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
pub struct SecretKeyRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(NAME_RULE).message(NAME_MESSAGE))]
    pub name: String,
    /// Key within the Secret.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[-._a-zA-Z0-9]+$')")
        .message("no Secret can have this key: use letters, digits, '-', '_' and '.'"))]
    pub key: String,
}

/// What is emptied, and how.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.scope) || self.scope != 'All' || has(self.confirm)")
        .message("scope All empties users and secrets too: repeat the name of the database in `confirm`")
)]
pub struct Truncate {
    /// Runtime (the default), Opportunities (those too) or All (users, secrets and catalogs too).
    #[serde(default)]
    pub scope: Scope,

    /// Needed with scope All: must equal the name of the database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub confirm: Option<String>,

    /// false (the default): only a person's change of `state` to Hibernated truncates. true: also
    /// when a schedule or an expired override puts the project to sleep.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub automatic: bool,

    /// Stages below this one, and Restart workloads, go down before the tables are emptied, the
    /// others after: for a database that is itself one of the workloads. Default: after all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub before_stage: Option<i32>,

    /// Schema of the tables.
    #[serde(default = "public")]
    #[schemars(length(min = 1, max = 63))]
    pub schema: String,

    /// Lists of tables by scope.
    #[serde(default)]
    pub tables: Tables,

    /// How long the truncation may wait for locks on the tables, in all, for example `10s`.
    #[serde(default = "ten_seconds")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+(ms|s|m))+$') && duration(self) >= duration('100ms') && duration(self) <= duration('1m')")
        .message("write a duration from 100ms to 1m, for example `10s`"))]
    pub lock_timeout: String,

    /// What the truncation's pod needs to run in this cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodSettings>,
}

impl Default for Truncate {
    fn default() -> Self {
        Self {
            scope: Scope::default(),
            confirm: None,
            automatic: false,
            before_stage: None,
            schema: public(),
            tables: Tables::default(),
            lock_timeout: ten_seconds(),
            pod: None,
        }
    }
}

fn public() -> String {
    "public".to_owned()
}

fn ten_seconds() -> String {
    "10s".to_owned()
}

/// Tables by scope. A table may stand in one list only.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.runtime) || !has(self.preserved) || self.runtime.all(t, !(t in self.preserved))")
        .message("a table stands in both `runtime` and `preserved`: take it out of one"),
    validation = Rule::new("!has(self.opportunities) || !has(self.preserved) || self.opportunities.all(t, !(t in self.preserved))")
        .message("a table stands in both `opportunities` and `preserved`: take it out of one"),
    validation = Rule::new("!has(self.runtime) || !has(self.opportunities) || self.runtime.all(t, !(t in self.opportunities))")
        .message("a table stands in both `runtime` and `opportunities`: take it out of one")
)]
pub struct Tables {
    /// Emptied by every scope.
    #[serde(default = "runtime_tables")]
    #[schemars(length(max = 200), inner(length(min = 1, max = 63)))]
    pub runtime: Vec<String>,
    /// Emptied by Opportunities and All.
    #[serde(default = "opportunity_tables")]
    #[schemars(length(max = 200), inner(length(min = 1, max = 63)))]
    pub opportunities: Vec<String>,
    /// Emptied by All only; never touched by the other scopes.
    #[serde(default = "preserved_tables")]
    #[schemars(length(max = 200), inner(length(min = 1, max = 63)))]
    pub preserved: Vec<String>,
}

impl Default for Tables {
    fn default() -> Self {
        Self {
            runtime: runtime_tables(),
            opportunities: opportunity_tables(),
            preserved: preserved_tables(),
        }
    }
}

fn runtime_tables() -> Vec<String> {
    RUNTIME_TABLES.map(str::to_owned).into()
}

fn opportunity_tables() -> Vec<String> {
    OPPORTUNITY_TABLES.map(str::to_owned).into()
}

fn preserved_tables() -> Vec<String> {
    PRESERVED_TABLES.map(str::to_owned).into()
}

/// What the truncation's pod needs to run in this cluster.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.resources) || !has(self.resources.limits) || self.resources.limits.all(name, isQuantity(string(self.resources.limits[name])))")
        .message("a limit in `resources` is no quantity: write for example `100m` of cpu or `64Mi` of memory"),
    validation = Rule::new("!has(self.resources) || !has(self.resources.requests) || self.resources.requests.all(name, isQuantity(string(self.resources.requests[name])))")
        .message("a request in `resources` is no quantity: write for example `100m` of cpu or `64Mi` of memory")
)]
pub struct PodSettings {
    /// Resources of the container. Default: 10m CPU and 32Mi memory requested, 64Mi memory limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = bounded_quantities)]
    pub resources: Option<ResourceRequirements>,
    /// Labels of the nodes that it may run on.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that it tolerates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub tolerations: Vec<Toleration>,
    /// Secrets to pull the operator's image with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub image_pull_secrets: Vec<LocalObjectReference>,
    /// Annotations of the pod, for example to keep a service mesh from injecting a sidecar.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// Bounds of what the rules on quantities walk: unbounded ones could cost the API server too much.
fn bounded_quantities(schema: &mut schemars::Schema) {
    for list in ["limits", "requests"] {
        if let Some(list) = schema.pointer_mut(&format!("/properties/{list}")) {
            list["maxProperties"] = 16.into();
            list["additionalProperties"]["maxLength"] = 32.into();
        }
    }
}
