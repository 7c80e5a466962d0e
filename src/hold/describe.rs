//! Original values, as a status shows them.

use serde_json::Value;

use super::lever::{self, Kind};
use super::record::Record;

/// Returns the original values of an object for its status: `5`, or `KEY=value` of a ConfigMap.
pub fn describe_originals(kind: &Kind, record: &Record) -> Option<String> {
    let mut originals: Vec<String> = record
        .levers
        .iter()
        .filter(|(pointer, _)| *pointer != lever::RESTART)
        .map(|(pointer, held)| {
            let value = match &held.original {
                None => "not set".to_owned(),
                Some(Value::String(text)) => text.clone(),
                Some(value) => value.to_string(),
            };
            if kind.name == "ConfigMap" {
                let key = lever::segments(pointer).nth(1).unwrap_or_default();
                format!("{key}={value}")
            } else {
                value
            }
        })
        .collect();
    originals.sort();
    (!originals.is_empty()).then(|| originals.join(", "))
}
