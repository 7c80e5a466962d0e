//! Tells whether a bridge is ready, and why it is not. Pure.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod};

use super::manifest::{CONTAINER, SETTINGS};
use crate::api::pod::{STARTING, unscheduled};

/// Returns whether the pod of the current manifest is available, and no other pod is left.
pub(super) fn is_ready(deployment: &Deployment) -> bool {
    let Some(status) = &deployment.status else { return false };
    deployment.metadata.deletion_timestamp.is_none()
        && status.observed_generation == deployment.metadata.generation
        && status.replicas == Some(1)
        && status.updated_replicas == Some(1)
        && status.available_replicas == Some(1)
}

/// Returns the cause of the wait for a bridge that is not ready.
pub(super) fn for_what(deployment: &Deployment, pods: &[Pod], settings: &str) -> String {
    if deployment.metadata.deletion_timestamp.is_some() {
        return "the Deployment of the former bridge is being deleted".to_owned();
    }
    let present = |pod: &&Pod| {
        let annotations = pod.metadata.annotations.as_ref();
        pod.metadata.deletion_timestamp.is_none()
            && annotations.and_then(|all| all.get(SETTINGS)).is_some_and(|all| all == settings)
    };
    let newest =
        pods.iter().filter(present).max_by_key(|pod| pod.metadata.creation_timestamp.clone());
    let starts = "the bridge is starting".to_owned();
    match newest {
        Some(pod) => of_pod(pod).unwrap_or(starts),
        None if !pods.is_empty() => "the bridge's former pod is still ending".to_owned(),
        None => of_deployment(deployment).unwrap_or(starts),
    }
}

/// Returns why no pod can be created, such as a quota or an admission policy.
fn of_deployment(deployment: &Deployment) -> Option<String> {
    let conditions = deployment.status.as_ref()?.conditions.as_ref()?;
    let failed = conditions.iter().find(|c| c.type_ == "ReplicaFailure" && c.status == "True")?;
    Some(in_words(failed.reason.as_deref(), failed.message.as_deref()))
}

fn of_pod(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    if let Some(unscheduled) = unscheduled(status) {
        return Some(in_words(unscheduled.reason.as_deref(), unscheduled.message.as_deref()));
    }
    // A service mesh may have added a container.
    let container =
        status.container_statuses.iter().flatten().find(|container| container.name == CONTAINER)?;
    let state = container.state.as_ref()?;
    if let Some(waiting) = &state.waiting {
        let reason = waiting.reason.as_deref().unwrap_or_default();
        if STARTING.contains(&reason) {
            return None;
        }
        // After a crash the kubelet's message only has the back-off.
        let text = ended(container).or_else(|| waiting.message.clone());
        return Some(in_words(Some(reason), text.as_deref()));
    }
    if let Some(end) = &state.terminated {
        return Some(in_words(end.reason.as_deref(), Some(&last_words(end))));
    }
    Some("the bridge runs and is not ready yet".to_owned())
}

/// Returns how the container last ended.
fn ended(container: &ContainerStatus) -> Option<String> {
    Some(last_words(container.last_state.as_ref()?.terminated.as_ref()?))
}

/// Returns the last line of the container's log, or its exit status.
fn last_words(end: &ContainerStateTerminated) -> String {
    let message = end.message.as_deref().unwrap_or_default();
    let last = message.lines().rev().map(str::trim).find(|line| !line.is_empty());
    last.map_or_else(
        || format!("the container exited with status {}", end.exit_code),
        str::to_owned,
    )
}

