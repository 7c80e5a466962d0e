//! The second record of original values, in the status of the holder.

use std::collections::BTreeMap;

use serde_json::Value;

use super::fields::Owner;
use super::record::{Holder, Record};
use super::subject::Subject;

/// The original values of one object, by the JSON pointer of the lever.
#[derive(Clone, Debug, Default, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(transparent)]
pub struct StatusRecord(pub BTreeMap<String, Lever>);

/// One lever: its original value (null: the field was absent), its held value, and the server-side
/// applies that owned the field.
#[derive(Clone, Debug, PartialEq, serde::Deserialize, serde::Serialize)]
pub struct Lever(
    pub Option<Value>,
    pub Value,
    #[serde(default, skip_serializing_if = "Vec::is_empty")] pub Vec<Owner>,
);

impl StatusRecord {
    /// Returns the part of a record that concerns one holder.
    pub fn of(record: &Record, holder: &Holder) -> Self {
        Self(
            record
                .levers
                .iter()
                .filter_map(|(pointer, held)| {
                    let holding = held.holders.iter().find(|h| h.holder == *holder)?;
                    let mut owners = held.owners.clone();
                    owners.retain(Owner::applies);
                    let lever = Lever(held.original.clone(), holding.value.clone(), owners);
                    Some((pointer.clone(), lever))
                })
                .collect(),
        )
    }

    /// Returns the levers that still have the held value, written by Torpor, for an object without
    /// annotation and label. Any other value belongs to its owner, and so does the same value where
    /// somebody else wrote it.
    #[must_use]
    pub fn still_held(&self, subject: &Subject) -> Self {
        let mut remembered = self.clone();
        remembered.0.retain(|pointer, lever| {
            let view = subject.levers.get(pointer);
            view.is_some_and(|view| view.ours && view.value.as_ref() == Some(&lever.1))
        });
        remembered
    }
}
