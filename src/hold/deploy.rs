//! Deploys while asleep that leave the held value as it is: a manifest with exactly that value, or without
//! the field. The field itself does not show them.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use serde_json::Value;

use super::fields::{self, Owner};
use super::lever;
use super::record::{Held, Record};
use super::subject::{Subject, View};

/// The annotation with the last manifest of `kubectl apply`.
pub(super) const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The same as a pointer.
const LAST_APPLIED_POINTER: &str =
    "/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration";

/// Returns whether the field manager applies the value in the cluster where a person has it ignore the field. An
/// apply of exactly the held value by it tells nothing of the manifest. It applies the manifest's value at its next
/// sync after the wake, be it this one or another.
fn applies_ignored_fields(owner: &Owner) -> bool {
    owner.manager == "kustomize-controller" || owner.manager.starts_with("argocd-")
}

/// A deploy that has asked for a lever since the hold.
#[derive(Debug, PartialEq)]
pub(super) struct Deploy {
    /// The field manager.
    pub(super) owner: Owner,
    /// The value in its manifest; none where the manifest does not contain the field.
    pub(super) value: Option<Value>,
    /// The owners that still want the field.
    pub(super) owners: Vec<Owner>,
}

impl Deploy {
    /// Returns the deploy since the hold that the value of a lever does not show; none where there was none.
    pub(super) fn unseen(
        subject: &Subject,
        pointer: &str,
        held: &Held,
        view: &View,
    ) -> Option<Self> {
        if held.is_released() {
            return None;
        }
        let at_held = view.value == held.held_value();
        // Torpor's write took the field from every server-side apply: one that owns it has applied it since.
        let applies = view.owners.iter().find(|owner| owner.applies());
        if let Some(owner) = applies.filter(|owner| {
            at_held && held.original != view.value && view.ours && !applies_ignored_fields(owner)
        }) {
            let (owner, value) = (owner.clone(), view.value.clone());
            return Some(Self { owner, value, owners: view.owners.clone() });
        }
        Self::left_out(subject, held, view, at_held)
            .or_else(|| Self::client_side(subject, pointer, held, view, at_held))
    }

    /// Returns the server-side apply whose newest manifest does not contain the field.
    fn left_out(subject: &Subject, held: &Held, view: &View, at_held: bool) -> Option<Self> {
        // Where Torpor owns nothing either, somebody has emptied managedFields.
        if !held.marked || (at_held && !view.ours) {
            return None;
        }
        let wants = |owner: &&Owner| {
            !owner.applies() || subject.unapplied.contains(owner) || view.owners.contains(owner)
        };
        let owner = held.owners.iter().find(|owner| !wants(owner))?.clone();
        let owners = held.owners.iter().filter(wants).cloned().collect();
        Some(Self { owner, value: None, owners })
    }

    /// Returns the client-side apply of exactly the held value, or of none.
    fn client_side(
        subject: &Subject,
        pointer: &str,
        held: &Held,
        view: &View,
        at_held: bool,
    ) -> Option<Self> {
        let value = subject.applied_since.get(pointer)?;
        let (manager, operation) = ("kubectl-client-side-apply".to_owned(), "Update".to_owned());
        let owner = Owner { manager, operation, subresource: String::new() };
        match value {
            Some(value) if at_held && held.original.as_ref() != Some(value) => {
                Some(Self { owner, value: Some(value.clone()), owners: held.owners.clone() })
            }
            // It removed the field, which now has no owner.
            None if !at_held && view.value.is_none() && view.owners.is_empty() => {
                Some(Self { owner, value: None, owners: Vec::new() })
            }
            _ => None,
        }
    }

    /// Returns the value to restore: of a field that nobody wants, the API server's default.
    pub(super) fn original(&self, pointer: &str, held: &Held) -> Option<Value> {
        match &self.value {
            Some(value) => Some(value.clone()),
            None if self.owners.is_empty() => lever::default(pointer),
            None => held.original.clone(),
        }
    }
}

/// Returns the levers of a record in the last client-side apply, where that is another one than at the hold.
pub(super) fn applied_since(
    record: Option<&Record>,
    last_applied: Option<&String>,
    digest: Option<&String>,
    managed_fields: &[ManagedFieldsEntry],
) -> BTreeMap<String, Option<Value>> {
    let (Some(record), Some(text)) = (record, last_applied) else { return BTreeMap::new() };
    let other = |held: &Held| held.applied.is_some() && held.applied.as_ref() != digest;
    let since: Vec<(&String, &Held)> =
        record.levers.iter().filter(|(_, held)| other(held)).collect();
    if since.is_empty() {
        return BTreeMap::new();
    }
    let Ok(manifest) = serde_json::from_str::<Value>(text) else { return BTreeMap::new() };
    let value = |pointer: &str| manifest.pointer(pointer).filter(|value| !value.is_null()).cloned();
    let mut authors = fields::owners(managed_fields, LAST_APPLIED_POINTER).into_iter();
    let ignored = authors.any(|owner| applies_ignored_fields(&owner));
    let counts = |held: &Held, value: &Option<Value>| !(ignored && *value == held.held_value());
    since
        .into_iter()
        .map(|(pointer, held)| (pointer, held, value(pointer)))
        .filter(|(_, held, value)| counts(held, value))
        .map(|(pointer, _, value)| (pointer.clone(), value))
        .collect()
}
