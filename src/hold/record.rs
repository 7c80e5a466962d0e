//! The record of a hold: the annotation with the original values, and the label that authenticates it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::fields::Owner;
use super::lever::{Kind, digest};
use super::subject::View;

/// The annotation with the record.
pub const ANNOTATION: &str = "torpor.dev/hold";
/// The label with the digest of the annotation. The watches of held objects select by this label.
pub const LABEL: &str = "torpor.dev/held";
/// The largest annotation, in bytes.
pub(crate) const MAX_BYTES: usize = 64 * 1024;
/// Most bytes of all annotations of an object, names and values, by Kubernetes' own limit.
pub(crate) const ALL_ANNOTATIONS: usize = 256 * 1024;
/// The largest number of holders of one object. The sweep looks for each missing holder, and every client
/// that may write the object can invent holders.
pub(crate) const MAX_HOLDERS: usize = 64;

/// All holds on one object.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Record {
    /// The object that is held. On another object the record is a copy. None in a record of an earlier
    /// version of Torpor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<ObjectName>,
    /// The held levers, by JSON pointer.
    #[serde(flatten)]
    pub levers: BTreeMap<String, Held>,
}

/// The name of a held object.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct ObjectName {
    /// The kind.
    pub kind: String,
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// The uid, for people: an object that is restored from a backup has another one.
    pub uid: String,
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// One held lever.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Held {
    /// The value to restore; none where the field was absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original: Option<Value>,
    /// The owners of the field before the hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub owners: Vec<Owner>,
    /// Whether the server-side applies among the owners are marked in managedFields, so that their next
    /// apply shows.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub marked: bool,
    /// The digest of the last client-side apply before the hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied: Option<String>,
    /// The holders. The release by the last holder restores the value. Without holders the value was
    /// written, and the ownership of the field is still to be handed back.
    pub holders: Vec<Holding>,
}

impl Held {
    /// Returns whether nobody holds the lever any more: the original value was written, and the ownership
    /// is still to be handed back.
    pub(crate) fn is_released(&self) -> bool {
        self.holders.is_empty()
    }

    /// Returns the value that the field has while it is held; none where nobody holds it. Several holders of a
    /// restart have values of their own, and together one that differs from each of them: the workload has
    /// to read what all of them override.
    pub(crate) fn held_value(&self) -> Option<Value> {
        let mut values: Vec<&Value> = self.holders.iter().map(|holding| &holding.value).collect();
        values.sort_by_key(ToString::to_string);
        values.dedup();
        match values.as_slice() {
            [] => None,
            [value] => Some((*value).clone()),
            several => {
                let all: Vec<String> = several.iter().map(ToString::to_string).collect();
                Some(Value::from(digest(&all.join(" "))))
            }
        }
    }

    /// Returns whether a released lever has its original value, or the value of another field manager. If
    /// Torpor was the last to write the field and the value is another one, admission changed the write.
    pub(super) fn is_back(&self, view: &View) -> bool {
        view.value == self.original || !view.owners.is_empty()
    }
}

/// One holder of a lever.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Holding {
    /// The holder.
    #[serde(rename = "by")]
    pub holder: Holder,
    /// The held value.
    pub value: Value,
    /// The episode: one hibernation, or one occurrence of a window.
    pub episode: String,
    /// Whether the holder was deleted with `onDelete: Keep`. The hold stays, and the next object of that
    /// name adopts it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub kept: bool,
}

/// The object that holds: kind, namespace and name. It has no uid, so that an object that is created
/// again or restored from a backup is the same holder.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Holder {
    /// `Hibernation` or `MaintenanceWindow`.
    pub kind: String,
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.kind, self.namespace, self.name)
    }
}

/// The text is not `Kind/namespace/name`.
#[derive(Debug, thiserror::Error)]
#[error("a holder is written Kind/namespace/name")]
pub struct NotAHolder;

impl FromStr for Holder {
    type Err = NotAHolder;

    fn from_str(text: &str) -> Result<Self, NotAHolder> {
        let mut parts = text.split('/').map(str::to_owned);
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            // No object has a longer name.
            (Some(kind), Some(namespace), Some(name), None)
                if kind.len() <= 63 && namespace.len() <= 63 && name.len() <= 253 =>
            {
                Ok(Self { kind, namespace, name })
            }
            _ => Err(NotAHolder),
        }
    }
}

