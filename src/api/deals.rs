//! `spec.deals`: the market of an application, and the treatment of its open deals, orders and tasks.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::database::SecretKeyRef;
use super::workload::{NAME_MESSAGE, NAME_RULE};

/// The bridge's Service is named after an object with `deals`, and a Service name has no dots.
pub(super) const DEALS_NAME_RULE: &str =
    "!has(self.spec.deals) || self.metadata.name.matches('^[-a-z0-9]{1,45}$')";
/// Message of [`DEALS_NAME_RULE`].
pub(super) const DEALS_NAME_MESSAGE: &str = "the bridge's Service is \
    named after an object with `deals`: use a name of \
    at most 45 lowercase letters, digits and '-', without a dot";

/// `Deals` selects the market of the application. It decides how open deals, orders and tasks are
/// treated before any workload is stopped.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Deals {
    /// `source` selects the server that reports open deals, orders and tasks. Set exactly one of
    /// `service`, `sonm` and `postgres`.
    pub source: DealsSource,

    /// `forward` decides about an open deal with a fixed term. Wait (the default): the start waits
    /// for the end of the term, if the term ends before the window does. Postpone: start and end of
    /// the window move to the end of the term. Refuse: this start is refused, and nothing is
    /// stopped. Torpor never closes such a deal.
    #[serde(default)]
    pub forward: ForwardDeals,

    /// `spot` decides about an open deal without a fixed term. Close (the default): Torpor closes
    /// the deal. Refuse: this start is refused, and nothing is stopped.
    #[serde(default)]
    pub spot: SpotDeals,

    /// `orders` decides about open orders. Withdraw (the default): Torpor withdraws the orders from
    /// the market. Refuse: this start is refused, and nothing is stopped.
    #[serde(default)]
    pub orders: OpenOrders,

    /// `restoreOrders` decides whether Torpor offers the withdrawn orders again after the workloads
    /// are back. Default: true.
    #[serde(default = "yes")]
    pub restore_orders: bool,

    /// `settle` is the time between two observations of the market, from 1s to 1h. Workloads are
    /// stopped only if both observations find no open deal, order or task. Default: `30s`.
    #[serde(default = "half_a_minute")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+(s|m|h))+$') && duration(self) >= duration('1s') && duration(self) <= duration('1h')")
        .message("write a duration from 1s to 1h, for example `30s`"))]
    pub settle: String,
}

fn yes() -> bool {
    true
}

fn half_a_minute() -> String {
    "30s".to_owned()
}

/// `ForwardDeals` decides about an open deal with a fixed term.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum ForwardDeals {
    /// The start waits for the end of the term, if the term ends before the window does.
    #[default]
    Wait,
    /// Start and end of the window move to the end of the term.
    Postpone,
    /// This start is refused, and nothing is stopped.
    Refuse,
}

/// `SpotDeals` decides about an open deal without a fixed term.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum SpotDeals {
    /// Torpor closes the deal.
    #[default]
    Close,
    /// This start is refused, and nothing is stopped.
    Refuse,
}

/// `OpenOrders` decides about open orders.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum OpenOrders {
    /// Torpor withdraws the orders from the market.
    #[default]
    Withdraw,
    /// This start is refused, and nothing is stopped.
    Refuse,
}

/// `DealsSource` selects the server that reports open deals, orders and tasks.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[x_kube(validation = Rule::new("[has(self.service), has(self.sonm), has(self.postgres)].filter(x, x).size() == 1")
    .message("give exactly one of `service`, `sonm` and `postgres`"))]
pub struct DealsSource {
    /// `service` names the Service of your own server of the Deals API, in the namespace of this
    /// object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceSource>,
    /// `sonm` names a worker of the SONM marketplace. The operator runs the bridge to the SONM
    /// Node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sonm: Option<SonmSource>,
    /// `postgres` names a PostgreSQL database in which the application keeps its orders, deals or
    /// tasks. The operator runs the bridge to the database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postgres: Option<PostgresSource>,
}

/// `ServiceSource` names the Service of a server of the Deals API.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceSource {
    /// `name` is the name of the Service, in the namespace of this object.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new(NAME_RULE).message(NAME_MESSAGE))]
    pub name: String,
    /// `port` is the number of the Service port.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// `caConfigMapRef` names the ConfigMap key that holds the certificate authorities of the
    /// server (PEM). If set, the operator connects by TLS, and the certificate of the server must
    /// be valid for `NAME.NAMESPACE.svc`. If not set, the operator connects by plain HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_config_map_ref: Option<ConfigMapKeyRef>,
}

/// `ConfigMapKeyRef` selects one key of a ConfigMap in the namespace of this object.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
pub struct ConfigMapKeyRef {
    /// `name` is the name of the ConfigMap.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(NAME_RULE).message(NAME_MESSAGE))]
    pub name: String,
    /// `key` is the key in the ConfigMap. Default: `ca.crt`.
    #[serde(default = "ca_crt")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[-._a-zA-Z0-9]+$')")
        .message("this is not a key of a ConfigMap: use letters, digits, '-', '_' and '.'"))]
    pub key: String,
}

fn ca_crt() -> String {
    "ca.crt".to_owned()
}

/// `SonmSource` names a worker of the SONM marketplace and the SONM Node that manages the worker.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.keySecretRef) != (has(self.insecureNode) && self.insecureNode)")
    .message("give exactly one of `keySecretRef` (the node's key) and `insecureNode: true` (the node runs with allow_insecure_connection)"))]
