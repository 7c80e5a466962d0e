//! A workload or ConfigMap as far as a hold needs to know it. What an API server sends is read once,
//! here, and only this is kept.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ManagedFieldsEntry};
use kube::core::DynamicObject;
use serde_json::Value;

use super::fields::{self, Owner};
use super::lever::{self, Kind};
use super::record::{ANNOTATION, Found, Holder, LABEL};

/// A workload or ConfigMap.
#[derive(Clone, Debug)]
pub struct Subject {
    /// What it is.
    pub kind: &'static Kind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// The version that was read: every write carries it.
    pub resource_version: String,
    /// Its generation.
    pub generation: i64,
    /// Its labels, without Torpor's.
    pub labels: BTreeMap<String, String>,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Its controller, where it has one.
    pub controller: Option<Controller>,
    /// What annotation and label say.
    pub found: Found,
    /// Whether Torpor's annotation or label is there at all.
    pub marked: bool,
    /// The levers that matter, as they are now.
    pub levers: BTreeMap<String, View>,
    /// Who owns more of the pod template (or of a ConfigMap's data) than the levers in it.
    pub template_owners: Vec<Owner>,
    /// managedFields as they are, where something of them is to be given back; else nothing is kept.
    pub managed: Vec<ManagedFieldsEntry>,
    /// The rest of what is looked at.
    pub facts: Facts,
}

/// The controller that an object belongs to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Controller {
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

/// A lever as it is now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct View {
    /// Its value; none where the field is not there.
    pub value: Option<Value>,
    /// Who owns it, other than Torpor.
    pub owners: Vec<Owner>,
    /// Whether Torpor owns it: it was the last to change it.
    pub ours: bool,
}

/// What a workload's spec and status say, and a ConfigMap's shape.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "they are what the API says, each for itself")]
pub struct Facts {
    /// The selector of its pods.
    pub selector: Option<LabelSelector>,
    /// The generation that its controller has seen.
    pub observed_generation: i64,
    /// `spec.replicas`.
    pub replicas: i64,
    /// `status.replicas` (or scheduled pods of a DaemonSet).
    pub status_replicas: i64,
    /// Pods of the newest template.
    pub updated: i64,
    /// Pods that are available (ready, for a ReplicaSet).
    pub available: i64,
    /// Pods that a DaemonSet wants.
    pub desired: i64,
    /// Whether a Deployment is paused.
    pub paused: bool,
    /// `OnDelete`, for example.
    pub strategy: String,
    /// Partition of a rolling update.
    pub partition: i64,
    /// Whether a Job has finished.
    pub finished: bool,
    /// Whether a Job says that it is suspended.
    pub suspended: bool,
    /// Pods of a Job that run.
    pub active: i64,
    /// The annotation of its pod template by which a restart is known.
    pub configuration: Option<String>,
    /// Whether a ConfigMap is immutable.
    pub immutable: bool,
    /// Keys in `binaryData`.
    pub binary_keys: Vec<String>,
}

impl Subject {
    /// Whether that holder holds it, by its annotation.
    pub fn is_held_by(&self, holder: &Holder) -> bool {
        self.found.record().is_some_and(|record| record.held_by(holder))
    }

