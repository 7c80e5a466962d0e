//! Maintenance windows as their authors write them.

use std::ops::Deref;

use kube::api::DeleteParams;
use serde_json::{Value, json};

use super::{namespace::Namespace, object::Object};

const KIND: &str = "MaintenanceWindow";

/// One `MaintenanceWindow` in a test's namespace.
pub(crate) struct Window(Object);

impl Window {
    /// Creates one with this spec.
    pub(crate) async fn create(namespace: &Namespace, name: &str, spec: Value) -> Self {
        Self(Object::create(namespace, KIND, name, spec).await)
    }

    /// One that is there already.
    pub(crate) fn existing(namespace: &Namespace, name: &str) -> Self {
        Self(Object::existing(namespace, KIND, name))
    }

    /// Changes a part of its spec.
    pub(crate) async fn change(&self, spec: Value) {
        self.patch(json!({"spec": spec})).await;
    }

    /// Asks for its deletion.
    pub(crate) async fn delete(&self, how: &DeleteParams) {
        self.api.delete(&self.name, how).await.expect("the window is deleted");
    }

    /// Waits until it is in a phase, at rest or on the way.
    pub(crate) async fn until_in(&self, phase: &str) -> Value {
        self.until(phase, |status| status["phase"] == phase).await
    }
}

impl Deref for Window {
    type Target = Object;

    fn deref(&self) -> &Object {
        &self.0
    }
}
