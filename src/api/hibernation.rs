//! `Hibernation`: a project goes on hold and comes back as it was.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::database::Database;
use super::deals::{DEALS_NAME_MESSAGE, DEALS_NAME_RULE, Deals, DealsStatus};
use super::hold_state::{DatabaseState, HoldState};
use super::schedule::{DesiredState, Override, Schedule};
use super::workload::{ConfigMapOverride, Workload};

/// Puts a project on hold: its workloads go to zero, its configuration says so, its runtime tables
/// are emptied, and later everything wakes as it was.
#[derive(Clone, CustomResource, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "torpor.dev",
    version = "v1alpha1",
    kind = "Hibernation",
    namespaced,
    status = "HibernationStatus",
    shortname = "hib",
    category = "torpor",
    derive = "PartialEq",
    doc = "Puts a project on hold and wakes it exactly as it was.",
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(name = "Held", type_ = "integer", json_path = ".status.counts.held"),
    printcolumn(name = "Next", type_ = "string", json_path = ".status.nextTransition.state"),
    printcolumn(name = "At", type_ = "string", json_path = ".status.nextTransition.at"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.message",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.size() <= 63")
        .message("the name may have 63 characters at most, as it names the truncation's Jobs"),
    validation = Rule::new(DEALS_NAME_RULE).message(DEALS_NAME_MESSAGE)
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.state) != has(self.schedule)")
        .message("give exactly one of `state` (Hibernated or Awake) and `schedule`"),
    validation = Rule::new("!has(self.deals) || !has(self.deals.forward) || self.deals.forward != 'Postpone'")
        .message("a Hibernation has no end to move: use `forward: Wait` or `forward: Refuse`"),
    validation = Rule::new("!has(self.database) || !has(self.database.truncate) || !has(self.database.truncate.beforeStage) || has(self.workloads) && self.workloads.exists(w, has(w.stage) && w.stage >= self.database.truncate.beforeStage)")
        .message("no workload has a stage as high as `database.truncate.beforeStage`: leave that out, or give the database's own workload that stage")
)]
pub struct HibernationSpec {
    /// Hibernated or Awake, until somebody changes it. Exactly one of `state` and `schedule`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<DesiredState>,

    /// When to sleep and when to be awake. Exactly one of `state` and `schedule`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,

    /// A state that beats `state` and `schedule` for a time, and expires by itself.
    #[serde(default, rename = "override", skip_serializing_if = "Option::is_none")]
    pub override_: Option<Override>,

    /// What is stopped, or restarted, and in what order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub workloads: Vec<Workload>,

    /// ConfigMaps whose keys have other values while asleep.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub config_maps: Vec<ConfigMapOverride>,

    /// The database whose runtime tables are emptied while asleep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<Database>,

    /// Deals, orders and tasks that have to have ended before anything is stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deals: Option<Deals>,

    /// What happens to what is held when this object is deleted: Wake (the default) restores it;
    /// Keep leaves it held for the next object of this name.
    #[serde(default)]
    pub on_delete: OnDelete,

    /// true: `status.plan` says what would be done, and nothing is changed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,

    /// How long a step may take before the object says Stalled, for example `10m`. It goes on
    /// trying all the same.
    #[serde(default = "ten_minutes")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+(s|m|h))+$') && duration(self) >= duration('5s') && duration(self) <= duration('24h')")
        .message("write a duration from 5s to 24h, for example `10m`"))]
    pub progress_deadline: String,
}

/// What happens to what is held when the object is deleted.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum OnDelete {
    /// Everything is woken before the object goes.
    #[default]
    Wake,
    /// Everything stays as it is, and the next object of this name takes it over.
    Keep,
}

pub(super) fn ten_minutes() -> String {
    "10m".to_owned()
}

/// What the operator has seen and done.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HibernationStatus {
    /// Generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Awake, Hibernating, Hibernated or Waking.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// What is going on, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Ready, Reconciling, Stalled (kstatus), Hibernated, PreflightPassed and Truncated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Vec<Condition>,
    /// The next change of state that schedule or override bring.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_transition: Option<NextTransition>,
    /// `spec.state` as last seen: a change of it is a person's wish.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<DesiredState>,
    /// The hold under way.
    #[serde(flatten)]
    pub hold: HoldState,
    /// The preflight and the last truncation.
    #[serde(flatten)]
    pub database: DatabaseState,
    /// With `dryRun`: what would be done, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plan: Vec<String>,
    /// What was seen of the market, and what it was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deals: Option<DealsStatus>,
    /// When the last deal with a fixed term runs out: it can't go to sleep before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub earliest_start: Option<Time>,
    /// The last transitions, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<HistoryEntry>,
}

pub(super) fn conditions_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let items = generator.subschema_for::<Condition>();
    schemars::json_schema!({
        "type": "array",
        "items": items,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
    })
}

/// Where a Hibernation stands.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum Phase {
    /// Nothing is held.
    #[default]
    Awake,
    /// Going down.
    Hibernating,
    /// Everything asked for is down.
    Hibernated,
    /// Coming back.
    Waking,
}

/// A change of state to come.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct NextTransition {
    /// The state then.
    pub state: DesiredState,
    /// When.
    pub at: Time,
}

/// A transition that is over.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct HistoryEntry {
    /// Where it led.
    pub phase: Phase,
    /// When it was there.
    pub at: Time,
    /// Why, and what was done.
    pub message: String,
}
