//! `metadata.managedFields`: who owns a field, and giving a field back to its owner.
//!
//! The format is FieldsV1 of Kubernetes' server-side apply: nested objects whose keys are `f:NAME`;
//! an empty object is a leaf, or a map that is owned whole.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{MANAGER, lever};

/// A field manager, as an entry in managedFields names it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Owner {
    /// Name of the manager, such as `kubectl-client-side-apply` or `argocd-controller`.
    pub manager: String,
    /// `Apply` or `Update`.
    pub operation: String,
    /// `scale`, for example; empty for the object itself.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subresource: String,
}

impl Owner {
    fn of(entry: &ManagedFieldsEntry) -> Self {
        Self {
            manager: entry.manager.clone().unwrap_or_default(),
            operation: entry.operation.clone().unwrap_or_default(),
            subresource: entry.subresource.clone().unwrap_or_default(),
        }
    }

    /// The same manager with the same operation, whatever the subresource.
    pub fn same_manager(&self, other: &Self) -> bool {
        self.manager == other.manager && self.operation == other.operation
    }

    /// Whether this is a server-side apply.
    pub fn applies(&self) -> bool {
        self.operation == "Apply"
    }
}

/// Who owns the field, other than Torpor.
pub fn owners(entries: &[ManagedFieldsEntry], pointer: &str) -> Vec<Owner> {
    entries
        .iter()
        .filter(|entry| entry.manager.as_deref() != Some(MANAGER))
        .filter(|entry| entry.fields_v1.as_ref().is_some_and(|fields| owns(&fields.0, pointer)))
        .map(Owner::of)
        .collect()
}

/// Who owns something below a field besides these levers: whoever has written nothing but a lever
/// there does not deploy it.
pub fn owners_besides(
    entries: &[ManagedFieldsEntry],
    pointer: &str,
    levers: &[&String],
) -> Vec<Owner> {
    let mut entries = entries.to_vec();
    for fields in entries.iter_mut().filter_map(|entry| entry.fields_v1.as_mut()) {
        for lever in levers.iter().filter(|lever| lever.starts_with(pointer)) {
            remove(&mut fields.0, &path(lever));
        }
        // The map itself, which whoever made it owns.
        remove(&mut fields.0, &[path(pointer), vec![".".to_owned()]].concat());
    }
    owners(&entries, pointer)
}

/// Whether the entry owns the field itself, or anything below it, or a whole map that it lies in.
fn owns(fields: &Value, pointer: &str) -> bool {
    let mut node = fields;
    for segment in lever::segments(pointer) {
        match node.get(format!("f:{segment}")) {
            Some(next) => node = next,
            None => return node != fields && node.as_object().is_some_and(Map::is_empty),
        }
    }
    true
}

/// managedFields in which the fields are no longer Torpor's but their former owners': a later
/// server-side apply of theirs then meets no conflict. None where nothing changes.
pub fn given_back(
    entries: &[ManagedFieldsEntry],
    fields: &[(String, Vec<Owner>)],
) -> Option<Vec<ManagedFieldsEntry>> {
    let mut result = entries.to_vec();
    let mut changed = false;
    for (pointer, former) in fields {
        for entry in &mut result {
            let ours = entry.manager.as_deref() == Some(MANAGER)
                && entry.subresource.as_deref().unwrap_or_default().is_empty();
            if let (true, Some(fields)) = (ours, &mut entry.fields_v1) {
                changed |= remove(&mut fields.0, &path(pointer));
            }
        }
        for owner in former.iter().filter(|owner| owner.applies()) {
            if !result.iter().any(|entry| Owner::of(entry) == *owner) {
                // It owned nothing but this field, so that its entry went away with it.
                result.push(ManagedFieldsEntry {
                    manager: Some(owner.manager.clone()),
                    operation: Some(owner.operation.clone()),
                    subresource: Some(owner.subresource.clone()).filter(|s| !s.is_empty()),
                    api_version: entries.first().and_then(|e| e.api_version.clone()),
                    fields_type: Some("FieldsV1".to_owned()),
                    fields_v1: None,
                    time: entries.first().and_then(|e| e.time.clone()),
                });
            }
            let Some(entry) = result.iter_mut().find(|entry| Owner::of(entry) == *owner) else {
                continue;
            };
            let fields = entry.fields_v1.get_or_insert_with(|| FieldsV1(json!({})));
            insert(&mut fields.0, &path(pointer));
            changed = true;
        }
    }
    result.retain(|entry| {
        entry.fields_v1.as_ref().is_none_or(|f| f.0.as_object().is_none_or(|map| !map.is_empty()))
    });
    changed.then_some(result)
}

