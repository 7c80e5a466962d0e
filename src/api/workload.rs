//! `spec.workloads` and `spec.configMaps`: the objects to hold.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The name of a Kubernetes object.
pub const NAME_RULE: &str = "self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')";
/// Message of [`NAME_RULE`].
pub const NAME_MESSAGE: &str = "this is not the name of an object: write the name as \
    `kubectl get` shows it, in lowercase letters, digits, '-' and '.'";

/// `Action` is the way in which a workload is held.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum Action {
    /// The operator scales the workload to zero (or suspends it), and keeps it there.
    #[default]
    Stop,
    /// The workload stays up. The operator rolls it, so that its pods read the overridden
    /// ConfigMaps.
    Restart,
}

/// Decides about the runs that a CronJob missed during the hold. Skip (the default): no missed run
/// is made up for. Run: the last missed run starts at wake, which is what Kubernetes does when a
/// CronJob is resumed.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum MissedRuns {
    /// Missed runs are not made up for: the CronJob next runs at its next scheduled time.
    #[default]
    Skip,
    /// The CronJob starts the last missed run at once, which is what Kubernetes does when a CronJob
    /// is resumed.
    Run,
}

/// `Workload` selects one workload by name, several by selector, or all of a kind in the namespace.
///
/// If two entries match the same object, `name` takes precedence over `selector`, `selector` over
/// `all`, and the action Stop over Restart.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.name), has(self.selector), has(self.all)].filter(x, x).size() == 1")
        .message("give exactly one of `name`, `selector` and `all: true`"),
    validation = Rule::new("!has(self.all) || self.all")
        .message("`all` can only be true: remove `all`, and give `name` or `selector` instead"),
    validation = Rule::new("!has(self.selector) || (has(self.selector.matchLabels) && self.selector.matchLabels.size() > 0) || (has(self.selector.matchExpressions) && self.selector.matchExpressions.size() > 0)")
        .message("an empty `selector` would match all objects of the kind: add labels, or write `all: true`"),
    validation = Rule::new("!has(self.except) || self.except.size() == 0 || !has(self.name)")
        .message("`except` works with `all` or `selector` only: remove `except`, or replace `name`"),
    validation = Rule::new("!has(self.action) || self.action != 'Restart' || self.kind in ['Deployment', 'StatefulSet', 'DaemonSet']")
        .message("only a Deployment, StatefulSet or DaemonSet can be restarted: use `action: Stop`"),
    validation = Rule::new("!has(self.action) || self.action != 'Restart' || !has(self.stage)")
        .message("a workload with `action: Restart` is rolled after the last stage and has no `stage`: remove `stage`"),
    validation = Rule::new("!has(self.replicas) || self.kind in ['Deployment', 'StatefulSet', 'ReplicaSet']")
        .message("`replicas` works with a Deployment, StatefulSet or ReplicaSet only: remove it"),
    validation = Rule::new("!has(self.replicas) || self.replicas > 0 || !has(self.action) || self.action != 'Restart'")
        .message("a workload with `replicas: 0` has no pod to restart: use `action: Stop`"),
    validation = Rule::new("!has(self.missedRuns) || self.kind == 'CronJob'")
        .message("`missedRuns` works with a CronJob only: remove it")
)]
pub struct Workload {
    /// `kind` is the kind of the workload: Deployment, StatefulSet, ReplicaSet, DaemonSet, CronJob
    /// or Job, or a kind of another project that the operator was installed with, such as
    /// `ScaledObject`.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Z][A-Za-z0-9]*$')")
        .message("write the kind as in a manifest, singular and capitalized, for example `Deployment`"))]
    pub kind: String,

    /// `name` is the name of one workload. Set exactly one of `name`, `selector` and `all`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(NAME_RULE).message(NAME_MESSAGE))]
    pub name: Option<String>,

    /// `selector` selects workloads by labels, and must not be empty. A workload that matches
    /// later, during the hold, is held too. Set exactly one of `name`, `selector` and `all`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,

    /// `all: true` selects all workloads of the kind in the namespace, except the names in
    /// `except`. Set exactly one of `name`, `selector` and `all`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all: Option<bool>,

    /// `except` lists the names of workloads that `all` or `selector` does not select.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 253)))]
    pub except: Vec<String>,

    /// `stage` sets the order. Stages go down in ascending order and are restored in descending
    /// order. A stage begins when the one before it is completely down, or ready. Default: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub stage: Option<i32>,

    /// `action` is Stop (the default) or Restart. Stop: the operator scales the workload to zero,
    /// or suspends it. Restart: the workload stays up, and the operator rolls it, so that its pods
    /// read the overridden ConfigMaps; the operator rolls it again at wake.
    #[serde(default, skip_serializing_if = "is_default")]
    pub action: Action,

    /// `replicas` is the number of replicas that the workload keeps during the hold, at most as many
    /// as it had. Default: 0 with `action: Stop`, and all with `action: Restart`. Pods that stay may
    /// write to the database: with `database`, give the workload `action: Restart`, or select its
    /// pods by `database.truncate.ignorePods` if they do not write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100_000))]
    pub replicas: Option<i32>,

    /// `missedRuns` decides about the runs that a CronJob missed during the hold. Skip (the
    /// default): no missed run is made up for. Run: the last missed run starts at wake, which is
    /// what Kubernetes does when a CronJob is resumed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed_runs: Option<MissedRuns>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// `ConfigMapOverride` selects one or more ConfigMaps, and sets the values of their keys during the
/// hold.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.name) != has(self.selector)")
        .message("give exactly one of `name` and `selector`"),
    validation = Rule::new("!has(self.selector) || (has(self.selector.matchLabels) && self.selector.matchLabels.size() > 0) || (has(self.selector.matchExpressions) && self.selector.matchExpressions.size() > 0)")
        .message("an empty `selector` would match every ConfigMap: add labels, or use `name`"),
    validation = Rule::new("!has(self.set) || self.set.size() > 0")
        .message("`set` is empty: add a key, or remove `set` to override HIBERNATE_MODE and INGEST_ENABLED"),
    validation = Rule::new("!has(self.set) || self.set.all(key, key.matches('^[-._a-zA-Z0-9]+$'))")
        .message("`set` has a key that a ConfigMap cannot have: use letters, digits, '-', '_' and '.'")
)]
pub struct ConfigMapOverride {
    /// `name` is the name of one ConfigMap. Set exactly one of `name` and `selector`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(NAME_RULE).message(NAME_MESSAGE))]
    pub name: Option<String>,

    /// `selector` selects ConfigMaps by labels, for example if their names carry a hash. Set
    /// exactly one of `name` and `selector`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,

    /// `set` maps keys to their values during the hibernation. At wake the operator restores each
    /// original value, and removes a key that did not exist before. Default: `HIBERNATE_MODE=true`
    /// and `INGEST_ENABLED=false`.
    #[serde(default = "hibernate_mode")]
    #[schemars(extend(
        "maxProperties" = 64,
        "additionalProperties" = {"type": "string", "maxLength": 4096}
    ))]
    pub set: BTreeMap<String, String>,
}

/// Returns the default of `set`.
pub fn hibernate_mode() -> BTreeMap<String, String> {
    [("HIBERNATE_MODE", "true"), ("INGEST_ENABLED", "false")]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}
