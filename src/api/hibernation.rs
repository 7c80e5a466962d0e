//! `Hibernation`: puts a project on hold, and wakes it as it was.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::database::Database;
use super::deals::{DEALS_NAME_MESSAGE, DEALS_NAME_RULE, Deals, DealsStatus};
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
        .message("no entry of `workloads` has a `stage` of `database.truncate.beforeStage` or higher: remove `beforeStage`, or give the database's own workload that `stage`")
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
    /// The hibernation under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub episode: Option<Episode>,
    /// The step under way, and since when it has been waiting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<StepStatus>,
    /// Workloads and ConfigMaps, 100 at most; `counts` tells of all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub workloads: Vec<WorkloadStatus>,
    /// How many there are, and how far they have come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<Counts>,
    /// Originals of all that is held, by `Kind/name/uid`, in a compact form: a second record, for
    /// the case that an object's own annotation is torn off.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub originals: BTreeMap<String, String>,
    /// The truncation's dry run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preflight: Option<Preflight>,
    /// The last truncation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truncation: Option<Truncation>,
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

/// One hibernation, from the first hold to the end of the wake.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Episode {
    /// Written into every hold.
    pub id: String,
    /// When it began.
    pub began: Time,
    /// Why, in words.
    pub cause: String,
    /// When all was down; absent until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asleep_since: Option<Time>,
    /// When the wake began; absent until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waking_since: Option<Time>,
    /// Whether this hibernation empties tables, and whether it has.
    pub truncation: EpisodeTruncation,
    /// The last attempt at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<Attempt>,
    /// `notAfter` of the attempt before the last one: until then nothing wakes, as its Job may still
    /// be created once more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub earlier_not_after: Option<Time>,
}

/// Whether a hibernation empties tables.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum EpisodeTruncation {
    /// Nobody asked for it.
    NotAsked,
    /// Asked for, and not done.
    Pending,
    /// Done, once.
    Done,
    /// The hibernation was taken over from its holds, and whether it was done is recorded nowhere:
    /// it is not done again.
    Unknown,
}

/// One truncation Job. Written before the Job is created.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// Counts from 1 within the hibernation.
    pub number: i32,
    /// Name of the Job.
    pub job: String,
    /// After this, by the database's clock, the Job commits nothing.
    pub not_after: Time,
    /// Digest of the database's settings that the Job works with.
    pub settings: String,
    /// How it ended; absent while it may be running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<AttemptEnd>,
    /// What it said, where it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When another attempt may begin, where this one failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Time>,
}

/// How a Job ended.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum AttemptEnd {
    /// It did what it was to do.
    Succeeded,
    /// It refused: something is in the way that does not go by itself.
    Refused,
    /// It failed, and may work another time.
    Failed,
}

/// The step that a transition is at.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StepStatus {
    /// Preflight, ConfigMaps, LetGo, Stage 0.., Restart, Truncate; on the way back Fence first, and
    /// last Ready and Truncation, where the Job is deleted. Keep: deleted with `onDelete: Keep`.
    pub name: String,
    /// Since when.
    pub since: Time,
    /// Waking: stages that were passed though not all of them was ready in time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overdue: Vec<String>,
}

/// One workload or ConfigMap.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadStatus {
    /// Kind.
    pub kind: String,
    /// Name.
    pub name: String,
    /// Running, Stopping, Down, Restarting, Restarted, Overridden, Waking, Ready or Refused.
    pub state: String,
    /// What it has when awake: replicas, whether suspended, or the value of a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original: Option<String>,
    /// What it waits for, or why it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Counts over all workloads and ConfigMaps.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Counts {
    /// Matched by the spec, or held.
    pub total: i32,
    /// Held by this object.
    pub held: i32,
    /// Down, restarted or overridden as asked.
    pub down: i32,
    /// Refused.
    pub refused: i32,
}

/// The truncation's dry run.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Preflight {
    /// The Job.
    pub attempt: Attempt,
    /// What it would free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tables: Option<i32>,
    /// Estimated rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<i64>,
    /// Bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<i64>,
}

/// A truncation that was done.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Truncation {
    /// The hibernation that it belongs to.
    pub episode: String,
    /// When.
    pub at: Time,
    /// How many tables were emptied.
    pub tables: i32,
    /// Rows, as the database estimated them.
    pub rows: i64,
    /// Bytes freed.
    pub bytes_freed: i64,
    /// Some of the tables, the largest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub largest: Vec<EmptiedTable>,
}

/// A table that was emptied.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EmptiedTable {
    /// Name.
    pub name: String,
    /// Rows, as the database estimated them.
    pub rows: i64,
    /// Bytes freed.
    pub bytes: i64,
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
