//! `metadata.managedFields`: the owners of a field, and handing ownership back.
//!
//! The format is FieldsV1 of Kubernetes' server-side apply: nested objects whose keys are `f:NAME`;
//! an empty object is a leaf, or a map with a single owner as a whole.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::lever;
use super::record::{ANNOTATION, LABEL};
use crate::apiserver::request::MANAGER;

/// An owner of a field, as an entry of managedFields identifies it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Owner {
    /// The field manager, such as `kubectl-client-side-apply` or `argocd-controller`.
    pub manager: String,
    /// `Apply` or `Update`.
    pub operation: String,
    /// The subresource, such as `scale`; empty for the object itself.
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

    /// Returns whether field manager and operation are the same. The subresource may differ.
    pub fn same_manager(&self, other: &Self) -> bool {
        self.manager == other.manager && self.operation == other.operation
    }

    /// Returns whether the owner uses server-side apply.
    pub fn applies(&self) -> bool {
        self.operation == "Apply"
    }
}

/// Returns the owners of a field other than Torpor.
pub fn owners(entries: &[ManagedFieldsEntry], pointer: &str) -> Vec<Owner> {
    entries
        .iter()
        .filter(|entry| entry.manager.as_deref() != Some(MANAGER) && owns(entry, pointer))
        .map(Owner::of)
        .collect()
}

/// Returns the owners of anything below a field besides the levers. An owner of a lever alone does not
/// roll the object out.
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
        // The map itself belongs to its creator.
        remove(&mut fields.0, &[path(pointer), vec![".".to_owned()]].concat());
    }
    owners(&entries, pointer)
}

/// Returns whether Torpor owns the field: Torpor was the last to change it.
pub fn owned_by_torpor(entries: &[ManagedFieldsEntry], pointer: &str) -> bool {
    entries.iter().any(|entry| is_torpors(entry) && owns(entry, pointer))
}

fn is_torpors(entry: &ManagedFieldsEntry) -> bool {
    entry.manager.as_deref() == Some(MANAGER)
        && entry.subresource.as_deref().unwrap_or_default().is_empty()
}

/// Returns whether the entry owns the field or anything below it.
fn owns(entry: &ManagedFieldsEntry, pointer: &str) -> bool {
    let mut node = entry.fields_v1.as_ref().map(|fields| &fields.0);
    for segment in path(pointer) {
        node = node.and_then(|node| node.get(segment));
    }
    node.is_some()
}

/// A field that no object has. In the entry of a server-side apply it says that the field manager has not
/// applied since Torpor wrote it: the next apply, even one that changes nothing, takes it away. An apply
/// without a field that Torpor owns leaves no other trace.
fn no_apply_since_hold() -> [String; 3] {
    ["f:metadata", "f:annotations", "f:torpor.dev/no-apply-since-hold"].map(str::to_owned)
}

/// Returns managedFields in which the server-side applies of these owners are marked.
pub fn marked<'a>(
    entries: &[ManagedFieldsEntry],
    owners: impl IntoIterator<Item = &'a Owner>,
) -> Vec<ManagedFieldsEntry> {
    let mut result = entries.to_vec();
    for owner in owners {
        let applies = result.iter_mut().filter(|entry| Owner::of(entry) == *owner);
        for fields in applies.filter_map(|entry| entry.fields_v1.as_mut()) {
            insert(&mut fields.0, &no_apply_since_hold());
        }
    }
    result
}

/// Returns the owners that have not applied since they were marked.
pub fn unapplied(entries: &[ManagedFieldsEntry]) -> Vec<Owner> {
    let path = no_apply_since_hold();
    let is_marked = |entry: &&ManagedFieldsEntry| {
        let mut node = entry.fields_v1.as_ref().map(|fields| &fields.0);
        for segment in &path {
            node = node.and_then(|node| node.get(segment));
        }
        node.is_some()
    };
    entries.iter().filter(is_marked).map(Owner::of).collect()
}

/// Returns managedFields without the marks of [`marked`].
pub fn unmarked(entries: &[ManagedFieldsEntry]) -> Vec<ManagedFieldsEntry> {
    let mut result = entries.to_vec();
    for fields in result.iter_mut().filter_map(|entry| entry.fields_v1.as_mut()) {
        remove(&mut fields.0, &no_apply_since_hold());
    }
    result
}

/// Returns managedFields in which each field belongs to its former owners instead of Torpor, so that
/// their next server-side apply meets no conflict. `version` is the `apiVersion` of the object. It is
/// needed for an owner of this field alone, whose entry disappeared when Torpor took the field.
pub fn handed_back<'a>(
    entries: &[ManagedFieldsEntry],
    fields: impl IntoIterator<Item = (&'a str, &'a [Owner])>,
    version: &str,
) -> Vec<ManagedFieldsEntry> {
    let mut result = entries.to_vec();
    // The marks: admission may have stripped them, and their owner stays.
    for entry in result.iter_mut().filter(|entry| is_torpors(entry)) {
        if let Some(fields) = &mut entry.fields_v1 {
            for (map, mark) in [("annotations", ANNOTATION), ("labels", LABEL)] {
                remove(&mut fields.0, &["metadata", map, mark].map(|name| format!("f:{name}")));
            }
        }
    }
    for (pointer, former) in fields {
        for entry in result.iter_mut().filter(|entry| is_torpors(entry)) {
            if let Some(fields) = &mut entry.fields_v1 {
                remove(&mut fields.0, &path(pointer));
            }
        }
        for owner in former {
            let known = result.iter_mut().find(|entry| Owner::of(entry) == *owner);
            if let Some(entry) = known {
                let fields = entry.fields_v1.get_or_insert_with(|| FieldsV1(json!({})));
                insert(&mut fields.0, &path(pointer));
                continue;
            }
            let mut fields = json!({});
            insert(&mut fields, &path(pointer));
            result.push(ManagedFieldsEntry {
                manager: Some(owner.manager.clone()),
                operation: Some(owner.operation.clone()),
                subresource: Some(owner.subresource.clone()).filter(|s| !s.is_empty()),
                api_version: Some(version.to_owned()),
                fields_type: Some("FieldsV1".to_owned()),
                fields_v1: Some(FieldsV1(fields)),
                time: entries.iter().find(|entry| is_torpors(entry)).and_then(|e| e.time.clone()),
            });
        }
    }
    result.retain(|entry| {
        entry.fields_v1.as_ref().is_none_or(|f| f.0.as_object().is_none_or(|map| !map.is_empty()))
    });
    result
}