fn path(pointer: &str) -> Vec<String> {
    lever::segments(pointer).map(|segment| format!("f:{segment}")).collect()
}

/// Removes a path, and the parents that it leaves empty. A map that is owned whole is removed with
/// the one key that a lever has in it.
fn remove(node: &mut Value, path: &[String]) -> bool {
    let (Some(map), Some((first, rest))) = (node.as_object_mut(), path.split_first()) else {
        return false;
    };
    let Some(child) = map.get_mut(first) else { return false };
    let leaf = child.as_object().is_none_or(Map::is_empty);
    if rest.is_empty() || leaf {
        map.remove(first);
        return true;
    }
    let removed = remove(child, rest);
    if removed && child.as_object().is_none_or(Map::is_empty) {
        map.remove(first);
    }
    removed
}

fn insert(node: &mut Value, path: &[String]) {
    let (Some(map), Some((first, rest))) = (node.as_object_mut(), path.split_first()) else {
        return;
    };
    let child = map.entry(first.clone()).or_insert_with(|| json!({}));
    insert(child, rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(manager: &str, operation: &str, fields: Value) -> ManagedFieldsEntry {
        ManagedFieldsEntry {
            manager: Some(manager.into()),
            operation: Some(operation.into()),
            api_version: Some("apps/v1".into()),
            fields_type: Some("FieldsV1".into()),
            fields_v1: Some(FieldsV1(fields)),
            ..ManagedFieldsEntry::default()
        }
    }

    #[test]
    fn a_map_that_is_owned_whole_owns_its_keys() {
        let whole = json!({"f:spec": {"f:template": {"f:spec": {"f:nodeSelector": {}}}}});
        let pointer = "/spec/template/spec/nodeSelector/torpor.dev~1held";
        assert!(owns(&whole, pointer));
        assert!(!owns(&json!({"f:spec": {"f:replicas": {}}}), pointer));
        assert!(!owns(&json!({}), pointer));
    }

    #[test]
    fn who_has_written_a_lever_alone_owns_nothing_besides() {
        let data = |keys: Value| json!({"f:data": keys});
        let entries = [
            entry("person", "Update", data(json!({".": {}, "f:MODE": {}}))),
            entry("deployer", "Update", data(json!({"f:MODE": {}, "f:VERSION": {}}))),
            entry("other", "Update", json!({"f:metadata": {"f:labels": {"f:a": {}}}})),
        ];
        let besides = owners_besides(&entries, "/data", &[&"/data/MODE".to_owned()]);
        assert_eq!(
            besides.iter().map(|owner| owner.manager.as_str()).collect::<Vec<_>>(),
            ["deployer"]
        );
    }

    #[test]
    fn a_field_goes_back_to_the_apply_that_owned_it() {
        let entries = [
            entry("argocd", "Apply", json!({"f:spec": {"f:paused": {}}})),
            entry("torpor", "Update", json!({"f:spec": {"f:replicas": {}}})),
        ];
        let argocd = Owner {
            manager: "argocd".into(),
            operation: "Apply".into(),
            subresource: String::new(),
        };
        let back = given_back(&entries, &[("/spec/replicas".into(), vec![argocd.clone()])]);
        let back = back.expect("changed");
        assert_eq!(back.len(), 1, "Torpor's own entry is empty and goes");
        assert_eq!(owners(&back, "/spec/replicas"), [argocd]);
    }

    #[test]
    fn an_apply_that_owned_nothing_else_gets_its_entry_again() {
        let entries = [entry("torpor", "Update", json!({"f:spec": {"f:replicas": {}}}))];
        let owner =
            Owner { manager: "flux".into(), operation: "Apply".into(), subresource: String::new() };
        let back = given_back(&entries, &[("/spec/replicas".into(), vec![owner.clone()])]);
        assert_eq!(owners(&back.expect("changed"), "/spec/replicas"), [owner]);
    }
}
