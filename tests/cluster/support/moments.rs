//! Records the Deployments of a namespace at every change.

use std::{collections::BTreeMap, pin::pin, sync::Arc};

use futures::StreamExt;
use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    ResourceExt,
    runtime::watcher::{self, Event, watcher},
};
use tokio::sync::Mutex;

use super::{namespace::Namespace, workload};

/// Desired, existing and ready replicas of each Deployment, at each change of one.
pub(crate) type Moments = Arc<Mutex<Vec<BTreeMap<String, (i32, i32, i32)>>>>;

/// Records every change of a Deployment until the task is aborted.
pub(crate) fn record(namespace: &Namespace) -> (Moments, tokio::task::JoinHandle<()>) {
    let moments = Moments::default();
    let (recorded, api) = (moments.clone(), namespace.api::<Deployment>());
    let task = tokio::spawn(async move {
        let mut events = pin!(watcher(api, watcher::Config::default()));
        let mut now = BTreeMap::new();
        while let Some(event) = events.next().await {
            if let Ok(Event::InitApply(deployment) | Event::Apply(deployment)) = event {
                let status = deployment.status.clone().unwrap_or_default();
                let there = status.replicas.unwrap_or(0);
                let ready = status.ready_replicas.unwrap_or(0);
                let numbers = (workload::replicas(&deployment), there, ready);
                now.insert(deployment.name_any(), numbers);
                recorded.lock().await.push(now.clone());
            }
        }
    });
    (moments, task)
}
