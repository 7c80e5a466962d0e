//! The record of a hold: the annotation that keeps the originals, and the label that vouches for it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::fields::Owner;
use super::lever::{Kind, digest};

/// The annotation that keeps the record.
pub const ANNOTATION: &str = "torpor.dev/hold";
/// The label that is the annotation's digest. Held objects are watched by it.
pub const LABEL: &str = "torpor.dev/held";
/// Longest annotation, in bytes.
pub const LONGEST: usize = 64 * 1024;
/// Most holders of one object. Each is looked for while it is missing, and whoever may write an object
/// can invent some.
pub const HOLDERS: usize = 64;

/// Everything that is held of one object, by lever.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Record {
    /// By JSON pointer.
    pub levers: BTreeMap<String, Held>,
}

/// One lever that is held.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Held {
    /// The value to restore; absent where there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original: Option<Value>,
    /// Who owned the field.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub owners: Vec<Owner>,
    /// Who holds it. It comes back when the last one lets go. Nobody: it has its value back, and the
    /// ownership of the field is still to be given back.
    pub holders: Vec<Holding>,
}

impl Held {
    /// Whether it has its value back already, and only its owners are not yet what they were.
    pub fn returned(&self) -> bool {
        self.holders.is_empty()
    }
}

/// One holder of a lever.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Holding {
    /// Who.
    #[serde(rename = "by")]
    pub holder: Holder,
    /// The value that it holds the lever at.
    pub value: Value,
    /// Its hibernation, or window.
    pub episode: String,
    /// The holder was deleted with `onDelete: Keep`: it stays, and the next object of that name
    /// takes it over.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub kept: bool,
}

/// Kind, namespace and name, never a uid: deleted and made again, or restored from a backup, it is
/// the same holder.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Holder {
    /// `Hibernation` or `MaintenanceWindow`.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.kind, self.namespace, self.name)
    }
}

/// A holder is written `Kind/namespace/name`.
#[derive(Debug, thiserror::Error)]
#[error("a holder is written Kind/namespace/name")]
pub struct NotAHolder;

impl FromStr for Holder {
    type Err = NotAHolder;

    fn from_str(text: &str) -> Result<Self, NotAHolder> {
        let mut parts = text.split('/').map(str::to_owned);
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(kind), Some(namespace), Some(name), None) => Ok(Self { kind, namespace, name }),
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

/// What annotation and label together say.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// Neither is there, or an annotation without its label, which is a stale copy (`kubectl
    /// rollout undo` brings it back from a ReplicaSet) and is never restored from.
    Nothing,
    /// They belong together.
    Record(Record),
    /// The label is there, and the annotation is not the one that it vouches for, or none that Torpor
    /// writes: torn off.
    RecordMissing,
}

impl Found {
    /// Reads annotation and label of an object of a kind. Whoever may write the object can write a record
    /// into it: one that names anything but the kind's levers, or that is larger than any may be, is none
    /// of Torpor's.
    pub fn of(kind: &Kind, annotation: Option<&str>, label: Option<&str>) -> Self {
        match Self::read(annotation, label) {
            Self::Record(record) if !record.levers.keys().all(|p| kind.has_lever(p)) => {
                Self::RecordMissing
            }
            found => found,
        }
    }

    /// The same of any kind.
    pub fn read(annotation: Option<&str>, label: Option<&str>) -> Self {
        let Some(label) = label else { return Self::Nothing };
        let record = annotation
            .filter(|annotation| annotation.len() <= LONGEST && digest(annotation) == label)
            .and_then(|annotation| serde_json::from_str(annotation).ok())
            .filter(|record: &Record| !record.has_too_many_holders());
        record.map_or(Self::RecordMissing, Self::Record)
    }

    /// The record, where there is one.
    pub fn record(&self) -> Option<&Record> {
        match self {
            Self::Record(record) => Some(record),
            Self::Nothing | Self::RecordMissing => None,
        }
    }

    /// Whether something was let go of whose ownership is still to be given back.
    pub fn unfinished(&self) -> bool {
        self.record().is_some_and(Record::unfinished)
    }
}

impl Record {
    /// Annotation and label.
    pub fn written(&self) -> (String, String) {
        // A map of strings and JSON values always serialises.
        let annotation = serde_json::to_string(self).unwrap_or_default();
        let label = digest(&annotation);
        (annotation, label)
    }

    /// The holdings of one holder, by lever.
    pub fn holdings<'a>(
        &'a self,
        holder: &'a Holder,
    ) -> impl Iterator<Item = (&'a String, &'a Holding)> {
        self.levers.iter().flat_map(move |(pointer, held)| {
            held.holders.iter().filter(move |h| h.holder == *holder).map(move |h| (pointer, h))
        })
    }

    /// Whether this holder holds any lever.
    pub fn held_by(&self, holder: &Holder) -> bool {
        self.holdings(holder).next().is_some()
    }

    /// Whether some lever has its value back, and its owners not yet the field.
    pub fn unfinished(&self) -> bool {
        self.levers.values().any(Held::returned)
    }

    /// Everybody who holds a lever.
    pub fn holders(&self) -> impl Iterator<Item = &Holding> {
        self.levers.values().flat_map(|held| &held.holders)
    }

    /// Whether more hold it than may.
    pub fn has_too_many_holders(&self) -> bool {
        self.holders().map(|holding| &holding.holder).collect::<BTreeSet<_>>().len() > HOLDERS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn record() -> Record {
        let holder: Holder = "Hibernation/cornice/cornice".parse().unwrap();
        let holding = Holding { holder, value: json!(0), episode: "e1".into(), kept: false };
        let held = Held { original: Some(json!(3)), owners: vec![], holders: vec![holding] };
        Record { levers: [("/spec/replicas".to_owned(), held)].into() }
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
            Found::of(Kind::any("Deployment").unwrap(), Some(&annotation), Some(&label))
        };
        assert_eq!(read(&record()), Found::Record(record()));
        let mut foreign = record();
        foreign.levers.insert("/spec/paused".to_owned(), foreign.levers["/spec/replicas"].clone());
        assert_eq!(read(&foreign), Found::RecordMissing);

        let mut invented = record();
        let holders = &mut invented.levers.get_mut("/spec/replicas").unwrap().holders;
        while holders.len() < HOLDERS {
            let holder = format!("Hibernation/cornice/{}", holders.len()).parse().unwrap();
            holders.push(Holding { holder, ..holders[0].clone() });
        }
        assert_eq!(read(&invented), Found::Record(invented.clone()));
        let holders = &mut invented.levers.get_mut("/spec/replicas").unwrap().holders;
        holders.push(Holding { holder: "A/b/c".parse().unwrap(), ..holders[0].clone() });
        assert_eq!(read(&invented), Found::RecordMissing);

        let mut large = record();
        let held = large.levers.get_mut("/spec/replicas").unwrap();
        held.original = Some(json!("x".repeat(LONGEST)));
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
}
