//! `Hibernation`: puts a project on hold, and wakes it as it was.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::database::Database;
use super::deals::{DEALS_NAME_MESSAGE, DEALS_NAME_RULE, Deals, DealsStatus};
use super::history::{HistoryEntry, NextTransition};
use super::hold_state::{DatabaseState, HoldState};
use super::schedule::{DesiredState, Override, Schedule};
use super::workload::{ConfigMapOverride, Workload};

/// Puts a project on hold and wakes it exactly as it was.
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
        .message("the truncation's Jobs are named after the Hibernation: use a name of at most 63 characters"),
    validation = Rule::new(DEALS_NAME_RULE).message(DEALS_NAME_MESSAGE)
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.state) != has(self.schedule)")
        .message("give exactly one of `state` (Hibernated or Awake) and `schedule`"),
    validation = Rule::new("!has(self.deals) || !has(self.deals.forward) || self.deals.forward != 'Postpone'")
        .message("a Hibernation cannot be postponed, because it has no end that could move: use `forward: Wait` or `forward: Refuse`"),
    validation = Rule::new("!has(self.database) || !has(self.database.truncate) || !has(self.database.truncate.beforeStage) || has(self.workloads) && self.workloads.exists(w, has(w.stage) && w.stage >= self.database.truncate.beforeStage)")
        .message("no entry of `workloads` has a `stage` of `database.truncate.beforeStage` or higher: remove `beforeStage`, or give the database's own workload that `stage`"),
    validation = Rule::new("!has(self.database) || has(self.database.truncate.ignorePods) || !has(self.workloads) || !self.workloads.exists(w, has(w.replicas) && w.replicas > 0 && (!has(w.action) || w.action == 'Stop') && !(has(self.database.truncate.beforeStage) && has(w.stage) && w.stage >= self.database.truncate.beforeStage))")
        .message("an entry of `workloads` keeps `replicas`, and its pods may write to the database: set `replicas: 0`, add `action: Restart` if the workload reads an overridden ConfigMap, or select its pods by `database.truncate.ignorePods` if they do not write")
)]
pub struct HibernationSpec {
    /// `state` is the desired state: Hibernated or Awake. It applies until somebody changes it. Set
    /// exactly one of `state` and `schedule`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<DesiredState>,

    /// `schedule` lists the times at which the project goes to sleep and wakes. Set exactly one of
    /// `state` and `schedule`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,

    /// `override` sets a state that takes precedence over `state` and `schedule` until a given
    /// time. It then expires by itself.
    #[serde(default, rename = "override", skip_serializing_if = "Option::is_none")]
    pub override_: Option<Override>,

    /// `workloads` selects the workloads to stop or restart, and sets their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub workloads: Vec<Workload>,

    /// `configMaps` selects ConfigMaps, and sets the values of their keys while the project is
    /// hibernated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub config_maps: Vec<ConfigMapOverride>,

    /// `wake` sets how workloads are restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wake: Option<Wake>,

    /// `database` names the database whose tables are emptied while the project is hibernated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<Database>,

    /// `deals` makes the hibernation wait until no deal, order or task of the application is open.
    /// Nothing is stopped before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deals: Option<Deals>,

    /// `onDelete` decides about held objects when this Hibernation is deleted. Wake (the default):
    /// the operator restores them before the Hibernation goes. Keep: they stay held, and the next
    /// Hibernation of the same name takes them over.
    #[serde(default)]
    pub on_delete: OnDelete,

    /// `dryRun: true` makes the operator change nothing, and list the actions that it would take in
    /// `status.plan`. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,

    /// `progressDeadline` is the time that one step may take, from 5s to 24h. After that the
    /// condition Stalled becomes True, and the operator keeps trying. Default: `10m`.
    #[serde(default = "ten_minutes")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+(s|m|h))+$') && duration(self) >= duration('5s') && duration(self) <= duration('24h')")
        .message("write a duration from 5s to 24h, for example `10m`"))]
    pub progress_deadline: String,
}

/// `Wake` sets how workloads are restored.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Wake {
    /// `maxConcurrent` is the number of workloads of a stage that come up at the same time. The next one
    /// begins when one of them is ready, or at the latest after `progressDeadline`. It does not apply
    /// when the Hibernation is deleted. Default: all workloads of a stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub max_concurrent: Option<i32>,
}

/// `OnDelete` decides about held objects when their Hibernation is deleted.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum OnDelete {
    /// The operator restores all held objects before the Hibernation goes.
    #[default]
    Wake,
    /// Held objects stay held, and the next Hibernation of the same name takes them over.
    Keep,
}

pub(super) fn ten_minutes() -> String {
    "10m".to_owned()
}

/// `HibernationStatus` is the observed state of a Hibernation.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HibernationStatus {
    /// `observedGeneration` is the generation of the spec that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `phase` is Awake, Hibernating, Hibernated or Waking.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// `message` summarizes the current state in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// `conditions` are Ready, Reconciling, Stalled (as in kstatus), Hibernated, PreflightPassed,
    /// Truncated and DealsClear.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Vec<Condition>,
    /// `nextTransition` is the next change of state by schedule or override.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_transition: Option<NextTransition<DesiredState>>,
    /// `asked` is the last observed value of `spec.state`. A changed value is the request of a
    /// person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<DesiredState>,
    /// The hold under way.
    #[serde(flatten)]
    pub hold: HoldState,
    /// The preflight and the last truncation.
    #[serde(flatten)]
    pub database: DatabaseState,
    /// `plan` lists, in order, the actions that `spec.dryRun` keeps the operator from taking.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plan: Vec<String>,
    /// `deals` is the last observation of the market, and the state of the announcement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deals: Option<DealsStatus>,
    /// `earliestStart` is the end of the last open deal with a fixed term. The hibernation cannot
    /// start before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub earliest_start: Option<Time>,
    /// `history` lists the last transitions, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<HistoryEntry<Phase>>,
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

/// The phase of the Hibernation: Awake, Hibernating, Hibernated or Waking.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum Phase {
    /// No object is held.
    #[default]
    Awake,
    /// The operator is taking the workloads down.
    Hibernating,
    /// All selected workloads are down.
    Hibernated,
    /// The operator is restoring the workloads.
    Waking,
}
