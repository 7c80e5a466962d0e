//! One write: its merge patch, and what it leaves on the object.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use serde_json::{Map, Value, json};

use super::foreign::Foreign;
use super::lever;
use super::record::{ANNOTATION, LABEL, Record};
use super::subject::Subject;
use crate::apiserver::request::MANAGER;

/// A merge patch with the resourceVersion that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    /// The merge patch.
    pub patch: Value,
    /// The field manager of the write: Torpor, or the only former owner of the restored fields, who owns
    /// them again with this write.
    pub manager: String,
    /// Whether a second write follows at once, which hands ownership back. The record stays until then, so
    /// that the second write is made after a crash too.
    pub unfinished: bool,
    /// The foreign writes that this write reverts.
    pub foreign: Vec<Foreign>,
    /// Whether the write unsuspends a CronJob, whose missed runs may have to be skipped first.
    pub unsuspends: bool,
    /// The values of the levers in the patch; none where the patch removes the field.
    pub values: BTreeMap<String, Option<Value>>,
    /// The record that the patch leaves on the object; without levers where it removes the record.
    pub record: Record,
    /// Whether the object has to be read first: the write changes managedFields, which lists leave out.
    pub needs_read: bool,
}

impl Write {
    /// Returns the write that sets the record of an object, and none of its levers.
    pub fn of_record(subject: &Subject, record: Record) -> Self {
        let values = BTreeMap::new();
        Self {
            patch: patch(subject, &record, &values, None),
            manager: MANAGER.to_owned(),
            unfinished: false,
            foreign: Vec::new(),
            unsuspends: false,
            values,
            record,
            needs_read: false,
        }
    }
}

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
