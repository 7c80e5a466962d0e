//! Objects of Torpor's kinds, and accessors of their status.

use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use super::{namespace::Namespace, wait};

/// The kinds of Torpor.
pub(crate) const KINDS: [&str; 2] = ["Hibernation", "MaintenanceWindow"];

/// An object in a test's namespace.
pub(crate) struct Object {
    pub(crate) api: Api<DynamicObject>,
    pub(crate) name: String,
}

/// Returns the API of a kind in a namespace.
pub(super) fn api_in(client: &Client, namespace: &str, kind: &str) -> Api<DynamicObject> {
    let plural = format!("{}s", kind.to_lowercase());
    let kind = GroupVersionKind::gvk("torpor.dev", "v1alpha1", kind);
    let resource = ApiResource::from_gvk_with_plural(&kind, &plural);
    Api::namespaced_with(client.clone(), namespace, &resource)
}

impl Object {
    /// Creates an object with this spec.
    pub(super) async fn create(namespace: &Namespace, kind: &str, name: &str, spec: Value) -> Self {
        let created = Self::existing(namespace, kind, name);
        let object = serde_json::from_value(json!({
            "apiVersion": "torpor.dev/v1alpha1",
            "kind": kind,
            "metadata": {"name": name},
            "spec": spec,
        }))
        .expect("an object");
        created.api.create(&PostParams::default(), &object).await.expect("the object is admitted");
        created
    }

    /// Returns an object that exists already.
    pub(super) fn existing(namespace: &Namespace, kind: &str, name: &str) -> Self {
        let api = api_in(&namespace.client, &namespace.name, kind);
        Self { api, name: name.to_owned() }
    }

    /// Merges a patch into the object.
    pub(crate) async fn patch(&self, patch: Value) {
        self.api
            .patch(&self.name, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .expect("the object is changed");
    }

    /// Waits until the object has this phase and is `Ready`.
    pub(crate) async fn until_phase(&self, phase: &str) -> Value {
        self.until(&format!("{phase} and Ready"), |status| {
            status["phase"] == phase && condition(status, "Ready") == "True"
        })
        .await
    }

    /// Waits until a condition has this status.
    pub(crate) async fn until_condition(&self, kind: &str, status: &str) -> Value {
        self.until(&format!("{kind}={status}"), |seen| condition(seen, kind) == status).await
    }

    /// Waits until `holds` is true for a status of the current generation, and returns that status.
    pub(crate) async fn until(&self, what: &str, mut holds: impl FnMut(&Value) -> bool) -> Value {
        let object = wait::until(&self.api, &self.name, what, |object| {
            object.data["status"]["observedGeneration"].as_i64() == object.metadata.generation
                && holds(&object.data["status"])
        })
        .await;
        object.data["status"].clone()
    }
}

/// Returns the status of a condition, empty if there is none.
pub(crate) fn condition<'a>(status: &'a Value, kind: &str) -> &'a str {
    find(status, kind)["status"].as_str().unwrap_or_default()
}

/// Returns the message of a condition, empty if there is none.
pub(crate) fn message<'a>(status: &'a Value, kind: &str) -> &'a str {
    find(status, kind)["message"].as_str().unwrap_or_default()
}

/// Returns the reason of a condition, empty if there is none.
pub(crate) fn reason<'a>(status: &'a Value, kind: &str) -> &'a str {
    let mut conditions = status["conditions"].as_array().into_iter().flatten();
    conditions
        .find(|condition| condition["type"] == kind)
        .and_then(|condition| condition["reason"].as_str())
        .unwrap_or_default()
}

fn find<'a>(status: &'a Value, kind: &str) -> &'a Value {
    status["conditions"]
        .as_array()
        .and_then(|conditions| conditions.iter().find(|condition| condition["type"] == kind))
        .unwrap_or(&Value::Null)
}

/// Returns the entry of one workload in the status.
pub(crate) fn of_workload<'a>(status: &'a Value, name: &str) -> &'a Value {
    let mut all = status["workloads"].as_array().into_iter().flatten();
    all.find(|workload| workload["name"] == name).unwrap_or(&Value::Null)
}
