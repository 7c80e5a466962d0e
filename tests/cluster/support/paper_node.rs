//! A node without a kubelet, whose pods run on paper. Controllers and scheduler are real, and a pod
//! costs a few requests instead of a container. A truncation's pod truncates nothing, but records
//! the pods that still write at that moment.

use std::{
    collections::HashSet,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::StreamExt;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions},
    runtime::{WatchStreamExt, watcher},
};
use serde_json::{Value, json};
use tokio::task::{JoinHandle, JoinSet};

use super::{afterwards::afterwards, cluster, namespace::Namespace};

/// The duration of a truncation.
const TRUNCATES_FOR: Duration = Duration::from_millis(700);

/// The label that selects the node.
const LABEL: &str = "torpor.dev/paper";

/// A truncation's pod that has run.
#[derive(Clone, Debug)]
pub(crate) struct Truncation {
    /// Whether it was a dry run.
    pub(crate) dry_run: bool,
    /// The pods that wrote when it began, or when it would have committed.
    pub(crate) writers: Vec<String>,
}

/// A node for the pods of one namespace. Dropping it deletes the node.
pub(crate) struct PaperNode {
    name: String,
    namespace: String,
    truncations: Arc<Mutex<Vec<Truncation>>>,
    kubelet: JoinHandle<()>,
}

impl PaperNode {
    /// Creates a node. `writes` selects the pods that write to the database while they run.
    pub(crate) async fn start(namespace: &Namespace, writes: fn(&Pod) -> bool) -> Self {
        let name = format!("paper-{}", namespace.name);
        let nodes: Api<Node> = Api::all(namespace.client.clone());
        let node = serde_json::from_value(json!({
            "metadata": {"name": name, "labels": {LABEL: namespace.name}},
            "spec": {"taints": [{"key": LABEL, "effect": "NoSchedule"}]},
        }))
        .expect("a node");
        nodes.create(&PostParams::default(), &node).await.expect("the node is created");
        let room = json!({"cpu": "64", "memory": "64Gi", "pods": "1000"});
        let status = json!({"status": {"capacity": room, "allocatable": room}});
        nodes
            .patch_status(&name, &PatchParams::default(), &Patch::Merge(status))
            .await
            .expect("the node has room");
        let truncations = Arc::<Mutex<Vec<Truncation>>>::default();
        let kubelet = Kubelet { pods: namespace.api(), truncations: truncations.clone(), writes };
        let kubelet = tokio::spawn(kubelet.run(name.clone()));
        Self { name, namespace: namespace.name.clone(), truncations, kubelet }
    }

    /// Returns the `nodeSelector` and `tolerations` with which pods run on this node.
    pub(crate) fn placement(&self) -> Value {
        json!({
            "nodeSelector": {LABEL: self.namespace},
            "tolerations": [{"operator": "Exists"}],
        })
    }

    /// Returns a pod template with this label `app`.
    pub(crate) fn pod_template(&self, app: &str) -> Value {
        let mut template = json!({
            "metadata": {"labels": {"app": app}},
            "spec": {
                "terminationGracePeriodSeconds": 1,
                "containers": [{"name": "main", "image": "none.invalid/paper"}],
            },
        });
        for (key, value) in self.placement().as_object().into_iter().flatten() {
            template["spec"][key] = value.clone();
        }
        template
    }

