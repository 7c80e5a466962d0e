//! Levers: the one field of each kind that stops it, and the value that stops it.

use kube::core::DynamicObject;
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::kinds::{self, Also, Entry};

/// A kind that Torpor can hold.
#[derive(Debug, Eq, PartialEq)]
pub struct Kind {
    /// The kind, as in `spec.workloads[].kind`.
    pub name: &'static str,
    /// API group; empty for the core group.
    pub group: &'static str,
    /// API version in the group.
    pub version: &'static str,
    /// Plural name of the resource.
    pub plural: &'static str,
    /// JSON pointer of the field that stops it; none for a ConfigMap, whose levers are its keys.
    pub stop: Option<&'static str>,
    /// JSON pointer of the part that every rollout writes: the pod template, or the data of a ConfigMap.
    pub template: &'static str,
    /// The rest of its entry in the table of the installer; none for a built-in kind.
    pub entry: Option<Entry>,
}

/// The lever of the kinds that have replicas.
pub(crate) const REPLICAS: &str = "/spec/replicas";

/// The built-in kinds that `spec.workloads[].kind` accepts.
pub(crate) static WORKLOADS: [Kind; 6] = [
    Kind {
        name: "Deployment",
        group: "apps",
        version: "v1",
        plural: "deployments",
        stop: Some(REPLICAS),
        template: "/spec/template",
        entry: None,
    },
    Kind {
        name: "StatefulSet",
        group: "apps",
        version: "v1",
        plural: "statefulsets",
        stop: Some(REPLICAS),
        template: "/spec/template",
        entry: None,
    },
    Kind {
        name: "ReplicaSet",
        group: "apps",
        version: "v1",
        plural: "replicasets",
        stop: Some(REPLICAS),
        template: "/spec/template",
        entry: None,
    },
    Kind {
        name: "DaemonSet",
        group: "apps",
        version: "v1",
        plural: "daemonsets",
        stop: Some("/spec/template/spec/nodeSelector/torpor.dev~1held"),
        template: "/spec/template",
        entry: None,
    },
    Kind {
        name: "CronJob",
        group: "batch",
        version: "v1",
        plural: "cronjobs",
        stop: Some("/spec/suspend"),
        template: "/spec/jobTemplate",
        entry: None,
    },
    Kind {
        name: "Job",
        group: "batch",
        version: "v1",
        plural: "jobs",
        stop: Some("/spec/suspend"),
        template: "/spec/template",
        entry: None,
    },
];

/// The kind ConfigMap. Each key is a lever.
pub(crate) static CONFIG_MAP: Kind = Kind {
    name: "ConfigMap",
    group: "",
    version: "v1",
    plural: "configmaps",
    stop: None,
    template: "/data",
    entry: None,
};

/// The second lever of a StatefulSet: while it is `Delete`, a scale to 0 deletes the claims of its pods.
pub(crate) const WHEN_SCALED: &str = "/spec/persistentVolumeClaimRetentionPolicy/whenScaled";
static KEEPS_CLAIMS: LazyLock<Also> = LazyLock::new(|| Also {
    lever: WHEN_SCALED.to_owned(),
    value: json!("Retain"),
    r#where: Some(json!("Delete")),
});

/// The lever of a restart: an annotation of the pod template.
pub(crate) const RESTART: &str = "/spec/template/metadata/annotations/torpor.dev~1configuration";
/// The annotation of [`RESTART`], as pods have it.
pub(crate) const RESTART_ANNOTATION: &str = "torpor.dev/configuration";

/// The parent of a lever that is an annotation.
pub(crate) const ANNOTATIONS: &str = "/metadata/annotations/";

