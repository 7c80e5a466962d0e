//! The fields of a workload or ConfigMap that a hold needs. The object is parsed once, here; the rest of
//! it is dropped.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{
    LabelSelector, ManagedFieldsEntry, ObjectMeta, OwnerReference,
};
use kube::core::DynamicObject;
use serde_json::Value;

use super::deploy;
use super::fields::{self, Owner};
use super::lever::{self, Kind};
use super::record::{Found, Holder, LABEL, ObjectName};
use super::refusal::Refusal;
use super::table_facts::{TableFacts, observed_generation};

/// A workload or ConfigMap.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The kind.
    pub kind: &'static Kind,
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// The uid.
    pub uid: String,
    /// The resourceVersion that was read. Every write carries it.
    pub resource_version: String,
    /// The generation.
    pub generation: i64,
    /// The labels without Torpor's.
    pub labels: BTreeMap<String, String>,
    /// Whether the object is being deleted.
    pub deleting: bool,
    /// The controller of the object, if any.
    pub controller: Option<Controller>,
    /// Every owner of the object, with `controller: true` or without.
    pub owners: Vec<Controller>,
    /// The hold, according to annotation and label.
    pub found: Found,
    /// The observed levers: those of the kind, of the record, and those that a holder desires.
    pub levers: BTreeMap<String, View>,
    /// The owners of more of the pod template (or of the data of a ConfigMap) than the levers in it.
    pub template_owners: Vec<Owner>,
    /// managedFields; empty in a list, unless ownership is to be handed back.
    pub managed_fields: Vec<ManagedFieldsEntry>,
    /// The server-side applies that have not applied since a hold marked them.
    pub unapplied: Vec<Owner>,
    /// The digest of the last client-side apply.
    pub last_applied: Option<String>,
    /// The levers in the last client-side apply, where it is another one than at the hold; none for a lever
    /// that it does not contain.
    pub applied_since: BTreeMap<String, Option<Value>>,
    /// The other observed fields.
    pub facts: Facts,
}

/// An owner of an object.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Controller {
    /// The kind.
    pub kind: String,
    /// The name.
    pub name: String,
    /// The uid.
    pub uid: String,
}

impl Controller {
    /// Returns every owner in the metadata of an object.
    pub fn all(meta: &ObjectMeta) -> Vec<Self> {
        let owners = meta.owner_references.iter().flatten().cloned();
        owners.map(|OwnerReference { kind, name, uid, .. }| Self { kind, name, uid }).collect()
    }

    /// Returns kind and name.
    pub fn display(&self) -> String {
        format!("{} {}", self.kind, self.name)
    }
}

/// An observed lever.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct View {
    /// The value; none where the field is absent.
    pub value: Option<Value>,
    /// The owners other than Torpor.
    pub owners: Vec<Owner>,
    /// Whether Torpor owns the field: Torpor was the last to change it.
    pub ours: bool,
}

/// Fields of the spec and status of a workload, and of a ConfigMap.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each is an independent field of the API")]
pub struct Facts {
    /// The selector of the pods.
    pub selector: Option<LabelSelector>,
    /// `status.observedGeneration`.
    pub observed_generation: i64,
    /// When a CronJob runs.
    pub cron_job: Option<CronJobFacts>,
    /// The room that annotations take, the record of a hold aside.
    pub annotations: Annotations,
    /// `spec.replicas`.
    pub replicas: i64,
    /// `status.replicas` (of a DaemonSet: `status.currentNumberScheduled`).
    pub status_replicas: i64,
    /// Pods of the newest template.
    pub updated: i64,
    /// Available pods.
    pub available: i64,
    /// Desired pods of a DaemonSet.
    pub desired: i64,
    /// Whether a Deployment is paused.
    pub paused: bool,
    /// The type of the update strategy, such as `OnDelete`.
    pub strategy: String,
    /// The partition of the rolling update.
    pub partition: i64,
    /// Whether a Job has finished.
    pub finished: bool,
    /// Whether a Job has the condition `Suspended`.
    pub suspended: bool,
    /// Why the controller of a workload creates no pods, or its rollout does not go on.
    pub trouble: Option<String>,
    /// Active pods of a Job.
    pub active: i64,
    /// The digest of the last restart, from the pod template.
    pub configuration: Option<String>,
    /// The ConfigMaps that the pods of a workload read: as variables, files or both.
    pub config_maps: BTreeSet<String>,
    /// Whether a ConfigMap is immutable.
    pub immutable: bool,
    /// Keys in `binaryData`.
    pub binary_keys: Vec<String>,
    /// What an object of a kind of the table says of itself; none for a built-in kind.
    pub table: Option<TableFacts>,
}

/// The room that annotations take.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Annotations {
    /// The bytes of their names and values.
    pub bytes: usize,
    /// The largest, and its bytes.
    pub largest: (String, usize),
}