pub(super) fn path(pointer: &str) -> Vec<String> {
    lever::segments(lever::owned_field(pointer)).map(|segment| format!("f:{segment}")).collect()
}

/// Removes a path and the parents that become empty (`.` stands for the map itself).
pub(super) fn remove(node: &mut Value, path: &[String]) {
    let (Some(map), Some((first, rest))) = (node.as_object_mut(), path.split_first()) else {
        return;
    };
    let Some(child) = map.get_mut(first) else { return };
    if !rest.is_empty() {
        remove(child, rest);
    }
    let nothing = |map: &Map<String, Value>| map.keys().all(|key| key == ".");
    if rest.is_empty() || child.as_object().is_none_or(nothing) {
        map.remove(first);
    }
}

pub(super) fn insert(node: &mut Value, path: &[String]) {
    let (Some(map), Some((first, rest))) = (node.as_object_mut(), path.split_first()) else {
        return;
    };
    let alone = map.get(first).and_then(Value::as_object).is_some_and(Map::is_empty);
    let child = map.entry(first.clone()).or_insert_with(|| json!({}));
    // A field without fields in it is owned itself.
    if alone && !rest.is_empty() {
        *child = json!({".": {}});
    }
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

    fn apply(manager: &str) -> Owner {
        Owner { manager: manager.into(), operation: "Apply".into(), subresource: String::new() }
    }

    #[test]
    fn the_owner_of_a_lever_alone_owns_nothing_besides() {
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
    fn a_node_selector_is_owned_and_handed_back_as_a_whole() {
        let pointer = "/spec/template/spec/nodeSelector/torpor.dev~1held";
        let fields = json!({"f:spec": {"f:template": {"f:spec": {"f:nodeSelector": {}}}}});
        assert_eq!(owners(&[entry("flux", "Apply", fields.clone())], pointer), [apply("flux")]);
        let other = json!({"f:spec": {"f:template": {"f:spec": {"f:containers": {}}}}});
        assert_eq!(owners(&[entry("flux", "Apply", other.clone())], pointer), []);
        let entries = [entry("flux", "Apply", other), entry("torpor", "Update", fields)];
        let back = handed_back(&entries, [(pointer, &[apply("flux")][..])], "apps/v1");
        let all = json!({"f:spec": {"f:template": {"f:spec": {"f:containers": {}, "f:nodeSelector": {}}}}});
        assert_eq!(back, [entry("flux", "Apply", all)]);
    }

    #[test]
    fn a_field_is_handed_back_to_all_its_owners() {
        let entries = [
            entry("argocd", "Apply", json!({"f:spec": {"f:paused": {}}})),
            entry("torpor", "Update", json!({"f:spec": {"f:replicas": {}}})),
        ];
        let former = [apply("argocd"), apply("flux")];
        let back = handed_back(&entries, [("/spec/replicas", &former[..])], "apps/v1");
        assert_eq!(back.len(), 2, "Torpor's own entry is empty and goes; one is made for flux");
        assert_eq!(owners(&back, "/spec/replicas"), former);
        assert!(back.iter().all(|entry| entry.api_version.as_deref() == Some("apps/v1")));
    }

    #[test]
    fn the_owner_of_a_map_whose_only_key_returns_still_owns_the_map() {
        let entries = [
            entry("helm", "Update", json!({"f:data": {}})),
            entry("torpor", "Update", json!({"f:data": {"f:A": {}}})),
        ];
        let helm = Owner { operation: "Update".into(), ..apply("helm") };
        let back = handed_back(&entries, [("/data/A", &[helm][..])], "v1");
        assert_eq!(back, [entry("helm", "Update", json!({"f:data": {".": {}, "f:A": {}}}))]);
    }

    #[test]
    fn only_the_fields_that_are_handed_back_change() {
        let rest = json!({"f:data": {".": {}, "f:B": {}}});
        let ours = json!({"f:data": {".": {}, "f:A": {}}, "f:metadata": {"f:labels": {"f:x": {}}}});
        let entries = [entry("helm", "Update", rest.clone()), entry("torpor", "Update", ours)];
        let back = handed_back(&entries, [("/data/A", &[][..])], "v1");
        let left = json!({"f:metadata": {"f:labels": {"f:x": {}}}});
        assert_eq!(back, [entry("helm", "Update", rest), entry("torpor", "Update", left)]);
    }
}
