//! `spec.database` of a Hibernation: the tables to empty.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{LocalObjectReference, ResourceRequirements, Toleration};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::workload::{NAME_MESSAGE, NAME_RULE};

/// Default of `tables.runtime`.
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

/// Default of `tables.opportunities`.
pub const OPPORTUNITY_TABLES: [&str; 3] =
    ["opportunities", "arb_opportunity_instances", "arb_opportunity_legs"];

/// Default of `tables.preserved`.
pub const PRESERVED_TABLES: [&str; 7] = [
    "users",
    "user_profiles",
    "user_secrets",
    "global_markets",
    "markets",
    "market_links",
    "arb_monitor_profiles",
];

/// `Scope` is the extent of the truncation. Each scope includes the one before it.
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
    /// The runtime tables and the opportunity tables.
    Opportunities,
    /// All listed tables, including the preserved tables (users, secrets, markets).
    All,
}

/// `Database` names the PostgreSQL database whose tables the operator empties while the project is
/// hibernated.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.secretRef) != has(self.connection)")
        .message("give exactly one of `secretRef` (a Secret with the URL) and `connection` (a Secret with user and password)")
)]
pub struct Database {
    /// `secretRef` names the Secret key that holds the database URL, in the form that the
    /// application uses (`postgresql://` or `postgresql+asyncpg://`). The Secret is in the
    /// namespace of this object. Only the truncation Job reads the Secret; the operator never does.
    /// Set exactly one of `secretRef` and `connection`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretKeyRef>,

    /// `connection` names the database server, and a Secret that holds user and password but no
    /// URL, such as the Secrets of PostgreSQL operators. Set exactly one of `secretRef` and
    /// `connection`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<Connection>,

    /// `caSecretRef` names the Secret key that holds the certificate authorities of the database
    /// server (one or more PEM certificates), for example `ca.crt`. The truncation uses these
    /// authorities instead of the `sslrootcert` in the URL. If the URL sets no `sslmode`, the
    /// truncation uses `verify-full`. Default: the public certificate authorities, if the URL asks
    /// for verification.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<SecretKeyRef>,

    /// `truncate` selects the tables to empty, and when to empty them.
    #[serde(default)]
    pub truncate: Truncate,
}

/// `Connection` names a database server, and a Secret in the namespace of this object that holds user
/// and password. Only the truncation Job reads the Secret; the operator never does.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Connection {
    /// `host` is the name or the IP address of the database server, for example the name of its
    /// Service.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9:]([-A-Za-z0-9.:]*[A-Za-z0-9])?$')")
        .message("this is not the name or address of a server: write for example `postgres.shop.svc` or `10.0.0.7`, and the port in `port`"))]
    pub host: String,
    /// `port` is the port of the database server. Default: 5432.
    #[serde(default = "postgres_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// `name` is the name of the database.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// `secretName` is the name of the Secret with user and password.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(NAME_RULE).message(NAME_MESSAGE))]
    pub secret_name: String,
    /// `userKey` is the key of the user in the Secret. Default: `username`.
    #[serde(default = "user_key")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(KEY_RULE).message(KEY_MESSAGE))]
    pub user_key: String,
    /// `passwordKey` is the key of the password in the Secret. Default: `password`.
    #[serde(default = "password_key")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(KEY_RULE).message(KEY_MESSAGE))]
    pub password_key: String,
    /// `sslMode` protects the connection as the `sslmode` of PostgreSQL's clients does. Default:
    /// `verify-full` with `caSecretRef`, else `prefer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssl_mode: Option<SslMode>,
}

/// `SslMode` is an `sslmode` of PostgreSQL's clients.
#[derive(
    Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize, clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum SslMode {
    /// No TLS.
    Disable,
    /// TLS if the server refuses a connection without it.
    Allow,
    /// TLS if the server has it.
    Prefer,
    /// TLS, with any certificate.
    Require,
    /// TLS, with a certificate of a known authority.
    VerifyCa,
    /// TLS, with a certificate of a known authority for this host.
    VerifyFull,
}

