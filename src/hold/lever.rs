//! Levers: the one field by which a kind is stopped, and the value that stops it.

use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// A kind that can be held.
#[derive(Debug, Eq, PartialEq)]
pub struct Kind {
    /// As written in `spec.workloads[].kind`.
    pub name: &'static str,
    /// API group, empty for the core group.
    pub group: &'static str,
    /// API version within the group.
    pub version: &'static str,
    /// Plural name of the resource.
    pub plural: &'static str,
    /// The field that stops it, as a JSON pointer; none for a ConfigMap, whose levers are its keys.
    pub stop: Option<&'static str>,
    /// Where what a deploy writes lies: the pod template, or a ConfigMap's data.
    pub template: &'static str,
}

/// What an author can name in `spec.workloads[].kind`.
pub static WORKLOADS: [Kind; 6] = [
    Kind {
        name: "Deployment",
        group: "apps",
        version: "v1",
        plural: "deployments",
        stop: Some("/spec/replicas"),
        template: "/spec/template",
    },
    Kind {
        name: "StatefulSet",
        group: "apps",
        version: "v1",
        plural: "statefulsets",
        stop: Some("/spec/replicas"),
        template: "/spec/template",
    },
    Kind {
        name: "ReplicaSet",
        group: "apps",
        version: "v1",
        plural: "replicasets",
        stop: Some("/spec/replicas"),
        template: "/spec/template",
    },
    Kind {
        name: "DaemonSet",
        group: "apps",
        version: "v1",
        plural: "daemonsets",
        stop: Some("/spec/template/spec/nodeSelector/torpor.dev~1held"),
        template: "/spec/template",
    },
    Kind {
        name: "CronJob",
        group: "batch",
        version: "v1",
        plural: "cronjobs",
        stop: Some("/spec/suspend"),
        template: "/spec/jobTemplate",
    },
    Kind {
        name: "Job",
        group: "batch",
        version: "v1",
        plural: "jobs",
        stop: Some("/spec/suspend"),
        template: "/spec/template",
    },
];

/// A ConfigMap, each of whose keys is a lever.
pub static CONFIG_MAP: Kind = Kind {
    name: "ConfigMap",
    group: "",
    version: "v1",
    plural: "configmaps",
    stop: None,
    template: "/data",
};

/// Where the digest of a restart is written.
pub const RESTART: &str = "/spec/template/metadata/annotations/torpor.dev~1configuration";
/// The same, as an annotation of pods.
pub const RESTART_ANNOTATION: &str = "torpor.dev/configuration";

impl Kind {
    /// The kind that an author names.
    pub fn workload(name: &str) -> Option<&'static Self> {
        WORKLOADS.iter().find(|kind| kind.name == name)
    }

    /// Any kind that can carry a hold.
    pub fn any(name: &str) -> Option<&'static Self> {
        Self::all().find(|kind| kind.name == name)
    }

    /// Every kind that can carry a hold.
    pub fn all() -> impl Iterator<Item = &'static Self> {
        WORKLOADS.iter().chain([&CONFIG_MAP])
    }

    /// For a dynamic API.
    pub fn api_resource(&self) -> ApiResource {
        let gvk = GroupVersionKind::gvk(self.group, self.version, self.name);
        ApiResource::from_gvk_with_plural(&gvk, self.plural)
    }

    /// Whether a pointer is one of this kind's levers.
    pub fn has_lever(&self, pointer: &str) -> bool {
        match self.stop {
            Some(stop) => pointer == stop || pointer == RESTART,
            None => pointer.starts_with("/data/") && segments(pointer).count() == 2,
        }
    }

    /// What stops it.
    pub fn stop_wants(&self) -> BTreeMap<String, Value> {
        let Some(pointer) = self.stop else { return BTreeMap::new() };
        let value = match self.name {
            "CronJob" | "Job" => json!(true),
            "DaemonSet" => json!("true"),
            _ => json!(0),
        };
        [(pointer.to_owned(), value)].into()
    }
}

/// What restarts a workload: a digest of the configuration and the episode in its pod template.
/// Written twice it rolls once, and a pod of an earlier episode never passes for this one's.
pub fn restart_wants(digest: &str) -> BTreeMap<String, Value> {
    [(RESTART.to_owned(), json!(digest))].into()
}

/// The keys of a ConfigMap as levers.
pub fn key_wants(set: &BTreeMap<String, String>) -> BTreeMap<String, Value> {
    set.iter().map(|(key, value)| (key_pointer(key), json!(value))).collect()
}

/// The pointer of one key of a ConfigMap.
pub fn key_pointer(key: &str) -> String {
    format!("/data/{}", escape(key))
}

/// Escapes a key for a JSON pointer (RFC 6901).
fn escape(segment: &str) -> String {
    segment.replace('~', "~0").replace('/', "~1")
}

/// The field whose owner managedFields name: of a lever in a node selector the whole selector, which
/// is atomic (`x-kubernetes-map-type`); of any other the lever itself.
pub fn owned_field(pointer: &str) -> &str {
    const ATOMIC: &str = "/nodeSelector";
    match pointer.find(&format!("{ATOMIC}/")) {
        Some(at) => &pointer[..at + ATOMIC.len()],
        None => pointer,
    }
}

/// The segments of a JSON pointer, unescaped.
pub fn segments(pointer: &str) -> impl Iterator<Item = String> + '_ {
    pointer.split('/').skip(1).map(|segment| segment.replace("~1", "/").replace("~0", "~"))
}

/// A short digest of a text: 16 hexadecimal digits, fit for a label.
pub fn digest(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().take(8).fold(String::new(), |mut hex, byte| {
        use std::fmt::Write;
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
