//! Reads from an object of a kind of the table whether it is down or ready, and which object it scales.

use kube::core::DynamicObject;
use serde_json::Value;

use super::kinds::{Check, Entry};
use super::lever::Kind;
use super::subject::Subject;

/// What an object of a kind of the table says of itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TableFacts {
    /// Whether it has a `status.observedGeneration`.
    pub observes: bool,
    /// The checks of `down` that it fails, in words.
    pub not_down: Vec<String>,
    /// The checks of `ready` that it fails, in words.
    pub not_ready: Vec<String>,
    /// The workload that it controls by a reference.
    pub target: Option<TargetRef>,
}

impl TableFacts {
    /// Parses an object.
    pub(super) fn read(entry: &Entry, object: &DynamicObject) -> Self {
        let data = &object.data;
        let unmet =
            |checks: &[Check]| checks.iter().filter_map(|check| check.unmet(object)).collect();
        let reference = entry.target_ref.as_ref().and_then(|pointer| data.pointer(pointer));
        Self {
            observes: observed_generation(data).is_some(),
            not_down: unmet(entry.down.as_deref().unwrap_or_default()),
            not_ready: unmet(&entry.ready),
            target: reference.and_then(TargetRef::read),
        }
    }
}

/// A reference to a workload in the same namespace.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TargetRef {
    /// API group; empty for the core group.
    pub group: String,
    /// The kind.
    pub kind: String,
    /// The name.
    pub name: String,
}

impl TargetRef {
    /// Parses a reference. As in KEDA, a Deployment is meant where it names no kind.
    fn read(reference: &Value) -> Option<Self> {
        let text = |field: &str| reference[field].as_str().filter(|text| !text.is_empty());
        let version = text("apiVersion").unwrap_or("apps/v1");
        Some(Self {
            group: version.split_once('/').map(|(group, _)| group).unwrap_or_default().to_owned(),
            kind: text("kind").unwrap_or("Deployment").to_owned(),
            name: text("name")?.to_owned(),
        })
    }

    /// Returns whether it names an object.
    pub fn names(&self, subject: &Subject) -> bool {
        self.name == subject.name && self.is_kind(subject.kind)
    }

    /// Returns whether it names an object of a kind.
    pub fn is_kind(&self, kind: &Kind) -> bool {
        self.kind == kind.name && self.group == kind.group
    }

    /// Returns kind and name.
    pub fn display(&self) -> String {
        format!("{} {}", self.kind, self.name)
    }
}

/// Returns `status.observedGeneration`: a number, or a text as in a Rollout.
pub(super) fn observed_generation(data: &Value) -> Option<i64> {
    let observed = data.pointer("/status/observedGeneration")?;
    observed.as_i64().or_else(|| observed.as_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_reference_names_a_kind_of_a_group() {
        let deployment = Kind::any("Deployment").unwrap();
        let is = |reference: Value| TargetRef::read(&reference).unwrap().is_kind(deployment);
        assert!(is(json!({"name": "a"})), "as KEDA has it");
        assert!(is(json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "a"})));
        assert!(!is(json!({"apiVersion": "example.com/v1", "kind": "Deployment", "name": "a"})));
        assert!(!is(json!({"apiVersion": "v1", "kind": "Deployment", "name": "a"})));
        assert!(!is(json!({"kind": "StatefulSet", "name": "a"})));
        assert_eq!(TargetRef::read(&json!({"kind": "Deployment", "name": ""})), None);
    }

    #[test]
    fn an_observed_generation_may_be_a_text() {
        let observed =
            |value: Value| observed_generation(&json!({"status": {"observedGeneration": value}}));
        assert_eq!(observed(json!(7)), Some(7));
        assert_eq!(observed(json!("7")), Some(7));
        assert_eq!(observed(json!("a7")), None);
    }
}
