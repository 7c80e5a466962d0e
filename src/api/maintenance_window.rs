//! `MaintenanceWindow`: what sells compute goes down at an announced time, and comes back.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::deals::{DEALS_NAME_MESSAGE, DEALS_NAME_RULE, Deals, DealsStatus};
use super::hibernation::{conditions_schema, ten_minutes};
use super::hold_state::HoldState;
use super::schedule::{
    CRON_MESSAGE, CRON_RULE, FROM_TO_MESSAGE, FROM_TO_RULE, MOMENT_MESSAGE, MOMENT_RULE,
    TIME_MESSAGE, TIME_RULE, TIME_ZONE_MESSAGE, TIME_ZONE_RULE, default_time_zone,
};
use super::workload::{ConfigMapOverride, NAME_MESSAGE, NAME_RULE, Workload};

/// Takes workloads down at an announced time, once no deal, order or task binds them any more,
/// and brings them back when the window ends.
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
    doc = "Takes workloads down at an announced time without breaking a deal, and brings them back.",
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
        .message("the name may have 45 characters at most, as it names the bridge's Service"),
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
    /// When it begins: a time with its offset, such as `2026-12-01T02:00:00Z`. Exactly one of
    /// `start`, `after` and `schedule`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40))]
    #[x_kube(validation = Rule::new(TIME_RULE).message(TIME_MESSAGE))]
    pub start: Option<String>,

    /// How long after the object was created it begins, such as `12h35m20s`; `0s` is now. A value that is
    /// changed counts from when the change was seen. Exactly one of `start`, `after` and `schedule`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+(s|m|h))+$') && duration(self) <= duration('8760h')")
        .message("write a duration from 0s to 8760h, for example `12h35m20s`; to call the maintenance off, as `10000h` does in SONM, write `suspend: true`"))]
    pub after: Option<String>,

    /// When it begins, again and again. Exactly one of `start`, `after` and `schedule`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<WindowSchedule>,

    /// How long it lasts from its planned start, however late it began, for example `2h`. Without it everything is down until
    /// the object is suspended or deleted. Required with `schedule`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+(s|m|h))+$') && duration(self) >= duration('1s') && duration(self) <= duration('8760h')")
        .message("write a duration from 1s to 8760h, for example `2h`"))]
    pub duration: Option<String>,

    /// true: the window is called off. What is announced is taken back, what is down comes back, and orders are
    /// offered again. false: it applies again, if its time has not passed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,

    /// What is stopped, or restarted, and in what order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub workloads: Vec<Workload>,

    /// ConfigMaps whose keys have other values during the maintenance.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub config_maps: Vec<ConfigMapValues>,

    /// Deals, orders and tasks that have to have ended before anything is stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deals: Option<Deals>,

    /// How long a step may take before the object says Stalled, for example `10m`. It goes on
    /// trying all the same.
    #[serde(default = "ten_minutes")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+(s|m|h))+$') && duration(self) >= duration('5s') && duration(self) <= duration('24h')")
        .message("write a duration from 5s to 24h, for example `10m`"))]
    pub progress_deadline: String,
}

/// When windows begin.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WindowSchedule {
    /// When each begins: a cron expression of five fields (minute, hour, day of month, month, day of week), such as
    /// `0 2 * * SUN`.
    #[schemars(length(max = 128))]
    #[x_kube(validation = Rule::new(CRON_RULE).message(CRON_MESSAGE))]
    pub cron: String,
    /// The IANA name of the time zone in which it is read, such as `Europe/Kyiv`.
    #[serde(default = "default_time_zone")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new(TIME_ZONE_RULE).message(TIME_ZONE_MESSAGE))]
    pub time_zone: String,
    /// Spans of time in which none begins, such as holidays.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 200))]
    pub exceptions: Vec<WindowException>,
}

/// A span of time in which no window begins.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[x_kube(validation = Rule::new(FROM_TO_RULE).message(FROM_TO_MESSAGE))]
pub struct WindowException {
    /// Its beginning: a date (`2026-12-24`, from the start of that day in the schedule's zone) or a
    /// time with its offset (`2026-12-24T18:00:00Z`).
    #[schemars(length(max = 40))]
    #[x_kube(validation = Rule::new(MOMENT_RULE).message(MOMENT_MESSAGE))]
    pub from: String,
    /// Its end: a date (the last day, up to its end in the schedule's zone) or a time with its
    /// offset, at which the exception is over.
    #[schemars(length(max = 40))]
    #[x_kube(validation = Rule::new(MOMENT_RULE).message(MOMENT_MESSAGE))]
    pub to: String,
    /// Why, for whoever reads it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub reason: Option<String>,
}