impl Kind {
    /// Returns the kind of that name that `spec.workloads[].kind` accepts.
    pub(crate) fn workload(name: &str) -> Option<&'static Self> {
        Self::workloads().find(|kind| kind.name == name)
    }

    /// Returns the kinds that `spec.workloads[].kind` accepts: the built-in ones, and those of the table.
    pub(crate) fn workloads() -> impl Iterator<Item = &'static Self> {
        WORKLOADS.iter().chain(kinds::table())
    }

    /// Returns the kind of that name that Torpor can hold.
    pub fn any(name: &str) -> Option<&'static Self> {
        Self::all().find(|kind| kind.name == name)
    }

    /// Returns every kind that Torpor can hold.
    pub(crate) fn all() -> impl Iterator<Item = &'static Self> {
        Self::workloads().chain([&CONFIG_MAP])
    }

    /// Returns the API group and version, as in `apiVersion`.
    pub(crate) fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// Returns the resource for a dynamic API.
    pub fn api_resource(&self) -> ApiResource {
        let gvk = GroupVersionKind::gvk(self.group, self.version, self.name);
        ApiResource::from_gvk_with_plural(&gvk, self.plural)
    }

    /// Returns whether a JSON pointer is a lever of this kind.
    pub(crate) fn has_lever(&self, pointer: &str) -> bool {
        match self.stop {
            Some(stop) => {
                pointer == stop
                    || (pointer == RESTART && self.entry.is_none())
                    || self.also().is_some_and(|also| also.lever == pointer)
            }
            None => pointer.starts_with("/data/") && segments(pointer).count() == 2,
        }
    }

    /// Returns the lever and the value that stop an object of this kind; empty for a ConfigMap.
    pub(crate) fn stop_wants(&self) -> BTreeMap<String, Value> {
        let Some(pointer) = self.stop else { return BTreeMap::new() };
        let value = match (&self.entry, self.name) {
            (Some(entry), _) => entry.value.clone(),
            (None, "CronJob" | "Job") => json!(true),
            (None, "DaemonSet") => json!("true"),
            _ => json!(0),
        };
        [(pointer.to_owned(), value)].into()
    }

    /// Returns whether an object of the kind scales a workload that it does not own.
    pub(crate) fn scales(&self) -> bool {
        self.entry.as_ref().is_some_and(|entry| entry.target_ref.is_some())
    }

    /// Returns the levers that stop an object of this kind: its own, and the second one. None for a ConfigMap.
    pub(crate) fn levers(&self) -> impl Iterator<Item = &str> {
        self.stop.into_iter().chain(self.also().map(|also| also.lever.as_str()))
    }

    /// Returns the second lever of a kind: that of its entry in the table, or the claims of a StatefulSet.
    pub(crate) fn also(&self) -> Option<&Also> {
        match &self.entry {
            Some(entry) => entry.also.as_ref(),
            None => (self.name == "StatefulSet").then(|| &*KEEPS_CLAIMS),
        }
    }
}

/// Returns the lever and the value that restart a workload: a digest of the configuration and the
/// episode, in its pod template. The same digest twice causes one rollout, and the pods of an earlier
/// episode have another digest.
pub(crate) fn restart_wants(digest: &str) -> BTreeMap<String, Value> {
    [(RESTART.to_owned(), json!(digest))].into()
}

/// Returns the levers and values that override keys of a ConfigMap.
pub(crate) fn key_wants(set: &BTreeMap<String, String>) -> BTreeMap<String, Value> {
    set.iter().map(|(key, value)| (key_pointer(key), json!(value))).collect()
}

/// Returns the lever of one key of a ConfigMap.
pub(crate) fn key_pointer(key: &str) -> String {
    format!("/data/{}", escape(key))
}

/// Escapes a key for a JSON pointer (RFC 6901).
fn escape(segment: &str) -> String {
    segment.replace('~', "~0").replace('/', "~1")
}

fn unescape(segment: &str) -> String {
    segment.replace("~1", "/").replace("~0", "~")
}

/// Returns the annotation that a lever is; none for a field. A change of an annotation is no new generation.
pub(crate) fn annotation(pointer: &str) -> Option<String> {
    pointer.strip_prefix(ANNOTATIONS).map(unescape)
}

/// Returns the value of a lever: a field, or an annotation.
pub(crate) fn value_at(object: &DynamicObject, pointer: &str) -> Option<Value> {
    let Some(name) = annotation(pointer) else {
        return object.data.pointer(pointer).cloned();
    };
    object.metadata.annotations.as_ref()?.get(&name).map(|text| Value::from(text.as_str()))
}

/// Returns the value that the API server sets where a lever is absent.
pub(crate) fn default(pointer: &str) -> Option<Value> {
    match pointer {
        REPLICAS => Some(json!(1)),
        "/spec/suspend" => Some(json!(false)),
        _ => None,
    }
}

/// Returns the field that managedFields list for a lever: the whole node selector for a lever in it,
/// because it is atomic (`x-kubernetes-map-type`); else the lever itself.
pub(crate) fn owned_field(pointer: &str) -> &str {
    const ATOMIC: &str = "/nodeSelector";
    match pointer.find(&format!("{ATOMIC}/")) {
        Some(at) => &pointer[..at + ATOMIC.len()],
        None => pointer,
    }
}

/// Returns the unescaped segments of a JSON pointer.
pub(crate) fn segments(pointer: &str) -> impl Iterator<Item = String> + '_ {
    pointer.split('/').skip(1).map(unescape)
}

/// Returns a field as people write it: `spec.suspend`.
pub(crate) fn path(pointer: &str) -> String {
    segments(pointer).collect::<Vec<_>>().join(".")
}

/// Returns a short digest of a text: 16 hexadecimal digits, valid as a label value.
pub fn digest(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().take(8).fold(String::new(), |mut hex, byte| {
        use std::fmt::Write;
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
