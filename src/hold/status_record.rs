//! The second record of original values, in the status of the holder.

use std::collections::BTreeMap;

use serde_json::Value;

use super::fields::Owner;
use super::lever::annotation;
use super::plan::Desired;
use super::record::{Held, Holder, Holding, Record};
use super::subject::{Subject, View};

/// The longest value that a status keeps, in bytes of JSON. The annotation keeps longer ones, and without
/// the annotation they are unknown: Torpor never restores a shortened value.
const LONGEST: usize = 256;

/// The original values of one object.
#[derive(Clone, Debug, Default, PartialEq, serde::Deserialize, serde::Serialize)]
pub struct StatusRecord {
    /// The generation of the object when the status was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
    /// The levers, by JSON pointer.
    #[serde(flatten)]
    pub levers: BTreeMap<String, Lever>,
}

/// One lever: its original value (null: the field was absent), its held value, and the server-side
/// applies that owned the field.
#[derive(Clone, Debug, PartialEq, serde::Deserialize, serde::Serialize)]
pub struct Lever(
    pub Option<Value>,
    pub Value,
    #[serde(default, skip_serializing_if = "Vec::is_empty")] pub Vec<Owner>,
);

impl StatusRecord {
    /// Returns the part of a record of an object that concerns one holder.
    pub fn of(subject: &Subject, record: &Record, holder: &Holder) -> Self {
        let levers = record.levers.iter().filter_map(|(pointer, held)| {
            held.holders.iter().find(|h| h.holder == *holder)?;
            if held.original.as_ref().is_some_and(|value| value.to_string().len() > LONGEST) {
                return None;
            }
            let mut owners = held.owners.clone();
            owners.retain(Owner::applies);
            let lever = Lever(held.original.clone(), held.held_value()?, owners);
            Some((pointer.clone(), lever))
        });
        // A ConfigMap has no generation.
        let generation = Some(subject.generation).filter(|generation| *generation > 0);
        Self { generation, levers: levers.collect() }
    }

    /// Returns the record on the object that it describes, with the holder alone.
    pub(super) fn rebuilt(&self, desired: &Desired) -> Record {
        let levers = self.levers.iter().map(|(pointer, Lever(original, value, owners))| {
            let holding = Holding {
                holder: desired.holder.clone(),
                value: value.clone(),
                episode: desired.episode.to_owned(),
                kept: false,
            };
            let (original, owners) = (original.clone(), owners.clone());
            let held = Held { original, owners, holders: vec![holding], ..Held::default() };
            (pointer.clone(), held)
        });
        Record { object: None, levers: levers.collect() }
    }

    /// Returns whether it records the original value of a lever, and the generation that tells whether the
    /// value was restored.
    pub(super) fn keeps(&self, pointer: &str) -> bool {
        self.generation.is_some() && self.levers.contains_key(pointer)
    }

    /// Returns the levers that still have the held value, written by Torpor, for an object without
    /// annotation and label. Any other value belongs to its owner, and so does the same value where
    /// somebody else wrote it.
    #[must_use]
    pub fn still_held(&self, subject: &Subject) -> Self {
        // A release by a former owner's name that admission has changed back changed no field of the spec.
        // The removal of the annotation counts as one generation of a Deployment.
        let unchanged =
            self.generation.is_some_and(|generation| subject.generation <= generation + 1);
        let mut remembered = self.clone();
        remembered.levers.retain(|pointer, lever| {
            let view = subject.levers.get(pointer);
            // An annotation changes no generation.
            let unchanged = unchanged && annotation(pointer).is_none();
            let held =
                |view: &View| (view.ours || unchanged) && view.value.as_ref() == Some(&lever.1);
            view.is_some_and(held)
        });
        remembered
    }
}
