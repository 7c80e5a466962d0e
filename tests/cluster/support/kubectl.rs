//! Manifests for kubectl, and objects as kubectl prints them.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::{namespace::Namespace, scene::Scene};

/// Writes a manifest into a file for kubectl. Returns the path.
pub(crate) fn file(scene: &Scene, manifest: &Value) -> String {
    file_of(&scene.namespace, manifest)
}

/// Writes a manifest into a file of a namespace.
pub(crate) fn file_of(namespace: &Namespace, manifest: &Value) -> String {
    let name = manifest["metadata"]["name"].as_str().expect("a name");
    let name = format!("{}-{name}.json", namespace.name);
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, manifest.to_string()).expect("the file can be written");
    path.display().to_string()
}

pub(crate) fn create(scene: &Scene, manager: &str, manifest: &Value) {
    let manager = format!("--field-manager={manager}");
    scene.kubectl(&["create", &manager, "--filename", &file(scene, manifest)]);
}

/// Applies a manifest server-side, without force.
pub(crate) fn apply(scene: &Scene, manager: &str, manifest: &Value) {
    let manager = format!("--field-manager={manager}");
    scene.kubectl(&["apply", "--server-side", &manager, "--filename", &file(scene, manifest)]);
}

/// Returns an object as a person exports it for a backup.
pub(crate) fn exported(scene: &Scene, object: &str) -> Value {
    let json = scene.kubectl(&["get", object, "--output=json"]);
    let mut object: Value = serde_json::from_str(&json).expect("kubectl prints JSON");
    let metadata = object["metadata"].as_object_mut().expect("metadata");
    for key in ["uid", "resourceVersion", "creationTimestamp", "generation", "finalizers"] {
        metadata.remove(key);
    }
    object
}

/// Returns an object with its managedFields, without the fields that change in any object: status,
/// versions, times, and the revision of the Deployment controller.
pub(crate) fn exactly(scene: &Scene, object: &str) -> Value {
    let json = scene.kubectl(&["get", object, "--output=json", "--show-managed-fields"]);
    let mut object: Value = serde_json::from_str(&json).expect("kubectl prints JSON");
    object.as_object_mut().expect("an object").remove("status");
    let metadata = object["metadata"].as_object_mut().expect("metadata");
    for key in ["generation", "resourceVersion"] {
        metadata.remove(key);
    }
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.remove("deployment.kubernetes.io/revision");
        annotations.remove("deprecated.daemonset.template.generation");
    }
    if metadata.get("annotations") == Some(&json!({})) {
        metadata.remove("annotations");
    }
    let mut entries =
        metadata.get("managedFields").and_then(Value::as_array).cloned().unwrap_or_default();
    entries.retain(|entry| {
        let controllers = entry["manager"] == "kube-controller-manager";
        let sub = entry["subresource"].as_str().unwrap_or_default();
        sub != "status" && (!controllers || sub == "scale")
    });
    for entry in &mut entries {
        entry.as_object_mut().expect("an entry").remove("time");
    }
    entries.sort_by_key(|entry| {
        format!("{} {} {}", entry["manager"], entry["operation"], entry["subresource"])
    });
    metadata.insert("managedFields".to_owned(), json!(entries));
    object
}
