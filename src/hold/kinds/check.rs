//! A check of an object of the table: what its status says when it is down, or ready.

use kube::core::DynamicObject;
use serde::Deserialize;
use serde_json::Value;

use crate::hold::lever::{path, value_at};

/// A check of an object. It has either `condition`, or `field` with `value` or `equals`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Check {
    /// The type of a condition in `status.conditions`.
    #[serde(default)]
    pub condition: Option<String>,
    /// The status that the condition must have. Default: `True`.
    #[serde(default)]
    pub status: Option<String>,
    /// The pointer of a field.
    #[serde(default)]
    pub field: Option<String>,
    /// The value that the field must have.
    #[serde(default)]
    pub value: Option<Value>,
    /// The pointer of another field that must have the same value.
    #[serde(default)]
    pub equals: Option<String>,
    /// Whether the check is to fail instead. An absent condition or field fails a check.
    #[serde(default)]
    pub not: bool,
    /// The pointer of a field: an object that has the field passes.
    #[serde(default)]
    pub unless: Option<String>,
}

impl Check {
    /// Returns the pointers that the check reads, besides the conditions.
    pub(crate) fn pointers(&self) -> impl Iterator<Item = &str> {
        [&self.field, &self.equals, &self.unless].into_iter().flatten().map(String::as_str)
    }

    /// Returns what is wrong with the fields of the check; none where it is valid.
    pub(super) fn invalid(&self) -> Option<String> {
        let Self { condition, status, field, value, equals, not: _, unless: _ } = self;
        let pointers = self.pointers().find(|pointer| !pointer.starts_with('/'));
        if let Some(pointer) = pointers {
            return Some(format!(
                "{pointer:?} is no JSON pointer; write for example /status/phase"
            ));
        }
        match (condition, field) {
            (Some(_), None) if value.is_none() && equals.is_none() => None,
            (None, Some(_)) if status.is_none() && value.is_some() != equals.is_some() => None,
            _ => Some(
                "a check has either `condition` (and `status`, by default True), or `field` with one of `value` and `equals`"
                    .to_owned(),
            ),
        }
    }

    /// Returns how an object fails the check; none where it passes.
    pub(crate) fn unmet(&self, object: &DynamicObject) -> Option<String> {
        if self.unless.as_ref().is_some_and(|pointer| value_at(object, pointer).is_some()) {
            return None;
        }
        if let Some(kind) = &self.condition {
            let wanted = self.status.as_deref().unwrap_or("True");
            let all = object.data.pointer("/status/conditions").and_then(Value::as_array);
            let found = all.into_iter().flatten().find(|condition| condition["type"] == *kind);
            let is = found.is_some_and(|condition| condition["status"] == wanted);
            let not = if self.not { "" } else { "not " };
            let message = found.and_then(|condition| condition["message"].as_str());
            let message = message.filter(|text| !text.is_empty() && !self.not);
            let message = message.map(|text| format!(" ({text})")).unwrap_or_default();
            return (is == self.not)
                .then(|| format!("its condition {kind} is {not}{wanted}{message}"));
        }
        let field = self.field.as_deref()?;
        let now = value_at(object, field);
        let wanted = match (&self.value, &self.equals) {
            (Some(value), _) => Some(value.clone()),
            (None, Some(other)) => value_at(object, other),
            (None, None) => None,
        };
        let is = now.is_some() && now == wanted;
        let name = path(field);
        let in_words =
            |value: Option<Value>| value.map_or("not set".to_owned(), |value| value.to_string());
        (is == self.not).then(|| match (self.not, wanted) {
            (true, _) => format!("its {name} is {}", in_words(now)),
            (false, wanted) => {
                format!("its {name} is {} where {} is expected", in_words(now), in_words(wanted))
            }
        })
    }
}