/// When a CronJob runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CronJobFacts {
    /// `spec.schedule`.
    pub schedule: String,
    /// `spec.timeZone`.
    pub time_zone: Option<String>,
    /// `status.lastScheduleTime`.
    pub last_scheduled: Option<Timestamp>,
    /// `metadata.creationTimestamp`.
    pub created: Option<Timestamp>,
}

impl Subject {
    /// Returns whether the record names the holder.
    pub fn is_held_by(&self, holder: &Holder) -> bool {
        self.found.record().is_some_and(|record| record.held_by(holder))
    }

    /// Returns the bytes of the texts in its levers.
    pub fn length_of_values(&self) -> usize {
        let values = self.levers.values().filter_map(|view| view.value.as_ref()?.as_str());
        values.map(str::len).sum()
    }

    /// Returns `status.lastScheduleTime` of a CronJob.
    pub(super) fn last_scheduled(&self) -> Option<Timestamp> {
        self.facts.cron_job.as_ref()?.last_scheduled
    }

    /// Returns whether a held lever does not have the held value: another client has changed it.
    pub fn is_changed(&self) -> bool {
        let levers = self.found.record().into_iter().flat_map(|record| &record.levers);
        let mut held = levers.filter(|(_, held)| !held.is_released());
        held.any(|(pointer, held)| {
            self.levers.get(pointer).and_then(|view| view.value.clone()) != held.held_value()
        })
    }

    /// Returns the levers and values that stop the object; the second lever where it has the value that asks for
    /// that, or is held already.
    pub fn stop_wants(&self) -> BTreeMap<String, Value> {
        let mut wants = self.kind.stop_wants();
        if let Some(also) = self.kind.also() {
            let record = self.found.record();
            if also.r#where.is_none()
                || self.value(&also.lever) == also.r#where.as_ref()
                || record.is_some_and(|record| record.levers.contains_key(&also.lever))
            {
                wants.insert(also.lever.clone(), also.value.clone());
            }
        }
        wants
    }

    /// Returns whether the lever that stops it has the value that stops it, whoever wrote it.
    pub fn rests(&self) -> bool {
        let stop = self.kind.stop_wants();
        !stop.is_empty() && stop.iter().all(|(pointer, value)| self.value(pointer) == Some(value))
    }

    /// Returns whether an object of the table that scales another one rests by other means than its lever: KEDA
    /// knows two annotations. Then the wake of a hold would not scale the other one up again.
    pub fn rests_otherwise(&self) -> bool {
        let entry = self.kind.entry.as_ref().filter(|_| self.kind.scales());
        let says_so =
            entry.is_some_and(|entry| entry.down.as_ref().is_some_and(|all| !all.is_empty()));
        let table = self.facts.table.as_ref();
        let absent = self.kind.stop.is_some_and(|pointer| self.value(pointer).is_none());
        says_so && absent && table.is_some_and(|table| table.not_down.is_empty())
    }

    /// Returns the value of an observed lever; none where it is absent.
    pub fn value(&self, pointer: &str) -> Option<&Value> {
        self.levers.get(pointer)?.value.as_ref()
    }

    /// Returns the refusal that names a lever at the held value that Torpor was the last to write and that no
    /// record explains, where the holder wants such a value; none where there is none. A restart stops
    /// nothing.
    pub fn original_lost(&self, wants: &BTreeMap<String, Value>) -> Option<Refusal> {
        // A copy is at the value that its author gave it.
        if matches!(self.found, Found::Copy(_)) {
            return None;
        }
        let unexplained = |(pointer, want): &(&String, &Value)| {
            let view = self.levers.get(*pointer);
            *pointer != lever::RESTART
                && self.found.record().is_none_or(|record| !record.levers.contains_key(*pointer))
                && view.is_some_and(|view| view.ours && view.value.as_ref() == Some(*want))
        };
        let (pointer, _) = wants.iter().find(unexplained)?;
        Some(Refusal::OriginalUnknown { subject: self.display(), lever: pointer.clone() })
    }