impl Serialize for Holder {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Holder {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The hold of an object, according to annotation and label.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// There is no label. An annotation without its label is a stale copy (`kubectl rollout undo` copies
    /// it from a ReplicaSet), and Torpor never restores from it.
    Nothing,
    /// The label is the digest of the annotation.
    Record(Record),
    /// There is a label, and the annotation is gone, changed, or none that Torpor writes.
    RecordMissing,
    /// The record of another object: an export of a held object was applied under another name or in another
    /// namespace. Torpor never restores from it.
    Copy(Box<Copy>),
}

/// The record of another object.
#[derive(Clone, Debug, PartialEq)]
pub struct Copy {
    /// The object that the record belongs to.
    pub of: ObjectName,
    /// The record as it is in this namespace, where kind and name are the same: a project that was restored
    /// into another namespace. A holder there of that kind and name believes the record.
    pub moved: Option<Record>,
}

impl Copy {
    /// Returns state, cause and remedy for an object with such a record.
    pub fn explain(&self, subject: &str) -> String {
        format!(
            "{subject} has the record of {of} in its annotation {ANNOTATION}: it was created from an export of {of} while that was held. Torpor neither holds nor restores it because of that record. Set its fields to the values that it should have, and remove the annotation {ANNOTATION} and the label {LABEL}",
            of = self.of,
        )
    }

    fn new(of: ObjectName, mut record: Record, kind: &Kind, name: &str, namespace: &str) -> Self {
        let moved = of.kind == kind.name && of.name == name;
        for holding in record.levers.values_mut().flat_map(|held| &mut held.holders) {
            if holding.holder.namespace == of.namespace {
                namespace.clone_into(&mut holding.holder.namespace);
            }
        }
        Self { of, moved: moved.then_some(record) }
    }
}

impl Found {
    /// Parses annotation and label of an object of a kind. Every client that may write the object can
    /// write a record. A record with a field that is no lever of the kind, or above the limits, is not
    /// Torpor's.
    pub(crate) fn of(kind: &Kind, meta: &ObjectMeta) -> Self {
        let annotation = meta.annotations.as_ref().and_then(|all| all.get(ANNOTATION));
        let label = meta.labels.as_ref().and_then(|all| all.get(LABEL));
        let found = Self::read(annotation.map(String::as_str), label.map(String::as_str));
        let Self::Record(record) = found else { return found };
        if !record.levers.keys().all(|pointer| kind.has_lever(pointer)) {
            return Self::RecordMissing;
        }
        let name = meta.name.as_deref().unwrap_or_default();
        let namespace = meta.namespace.as_deref().unwrap_or_default();
        match record.object.clone() {
            Some(of) if of.kind != kind.name || of.name != name || of.namespace != namespace => {
                Self::Copy(Box::new(Copy::new(of, record, kind, name, namespace)))
            }
            _ => Self::Record(record),
        }
    }

    /// Parses annotation and label without a check of the levers.
    pub(crate) fn read(annotation: Option<&str>, label: Option<&str>) -> Self {
        let Some(label) = label else { return Self::Nothing };
        let record = annotation
            .filter(|annotation| annotation.len() <= MAX_BYTES && digest(annotation) == label)
            .and_then(|annotation| serde_json::from_str(annotation).ok())
            .filter(|record: &Record| !record.has_too_many_holders());
        record.map_or(Self::RecordMissing, Self::Record)
    }

    /// Returns the record, if there is one.
    pub(crate) fn record(&self) -> Option<&Record> {
        match self {
            Self::Record(record) => Some(record),
            Self::Nothing | Self::RecordMissing | Self::Copy(_) => None,
        }
    }

    /// Returns whether a value is restored whose ownership is still to be handed back.
    pub(crate) fn unfinished(&self) -> bool {
        self.record().is_some_and(Record::unfinished)
    }
}

impl Record {
    /// Returns annotation and label.
    pub fn written(&self) -> (String, String) {
        // A map of strings and JSON values always serialises.
        let annotation = serde_json::to_string(self).unwrap_or_default();
        let label = digest(&annotation);
        (annotation, label)
    }

    /// Returns the holdings of one holder, by lever.
    pub(crate) fn holdings<'a>(
        &'a self,
        holder: &'a Holder,
    ) -> impl Iterator<Item = (&'a String, &'a Holding)> {
        self.levers.iter().flat_map(move |(pointer, held)| {
            held.holders.iter().filter(move |h| h.holder == *holder).map(move |h| (pointer, h))
        })
    }

    /// Returns whether the holder holds any lever.
    pub(crate) fn held_by(&self, holder: &Holder) -> bool {
        self.holdings(holder).next().is_some()
    }

    /// Returns whether a value is restored whose ownership is still to be handed back.
    pub(crate) fn unfinished(&self) -> bool {
        self.levers.values().any(Held::is_released)
    }