    /// Returns the truncation's pods that have run.
    pub(crate) fn truncations(&self) -> Vec<Truncation> {
        self.truncations.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for PaperNode {
    fn drop(&mut self) {
        self.kubelet.abort();
        let (name, namespace) = (self.name.clone(), self.namespace.clone());
        afterwards(&format!("node {name}"), async move {
            let client = cluster::bare_client().await;
            Api::<Node>::all(client.clone()).delete(&name, &DeleteParams::default()).await?;
            clear(client, &namespace).await
        });
    }
}

/// Deletes the pods by force, as nothing else ends them.
async fn clear(client: Client, namespace: &str) -> kube::Result<()> {
    let pods: Api<Pod> = Api::namespaced(client, namespace);
    let at_once = DeleteParams::default().grace_period(0);
    pods.delete_collection(&at_once, &ListParams::default()).await.map(drop)
}

/// Repeats a request, as a kubelet does, until the API server accepts or rejects it.
async fn persistently<T, C>(mut call: impl FnMut() -> C) -> kube::Result<T>
where
    C: Future<Output = kube::Result<T>>,
{
    loop {
        match call().await {
            Err(kube::Error::Api(answer)) if answer.code >= 500 => {}
            Err(kube::Error::HyperError(_) | kube::Error::Service(_)) => {}
            answer => return answer,
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Whether the pod is gone or was replaced by one of the same name.
fn is_about_another(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(answer) if matches!(answer.code, 404 | 409))
}

/// Starts and ends pods.
#[derive(Clone)]
struct Kubelet {
    pods: Api<Pod>,
    truncations: Arc<Mutex<Vec<Truncation>>>,
    writes: fn(&Pod) -> bool,
}

impl Kubelet {
    async fn run(self, node: String) {
        let mine = watcher::Config::default().fields(&format!("spec.nodeName={node}"));
        let events = watcher(self.pods.clone(), mine).default_backoff().applied_objects();
        let (mut events, mut seen, mut tasks) = (pin!(events), HashSet::new(), JoinSet::new());
        while let Some(event) = events.next().await {
            let Ok(pod) = event else { continue };
            let ending = pod.metadata.deletion_timestamp.is_some();
            if seen.insert((pod.uid(), ending)) {
                let kubelet = self.clone();
                tasks.spawn(async move {
                    let done =
                        if ending { kubelet.end(&pod).await } else { kubelet.start(&pod).await };
                    match done {
                        Err(error) if is_about_another(&error) => {}
                        Err(error) => eprintln!("pod {}: {error}", pod.name_any()),
                        Ok(()) => {}
                    }
                });
            }
        }
    }

    async fn start(&self, pod: &Pod) -> kube::Result<()> {
        let truncates = pod
            .spec
            .as_ref()
            .and_then(|spec| spec.containers.iter().find(|c| c.name == "truncate"))
            .and_then(|container| container.args.as_ref());
        self.report(pod, "Running", json!({"running": {}})).await?;
        let Some(arguments) = truncates else { return Ok(()) };
        let dry_run = arguments.iter().any(|argument| argument == "--dry-run");
        let mut writers = persistently(|| self.writers()).await?;
        tokio::time::sleep(TRUNCATES_FOR).await;
        writers.extend(persistently(|| self.writers()).await?);
        let ran = Truncation { dry_run, writers };
        self.truncations.lock().unwrap_or_else(PoisonError::into_inner).push(ran);
        let outcome = if dry_run { "Planned" } else { "Truncated" };
        let totals = json!({"tables": 13, "rows": 1300, "bytes": 13_000});
        let report = json!({"outcome": outcome, "totals": totals, "message": "done"}).to_string();
        let terminated = json!({"terminated": {"exitCode": 0, "message": report}});
        self.report(pod, "Succeeded", terminated).await
    }

    /// Ends the pod after its whole grace period.
    async fn end(&self, pod: &Pod) -> kube::Result<()> {
        let grace = pod.metadata.deletion_grace_period_seconds.unwrap_or_default();
        tokio::time::sleep(Duration::from_secs(grace.unsigned_abs())).await;
        let only_this = Preconditions { uid: pod.uid(), resource_version: None };
        let at_once = DeleteParams::default().grace_period(0).preconditions(only_this);
        let name = pod.name_any();
        persistently(|| self.pods.delete(&name, &at_once)).await.map(drop)
    }

    /// Lists the pods that write.
    async fn writers(&self) -> kube::Result<Vec<String>> {
        let pods = self.pods.list(&ListParams::default()).await?;
        Ok(pods.iter().filter(|pod| (self.writes)(pod)).map(ResourceExt::name_any).collect())
    }

    /// Writes a pod's status.
    async fn report(&self, pod: &Pod, phase: &str, state: Value) -> kube::Result<()> {
        let runs = phase == "Running";
        let ready = if runs { "True" } else { "False" };
        let containers: Vec<Value> = pod
            .spec
            .iter()
            .flat_map(|spec| &spec.containers)
            .map(|container| {
                json!({
                    "name": container.name,
                    "image": container.image,
                    "imageID": "",
                    "ready": runs,
                    "restartCount": 0,
                    "state": state,
                })
            })
            .collect();
        let status = json!({
            "metadata": {"uid": pod.uid()},
            "status": {
                "phase": phase,
                "conditions": [
                    {"type": "Ready", "status": ready},
                    {"type": "ContainersReady", "status": ready},
                ],
                "containerStatuses": containers,
            },
        });
        let (name, patch) = (pod.name_any(), Patch::Strategic(status));
        let params = PatchParams::default();
        persistently(|| self.pods.patch_status(&name, &params, &patch)).await.map(drop)
    }
}
