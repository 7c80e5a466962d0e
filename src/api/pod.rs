//! Pods: the security settings of those that the operator creates, and what the status of any pod says.

use k8s_openapi::api::core::v1::{PodCondition, PodStatus};
use serde_json::{Value, json};

/// Reasons of a waiting container that is merely starting.
pub(crate) const STARTING: [&str; 2] = ["ContainerCreating", "PodInitializing"];

/// User, group and group of files in a pod.
const USER: i64 = 65532;

/// Returns a pod spec that meets the Pod Security Standard `restricted`, without a token of a service
/// account, and with a read-only root.
pub(crate) fn hardened(mut spec: Value) -> Value {
    spec["automountServiceAccountToken"] = json!(false);
    spec["enableServiceLinks"] = json!(false);
    spec["securityContext"] = json!({
        "runAsNonRoot": true,
        "runAsUser": USER,
        "runAsGroup": USER,
        "seccompProfile": {"type": "RuntimeDefault"},
    });
    for container in spec["containers"].as_array_mut().into_iter().flatten() {
        container["securityContext"] = json!({
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]},
        });
    }
    spec
}

/// Returns a hardened pod spec whose process may read the files of its Secrets: they belong to the group.
pub(crate) fn hardened_with_secret_files(spec: Value) -> Value {
    let mut spec = hardened(spec);
    spec["securityContext"]["fsGroup"] = json!(USER);
    spec
}

/// Returns the condition of a pod that has no node, with the scheduler's words.
pub(crate) fn unscheduled(status: &PodStatus) -> Option<&PodCondition> {
    let mut conditions = status.conditions.iter().flatten();
    conditions.find(|condition| condition.type_ == "PodScheduled" && condition.status == "False")
}