    /// Parses an object. `pointers` are the desired levers; the levers of the kind and of the record are
    /// always observed. None for an object without name or uid, which no API server sends.
    pub fn read<'a>(
        kind: &'static Kind,
        object: &DynamicObject,
        pointers: impl IntoIterator<Item = &'a String>,
    ) -> Option<Self> {
        let meta = &object.metadata;
        let found = Found::of(kind, meta);
        let mut labels = meta.labels.clone().unwrap_or_default();
        labels.remove(LABEL);
        let managed_fields: &[ManagedFieldsEntry] =
            meta.managed_fields.as_deref().unwrap_or_default();

        let last_applied = meta.annotations.as_ref().and_then(|all| all.get(deploy::LAST_APPLIED));
        let digest = last_applied.map(|manifest| lever::digest(manifest));
        let mut observed: Vec<String> = pointers.into_iter().cloned().collect();
        observed.extend(kind.levers().map(str::to_owned));
        if kind.entry.is_none() && kind.name != "ConfigMap" {
            observed.push(lever::RESTART.to_owned());
        }
        if let Some(record) = found.record() {
            observed.extend(record.levers.keys().cloned());
        }
        let levers: BTreeMap<String, View> = observed
            .into_iter()
            .map(|pointer| {
                let value = lever::value_at(object, &pointer);
                let owners = fields::owners(managed_fields, &pointer);
                let ours = fields::owned_by_torpor(managed_fields, &pointer);
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
            owners: Controller::all(meta),
            unapplied: fields::unapplied(managed_fields),
            applied_since: deploy::applied_since(
                found.record(),
                last_applied,
                digest.as_ref(),
                managed_fields,
            ),
            last_applied: digest,
            managed_fields: if found.unfinished() { managed_fields.to_vec() } else { Vec::new() },
            found,
            template_owners: fields::owners_besides(
                managed_fields,
                kind.template,
                &levers.keys().collect::<Vec<_>>(),
            ),
            levers,
            facts: Facts::read(kind, object),
        })
    }

    /// Returns the object with the record that was restored with it into this namespace, where the holder or
    /// anybody believes it; none where there is no such record.
    #[must_use]
    pub fn moved(&self, holder: Option<&Holder>) -> Option<Self> {
        let Found::Copy(copy) = &self.found else { return None };
        let record = copy.moved.as_ref()?;
        let believed = holder.is_none_or(|holder| record.held_by(holder));
        believed.then(|| Self { found: Found::Record(record.clone()), ..self.clone() })
    }

    /// Returns the name of the object for its record.
    pub(super) fn object_name(&self) -> ObjectName {
        ObjectName {
            kind: self.kind.name.to_owned(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            uid: self.uid.clone(),
        }
    }

    /// Returns kind and name.
    pub fn display(&self) -> String {
        format!("{} {}", self.kind.name, self.name)
    }
}

/// Returns the ConfigMaps that the spec of a pod names.
fn config_maps(pod: &Value) -> BTreeSet<String> {
    let list = |of: &Value, key: &str| of[key].as_array().cloned().unwrap_or_default();
    let containers = ["initContainers", "containers"].into_iter().flat_map(|key| list(pod, key));
    let mut names = Vec::new();
    for container in containers {
        let from = list(&container, "envFrom").into_iter();
        names.extend(from.map(|from| from["configMapRef"]["name"].clone()));
        let variables = list(&container, "env").into_iter();
        names.extend(variables.map(|of| of["valueFrom"]["configMapKeyRef"]["name"].clone()));
    }
    for volume in list(pod, "volumes") {
        names.push(volume["configMap"]["name"].clone());
        let sources = list(&volume["projected"], "sources").into_iter();
        names.extend(sources.map(|source| source["configMap"]["name"].clone()));
    }
    names.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

impl Facts {
    fn read(kind: &Kind, object: &DynamicObject) -> Self {
        let data = &object.data;
        let number =
            |pointer: &str| data.pointer(pointer).and_then(Value::as_i64).unwrap_or_default();
        let flag =
            |pointer: &str| data.pointer(pointer).and_then(Value::as_bool).unwrap_or_default();
        let found = |kind: &str, status: &str| {
            let all = data.pointer("/status/conditions").and_then(Value::as_array)?;
            all.iter().find(|c| c["type"] == kind && c["status"] == status)
        };
        let condition = |kind: &str| found(kind, "True").is_some();
        let message = |kind: &str, status: &str| {
            let found = found(kind, status)?;
            found["message"].as_str().filter(|message| !message.is_empty()).map(str::to_owned)
        };
        let mut facts = Self {
            trouble: message("ReplicaFailure", "True").or_else(|| message("Progressing", "False")),
            selector: data
                .pointer("/spec/selector")
                .and_then(|s| serde_json::from_value(s.clone()).ok()),
            observed_generation: observed_generation(data).unwrap_or_default(),
            configuration: data.pointer(lever::RESTART).and_then(Value::as_str).map(str::to_owned),
            config_maps: data.pointer("/spec/template/spec").map(config_maps).unwrap_or_default(),
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
            "CronJob" => {
                let text = |pointer: &str| data.pointer(pointer).and_then(Value::as_str);
                facts.cron_job = Some(CronJobFacts {
                    schedule: text("/spec/schedule").unwrap_or_default().to_owned(),
                    time_zone: text("/spec/timeZone").map(str::to_owned),
                    last_scheduled: text("/status/lastScheduleTime").and_then(|at| at.parse().ok()),
                    created: object.metadata.creation_timestamp.as_ref().map(|at| at.0),
                });
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
        if let Some(entry) = &kind.entry {
            // The API server sets no default.
            facts.replicas = data.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1);
            facts.table = Some(TableFacts::read(entry, object));
        }
        if let "StatefulSet" | "DaemonSet" = kind.name {
            let strategy = data.pointer("/spec/updateStrategy/type").and_then(Value::as_str);
            strategy.unwrap_or_default().clone_into(&mut facts.strategy);
            facts.partition = number("/spec/updateStrategy/rollingUpdate/partition");
        }
        facts
    }
}
