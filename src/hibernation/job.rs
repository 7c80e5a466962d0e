//! The Jobs that Torpor runs: the truncation and its dry run.

use serde_json::{Value, json};

use super::validate::DatabaseEntry;
use crate::api::hibernation::Attempt;
use crate::truncate::table_name::TableNames;

/// The label by which Torpor's own objects are known.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Its value.
pub const TORPOR: &str = "torpor";
/// The container.
pub const CONTAINER: &str = "truncate";
/// The exit statuses of wrong arguments and of a refusal: another try would end the same way.
const REFUSED: [i32; 2] = [2, 3];

/// What a Job is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Purpose {
    /// The dry run: read only.
    Preflight,
    /// The real thing.
    Truncation,
}

/// The object that a Job belongs to.
#[derive(Clone, Debug)]
pub struct Owner<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its uid.
    pub uid: &'a str,
}

/// The Job of one attempt.
pub fn manifest(
    owner: &Owner,
    database: &DatabaseEntry,
    attempt: &Attempt,
    purpose: Purpose,
    image: &str,
) -> Value {
    let truncate = &database.spec.truncate;
    let pod = truncate.pod.clone().unwrap_or_default();
    let resources = pod.resources.map_or_else(
        || json!({"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "64Mi"}}),
        |resources| json!(resources),
    );
    let mut args = vec![
        "truncate".to_owned(),
        format!("--scope={:?}", truncate.scope),
        format!("--schema={}", truncate.schema),
        format!("--runtime={}", TableNames::of(&truncate.tables.runtime)),
        format!("--opportunities={}", TableNames::of(&truncate.tables.opportunities)),
        format!("--preserved={}", TableNames::of(&truncate.tables.preserved)),
        format!("--lock-timeout={}", truncate.lock_timeout),
        format!("--not-after={}", attempt.not_after.0),
        "--report=/dev/termination-log".to_owned(),
    ];
    args.extend(truncate.confirm.as_ref().map(|name| format!("--confirm={name}")));
    if purpose == Purpose::Preflight {
        args.push("--dry-run".to_owned());
    }
    let labels = json!({
        MANAGED_BY: TORPOR,
        "torpor.dev/hibernation": owner.name,
        "torpor.dev/job": match purpose {
            Purpose::Preflight => "preflight",
            Purpose::Truncation => "truncation",
        },
    });
    let mut job = json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": attempt.job,
            "namespace": owner.namespace,
            "labels": labels,
            "ownerReferences": [{
                "apiVersion": "torpor.dev/v1alpha1",
                "kind": "Hibernation",
                "name": owner.name,
                "uid": owner.uid,
                "controller": true,
            }],
        },
        "spec": {
            "backoffLimit": 2,
            // Longer than an attempt may take: one that can't even start leaves nothing behind.
            "activeDeadlineSeconds": 240,
            // What is refused stays refused; a node that is drained is nobody's fault.
            "podFailurePolicy": {"rules": [
                {"action": "FailJob", "onExitCodes":
                    {"containerName": CONTAINER, "operator": "In", "values": REFUSED}},
                {"action": "Ignore", "onPodConditions":
                    [{"type": "DisruptionTarget", "status": "True"}]},
            ]},
            "template": {
                "metadata": {"labels": labels, "annotations": pod.annotations},
                "spec": {
                    "restartPolicy": "Never",
                    "automountServiceAccountToken": false,
                    "enableServiceLinks": false,
                    "terminationGracePeriodSeconds": 10,
                    "nodeSelector": pod.node_selector,
                    "tolerations": pod.tolerations,
                    "imagePullSecrets": pod.image_pull_secrets,
                    "securityContext": {
                        "runAsNonRoot": true,
                        "runAsUser": 65532,
                        "runAsGroup": 65532,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "containers": [{
                        "name": CONTAINER,
                        "image": image,
                        "args": args,
                        "env": [{"name": "DATABASE_URL", "valueFrom": {"secretKeyRef": {
                            "name": database.spec.secret_ref.name,
                            "key": database.spec.secret_ref.key,
                        }}}],
                        "resources": resources,
                        "securityContext": {
                            "allowPrivilegeEscalation": false,
                            "readOnlyRootFilesystem": true,
                            "capabilities": {"drop": ["ALL"]},
                        },
                    }],
                },
            },
        },
    });
    if purpose == Purpose::Preflight {
        // A truncation's Job stays until the wake is complete; this one is only a message.
        job["spec"]["ttlSecondsAfterFinished"] = json!(600);
    }
    job
}

/// The name of a Job, cut so that it fits into a label.
pub fn name(owner: &str, purpose: Purpose, id: &str, number: i32) -> String {
    let purpose = match purpose {
        Purpose::Preflight => "preflight",
        Purpose::Truncation => "truncate",
    };
    let suffix = format!("-{purpose}-{id}-{number}");
    let kept: String = owner.chars().take(63_usize.saturating_sub(suffix.len())).collect();
    format!("{}{suffix}", kept.trim_end_matches(['-', '.']))
}