    /// Reads what was sent. `pointers` are the levers that somebody wants besides those recorded;
    /// the kind's own are always read. None for an object without name or uid, which no API server
    /// sends.
    pub fn read<'a>(
        kind: &'static Kind,
        object: &DynamicObject,
        pointers: impl IntoIterator<Item = &'a String>,
    ) -> Option<Self> {
        let meta = &object.metadata;
        let annotation = meta.annotations.as_ref().and_then(|a| a.get(ANNOTATION));
        let mut labels = meta.labels.clone().unwrap_or_default();
        let label = labels.remove(LABEL);
        let found = Found::of(kind, annotation.map(String::as_str), label.as_deref());
        let managed: &[ManagedFieldsEntry] = meta.managed_fields.as_deref().unwrap_or_default();

        let mut wanted: Vec<String> = pointers.into_iter().cloned().collect();
        wanted.extend(kind.stop.map(str::to_owned));
        if kind.name != "ConfigMap" {
            wanted.push(lever::RESTART.to_owned());
        }
        if let Some(record) = found.record() {
            wanted.extend(record.levers.keys().cloned());
        }
        let levers: BTreeMap<String, View> = wanted
            .into_iter()
            .map(|pointer| {
                let value = object.data.pointer(&pointer).cloned();
                let owners = fields::owners(managed, &pointer);
                let ours = fields::owned_by_torpor(managed, &pointer);
                (pointer, View { value, owners, ours })
            })
            .collect();

        Some(Self {
            kind,
            namespace: meta.namespace.clone()?,
            name: meta.name.clone()?,
            uid: meta.uid.clone()?,
            resource_version: meta.resource_version.clone()?,
            generation: meta.generation.unwrap_or_default(),
            labels,
            deleting: meta.deletion_timestamp.is_some(),
            controller: meta.owner_references.iter().flatten().find_map(|owner| {
                (owner.controller == Some(true)).then(|| Controller {
                    kind: owner.kind.clone(),
                    name: owner.name.clone(),
                    uid: owner.uid.clone(),
                })
            }),
            marked: annotation.is_some() || label.is_some(),
            managed: if found.unfinished() { managed.to_vec() } else { Vec::new() },
            found,
            template_owners: fields::owners_besides(
                managed,
                kind.template,
                &levers.keys().collect::<Vec<_>>(),
            ),
            levers,
            facts: Facts::read(kind, &object.data),
        })
    }

    /// How a person calls it.
    pub fn display(&self) -> String {
        format!("{} {}", self.kind.name, self.name)
    }
}

impl Facts {
    fn read(kind: &Kind, data: &Value) -> Self {
        let number =
            |pointer: &str| data.pointer(pointer).and_then(Value::as_i64).unwrap_or_default();
        let flag =
            |pointer: &str| data.pointer(pointer).and_then(Value::as_bool).unwrap_or_default();
        let condition = |kind: &str| {
            data.pointer("/status/conditions")
                .and_then(Value::as_array)
                .is_some_and(|all| all.iter().any(|c| c["type"] == kind && c["status"] == "True"))
        };
        let mut facts = Self {
            selector: data
                .pointer("/spec/selector")
                .and_then(|s| serde_json::from_value(s.clone()).ok()),
            observed_generation: number("/status/observedGeneration"),
            configuration: data.pointer(lever::RESTART).and_then(Value::as_str).map(str::to_owned),
            ..Self::default()
        };
        match kind.name {
            "Deployment" | "StatefulSet" | "ReplicaSet" => {
                facts.replicas = number("/spec/replicas");
                facts.status_replicas = number("/status/replicas");
                facts.updated = number("/status/updatedReplicas");
                facts.available = number("/status/availableReplicas");
                facts.paused = flag("/spec/paused");
            }
            "DaemonSet" => {
                facts.desired = number("/status/desiredNumberScheduled");
                facts.status_replicas = number("/status/currentNumberScheduled");
                facts.updated = number("/status/updatedNumberScheduled");
                facts.available = number("/status/numberAvailable");
            }
            "Job" => {
                facts.finished = condition("Complete") || condition("Failed");
                facts.suspended = condition("Suspended");
                facts.active = number("/status/active");
            }
            "ConfigMap" => {
                facts.immutable = flag("/immutable");
                facts.binary_keys = data
                    .pointer("/binaryData")
                    .and_then(Value::as_object)
                    .map(|map| map.keys().cloned().collect())
                    .unwrap_or_default();
            }
            _ => {}
        }
        if let "StatefulSet" | "DaemonSet" = kind.name {
            let strategy = data.pointer("/spec/updateStrategy/type").and_then(Value::as_str);
            strategy.unwrap_or_default().clone_into(&mut facts.strategy);
            facts.partition = number("/spec/updateStrategy/rollingUpdate/partition");
        }
        facts
    }
}
