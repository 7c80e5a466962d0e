//! Predicts the state of each object when awake, from the contract alone: from the writes while it
//! is held, and from its owner before.

use std::collections::BTreeMap;

use serde_json::Value;

/// A manager and its operation.
pub(super) type Writer = (String, String);

/// One field by which an object is held, as known from all writes to it.
#[derive(Clone, Debug, Default)]
pub(super) struct Lever {
    /// The value when awake; `None` if the field is absent.
    pub(super) original: Option<Value>,
    /// The owners before it was held.
    owners: Vec<Writer>,
    /// A foreign value that the operator has not reverted yet.
    pending: Option<Pending>,
    /// Whether the last observation found it held.
    held: bool,
}

#[derive(Clone, Debug)]
struct Pending {
    value: Option<Value>,
    owners: Vec<Writer>,
    /// Whether this value is the one to restore.
    kept: bool,
}

/// A foreign write to a field.
pub(super) struct Written<'a> {
    /// The field manager.
    pub(super) writer: &'a Writer,
    /// Whether the write went through `/scale`.
    pub(super) scales: bool,
    /// The object before the write.
    pub(super) before: &'a Value,
    /// The object after the write, as far as it is known: for `/scale`, only the value.
    pub(super) after: &'a Value,
}

impl Lever {
    /// Updates the judge from an object that only the operator has written since the last
    /// observation.
    pub(super) fn see(&mut self, object: &Value, pointer: &str) -> Result<(), String> {
        let value = object.pointer(pointer).cloned();
        let held_at = held_at(object, pointer);
        if let Some(held_at) = held_at {
            // Back at the held value: the operator has judged the foreign write.
            if value.as_ref() == Some(&held_at) {
                self.settle();
            }
            self.held = true;
            return Ok(());
        }
        if self.held {
            self.settle();
            self.held = false;
        }
        if value != self.original {
            let expected = &self.original;
            return Err(format!("{pointer} is {value:?}, and its authors left it at {expected:?}"));
        }
        // A release restores the value first, and the owners with its second write.
        if record(object).is_none() {
            self.owners = owners(object, pointer);
        }
        Ok(())
    }

    /// Records a foreign write. `see` must have got `before`.
    pub(super) fn written(&mut self, pointer: &str, written: &Written) {
        let Written { writer, scales, before, after } = written;
        let value = after.pointer(pointer).cloned();
        let owners_since = match scales {
            true => vec![(*writer).clone()],
            false => owners(after, pointer),
        };
        let Some(held_at) = held_at(before, pointer) else {
            self.original = value;
            self.owners = owners_since;
            return;
        };
        // The original is never overwritten by a held value; what was pending is gone.
        if value.as_ref() == Some(&held_at) {
            self.pending = None;
            return;
        }
        let unchanged = before.pointer(pointer).cloned() == value;
        let deploys = self.owners.contains(writer) || owns_the_rest(after, pointer, writer);
        let kept = value.is_some() && !scales && deploys;
        // A writer of the existing value owns it too, but changes nothing.
        let kept_before = unchanged && self.pending.as_ref().is_some_and(|pending| pending.kept);
        self.pending = Some(Pending { value, owners: owners_since, kept: kept || kept_before });
    }

    /// Records that annotation and label were removed: nobody knows the owner of the field any
    /// more.
    pub(super) fn record_removed(&mut self) {
        self.owners.clear();
    }

    /// Records that the object was recreated.
    pub(super) fn made(&mut self, object: &Value, pointer: &str) {
        *self = Self {
            original: object.pointer(pointer).cloned(),
            owners: owners(object, pointer),
            ..Self::default()
        };
    }

    fn settle(&mut self) {
        if let Some(Pending { value, owners, kept: true }) = self.pending.take() {
            self.original = value;
            self.owners = owners;
        }
    }
}

/// Returns the held value from the object's own annotation. A released field has no holder, although its record is there
/// until its owners are restored.
pub(super) fn held_at(object: &Value, pointer: &str) -> Option<Value> {
    Some(record(object)?.get(pointer)?["holders"].get(0)?["value"].clone())
}

/// Returns the record in the object's own annotation, by field.
fn record(object: &Value) -> Option<BTreeMap<String, Value>> {
    object["metadata"]["labels"].get("torpor.dev/held")?;
    let annotation = object["metadata"]["annotations"].get("torpor.dev/hold")?.as_str()?;
    serde_json::from_str(annotation).ok()
}

/// Returns the owners of a field other than the operator.
fn owners(object: &Value, pointer: &str) -> Vec<Writer> {
    entries(object)
        .filter(|(_, fields)| field(fields, pointer).is_some())
        .map(|(writer, _)| writer)
        .collect()
}

/// Whether a write is a deploy: the writer also owns a field of the pod template, or another key of
/// the ConfigMap.
fn owns_the_rest(object: &Value, pointer: &str, writer: &Writer) -> bool {
    let template = match object["kind"].as_str() {
        Some("ConfigMap") => "/data",
        Some("CronJob") => "/spec/jobTemplate",
        _ => "/spec/template",
    };
    entries(object).filter(|(other, _)| other == writer).any(|(_, fields)| {
        let Some(rest) = field(&fields, template) else { return false };
        let own = format!("f:{}", pointer.trim_start_matches("/data/"));
        let mut keys = rest.as_object().into_iter().flat_map(serde_json::Map::keys);
        template != "/data" || keys.any(|key| *key != own && key != ".")
    })
}

/// Returns the entries of managedFields other than the operator's.
fn entries(object: &Value) -> impl Iterator<Item = (Writer, Value)> {
    let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    entries.into_iter().filter_map(|entry| {
        let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
        let writer = (text("manager"), text("operation"));
        (writer.0 != "torpor").then(|| (writer, entry["fieldsV1"].clone()))
    })
}

fn field(fields: &Value, pointer: &str) -> Option<Value> {
    let mut node = fields;
    for segment in pointer.split('/').skip(1) {
        node = node.get(format!("f:{segment}"))?;
    }
    Some(node.clone())
}
