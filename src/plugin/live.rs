//! The workloads of an object as they are now.

use std::collections::BTreeMap;

use futures::{StreamExt as _, stream};
use kube::Client;
use kube::api::{Api, DynamicObject, ListParams};
use serde_json::Value;

use super::object::Object;
use crate::api::text::counted;
use crate::apiserver::request::{call, pages};
use crate::hold::lever::Kind;
use crate::transition::spec::{Entry, Target};

/// Concurrent requests.
const IN_FLIGHT: usize = 8;
/// The most workloads that are read.
const MOST: usize = 100;

/// The workloads that were read, by kind and name, each in words.
pub(super) type Live = BTreeMap<(String, String), String>;

/// Reads the workloads of an object: those in its status, or those that its spec selects where the status has none.
/// A workload that cannot be read has the reason in its place.
pub(super) async fn read(client: &Client, object: &Object) -> Live {
    let namespace = object.namespace();
    let mut names: Vec<(&'static Kind, String)> = object
        .hold()
        .into_iter()
        .flat_map(|hold| &hold.workloads)
        .filter_map(|workload| Some((Kind::workload(&workload.kind)?, workload.name.clone())))
        .collect();
    let mut live = Live::new();
    if names.is_empty() {
        let spec = object.selection();
        let entries = spec.as_ref().map(|spec| spec.workloads.as_slice()).unwrap_or_default();
        for entry in entries {
            match &entry.target {
                Target::Name(name) => names.push((entry.kind, name.clone())),
                Target::Labels(_) | Target::All => {
                    live.extend(selected(client, namespace, entry).await);
                }
            }
        }
    }
    let read = stream::iter(names.into_iter().take(MOST)).map(|(kind, name)| async move {
        let api: Api<DynamicObject> =
            Api::namespaced_with(client.clone(), namespace, &kind.api_resource());
        let now = match call(name.clone(), api.get_opt(&name)).await {
            Ok(Some(object)) => describe(kind.name, &object.data),
            Ok(None) => "not found".to_owned(),
            Err(error) if error.code() == Some(403) => "(you may not get it)".to_owned(),
            Err(error) => format!("({error})"),
        };
        ((kind.name.to_owned(), name), now)
    });
    live.extend(read.buffer_unordered(IN_FLIGHT).collect::<Vec<_>>().await);
    live
}

/// Reads the workloads that an entry selects by labels, or all of a kind.
async fn selected(client: &Client, namespace: &str, entry: &Entry) -> Live {
    let api: Api<DynamicObject> =
        Api::namespaced_with(client.clone(), namespace, &entry.kind.api_resource());
    let params = match &entry.target {
        Target::Labels(labels) => ListParams::default().labels(&labels.to_string()),
        Target::Name(_) | Target::All => ListParams::default(),
    };
    let listed = pages(entry.kind.plural, &api, params, |object| {
        let name = object.metadata.name?;
        let excepted = entry.except.contains(&name);
        (!excepted).then(|| (name, describe(entry.kind.name, &object.data)))
    });
    let kind = entry.kind.name.to_owned();
    match listed.await {
        Ok(listed) => {
            listed.into_iter().take(MOST).map(|(name, now)| ((kind.clone(), name), now)).collect()
        }
        Err(error) => Live::from([((kind, "(all)".to_owned()), format!("({error})"))]),
    }
}

/// Returns the state of a workload in words: `2 of 3 ready`, `suspended`.
pub(super) fn describe(kind: &str, object: &Value) -> String {
    let number = |pointer: &str| object.pointer(pointer).and_then(Value::as_i64);
    let status = |field: &str| number(&format!("/status/{field}")).unwrap_or_default();
    let pods = |desired: i64, ready: i64, there: i64| match (desired, there) {
        (0, 0) => "0 replicas".to_owned(),
        (0, there) => format!("0 replicas, {} left", counted(there, "pod")),
        _ => format!("{ready} of {desired} ready"),
    };
    match kind {
        "DaemonSet" => {
            let (desired, there) =
                (status("desiredNumberScheduled"), status("currentNumberScheduled"));
            match (desired, there) {
                (0, 0) => "on no node".to_owned(),
                _ => pods(desired, status("numberReady"), there),
            }
        }
        "CronJob" => {
            let active = object.pointer("/status/active").and_then(Value::as_array);
            let active = match active.map_or(0, Vec::len) {
                0 => String::new(),
                jobs => format!(", {} running", counted(jobs, "Job")),
            };
            let suspended = object.pointer("/spec/suspend") == Some(&Value::Bool(true));
            format!("{}{active}", if suspended { "suspended" } else { "not suspended" })
        }
        "Job" => {
            let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
            let is = |kind: &str| {
                let mut all = conditions.into_iter().flatten();
                all.any(|condition| condition["type"] == kind && condition["status"] == "True")
            };
            if is("Complete") {
                "complete".to_owned()
            } else if is("Failed") {
                "failed".to_owned()
            } else if object.pointer("/spec/suspend") == Some(&Value::Bool(true)) {
                "suspended".to_owned()
            } else {
                format!("{} running", counted(status("active"), "pod"))
            }
        }
        _ => {
            pods(number("/spec/replicas").unwrap_or(1), status("readyReplicas"), status("replicas"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_workload_is_described_whatever_its_status_has() {
        for (kind, object, says) in [
            ("Deployment", json!({"spec": {"replicas": 3}}), "0 of 3 ready"),
            (
                "Deployment",
                json!({"spec": {"replicas": 3}, "status": {"replicas": 3, "readyReplicas": 2}}),
                "2 of 3 ready",
            ),
            (
                "StatefulSet",
                json!({"spec": {"replicas": 0}, "status": {"replicas": 1}}),
                "0 replicas, 1 pod left",
            ),
            ("ReplicaSet", json!({}), "0 of 1 ready"),
            ("DaemonSet", json!({}), "on no node"),
            (
                "DaemonSet",
                json!({"status": {"desiredNumberScheduled": 2, "currentNumberScheduled": 2, "numberReady": 1}}),
                "1 of 2 ready",
            ),
            ("CronJob", json!({"spec": {"suspend": true}}), "suspended"),
            ("CronJob", json!({"status": {"active": [{}, {}]}}), "not suspended, 2 Jobs running"),
            ("Job", json!({"status": {"active": 1}}), "1 pod running"),
            ("Job", json!({"spec": {"suspend": true}}), "suspended"),
            (
                "Job",
                json!({"status": {"conditions": [{"type": "Complete", "status": "True"}]}}),
                "complete",
            ),
        ] {
            assert_eq!(describe(kind, &object), says, "{kind} {object}");
        }
    }
}