pub struct SonmSource {
    /// `node` is the URL of the SONM Node's REST interface, for example `http://sonm-node:15031`. A
    /// SONM Node listens on the loopback interface only: run a TCP forwarder beside it, and name
    /// the Service of the forwarder here.
    #[schemars(length(max = 300))]
    #[x_kube(validation = Rule::new("self.matches('^http://[A-Za-z0-9.-]+(:[0-9]{1,5})?/?$')")
        .message("write http://HOST:PORT, for example `http://sonm-node:15031`; a SONM Node serves no TLS, because it encrypts by itself"))]
    pub node: String,
    /// `worker` is the address of the worker in the form of `sonmcli`: `0xADDRESS`, or
    /// `0xADDRESS@HOST:PORT` to reach the worker directly.
    #[schemars(length(max = 300))]
    #[x_kube(validation = Rule::new("self.matches('^0x[0-9a-fA-F]{40}(@[^@/ ]+:[0-9]{1,5})?$')")
        .message("write the worker as 0xADDRESS (40 hexadecimal digits) or 0xADDRESS@HOST:PORT"))]
    pub worker: String,
    /// `keySecretRef` names the Secret key that holds the private key of the SONM Node, which is
    /// the key of the worker's master or admin, as 64 hexadecimal digits. The Secret is in the
    /// namespace of this object. Only the bridge reads the Secret; the operator never does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_secret_ref: Option<SecretKeyRef>,
    /// `insecureNode` is true if the SONM Node runs with `allow_insecure_connection`. The bridge
    /// then sends its requests without encryption.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub insecure_node: bool,
}

/// `PostgresSource` names a PostgreSQL database in which an application keeps its orders, deals or
/// tasks.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.drain) == has(self.resume)")
    .message("give both `drain` and `resume`, or neither: `resume` has to offer the orders again that `drain` withdraws"))]
pub struct PostgresSource {
    /// `secretRef` names the Secret key that holds the database URL, in the form that the
    /// application uses. The Secret is in the namespace of this object. Only the bridge reads the
    /// Secret; the operator never does.
    pub secret_ref: SecretKeyRef,
    /// `caSecretRef` names the Secret key that holds the certificate authorities of the database
    /// server (PEM).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<SecretKeyRef>,
    /// `query` selects the open deals, orders and tasks, one per row. Columns: `id` (text), `kind`
    /// (`deal`, `order` or `task`), `term` (`Fixed` or `Open` for a deal, else null), `ends_at`
    /// (timestamptz, the end of a Fixed term); optional: `counterparty` and `restore` (text). The
    /// bridge runs the query in a read-only transaction.
    #[schemars(length(min = 1, max = 16384))]
    pub query: String,
    /// `announce` is the statement that announces the start to the application. Parameter: `$1
    /// timestamptz`, the start, or null if the start is cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16384))]
    pub announce: Option<String>,
    /// `drain` is the statement that ends orders, deals and tasks. Parameters, each a list of ids:
    /// `$1 text[]` orders, `$2 text[]` deals, `$3 text[]` tasks. Without `drain` Torpor ends
    /// nothing: the start waits until the application has ended them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16384))]
    pub drain: Option<String>,
    /// `resume` is the statement that offers withdrawn orders again. Parameters: `$1 text[]` ids,
    /// `$2 text[]` the values of `restore`. The bridge may run the statement again for orders that
    /// are already back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16384))]
    pub resume: Option<String>,
}

/// `DealsStatus` is the last observation of the market, and the state of the announcement.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DealsStatus {
    /// `source` is the server that received the announcement. The operator cancels the announcement
    /// at this server, even if `spec.deals.source` has changed since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceStatus>,
    /// `forward` lists open deals with a fixed term, the last to end first; at most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forward: Vec<DealStatus>,
    /// `open` counts the open deals, orders and tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<OpenCounts>,
    /// `announcement` is the start that the operator announced to the market.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub announcement: Option<AnnouncementStatus>,
    /// `withdrawn` is true if the operator may have withdrawn orders that it has not offered again
    /// yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub withdrawn: bool,
}

/// `SourceStatus` is the address of a server of the Deals API.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceStatus {
    /// `service` is the name of the Service, in the namespace of this object.
    pub service: String,
    /// `port` is the port of the Service.
    pub port: i32,
    /// `caConfigMapRef` names the ConfigMap key with the certificate authorities of the server, if
    /// the server uses TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_config_map_ref: Option<CaStatus>,
    /// `bridge` is the digest of the settings of a bridge that the operator runs. It is absent for
    /// another server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bridge: Option<String>,
}

/// `CaStatus` names one key of a ConfigMap.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct CaStatus {
    /// `name` is the name of the ConfigMap.
    pub name: String,
    /// `key` is the key in the ConfigMap.
    pub key: String,
}

/// `DealStatus` is a deal that delays the start.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DealStatus {
    /// `id` is the id of the deal in the market.
    pub id: String,
    /// `endsAt` is the end of the deal's term.
    pub ends_at: Time,
}

/// `OpenCounts` counts open deals, orders and tasks.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct OpenCounts {
    /// `forward` is the number of deals with a fixed term that has not ended.
    pub forward: i32,
    /// `spot` is the number of other deals.
    pub spot: i32,
    /// `orders` is the number of orders.
    pub orders: i32,
    /// `tasks` is the number of tasks.
    pub tasks: i32,
}

/// `AnnouncementStatus` is an announcement to the market.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct AnnouncementStatus {
    /// `at` is the announced start.
    pub at: Time,
    /// `made` is true once the market has confirmed the announcement. Until then the market may or
    /// may not have received it.
    pub made: bool,
}
