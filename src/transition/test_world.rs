//! Objects of the worlds in which planners are tested: what a planner writes is so, and controllers obey
//! at once.

use serde_json::{Value, json};

use super::pod::PodView;
use crate::hold::foreign::Foreign;
use crate::hold::lever::Kind;
use crate::hold::plan::{Decision, Desired, decide};
use crate::hold::subject::Subject;

pub(crate) fn deployment(name: &str, replicas: i64) -> Value {
    let mut object = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "namespace": "ns", "name": name, "uid": format!("uid-of-{name}"),
            "resourceVersion": "1", "generation": 1,
        },
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}},
    });
    obeyed(&mut object);
    object
}

/// Its controller has obeyed the spec.
pub(crate) fn obeyed(object: &mut Value) {
    // Of other kinds a test says what their controllers do.
    if Kind::any(object["kind"].as_str().unwrap()).unwrap().entry.is_some() {
        return;
    }
    let replicas = object["spec"]["replicas"].clone();
    object["status"] = json!({
        "observedGeneration": 1,
        "replicas": replicas,
        "updatedReplicas": replicas,
        "availableReplicas": replicas,
    });
}

pub(crate) fn subject(object: &Value) -> Subject {
    let kind = Kind::any(object["kind"].as_str().unwrap()).unwrap();
    let keys = ["HIBERNATE_MODE", "INGEST_ENABLED"].map(|key| format!("/data/{key}"));
    let pointers: &[String] = if kind.name == "ConfigMap" { &keys } else { &[] };
    Subject::read(kind, &serde_json::from_value(object.clone()).unwrap(), pointers).unwrap()
}

/// A ConfigMap of a project that is awake, with the label `app: shop`.
pub(crate) fn config_map(name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "namespace": "ns", "name": name, "uid": format!("uid-of-{name}"),
            "resourceVersion": "1", "labels": {"app": "shop"},
        },
        "data": {"HIBERNATE_MODE": "false"},
    })
}

/// A ReplicaSet of a Deployment.
pub(crate) fn replica_set(name: &str, replicas: i64, owners: &Value) -> Value {
    let hash = json!({"app": name, "pod-template-hash": "1"});
    let mut object = json!({
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "namespace": "ns", "name": format!("{name}-1"), "uid": format!("uid-of-{name}-1"),
            "resourceVersion": "1", "generation": 1, "labels": hash, "ownerReferences": owners,
        },
        "spec": {"replicas": replicas, "selector": {"matchLabels": hash}},
    });
    obeyed(&mut object);
    object
}

/// The owner references of an object with that owner.
pub(crate) fn owned_by(kind: &str, name: &str) -> Value {
    json!([{
        "apiVersion": "v1", "kind": kind, "name": name, "uid": format!("uid-of-{name}"),
        "controller": true,
    }])
}

pub(crate) fn pod(app: &str, configuration: Option<String>) -> PodView {
    PodView {
        trouble: None,
        name: format!("{app}-pod"),
        labels: [("app".to_owned(), app.to_owned())].into(),
        owners: Vec::new(),
        configuration,
        terminating: true,
        addresses: Vec::new(),
        host_network: false,
    }
}

/// Writes to an object until nothing is left to write. Returns the foreign writes that this reverts.
pub(crate) fn write(object: &mut Value, observed: &Subject, desired: &Desired) -> Vec<Foreign> {
    let mut current = observed.clone();
    let mut foreign = Vec::new();
    loop {
        let Decision::Write(write) = decide(&current, desired) else {
            panic!("nothing to write to {}", observed.name)
        };
        merge(object, &write.patch);
        current = subject(object);
        foreign.extend(write.foreign);
        if !write.unfinished {
            break;
        }
    }
    obeyed(object);
    foreign
}

/// RFC 7386.
pub(crate) fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, value) in patch {
        if value.is_null() {
            target.as_object_mut().unwrap().remove(key);
        } else {
            merge(&mut target[key], value);
        }
    }
}