/// A ConfigMap (or several) whose keys are overridden during the maintenance.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[x_kube(
    validation = Rule::new("has(self.name) != has(self.selector)")
        .message("give exactly one of `name` and `selector`"),
    validation = Rule::new("!has(self.selector) || (has(self.selector.matchLabels) && self.selector.matchLabels.size() > 0) || (has(self.selector.matchExpressions) && self.selector.matchExpressions.size() > 0)")
        .message("an empty selector would match every ConfigMap: name the labels, or use `name`"),
    validation = Rule::new("self.set.size() > 0")
        .message("`set` is empty: give at least one key"),
    validation = Rule::new("self.set.all(key, key.matches('^[-._a-zA-Z0-9]+$'))")
        .message("a key of `set` is none that a ConfigMap can have: use letters, digits, '-', '_' and '.'")
)]
pub struct ConfigMapValues {
    /// Name of the ConfigMap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(NAME_RULE).message(NAME_MESSAGE))]
    pub name: Option<String>,
    /// Labels of the ConfigMaps, for names that carry a hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
    /// Keys and the values that they have during the maintenance. Afterwards each gets its value
    /// back; a key that was not there goes away again.
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

/// What the operator has seen and done.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MaintenanceWindowStatus {
    /// Generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Scheduled, Blocked, Draining, InMaintenance, Restoring, Completed, Missed, Cancelled or
    /// Refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<WindowPhase>,
    /// What is going on, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Ready, Reconciling, Stalled (kstatus), InMaintenance and DealsClear.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Vec<Condition>,
    /// The next start or end that time brings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_transition: Option<NextWindowTransition>,
    /// When the last deal with a fixed term runs out: it can't begin before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub earliest_start: Option<Time>,
    /// `spec.after` as last seen, and since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<AfterStatus>,
    /// The window that comes next, or is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<WindowStatus>,
    /// The last window that is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<LastWindow>,
    /// What was seen of the market, and what it was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deals: Option<DealsStatus>,
    /// The hold under way.
    #[serde(flatten)]
    pub hold: HoldState,
    /// The last transitions, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<WindowHistoryEntry>,
}

/// Where a window stands.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum WindowPhase {
    /// It is to come.
    #[default]
    Scheduled,
    /// Its time has come, and something that can't be interrupted binds.
    Blocked,
    /// Orders are withdrawn, deals closed, tasks ended.
    Draining,
    /// What it names is going down, or is down.
    InMaintenance,
    /// It is over, or called off, and everything comes back.
    Restoring,
    /// It is over, and everything is back.
    Completed,
    /// Its time has passed, and nothing was stopped.
    Missed,
    /// It was called off.
    Cancelled,
    /// A deal or an order was open that the spec says is not to be touched.
    Refused,
}

/// What time brings next.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct NextWindowTransition {
    /// InMaintenance at its start, Operating at its end.
    pub state: WindowState,
    /// When.
    pub at: Time,
}

/// Down or up.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum WindowState {
    /// Down.
    InMaintenance,
    /// Up, as it was.
    Operating,
}

/// `spec.after`, and when it was first seen so.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct AfterStatus {
    /// As it was written.
    pub value: String,
    /// From when it counts.
    pub since: Time,
}

/// One window.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct WindowStatus {
    /// Its start as the spec gives it.
    pub planned: Time,
    /// Its start, which `forward: Postpone` may have moved.
    pub start: Time,
    /// Its end; none where it has no duration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Time>,
    /// Whether something was stopped in it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub begun: bool,
}

/// A window that is over.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct LastWindow {
    /// Its start as the spec gave it.
    pub planned: Time,
    /// When it was over.
    pub over: Time,
    /// Completed, Missed, Cancelled or Refused.
    pub outcome: WindowPhase,
    /// Why, for machines.
    pub reason: String,
    /// Why, for people.
    pub message: String,
    /// Generation of the spec that it ended with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
}

/// One transition.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct WindowHistoryEntry {
    /// The phase that was entered.
    pub phase: WindowPhase,
    /// When.
    pub at: Time,
    /// What there is to say of it.
    pub message: String,
}
