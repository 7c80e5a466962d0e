//! The second record of originals, in the holder's status.

use std::collections::BTreeMap;

use serde_json::Value;

use super::fields::Owner;
use super::record::{Holder, Record};
use super::subject::Subject;

/// A second record of originals, kept in the holder's status.
#[derive(Clone, Debug, Default, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(transparent)]
pub struct StatusRecord(pub BTreeMap<String, Lever>);

/// One remembered lever: the original (null: there was none), the held value, and who owned the
/// field where that was a server-side apply.
#[derive(Clone, Debug, PartialEq, serde::Deserialize, serde::Serialize)]
pub struct Lever(
    pub Option<Value>,
    pub Value,
    #[serde(default, skip_serializing_if = "Vec::is_empty")] pub Vec<Owner>,
);

impl StatusRecord {
    /// What a record says of one holder.
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

    /// What of an object without annotation and label is still as it was held. What has another value by
    /// now, or was set to the same by somebody else, is its owner's again.
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
