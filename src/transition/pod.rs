//! Pods, as a plan sees them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Pod, PodStatus};

use crate::api::pod::{STARTING, unscheduled};
use crate::apiserver::wanted::Wanted;
use crate::hold::lever::RESTART_ANNOTATION;
use crate::hold::subject::Controller;

/// The parts of a pod that are read.
const POD: [&str; 13] = [
    "/metadata/name",
    "/metadata/labels",
    "/metadata/annotations/torpor.dev~1configuration",
    "/metadata/ownerReferences",
    "/metadata/deletionTimestamp",
    "/spec/hostNetwork",
    "/status/phase",
    "/status/podIPs",
    "/status/conditions/type",
    "/status/conditions/status",
    "/status/conditions/message",
    "/status/initContainerStatuses",
    "/status/containerStatuses",
];

/// A pod.
#[derive(Clone, Debug)]
pub struct PodView {
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its owners.
    pub owners: Vec<Controller>,
    /// The digest of the restart that it was created with.
    pub configuration: Option<String>,
    /// Whether it is being deleted.
    pub terminating: bool,
    /// Why it has no node, or a container of it does not start.
    pub trouble: Option<String>,
    /// Its addresses: one of each IP family.
    pub addresses: Vec<IpAddr>,
    /// Whether these are the addresses of its node.
    pub host_network: bool,
}

impl PodView {
    /// Returns the parts of a pod that are read.
    pub(super) fn wanted() -> Wanted {
        Wanted::of(POD)
    }

    /// Parses a pod; none for a finished one, as [`Self::read`] says.
    pub(super) fn parse(
        wanted: &Wanted,
        document: &[u8],
    ) -> Result<Option<Self>, serde_json::Error> {
        Ok(Self::read(serde_json::from_value(wanted.parse(document)?)?))
    }

    /// Returns none for a finished pod: it runs no more, however long it stays listed.
    fn read(pod: Pod) -> Option<Self> {
        let status = pod.status.unwrap_or_default();
        if matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")) {
            return None;
        }
        let trouble = trouble(&status);
        let meta = pod.metadata;
        let addresses = status.pod_ips.unwrap_or_default().into_iter();
        Some(Self {
            owners: Controller::all(&meta),
            name: meta.name.unwrap_or_default(),
            labels: meta.labels.unwrap_or_default(),
            configuration: meta.annotations.and_then(|mut a| a.remove(RESTART_ANNOTATION)),
            terminating: meta.deletion_timestamp.is_some(),
            trouble,
            addresses: addresses.filter_map(|address| address.ip.parse().ok()).collect(),
            host_network: pod.spec.and_then(|spec| spec.host_network) == Some(true),
        })
    }
}

/// Returns why a pod has no node, or a container of it does not start.
fn trouble(status: &PodStatus) -> Option<String> {
    let unscheduled = unscheduled(status).and_then(|condition| condition.message.clone());
    let containers = status.init_container_statuses.iter().chain(&status.container_statuses);
    let waiting = containers
        .flatten()
        .filter_map(|container| container.state.as_ref()?.waiting.as_ref())
        .map(|waiting| (waiting.reason.as_deref().unwrap_or_default(), &waiting.message))
        .find(|(reason, _)| !reason.is_empty() && !STARTING.contains(reason))
        .map(|(reason, message)| match message {
            Some(message) => format!("{reason}: {message}"),
            None => reason.to_owned(),
        });
    unscheduled.or(waiting)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_that_is_read_of_a_pod_is_skipped() {
        let pod = json!({
            "metadata": {
                "name": "p", "labels": {"app": "x"}, "deletionTimestamp": "2026-12-01T00:00:00Z",
                "annotations": {"torpor.dev/configuration": "digest", "other": "y"},
                "ownerReferences": [
                    {"apiVersion": "v1", "kind": "K", "name": "o", "uid": "ou", "controller": true},
                ],
            },
            "spec": {"hostNetwork": true, "containers": [{"name": "main"}]},
            "status": {
                "phase": "Pending",
                "podIPs": [{"ip": "10.0.0.7"}, {"ip": "fd00::7"}],
                "conditions": [{"type": "PodScheduled", "status": "False", "message": "no node"}],
                "containerStatuses": [{
                    "name": "main", "image": "i", "imageID": "", "ready": false, "restartCount": 0,
                    "state": {"waiting": {"reason": "ImagePullBackOff"}},
                }],
            },
        });
        let whole = PodView::read(serde_json::from_value(pod.clone()).unwrap());
        let read = PodView::parse(&PodView::wanted(), pod.to_string().as_bytes()).unwrap();
        assert_eq!(format!("{read:?}"), format!("{whole:?}"));
        assert_eq!(read.unwrap().addresses.len(), 2);
    }
}
