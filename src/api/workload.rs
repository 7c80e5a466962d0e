//! Which workloads and ConfigMaps an object takes hold of.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a name in Kubernetes looks like: another one is none that `kubectl get` could have shown.
pub const NAME_RULE: &str = "self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')";
/// What to write instead of what [`NAME_RULE`] refuses.
pub const NAME_MESSAGE: &str = "no object can have this name: write it as `kubectl get` shows it, in \
    lowercase letters, digits, '-' and '.'";

/// What is done to a workload.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum Action {
    /// It goes to zero (or is suspended) and is kept there.
    #[default]
    Stop,
    /// It stays up and is rolled, so that its pods read the ConfigMaps anew.
    Restart,
}

/// What happens at wake to the runs that a CronJob missed.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum MissedRuns {
    /// They are not made up for: the next run is the next one of its schedule.
    #[default]
    Skip,
    /// The last one starts at once, as Kubernetes does when a CronJob is unsuspended.
    Run,
}

/// One workload by name, or several by selector, or all of a kind in the namespace.
///
/// Of two entries that match one object, a name beats a selector, a selector beats `all`, and Stop
/// beats Restart.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.name), has(self.selector), has(self.all)].filter(x, x).size() == 1")
        .message("give exactly one of `name`, `selector` and `all: true`"),
    validation = Rule::new("!has(self.all) || self.all")
        .message("`all` can only be true: leave it out and give `name` or `selector` instead"),
    validation = Rule::new("!has(self.selector) || (has(self.selector.matchLabels) && self.selector.matchLabels.size() > 0) || (has(self.selector.matchExpressions) && self.selector.matchExpressions.size() > 0)")
        .message("an empty selector would match everything: write `all: true` if that is meant"),
    validation = Rule::new("!has(self.except) || self.except.size() == 0 || !has(self.name)")
        .message("`except` goes with `all` or `selector`, not with `name`"),
    validation = Rule::new("!has(self.action) || self.action != 'Restart' || self.kind in ['Deployment', 'StatefulSet', 'DaemonSet']")
        .message("only a Deployment, StatefulSet or DaemonSet can be restarted: use `action: Stop`"),
    validation = Rule::new("!has(self.action) || self.action != 'Restart' || !has(self.stage)")
        .message("a workload with `action: Restart` has no `stage`: it is rolled after the stages"),
    validation = Rule::new("!has(self.missedRuns) || self.kind == 'CronJob'")
        .message("`missedRuns` is for a CronJob: leave it out")
)]
pub struct Workload {
    /// Kind of the workload: Deployment, StatefulSet, ReplicaSet, DaemonSet, CronJob or Job.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Z][A-Za-z0-9]*$')")
        .message("write the kind as a manifest does, in the singular and with its capital letters, such as `Deployment`"))]
    pub kind: String,

    /// Name of one workload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(NAME_RULE).message(NAME_MESSAGE))]
    pub name: Option<String>,

    /// Labels of the workloads. It must not be empty. What matches it later, while the object is
    /// asleep, is held too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,

    /// true: every workload of this kind in the namespace, but those in `except`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all: Option<bool>,

    /// Names that `all` or `selector` leaves out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 253)))]
    pub except: Vec<String>,

    /// Stages go down in ascending order and come back in descending order, each down (or ready)
    /// before the next. Default: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub stage: Option<i32>,

    /// Stop (the default) takes it to zero. Restart leaves it up and rolls it, so that it reads
    /// the ConfigMaps; at wake it is rolled back.
    #[serde(default, skip_serializing_if = "is_default")]
    pub action: Action,

    /// For a CronJob: whether the run that it missed while asleep starts at wake (Run, as
    /// Kubernetes does) or not (Skip, the default).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed_runs: Option<MissedRuns>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A ConfigMap (or several) whose keys are overridden for the time of the hold.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.name) != has(self.selector)")
        .message("give exactly one of `name` and `selector`"),
    validation = Rule::new("!has(self.selector) || (has(self.selector.matchLabels) && self.selector.matchLabels.size() > 0) || (has(self.selector.matchExpressions) && self.selector.matchExpressions.size() > 0)")
        .message("an empty selector would match every ConfigMap: name the labels, or use `name`"),
    validation = Rule::new("!has(self.set) || self.set.size() > 0")
        .message("`set` is empty: give at least one key, or leave it out for HIBERNATE_MODE and INGEST_ENABLED"),
    validation = Rule::new("!has(self.set) || self.set.all(key, key.matches('^[-._a-zA-Z0-9]+$'))")
        .message("a key of `set` is none that a ConfigMap can have: use letters, digits, '-', '_' and '.'")
)]
pub struct ConfigMapOverride {
    /// Name of the ConfigMap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(NAME_RULE).message(NAME_MESSAGE))]
    pub name: Option<String>,

    /// Labels of the ConfigMaps, for names that carry a hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,

    /// Keys and the values that they have while asleep. At wake each gets its value back; a key
    /// that was not there goes away again.
    #[serde(default = "hibernate_mode")]
    #[schemars(extend(
        "maxProperties" = 64,
        "additionalProperties" = {"type": "string", "maxLength": 4096}
    ))]
    pub set: BTreeMap<String, String>,
}

/// What the runbook writes into the env file.
pub fn hibernate_mode() -> BTreeMap<String, String> {
    [("HIBERNATE_MODE", "true"), ("INGEST_ENABLED", "false")]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}
