//! The merge patch of one write.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use serde_json::{Map, Value, json};

use super::lever;
use super::record::{ANNOTATION, LABEL, Record};
use super::subject::Subject;

/// Returns the merge patch that sets values, annotation and label, and managedFields where they are given.
pub(super) fn patch(
    subject: &Subject,
    record: &Record,
    values: &BTreeMap<String, Option<Value>>,
    managed: Option<Vec<ManagedFieldsEntry>>,
) -> Value {
    let (annotation, label) = if record.levers.is_empty() {
        (Value::Null, Value::Null)
    } else {
        let (annotation, label) = record.written();
        (json!(annotation), json!(label))
    };
    let mut patch = json!({"metadata": {
        "resourceVersion": subject.resource_version,
        "annotations": {ANNOTATION: annotation},
        "labels": {LABEL: label},
    }});
    if let Some(managed) = managed {
        patch["metadata"]["managedFields"] = json!(managed);
    }
    for (pointer, value) in values {
        set(&mut patch, pointer, value.clone().unwrap_or(Value::Null));
    }
    patch
}

/// Sets a value in a document by its JSON pointer and creates missing objects.
fn set(document: &mut Value, pointer: &str, value: Value) {
    let mut node = document;
    for segment in lever::segments(pointer) {
        if !node.is_object() {
            *node = Value::Object(Map::new());
        }
        let Value::Object(map) = node else { return };
        node = map.entry(segment).or_insert(Value::Null);
    }
    *node = value;
}
