//! Pods that cost nothing: no scheduler places them, and this sets their status to ready.

use std::pin::pin;

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
    runtime::{
        WatchStreamExt,
        watcher::{self, watcher},
    },
};
use serde_json::json;

/// The value of `spec.schedulerName`. There is no such scheduler.
pub(super) const SCHEDULER: &str = "nobody";

/// Sets each pod of a namespace to ready. Dropping it stops that.
pub(super) struct Kubelet(tokio::task::JoinHandle<()>);

impl Kubelet {
    pub(super) fn start(pods: Api<Pod>) -> Self {
        Self(tokio::spawn(async move {
            let changes = watcher(pods.clone(), watcher::Config::default()).default_backoff();
            let mut changes = pin!(changes.applied_objects());
            while let Some(pod) = changes.next().await {
                let Ok(pod) = pod else { continue };
                if pod.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Pending") {
                    let ready = json!({"status": {
                        "phase": "Running",
                        "conditions": [{
                            "type": "Ready", "status": "True", "lastTransitionTime": Timestamp::now(),
                        }],
                    }});
                    // One that is gone already needs no answer.
                    let params = PatchParams::default();
                    drop(pods.patch_status(&pod.name_any(), &params, &Patch::Merge(ready)).await);
                }
            }
        }))
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.0.abort();
    }
}
