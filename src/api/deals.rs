//! What binds an application to others, and how it may be ended before anything stops.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::database::SecretKeyRef;
use super::workload::{NAME_MESSAGE, NAME_RULE};

/// What the name of an object with deals looks like: it names the bridge's Service, which has no dots.
pub(super) const DEALS_NAME_RULE: &str =
    "!has(self.spec.deals) || self.metadata.name.matches('^[-a-z0-9]{1,45}$')";
/// What to write instead of what [`DEALS_NAME_RULE`] refuses.
pub(super) const DEALS_NAME_MESSAGE: &str = "an object with `deals` may have a name of 45 characters at most, \
    none of them a dot, as it names the bridge's Service";

/// Which deals, orders and tasks hold the start back, which are ended, and who knows of them.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Deals {
    /// Who knows what binds the application: exactly one of `service`, `sonm` and `postgres`.
    pub source: DealsSource,

    /// What an open deal with a fixed term does. Wait (the default): the start waits until it has
    /// run out, as long as that is before the end. Postpone: the whole window moves there. Refuse: nothing is
    /// stopped this time. No such deal is ever closed.
    #[serde(default)]
    pub forward: ForwardDeals,

    /// What an open deal without a fixed term does. Close (the default): it is closed. Refuse:
    /// nothing is stopped this time.
    #[serde(default)]
    pub spot: SpotDeals,

    /// What an open order does. Withdraw (the default): it is taken off the market. Refuse: nothing
    /// is stopped this time.
    #[serde(default)]
    pub orders: OpenOrders,

    /// Whether orders that were withdrawn are offered again afterwards. Default: true.
    #[serde(default = "yes")]
    pub restore_orders: bool,

    /// The time between the two looks that have to find nothing open before anything is stopped, for
    /// example `30s` (the default).
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

/// What an open deal with a fixed term does.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum ForwardDeals {
    /// The start waits until it has run out, as long as that is before the end.
    #[default]
    Wait,
    /// Start and end move to when it has run out.
    Postpone,
    /// Nothing is stopped this time.
    Refuse,
}

/// What an open deal without a fixed term does.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum SpotDeals {
    /// It is closed.
    #[default]
    Close,
    /// Nothing is stopped this time.
    Refuse,
}

/// What an open order does.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum OpenOrders {
    /// It is taken off the market.
    #[default]
    Withdraw,
    /// Nothing is stopped this time.
    Refuse,
}

/// Who knows what binds the application.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[x_kube(validation = Rule::new("[has(self.service), has(self.sonm), has(self.postgres)].filter(x, x).size() == 1")
    .message("give exactly one of `service`, `sonm` and `postgres`"))]
pub struct DealsSource {
    /// A server of the Deals API in this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceSource>,
    /// A worker of the SONM marketplace. The operator runs the bridge to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sonm: Option<SonmSource>,
    /// An application that keeps its orders, deals or tasks in PostgreSQL. The operator runs the
    /// bridge to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postgres: Option<PostgresSource>,
}

/// A server of the Deals API.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceSource {
    /// Name of its Service, in this namespace.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new(NAME_RULE).message(NAME_MESSAGE))]
    pub name: String,
    /// Port of the Service, by number.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// ConfigMap in this namespace with the certificate authority (PEM) by which the server is known. Given, it is
    /// spoken to over TLS; its certificate has to name `NAME.NAMESPACE.svc`. Not given, it is plain HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_config_map_ref: Option<ConfigMapKeyRef>,
}

/// A key of a ConfigMap in the object's own namespace.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
pub struct ConfigMapKeyRef {
    /// Name of the ConfigMap.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(NAME_RULE).message(NAME_MESSAGE))]
    pub name: String,
    /// Key within it. Default: `ca.crt`.
    #[serde(default = "ca_crt")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[-._a-zA-Z0-9]+$')")
        .message("no ConfigMap can have this key: use letters, digits, '-', '_' and '.'"))]
    pub key: String,
}

fn ca_crt() -> String {
    "ca.crt".to_owned()
}

/// A worker of the SONM marketplace, by way of a SONM Node.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.keySecretRef) != (has(self.insecureNode) && self.insecureNode)")
    .message("give `keySecretRef`, the node's key; or `insecureNode: true` where the node runs with allow_insecure_connection"))]