/// The key of a Secret.
const KEY_RULE: &str = "self.matches('^[-._a-zA-Z0-9]+$')";
/// Message of [`KEY_RULE`].
const KEY_MESSAGE: &str = "this is not a key of a Secret: use letters, digits, '-', '_' and '.'";

fn postgres_port() -> i32 {
    5432
}

fn user_key() -> String {
    "username".to_owned()
}

fn password_key() -> String {
    "password".to_owned()
}

/// `SecretKeyRef` selects one key of a Secret in the namespace of this object.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
pub struct SecretKeyRef {
    /// `name` is the name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(NAME_RULE).message(NAME_MESSAGE))]
    pub name: String,
    /// `key` is the key in the Secret.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(KEY_RULE).message(KEY_MESSAGE))]
    pub key: String,
}

/// `Truncate` selects the tables to empty, and when to empty them.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.scope) || self.scope != 'All' || has(self.confirm)")
        .message("`scope: All` also empties users and secrets: repeat the name of the database in `confirm`"),
    validation = Rule::new("!has(self.ignorePods) || (has(self.ignorePods.matchLabels) && self.ignorePods.matchLabels.size() > 0) || (has(self.ignorePods.matchExpressions) && self.ignorePods.matchExpressions.size() > 0)")
        .message("an empty `ignorePods` would ignore every writer: add the labels of pods that do not write")
)]
pub struct Truncate {
    /// `scope` selects the lists of `tables` to empty. Runtime (the default): `runtime`.
    /// Opportunities: also `opportunities`. All: also `preserved` (users, secrets and catalogs);
    /// requires `confirm`.
    #[serde(default)]
    pub scope: Scope,

    /// `confirm` repeats the name of the database. It is required with `scope: All`, and must equal
    /// the name of the database that the URL leads to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub confirm: Option<String>,

    /// `automatic` decides which hibernations empty tables. false (the default): only a hibernation
    /// that a person starts by changing `state` to Hibernated. true: also a hibernation that a
    /// schedule or the end of an override starts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub automatic: bool,

    /// `beforeStage` moves the truncation before the last stages. Workloads of lower stages and
    /// Restart workloads go down first, then the tables are emptied, then the workloads of
    /// `beforeStage` and higher stages go down. Use it if the database itself is one of the
    /// workloads. Default: the tables are emptied after all workloads are down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub before_stage: Option<i32>,

    /// `schema` is the database schema of the tables. Default: the parameter `schema` of the URL
    /// (`?schema=tenant`), or else `public`. The truncation is refused if the application finds a
    /// table of the same name in another schema, because of `search_path` or of that parameter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub schema: Option<String>,

    /// `tables` lists the tables of each scope.
    #[serde(default)]
    pub tables: Tables,

    /// `lockTimeout` limits the total time that the truncation waits for table locks, from 100ms to
    /// 1m. Default: `10s`.
    #[serde(default = "ten_seconds")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+(ms|s|m))+$') && duration(self) >= duration('100ms') && duration(self) <= duration('1m')")
        .message("write a duration from 100ms to 1m, for example `10s`"))]
    pub lock_timeout: String,

    /// `allowReplicated` decides about a publication that would replicate the truncation to other
    /// databases. false (the default): the truncation is refused. true: it empties the tables there too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_replicated: bool,

    /// `sessions` decides which sessions of the database keep the truncation back until they end.
    /// Refuse (the default): sessions from a pod of this namespace, except the pods of Restart
    /// workloads and the pods that `ignorePods` selects. `RefuseAll`: the sessions of all clients.
    /// Ignore: none. Behind a pooler, all sessions come from the pooler.
    #[serde(default)]
    pub sessions: Sessions,

    /// `ignorePods` selects pods of the namespace that do not write to the database. The truncation
    /// waits for each pod that nobody accounts for: a pod without an owner, with the labels of a
    /// stopped workload, or with an owner that is gone; and for pods that are connected to the
    /// database (see `sessions`). It does not wait for the pods selected here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ignore_pods: Option<LabelSelector>,

    /// `pod` holds settings of the truncation pod: resources, node selector, tolerations, image
    /// pull secrets, annotations and labels.
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
            schema: None,
            tables: Tables::default(),
            lock_timeout: ten_seconds(),
            allow_replicated: false,
            sessions: Sessions::default(),
            ignore_pods: None,
            pod: None,
        }
    }
}

