//! The parts of an object that Torpor reads. Everything else of a document is skipped while it is parsed, so
//! that a large object costs no memory.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// The longest text that is kept whole, in bytes: no annotation is longer. A longer value of a ConfigMap is cut: the
/// record of a hold takes no more than 64 KiB, so that its object is refused all the same.
const LONGEST_TEXT: usize = 256 * 1024;

/// The name that stands for all other fields. No field of Kubernetes has it.
const OTHERS: &str = "";

/// A tree of wanted parts.
#[derive(Clone, Debug)]
pub(crate) enum Wanted {
    /// The part as a whole.
    All,
    /// Whether the part is there: its value is kept as null.
    Presence,
    /// The length of the part, which is a text, in bytes: kept as a number.
    Length,
    /// These fields of an object; of an array, these fields of its elements.
    Fields(BTreeMap<String, Wanted>),
}

impl Wanted {
    /// Returns the tree of these JSON pointers. A pointer leads through arrays without a segment for them. The last
    /// segment `*` stands for the names of all other fields, without their values, and `#` for the lengths of their
    /// texts.
    pub(crate) fn of<'a>(pointers: impl IntoIterator<Item = &'a str>) -> Self {
        let mut root = Self::Fields(BTreeMap::new());
        for pointer in pointers {
            let mut segments: Vec<String> = pointer
                .split('/')
                .skip(1)
                .map(|segment| segment.replace("~1", "/").replace("~0", "~"))
                .collect();
            let leaf = match segments.last().map(String::as_str) {
                Some("*") => Self::Presence,
                Some("#") => Self::Length,
                _ => Self::All,
            };
            if !matches!(leaf, Self::All) {
                segments.pop();
                segments.push(OTHERS.to_owned());
            }
            root.add(&segments, leaf);
        }
        root
    }

    fn add(&mut self, segments: &[String], leaf: Self) {
        let Some((first, rest)) = segments.split_first() else {
            *self = leaf;
            return;
        };
        if let Self::Fields(fields) = self {
            let none = || Self::Fields(BTreeMap::new());
            fields.entry(first.clone()).or_insert_with(none).add(rest, leaf);
        }
    }

    /// Returns the wanted part of a field.
    fn field(&self, name: &str) -> Option<&Self> {
        match self {
            Self::All => Some(self),
            Self::Presence | Self::Length => None,
            Self::Fields(fields) => fields.get(name).or_else(|| fields.get(OTHERS)),
        }
    }

    /// Parses the wanted parts of a document.
    pub(crate) fn parse(&self, document: &[u8]) -> Result<Value, serde_json::Error> {
        let mut parser = serde_json::Deserializer::from_slice(document);
        let value = self.deserialize(&mut parser)?;
        parser.end()?;
        Ok(value)
    }
}

impl<'de> DeserializeSeed<'de> for &Wanted {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, parser: D) -> Result<Value, D::Error> {
        match self {
            Wanted::Presence => {
                serde::Deserialize::deserialize(parser).map(|_: IgnoredAny| Value::Null)
            }
            Wanted::All | Wanted::Length | Wanted::Fields(_) => parser.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for &Wanted {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON document")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        if matches!(self, Wanted::Length) {
            return Ok(value.len().into());
        }
        Ok(value[..value.floor_char_boundary(LONGEST_TEXT.min(value.len()))].into())
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut all = Vec::new();
        while let Some(element) = elements.next_element_seed(self)? {
            // An element without a wanted part.
            let is_empty = element.as_object().is_some_and(Map::is_empty);
            if !is_empty || matches!(self, Wanted::All) {
                all.push(element);
            }
        }
        Ok(Value::Array(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut all = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            match self.field(&name) {
                Some(wanted) => {
                    all.insert(name, fields.next_value_seed(wanted)?);
                }
                None => {
                    fields.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(Value::Object(all))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_the_wanted_parts_are_kept() {
        let wanted = Wanted::of([
            "/metadata/name",
            "/metadata/annotations/torpor.dev~1hold",
            "/spec/containers/env/valueFrom/configMapKeyRef/name",
            "/spec/selector",
            "/data/A",
            "/binaryData/*",
            "/metadata/annotations/#",
        ]);
        let object = json!({
            "metadata": {
                "name": "x", "uid": "u", "annotations": {"torpor.dev/hold": "{}", "other": "long"},
            },
            "spec": {
                "selector": {"matchLabels": {"app": "x"}, "matchExpressions": [{}, 1, null]},
                "containers": [
                    {"image": "i", "env": [
                        {"name": "a", "value": "b"},
                        {"name": "c", "valueFrom": {"configMapKeyRef": {"name": "env", "key": "k"}}},
                    ]},
                    {"image": "j"},
                ],
            },
            "data": {"A": "1", "B": "2"},
            "binaryData": {"k": "AAAA"},
        });
        let kept = json!({
            "metadata": {"name": "x", "annotations": {"torpor.dev/hold": "{}", "other": 4}},
            "spec": {
                "selector": {"matchLabels": {"app": "x"}, "matchExpressions": [{}, 1, null]},
                "containers": [
                    {"env": [{"valueFrom": {"configMapKeyRef": {"name": "env"}}}]},
                ],
            },
            "data": {"A": "1"},
            "binaryData": {"k": null},
        });
        assert_eq!(wanted.parse(object.to_string().as_bytes()).unwrap(), kept);
    }

    #[test]
    fn a_long_text_is_cut() {
        let text = "ä".repeat(LONGEST_TEXT);
        let kept = Wanted::All.parse(json!({"a": text}).to_string().as_bytes()).unwrap();
        assert_eq!(kept["a"].as_str().map(str::len), Some(LONGEST_TEXT));
    }

    #[test]
    fn what_is_no_document_is_an_error() {
        for broken in ["", "{", "{\"a\": 1} 2", "[1,"] {
            assert!(Wanted::All.parse(broken.as_bytes()).is_err(), "{broken}");
        }
    }
}
