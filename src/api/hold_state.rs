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

/// `Episode` is one hibernation or maintenance, from the first hold to the end of the wake.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Episode {
    /// `id` is recorded in every hold of the episode.
    pub id: String,
    /// `began` is the start of the episode.
    pub began: Time,
    /// `cause` is the reason of the start, as text.
    pub cause: String,
    /// `asleepSince` is the time at which all workloads were down. It is absent until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asleep_since: Option<Time>,
    /// `wakingSince` is the time at which the wake began or, if it began late, was due. It is absent
    /// until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waking_since: Option<Time>,
    /// `truncation` tells whether this episode empties tables, and whether it has done so.
    pub truncation: EpisodeTruncation,
    /// `attempt` is the last truncation Job of the episode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<Attempt>,
    /// `earlierNotAfter` is the `notAfter` of the attempt before the last one. The operator
    /// restores nothing before that time, because the earlier Job could still be created once more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub earlier_not_after: Option<Time>,
}

/// `EpisodeTruncation` tells whether an episode empties tables.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum EpisodeTruncation {
    /// No truncation is requested.
    NotAsked,
    /// A truncation is requested, and not done.
    Pending,
    /// The truncation is done.
    Done,
    /// The episode was reconstructed from its holds, and no record tells whether the truncation was
    /// done. The operator does not repeat it.
    Unknown,
}

/// `Attempt` is one truncation Job. The operator writes it before it creates the Job.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// `number` counts the attempts of an episode from 1.
    pub number: i32,
    /// `job` is the name of the Job.
    pub job: String,
    /// `notAfter` is the time, by the database's clock, after which the Job commits nothing.
    pub not_after: Time,
    /// `settings` is the digest of the database settings of the Job.
    pub settings: String,
    /// `ended` is the result of the Job. It is absent while the Job may be running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<AttemptEnd>,
    /// `message` is the error of a failed Job. While the next preflight runs, it is the error of the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// `keptBack` is true if sessions of the database kept the last Job back. `message` names them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub kept_back: bool,
    /// `retryAt` is the earliest time of the next attempt after a failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Time>,
}

/// The result of the Job: Succeeded, Refused or Failed. It is absent while the Job may be running.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum AttemptEnd {
    /// The Job succeeded.
    Succeeded,
    /// The Job refused to run: an obstacle needs a person.
    Refused,
    /// The Job failed. A retry may succeed.
    Failed,
}

/// `StepStatus` is the current step of a transition.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StepStatus {
    /// `name` is the name of the step. Going down: Preflight, ConfigMaps, Release, Stage N, Restart and
    /// Truncate. At a wake: Fence, ConfigMaps, Release, Stage N in reverse, Restart, Ready and Truncation (the
    /// Job is deleted). Deals or Market: Torpor waits for the market. Keep: a deletion with
    /// `onDelete: Keep`.
    pub name: String,
    /// `since` is the time since which the step has been waiting.
    pub since: Time,
    /// `overdue` lists the stages of a wake that the operator passed although not all of their
    /// workloads were ready in time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overdue: Vec<String>,
}

/// `WorkloadStatus` is the state of one workload or ConfigMap.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadStatus {
    /// `kind` is the kind of the object.
    pub kind: String,
    /// `name` is the name of the object.
    pub name: String,
    /// `state` is Running, Stopping, Down, Reduced, Restarting, Restarted, Overridden, Changed, Waking, Ready,
    /// Refused or Skipped. Reduced: it keeps `replicas` of its entry in `spec.workloads`. Changed: another client has changed a held field, and the operator has not
    /// reverted it yet.
    pub state: String,
    /// `original` is the value that the wake restores: replicas, whether suspended, or the value of
    /// a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original: Option<String>,
    /// `message` is the obstacle that the object waits for, or the reason why it is not held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// `foreignWrites` counts the writes of other field managers to held fields of the object. It is
    /// absent if there were none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub foreign_writes: Option<ForeignWrites>,
}

/// `ForeignWrites` counts the writes of other field managers to held fields of one object, in this
/// hibernation or maintenance. From the third on the object is contested.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ForeignWrites {
    /// `count` is the number of writes.
    pub count: i32,
    /// `first` is the time at which the operator reverted the first write.
    pub first: Time,
    /// `last` is the time at which the operator reverted the last write.
    pub last: Time,
    /// `manager` is the field manager of the last write. It is absent if managedFields do not name one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manager: Option<String>,
    /// `fields` are the written fields, as JSON pointers, at most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
    /// `change` describes the last write, and what the wake restores.
    pub change: String,
}

/// `Counts` counts workloads and ConfigMaps by progress.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Counts {
    /// `total` counts objects that the spec selects or that are held.
    pub total: i32,
    /// `held` counts objects that this object holds.
    pub held: i32,
    /// `down` counts objects that are down, reduced, restarted or overridden, as the spec requires.
    pub down: i32,
    /// `refused` counts objects that the operator cannot hold.
    pub refused: i32,
}

/// `Preflight` is a dry run of the truncation.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Preflight {
    /// `attempt` is the Job of the dry run.
    pub attempt: Attempt,
    /// `passedAt` is the time at which the dry run last passed. The operator repeats the dry run every
    /// day, and before a hibernation if it is older than an hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passed_at: Option<Time>,
    /// `tables` is the number of tables that the truncation would empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tables: Option<i32>,
    /// `rows` is the number of rows in these tables, as the database estimates it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<i64>,
    /// `bytes` is the disk space that the truncation would free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<i64>,
    /// `sessions` lists sessions of the database, at the time of the dry run, that would keep the
    /// truncation back: those from pods that a hibernation does not stop.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sessions: Vec<String>,
    /// `hiddenSessions` is the number of sessions of which the role may not see the address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hidden_sessions: Option<i32>,
}

/// `Truncation` is a successful truncation.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Truncation {
    /// `episode` is the id of the episode.
    pub episode: String,
    /// `at` is the time of the truncation.
    pub at: Time,
    /// `tables` is the number of emptied tables.
    pub tables: i32,
    /// `rows` is the number of deleted rows, as the database estimated it.
    pub rows: i64,
    /// `bytesFreed` is the freed disk space in bytes.
    pub bytes_freed: i64,
    /// `largest` lists some of the emptied tables, the largest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub largest: Vec<EmptiedTable>,
}

/// `EmptiedTable` is one emptied table.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EmptiedTable {
    /// `name` is the name of the table.
    pub name: String,
    /// `rows` is the number of deleted rows, as the database estimated it.
    pub rows: i64,
    /// `bytes` is the freed disk space in bytes.
    pub bytes: i64,
}