fn ten_seconds() -> String {
    "10s".to_owned()
}

/// `Sessions` decides which sessions of the database keep a truncation back.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum Sessions {
    /// Sessions from pods of the namespace that the object does not account for.
    #[default]
    Refuse,
    /// Sessions of all clients.
    RefuseAll,
    /// None.
    Ignore,
}

/// `Tables` lists the tables of each scope. A table may be in one list only.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.runtime) || !has(self.preserved) || self.runtime.all(t, !(t in self.preserved))")
        .message("a table is in both `runtime` and `preserved`: remove it from one of them"),
    validation = Rule::new("!has(self.opportunities) || !has(self.preserved) || self.opportunities.all(t, !(t in self.preserved))")
        .message("a table is in both `opportunities` and `preserved`: remove it from one of them"),
    validation = Rule::new("!has(self.runtime) || !has(self.opportunities) || self.runtime.all(t, !(t in self.opportunities))")
        .message("a table is in both `runtime` and `opportunities`: remove it from one of them")
)]
pub struct Tables {
    /// `runtime` lists the tables that every scope empties.
    #[serde(default = "runtime_tables")]
    #[schemars(length(max = 200), inner(length(min = 1, max = 63)))]
    pub runtime: Vec<String>,
    /// `opportunities` lists the tables that the scopes Opportunities and All empty.
    #[serde(default = "opportunity_tables")]
    #[schemars(length(max = 200), inner(length(min = 1, max = 63)))]
    pub opportunities: Vec<String>,
    /// `preserved` lists the tables that only the scope All empties. The other scopes never change
    /// them.
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

/// `PodSettings` holds settings of the truncation pod.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.resources) || !has(self.resources.limits) || self.resources.limits.all(name, isQuantity(string(self.resources.limits[name])))")
        .message("a limit in `resources` is not a quantity: write, for example, `cpu: 100m` or `memory: 64Mi`"),
    validation = Rule::new("!has(self.resources) || !has(self.resources.requests) || self.resources.requests.all(name, isQuantity(string(self.resources.requests[name])))")
        .message("a request in `resources` is not a quantity: write, for example, `cpu: 100m` or `memory: 64Mi`")
)]
pub struct PodSettings {
    /// `resources` sets the requests and limits of the container. Default: requests of 10m CPU and
    /// 32Mi memory, and a limit of 64Mi memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = bounded_quantities)]
    pub resources: Option<ResourceRequirements>,
    /// `nodeSelector` lists the labels of the nodes that the pod may run on.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// `tolerations` lists the taints that the pod tolerates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub tolerations: Vec<Toleration>,
    /// `imagePullSecrets` names the Secrets for pulling the image of the operator.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub image_pull_secrets: Vec<LocalObjectReference>,
    /// `annotations` are added to the pod, for example to turn off the sidecar injection of a
    /// service mesh.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// `labels` are added to the pod, for example as a NetworkPolicy or a policy engine requires.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// Bounds the maps that the rules on quantities walk: the API server refuses a definition with
/// unbounded rules.
fn bounded_quantities(schema: &mut schemars::Schema) {
    for list in ["limits", "requests"] {
        if let Some(list) = schema.pointer_mut(&format!("/properties/{list}")) {
            list["maxProperties"] = 16.into();
            list["additionalProperties"]["maxLength"] = 32.into();
        }
    }
}
