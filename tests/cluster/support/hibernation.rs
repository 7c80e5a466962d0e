//! Hibernations as their authors write them.

use std::ops::Deref;

use serde_json::{Value, json};

pub(crate) use super::object::{condition, message};
use super::{namespace::Namespace, object::Object};

const KIND: &str = "Hibernation";

/// One Hibernation in a test's namespace.
pub(crate) struct Hibernation(Object);

impl Hibernation {
    /// Creates one with this spec.
    pub(crate) async fn create(namespace: &Namespace, name: &str, spec: Value) -> Self {
        Self(Object::create(namespace, KIND, name, spec).await)
    }

    /// One that is there already.
    pub(crate) fn existing(namespace: &Namespace, name: &str) -> Self {
        Self(Object::existing(namespace, KIND, name))
    }

    /// Asks for a state, `Awake` or `Hibernated`.
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
