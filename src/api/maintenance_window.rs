//! `MaintenanceWindow`: takes workloads that sell compute down at an announced time, and restores them.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::deals::{DEALS_NAME_MESSAGE, DEALS_NAME_RULE, Deals, DealsStatus};
use super::hibernation::{conditions_schema, ten_minutes};
use super::history::{HistoryEntry, NextTransition};
use super::hold_state::HoldState;
use super::schedule::{
    CRON_MESSAGE, CRON_RULE, FROM_TO_MESSAGE, FROM_TO_RULE, MOMENT_MESSAGE, MOMENT_RULE,
    TIME_MESSAGE, TIME_RULE, TIME_ZONE_MESSAGE, TIME_ZONE_RULE, default_time_zone,
};
use super::workload::{ConfigMapOverride, NAME_MESSAGE, NAME_RULE, Workload};

/// Takes workloads down at an announced time without breaking a deal, and restores them.
#[derive(Clone, CustomResource, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "torpor.dev",
    version = "v1alpha1",
    kind = "MaintenanceWindow",
    namespaced,
    status = "MaintenanceWindowStatus",
    shortname = "mw",
    category = "torpor",
    derive = "PartialEq",
    doc = "Takes workloads down at an announced time without breaking a deal, and restores them.",
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(
        name = "Clear",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='DealsClear')].status"
    ),
    printcolumn(name = "Next", type_ = "string", json_path = ".status.nextTransition.state"),
    printcolumn(name = "At", type_ = "string", json_path = ".status.nextTransition.at"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.message",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.size() <= 45")
        .message("the bridge's Service is named after the MaintenanceWindow: use a name of at most 45 characters"),
    validation = Rule::new(DEALS_NAME_RULE).message(DEALS_NAME_MESSAGE)
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.start), has(self.after), has(self.schedule)].filter(x, x).size() == 1")
        .message("give exactly one of `start` (a time), `after` (a duration from now) and `schedule`"),
    validation = Rule::new("!has(self.schedule) || has(self.duration)")
        .message("a window with a `schedule` needs a `duration`, for example `2h`")
)]
pub struct MaintenanceWindowSpec {
    /// `start` is the time at which the window begins, with its UTC offset, for example
    /// `2026-12-01T02:00:00Z`. Set exactly one of `start`, `after` and `schedule`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40))]
    #[x_kube(validation = Rule::new(TIME_RULE).message(TIME_MESSAGE))]
    pub start: Option<String>,

    /// `after` is the time from the creation of this object to the start of the window, from 0s to
    /// 8760h, for example `12h35m20s`. `0s` means now. If you change `after`, the time counts from
    /// the moment at which the operator observes the change. Set exactly one of `start`, `after`
    /// and `schedule`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+(s|m|h))+$') && duration(self) <= duration('8760h')")
        .message("write a duration from 0s to 8760h, for example `12h35m20s`; to cancel the maintenance, as `10000h` does in SONM, write `suspend: true`"))]
    pub after: Option<String>,

    /// `schedule` makes windows begin again and again. It requires `duration`. Set exactly one of
    /// `start`, `after` and `schedule`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<WindowSchedule>,

    /// `duration` is the time from the planned start of the window to its end, from 1s to 8760h,
    /// for example `2h`. A late start does not move the end. Without `duration` the workloads stay
    /// down until this object is suspended or deleted. Required with `schedule`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+(s|m|h))+$') && duration(self) >= duration('1s') && duration(self) <= duration('8760h')")
        .message("write a duration from 1s to 8760h, for example `2h`"))]
    pub duration: Option<String>,

    /// `suspend: true` cancels the window: the operator cancels the announcement, restores the
    /// workloads and offers withdrawn orders again. false (the default): the window applies, if its
    /// time has not passed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,

    /// `workloads` selects the workloads to stop or restart, and sets their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub workloads: Vec<Workload>,

    /// `configMaps` selects ConfigMaps, and sets the values of their keys during the maintenance.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub config_maps: Vec<ConfigMapValues>,

    /// `deals` makes the maintenance wait until no deal, order or task of the application is open.
    /// Nothing is stopped before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deals: Option<Deals>,

    /// `progressDeadline` is the time that one step may take, from 5s to 24h. After that the
    /// condition Stalled becomes True, and the operator keeps trying. Default: `10m`.
    #[serde(default = "ten_minutes")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+(s|m|h))+$') && duration(self) >= duration('5s') && duration(self) <= duration('24h')")
        .message("write a duration from 5s to 24h, for example `10m`"))]
    pub progress_deadline: String,
}

