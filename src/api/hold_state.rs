//! The part of a status that tells of a hold: the same for a Hibernation and a MaintenanceWindow.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The hold of one object: what it has taken down, and how far that has come.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HoldState {
    /// The hibernation or maintenance under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub episode: Option<Episode>,
    /// The step under way, and since when it has been waiting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<StepStatus>,
    /// Workloads and ConfigMaps, at most 100. `counts` counts all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub workloads: Vec<WorkloadStatus>,
    /// Counts of all workloads and ConfigMaps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<Counts>,
    /// The original values of all held objects, by `Kind/name/uid`, in a compact form. Torpor reads
    /// them where somebody removed the annotation `torpor.dev/hold` of an object.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub originals: BTreeMap<String, String>,
}

/// The database of a Hibernation.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseState {
    /// The dry run of the truncation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preflight: Option<Preflight>,
    /// The last truncation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truncation: Option<Truncation>,
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