    /// Returns the holdings of all levers.
    pub(crate) fn holders(&self) -> impl Iterator<Item = &Holding> {
        self.levers.values().flat_map(|held| &held.holders)
    }

    /// Returns whether the record has more than [`MAX_HOLDERS`] holders.
    pub(crate) fn has_too_many_holders(&self) -> bool {
        self.holders().map(|holding| &holding.holder).collect::<BTreeSet<_>>().len() > MAX_HOLDERS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn record() -> Record {
        let holder: Holder = "Hibernation/cornice/cornice".parse().unwrap();
        let holding = Holding { holder, value: json!(0), episode: "e1".into(), kept: false };
        let held = Held { original: Some(json!(3)), holders: vec![holding], ..Held::default() };
        Record { object: None, levers: [("/spec/replicas".to_owned(), held)].into() }
    }

    #[test]
    fn an_annotation_counts_only_with_its_label() {
        let (annotation, label) = record().written();
        assert_eq!(Found::read(Some(&annotation), Some(&label)), Found::Record(record()));
        assert_eq!(Found::read(Some(&annotation), None), Found::Nothing);
        assert_eq!(Found::read(Some(&annotation), Some("0123456789abcdef")), Found::RecordMissing);
        assert_eq!(Found::read(None, Some(&label)), Found::RecordMissing);
        assert_eq!(Found::read(None, None), Found::Nothing);
    }

    #[test]
    fn what_torpor_never_writes_is_no_record_of_it() {
        let read = |record: &Record| {
            let (annotation, label) = record.written();
            let meta = json!({
                "namespace": "cornice", "name": "worker",
                "annotations": {ANNOTATION: annotation}, "labels": {LABEL: label},
            });
            let meta = serde_json::from_value(meta).unwrap();
            Found::of(Kind::any("Deployment").unwrap(), &meta)
        };
        assert_eq!(read(&record()), Found::Record(record()));
        let mut foreign = record();
        foreign.levers.insert("/spec/paused".to_owned(), foreign.levers["/spec/replicas"].clone());
        assert_eq!(read(&foreign), Found::RecordMissing);

        let mut invented = record();
        let holders = &mut invented.levers.get_mut("/spec/replicas").unwrap().holders;
        while holders.len() < MAX_HOLDERS {
            let holder = format!("Hibernation/cornice/{}", holders.len()).parse().unwrap();
            holders.push(Holding { holder, ..holders[0].clone() });
        }
        assert_eq!(read(&invented), Found::Record(invented.clone()));
        let holders = &mut invented.levers.get_mut("/spec/replicas").unwrap().holders;
        holders.push(Holding { holder: "A/b/c".parse().unwrap(), ..holders[0].clone() });
        assert_eq!(read(&invented), Found::RecordMissing);

        let mut large = record();
        let held = large.levers.get_mut("/spec/replicas").unwrap();
        held.original = Some(json!("x".repeat(MAX_BYTES)));
        assert_eq!(read(&large), Found::RecordMissing);
    }

    #[test]
    fn that_there_was_no_value_is_kept() {
        let mut record = record();
        record.levers.values_mut().for_each(|held| held.original = None);
        let (annotation, label) = record.written();
        assert!(!annotation.contains("original"));
        assert_eq!(Found::read(Some(&annotation), Some(&label)), Found::Record(record));
    }

    #[test]
    fn a_record_counts_on_its_own_object_only() {
        let of =
            |object: Value| Record { object: serde_json::from_value(object).unwrap(), ..record() };
        let read = |record: &Record, namespace: &str, name: &str| {
            let (annotation, label) = record.written();
            let meta = json!({
                "namespace": namespace, "name": name, "uid": "u2",
                "annotations": {ANNOTATION: annotation}, "labels": {LABEL: label},
            });
            Found::of(Kind::any("Deployment").unwrap(), &serde_json::from_value(meta).unwrap())
        };
        let worker = of(json!({
            "kind": "Deployment", "namespace": "cornice", "name": "worker", "uid": "u1",
        }));
        // Created again or restored from a backup, it is the same object.
        assert_eq!(read(&worker, "cornice", "worker"), Found::Record(worker.clone()));
        // A record of an earlier version names no object.
        assert_eq!(read(&record(), "cornice", "canary"), Found::Record(record()));
        let Found::Copy(copy) = read(&worker, "cornice", "canary") else { panic!() };
        assert_eq!((copy.of.to_string().as_str(), copy.moved), ("Deployment cornice/worker", None));
        let Found::Copy(copy) = read(&worker, "elsewhere", "worker") else { panic!() };
        let here: Holder = "Hibernation/elsewhere/cornice".parse().unwrap();
        assert!(copy.moved.unwrap().held_by(&here));
    }
}