/// `WindowSchedule` lists the times at which windows begin.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WindowSchedule {
    /// `cron` is a cron expression of five fields (minute, hour, day of month, month, day of week).
    /// A window begins at each of its times, which are those of a CronJob. Example: `0 2 * * SUN`.
    #[schemars(length(max = 128))]
    #[x_kube(validation = Rule::new(CRON_RULE).message(CRON_MESSAGE))]
    pub cron: String,
    /// `timeZone` is the IANA name of the time zone of `cron` and of the dates in `exceptions`, for
    /// example `Europe/Kyiv`. Default: `Etc/UTC`.
    #[serde(default = "default_time_zone")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new(TIME_ZONE_RULE).message(TIME_ZONE_MESSAGE))]
    pub time_zone: String,
    /// `exceptions` lists periods in which no window begins, for example holidays.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 200))]
    pub exceptions: Vec<WindowException>,
}

/// `WindowException` is a period in which no window begins.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[x_kube(validation = Rule::new(FROM_TO_RULE).message(FROM_TO_MESSAGE))]
pub struct WindowException {
    /// `from` is the start of the period: a date (`2026-12-24`: from the start of that day in the
    /// time zone of the schedule) or a time with its UTC offset (`2026-12-24T18:00:00Z`).
    #[schemars(length(max = 40))]
    #[x_kube(validation = Rule::new(MOMENT_RULE).message(MOMENT_MESSAGE))]
    pub from: String,
    /// `to` is the end of the period: a date (the last day of the period, in the time zone of the
    /// schedule) or a time with its UTC offset (the period ends at that time).
    #[schemars(length(max = 40))]
    #[x_kube(validation = Rule::new(MOMENT_RULE).message(MOMENT_MESSAGE))]
    pub to: String,
    /// `reason` is a note for readers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub reason: Option<String>,
}

/// `ConfigMapValues` selects one or more ConfigMaps, and sets the values of their keys during the
/// maintenance.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[x_kube(
    validation = Rule::new("has(self.name) != has(self.selector)")
        .message("give exactly one of `name` and `selector`"),
    validation = Rule::new("!has(self.selector) || (has(self.selector.matchLabels) && self.selector.matchLabels.size() > 0) || (has(self.selector.matchExpressions) && self.selector.matchExpressions.size() > 0)")
        .message("an empty `selector` would match every ConfigMap: add labels, or use `name`"),
    validation = Rule::new("self.set.size() > 0")
        .message("`set` is empty: add a key"),
    validation = Rule::new("self.set.all(key, key.matches('^[-._a-zA-Z0-9]+$'))")
        .message("`set` has a key that a ConfigMap cannot have: use letters, digits, '-', '_' and '.'")
)]
pub struct ConfigMapValues {
    /// `name` is the name of one ConfigMap. Set exactly one of `name` and `selector`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(NAME_RULE).message(NAME_MESSAGE))]
    pub name: Option<String>,
    /// `selector` selects ConfigMaps by labels, for example if their names carry a hash. Set
    /// exactly one of `name` and `selector`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
    /// `set` maps keys to their values during the maintenance. After the maintenance the operator
    /// restores each original value, and removes a key that did not exist before.
    #[schemars(extend(
        "maxProperties" = 64,
        "additionalProperties" = {"type": "string", "maxLength": 4096}
    ))]
    pub set: BTreeMap<String, String>,
}

