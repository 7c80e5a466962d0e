//! `MaintenanceWindow`s as their authors write them.

use std::ops::Deref;

use kube::api::DeleteParams;
use serde_json::{Value, json};

use super::{namespace::Namespace, object::Object};

const KIND: &str = "MaintenanceWindow";

/// A `MaintenanceWindow` in a test's namespace.
pub(crate) struct Window(Object);

impl Window {
    /// Creates a `MaintenanceWindow` with this spec.
    pub(crate) async fn create(namespace: &Namespace, name: &str, spec: Value) -> Self {
        Self(Object::create(namespace, KIND, name, spec).await)
    }

    /// Returns a `MaintenanceWindow` that exists already.
    pub(crate) fn existing(namespace: &Namespace, name: &str) -> Self {
        Self(Object::existing(namespace, KIND, name))
    }

    /// Merges a patch into the spec.
    pub(crate) async fn change(&self, spec: Value) {
        self.patch(json!({"spec": spec})).await;
    }

    /// Requests the deletion.
    pub(crate) async fn delete(&self, how: &DeleteParams) {
        self.api.delete(&self.name, how).await.expect("the window is deleted");
    }

    /// Waits until the window has this phase.
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
