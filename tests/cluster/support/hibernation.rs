//! Hibernations as their authors write them.

use std::ops::Deref;

use serde_json::{Value, json};

pub(crate) use super::object::{condition, message};
use super::{
    namespace::Namespace,
    object::{Object, reason},
    scene::Scene,
};

const KIND: &str = "Hibernation";

/// A Hibernation in a test's namespace.
pub(crate) struct Hibernation(Object);

impl Hibernation {
    /// Creates a Hibernation with this spec.
    pub(crate) async fn create(namespace: &Namespace, name: &str, spec: Value) -> Self {
        Self(Object::create(namespace, KIND, name, spec).await)
    }

    /// Returns a Hibernation that exists already.
    pub(crate) fn existing(namespace: &Namespace, name: &str) -> Self {
        Self(Object::existing(namespace, KIND, name))
    }

    /// Sets `spec.state` to `Awake` or `Hibernated`.
    pub(crate) async fn set_state(&self, state: &str) {
        self.patch(json!({"spec": {"state": state}})).await;
    }
}

impl Deref for Hibernation {
    type Target = Object;

    fn deref(&self) -> &Object {
        &self.0
    }
}

/// Returns the spec of a Hibernation of one Deployment, with more fields.
pub(crate) fn of(name: &str, more: Value) -> Value {
    let mut spec = json!({
        "state": "Hibernated",
        "workloads": [{"kind": "Deployment", "name": name}],
    });
    if let (Some(spec), Value::Object(more)) = (spec.as_object_mut(), more) {
        spec.extend(more);
    }
    spec
}

pub(crate) async fn asleep(scene: &Scene, spec: Value) -> Hibernation {
    let hibernation = Hibernation::create(&scene.namespace, "project", spec).await;
    hibernation.until_phase("Hibernated").await;
    hibernation
}

pub(crate) async fn woken(hibernation: &Hibernation) {
    hibernation.set_state("Awake").await;
    hibernation.until_phase("Awake").await;
}

/// Waits until the Hibernation is `Stalled` for this reason, with this text in its message.
pub(crate) async fn until_stalled(hibernation: &Hibernation, why: &str, says: &str) {
    let what = format!("stalled for {why}");
    let status = hibernation.until(&what, |status| reason(status, "Stalled") == why).await;
    assert!(message(&status, "Stalled").contains(says), "{status:#}");
    assert_ne!(status["phase"], "Hibernated");
}