impl From<&ConfigMapValues> for ConfigMapOverride {
    fn from(values: &ConfigMapValues) -> Self {
        let ConfigMapValues { name, selector, set } = values.clone();
        Self { name, selector, set }
    }
}

/// `MaintenanceWindowStatus` is the observed state of a MaintenanceWindow.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MaintenanceWindowStatus {
    /// `observedGeneration` is the generation of the spec that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `phase` is Scheduled, Blocked, Draining, InMaintenance, Restoring, Completed, Missed,
    /// Cancelled or Refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<WindowPhase>,
    /// `message` summarizes the current state in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// `conditions` are Ready, Reconciling, Stalled (as in kstatus), InMaintenance and DealsClear.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Vec<Condition>,
    /// `nextTransition` is the next start (to InMaintenance) or end (to Operating) of a window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_transition: Option<NextTransition<WindowState>>,
    /// `earliestStart` is the end of the last open deal with a fixed term. The maintenance cannot
    /// start before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub earliest_start: Option<Time>,
    /// `after` is the last observed value of `spec.after`, and the time from which it counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<CountedFrom>,
    /// `schedule` is the last observed `spec.schedule`, and the time from which its windows count: a
    /// window that would have begun earlier does not begin. It is absent while `spec.suspend` is
    /// true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<CountedFrom>,
    /// `window` is the next window, or the window under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<WindowStatus>,
    /// `last` is the last finished window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<LastWindow>,
    /// `deals` is the last observation of the market, and the state of the announcement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deals: Option<DealsStatus>,
    /// The hold under way.
    #[serde(flatten)]
    pub hold: HoldState,
    /// `history` lists the last transitions, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<HistoryEntry<WindowPhase>>,
}

/// The phase of the window: Scheduled, Blocked, Draining, InMaintenance, Restoring, Completed,
/// Missed, Cancelled or Refused.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum WindowPhase {
    /// The window is in the future.
    #[default]
    Scheduled,
    /// The start is due, and an open deal that cannot be interrupted delays it.
    Blocked,
    /// Torpor is withdrawing orders, closing deals and ending tasks.
    Draining,
    /// The selected workloads are going down, or are down.
    InMaintenance,
    /// The window is over or cancelled, and the operator is restoring the workloads.
    Restoring,
    /// The window is over, and all workloads are restored.
    Completed,
    /// The time of the window has passed, and nothing was stopped.
    Missed,
    /// The window was cancelled.
    Cancelled,
    /// A deal or order was open whose treatment in the spec is Refuse.
    Refused,
}

/// `WindowState` is InMaintenance or Operating.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum WindowState {
    /// The workloads are down.
    InMaintenance,
    /// The workloads are as they were.
    Operating,
}

/// `CountedFrom` is a value of the spec, and the time from which it counts: the creation of the
/// object, or the first observation of a changed value.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct CountedFrom {
    /// `value` is the value in the spec.
    pub value: String,
    /// `since` is the time from which `value` counts.
    pub since: Time,
}

/// `WindowStatus` is one window.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct WindowStatus {
    /// `planned` is the start in the spec.
    pub planned: Time,
    /// `start` is the actual start, which `forward: Postpone` may have moved.
    pub start: Time,
    /// `end` is the end of the window. It is absent without `spec.duration`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Time>,
    /// `begun` is true once a workload or ConfigMap was held, or the maintenance began without one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub begun: bool,
}

/// `LastWindow` is a finished window.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct LastWindow {
    /// `planned` is the start in the spec.
    pub planned: Time,
    /// `over` is the time at which the window was over.
    pub over: Time,
    /// `outcome` is Completed, Missed, Cancelled or Refused.
    pub outcome: WindowPhase,
    /// `reason` is the reason of the outcome, for machines.
    pub reason: String,
    /// `message` is the reason of the outcome, for people.
    pub message: String,
    /// `generation` is the generation of the spec at the end of the window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
}