fn in_words(reason: Option<&str>, message: Option<&str>) -> String {
    match (reason.unwrap_or_default(), message.unwrap_or_default()) {
        ("", message) => message.to_owned(),
        (reason, "") => reason.to_owned(),
        (reason, message) => format!("{reason}: {message}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn deployment(status: Value) -> Deployment {
        let mut manifest = json!({"metadata": {"generation": 2}});
        manifest["status"] = status;
        serde_json::from_value(manifest).unwrap()
    }

    fn pod(metadata: Value, status: Value) -> Pod {
        let mut pod = json!({});
        pod["metadata"] = metadata;
        pod["status"] = status;
        if pod["metadata"]["annotations"].is_null() {
            pod["metadata"]["annotations"] = json!({SETTINGS: "now"});
        }
        serde_json::from_value(pod).unwrap()
    }

    fn container(state: Value, last: Value) -> Value {
        let of = |name: &str| json!({"name": name, "image": "", "imageID": "", "ready": false, "restartCount": 0});
        let (mut mesh, mut bridge) = (of("mesh"), of(CONTAINER));
        mesh["state"] = json!({"waiting": {"reason": "ImagePullBackOff"}});
        bridge["state"] = state;
        bridge["lastState"] = last;
        json!({"containerStatuses": [mesh, bridge]})
    }

    #[test]
    fn it_is_ready_when_only_the_pod_of_the_present_manifest_is_there_and_available() {
        let all = json!({"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1});
        assert!(is_ready(&deployment(all.clone())));
        for (field, value) in [
            ("observedGeneration", json!(1)),
            ("replicas", json!(2)),
            ("updatedReplicas", json!(null)),
            ("availableReplicas", json!(0)),
        ] {
            let mut status = all.clone();
            status[field] = value;
            assert!(!is_ready(&deployment(status)), "{field}");
        }
    }

    #[test]
    fn what_it_waits_for_is_told_in_kubernetes_own_words() {
        let none = deployment(json!({}));
        let of = |pod: Pod| for_what(&none, &[pod], "now");
        let now = || json!({});
        let missing = json!({"waiting": {"reason": "CreateContainerConfigError", "message": "secret \"db\" not found"}});
        assert_eq!(
            of(pod(now(), container(missing, json!({})))),
            "CreateContainerConfigError: secret \"db\" not found"
        );
        let backs_off =
            json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}});
        let ended =
            json!({"terminated": {"exitCode": 1, "message": "{\"a\": 1}\ntorpor: no key\n\n"}});
        assert_eq!(
            of(pod(now(), container(backs_off.clone(), ended.clone()))),
            "CrashLoopBackOff: torpor: no key"
        );
        let killed = json!({"terminated": {"exitCode": 137}});
        assert_eq!(
            of(pod(now(), container(backs_off, killed))),
            "CrashLoopBackOff: the container exited with status 137"
        );
        assert_eq!(of(pod(now(), container(ended, json!({})))), "torpor: no key");
        let creating = json!({"waiting": {"reason": "ContainerCreating"}});
        assert_eq!(of(pod(now(), container(creating, json!({})))), "the bridge is starting");
        let running = container(json!({"running": {}}), json!({}));
        assert!(of(pod(now(), running)).contains("is not ready yet"));
        let unscheduled = json!({"conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"},
        ]});
        assert_eq!(of(pod(now(), unscheduled)), "Unschedulable: 0/1 nodes");
    }

    #[test]
    fn only_the_newest_pod_of_the_present_settings_counts() {
        let none = deployment(json!({}));
        let at = |minute: u8, annotation: &str| {
            json!({
                "annotations": {SETTINGS: annotation},
                "creationTimestamp": format!("2026-12-01T00:0{minute}:00Z"),
            })
        };
        let waits = |reason: &str| container(json!({"waiting": {"reason": reason}}), json!({}));
        let old = pod(at(3, "before"), waits("Old"));
        assert!(for_what(&none, std::slice::from_ref(&old), "now").contains("still ending"));
        let pods = [old, pod(at(2, "now"), waits("Newer")), pod(at(1, "now"), waits("Older"))];
        assert_eq!(for_what(&none, &pods, "now"), "Newer");
    }

    #[test]
    fn a_pod_that_cannot_be_created_is_told() {
        let refused = deployment(json!({"conditions": [
            {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota"},
        ]}));
        assert_eq!(for_what(&refused, &[], "now"), "FailedCreate: exceeded quota");
        assert_eq!(for_what(&deployment(json!({})), &[], "now"), "the bridge is starting");
    }
}