pub struct SonmSource {
    /// The REST interface of the SONM Node, for example `http://sonm-node:15031`. A Node listens on loopback only: run a TCP
    /// forwarder beside it, and name its Service here.
    #[schemars(length(max = 300))]
    #[x_kube(validation = Rule::new("self.matches('^http://[A-Za-z0-9.-]+(:[0-9]{1,5})?/?$')")
        .message("write http://HOST:PORT, for example `http://sonm-node:15031`: a node has no TLS, as it encrypts by itself"))]
    pub node: String,
    /// The worker, as `sonmcli` takes it: `0xADDRESS`, or `0xADDRESS@HOST:PORT` to reach it directly.
    #[schemars(length(max = 300))]
    #[x_kube(validation = Rule::new("self.matches('^0x[0-9a-fA-F]{40}(@[^@/ ]+:[0-9]{1,5})?$')")
        .message("write the worker as 0xADDRESS (40 hexadecimal digits) or 0xADDRESS@HOST:PORT"))]
    pub worker: String,
    /// Key of a Secret in this namespace that holds the node's private key (that of the worker's
    /// master or admin) as 64 hexadecimal digits. The operator never reads it; the bridge does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_secret_ref: Option<SecretKeyRef>,
    /// The node runs with `allow_insecure_connection`: nothing is encrypted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub insecure_node: bool,
}

/// An application that keeps what binds it in PostgreSQL.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.drain) == has(self.resume)")
    .message("give both of `drain` and `resume`, or none: what is withdrawn has to be offered again"))]
pub struct PostgresSource {
    /// Key of a Secret in this namespace that holds the database's URL, as the application uses it.
    /// The operator never reads it; the bridge does.
    pub secret_ref: SecretKeyRef,
    /// Key of a Secret in this namespace that holds the certificate authority (PEM) by which the
    /// database's server is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<SecretKeyRef>,
    /// Query for what binds at the moment, a row each: `id` (text), `kind` (`deal`, `order` or `task`), `term` (of a
    /// deal `Fixed` or `Open`, else null), `ends_at` (timestamptz, the end of a Fixed term), and
    /// optionally `counterparty` and `restore` (text). It runs in a read-only transaction.
    #[schemars(length(min = 1, max = 16384))]
    pub query: String,
    /// Statement that announces the start: `$1 timestamptz`, null when it is taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16384))]
    pub announce: Option<String>,
    /// Statement that ends what may be ended: `$1 text[]` orders, `$2 text[]` deals, `$3 text[]` tasks, by id.
    /// Without it nothing is ended, and the start waits until the application is done by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16384))]
    pub drain: Option<String>,
    /// Statement that offers orders again: `$1 text[]` ids, `$2 text[]` their `restore`. It may be run
    /// again for some that are back already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16384))]
    pub resume: Option<String>,
}

/// What was last seen of the market, and what it has been told.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DealsStatus {
    /// Whom the market was told by. It stays the one to take things back, whatever the spec says since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceStatus>,
    /// Deals with a fixed term that has not run out, the last to end first; 20 at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forward: Vec<DealStatus>,
    /// How many of each kind are open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<OpenCounts>,
    /// What the market has been told of the next start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub announcement: Option<AnnouncementStatus>,
    /// Something may have been taken off the market that is still to be offered again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub withdrawn: bool,
}

/// Where the Deals API of an object is served.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceStatus {
    /// Name of the Service, in the object's namespace.
    pub service: String,
    /// Its port.
    pub port: i32,
    /// Where its certificate authority is, if it speaks TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_config_map_ref: Option<CaStatus>,
    /// Digest of the settings of a bridge that the operator runs; none where it runs none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bridge: Option<String>,
}

/// A key of a ConfigMap.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct CaStatus {
    /// Name of the ConfigMap.
    pub name: String,
    /// Key within it.
    pub key: String,
}

/// A deal that holds the start back.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DealStatus {
    /// The market's name for it.
    pub id: String,
    /// When its term runs out.
    pub ends_at: Time,
}

/// How many deals, orders and tasks are open.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct OpenCounts {
    /// Deals with a fixed term that has not run out.
    pub forward: i32,
    /// Other deals.
    pub spot: i32,
    /// Orders.
    pub orders: i32,
    /// Tasks.
    pub tasks: i32,
}

/// What a market has been told.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct AnnouncementStatus {
    /// The start.
    pub at: Time,
    /// Whether the market has said yes to it. Until then it may or may not know.
    pub made: bool,
}
