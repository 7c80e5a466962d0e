//! Original values, as a status shows them: bounded, whatever users put into their objects.

use serde_json::Value;

use super::lever::{self, Kind, digest};
use super::record::Record;

/// The longest value that is shown, in bytes.
const LONGEST: usize = 256;
/// The longest text about one object, in bytes.
const LONGEST_OF_OBJECT: usize = 1024;

/// Returns the original values of an object for its status: `5`, or `KEY=value` of a ConfigMap.
pub fn describe_originals(kind: &Kind, record: &Record) -> Option<String> {
    let mut originals: Vec<String> = record
        .levers
        .iter()
        .filter(|(pointer, _)| *pointer != lever::RESTART)
        .map(|(pointer, held)| {
            let value = match &held.original {
                None => "not set".to_owned(),
                Some(Value::String(text)) => shortened(text),
                Some(value) => shortened(&value.to_string()),
            };
            if kind.stop == Some(pointer) {
                value
            } else {
                let key = lever::segments(pointer).last().unwrap_or_default();
                format!("{key}={value}")
            }
        })
        .collect();
    originals.sort();
    let all = originals.len();
    let mut text = String::new();
    for (shown, original) in originals.into_iter().enumerate() {
        let comma = if shown > 0 { ", " } else { "" };
        if text.len() + comma.len() + original.len() > LONGEST_OF_OBJECT {
            text = format!("{text}{comma}and {} more", all - shown);
            break;
        }
        text = text + comma + &original;
    }
    (!text.is_empty()).then_some(text)
}

/// Returns a value as it is shown: a long one is cut, with its length and its digest.
pub fn shortened(text: &str) -> String {
    if text.len() <= LONGEST {
        return text.to_owned();
    }
    let mark = format!("... ({} bytes, digest {})", text.len(), digest(text));
    format!("{}{mark}", &text[..text.floor_char_boundary(LONGEST - mark.len())])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hold::lever::{CONFIG_MAP, key_pointer};
    use crate::hold::record::Held;

    fn record(values: &[(&str, &str)]) -> Record {
        let held = |value: &str| Held { original: Some(value.into()), ..Held::default() };
        let levers = values.iter().map(|(key, value)| (key_pointer(key), held(value)));
        Record { object: None, levers: levers.collect() }
    }

    #[test]
    fn long_originals_are_cut_and_say_so() {
        let long = "\u{e9}".repeat(30_000);
        let text = describe_originals(&CONFIG_MAP, &record(&[("A", &long), ("B", "1")])).unwrap();
        assert!(text.starts_with("A=\u{e9}\u{e9}") && text.ends_with("), B=1"), "{text}");
        assert!(text.contains("... (60000 bytes, digest "), "{text}");
        assert!(text.len() <= 2 + LONGEST + 5, "{}", text.len());
        assert_eq!(shortened(&"x".repeat(LONGEST)), "x".repeat(LONGEST));
    }

    #[test]
    fn many_originals_are_counted() {
        let keys: Vec<String> = (0..100).map(|n| format!("KEY_{n:03}")).collect();
        let values: Vec<_> = keys.iter().map(|key| (key.as_str(), "some value")).collect();
        let text = describe_originals(&CONFIG_MAP, &record(&values)).unwrap();
        assert!(text.len() < LONGEST_OF_OBJECT + 20, "{}", text.len());
        assert!(text.starts_with("KEY_000=some value, ") && text.ends_with(" more"), "{text}");
    }
}
