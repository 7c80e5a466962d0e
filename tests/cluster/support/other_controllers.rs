//! Stand-ins for the controllers of KEDA, Argo Rollouts, Flux and `CloudNativePG`: they write the status that the real
//! ones write, scale the targets of a `ScaledObject`, and start and end the pods of a `Cluster`.

use futures::{StreamExt, stream};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams},
    runtime::{WatchStreamExt, watcher},
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{
    namespace::Namespace,
    other_kinds::{presets, resource},
};

/// The label of a Cluster's pods.
const CLUSTER: &str = "cnpg.io/cluster";

/// The controllers of a namespace. Dropping them ends them.
pub(crate) struct OtherControllers(JoinHandle<()>);

impl Drop for OtherControllers {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl OtherControllers {
    /// Starts the controllers. Clusters have a pod of this template; none without.
    pub(crate) fn start(namespace: &Namespace, pod_template: Option<Value>) -> Self {
        let namespace =
            Namespaced { client: namespace.client.clone(), name: namespace.name.clone() };
        Self(tokio::spawn(run(namespace, pod_template)))
    }
}

/// A namespace that it does not delete.
struct Namespaced {
    client: kube::Client,
    name: String,
}

impl Namespaced {
    fn of(&self, kind: &str) -> Api<DynamicObject> {
        let resource = resource(kind);
        Api::namespaced_with(self.client.clone(), &self.name, &resource)
    }
}

async fn run(namespace: Namespaced, pod_template: Option<Value>) {
    let objects = presets().iter().map(|kind| {
        let events = watcher(namespace.of(kind.name), watcher::Config::default());
        let events =
            events.default_backoff().applied_objects().filter_map(async |event| event.ok());
        events.map(move |object| Some((kind.name, object))).boxed()
    });
    let pods: Api<Pod> = Api::namespaced(namespace.client.clone(), &namespace.name);
    let labelled = watcher::Config::default().labels(CLUSTER);
    let pods = watcher(pods, labelled).default_backoff().map(|_| None).boxed();
    let mut events = stream::select_all(objects.chain([pods]));
    while let Some(event) = events.next().await {
        // A conflict comes back as an event.
        let _ = match event {
            Some((kind, object)) => obey(&namespace, kind, &object, pod_template.as_ref()).await,
            None => clusters(&namespace, pod_template.as_ref()).await,
        };
    }
}

fn annotation<'a>(object: &'a DynamicObject, name: &str) -> Option<&'a str> {
    object.annotations().get(name).map(String::as_str)
}

fn condition(kind: &str, is: bool) -> Value {
    json!({
        "type": kind, "status": if is { "True" } else { "False" }, "reason": "Obeyed", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    })
}

async fn obey(
    namespace: &Namespaced,
    kind: &str,
    object: &DynamicObject,
    pod_template: Option<&Value>,
) -> kube::Result<()> {
    match kind {
        "ScaledObject" | "ScaledJob" => {
            // Only a ScaledObject has the annotation, and a target.
            let count = annotation(object, "autoscaling.keda.sh/paused-replicas");
            let target = &object.data["spec"]["scaleTargetRef"]["name"];
            scale(namespace, target, count.and_then(|count| count.parse().ok())).await?;
            let paused =
                count.is_some() || annotation(object, "autoscaling.keda.sh/paused") == Some("true");
            let conditions = vec![condition("Ready", true), condition("Paused", paused)];
            say(namespace, kind, object, conditions, json!({})).await
        }
        "Rollout" => {
            let mut available = condition("Available", true);
            available["lastUpdateTime"] = json!("2026-01-01T00:00:00Z");
            let observed = object.metadata.generation.unwrap_or_default().to_string();
            say(namespace, kind, object, vec![available], json!({"observedGeneration": observed}))
                .await
        }
        "Cluster" => cluster(namespace, object, pod_template).await,
        // Flux writes nothing while it is suspended.
        _ if object.data["spec"]["suspend"] == true => Ok(()),
        _ => {
            let observed = object.metadata.generation.unwrap_or_default();
            let more = json!({"observedGeneration": observed});
            say(namespace, kind, object, vec![condition("Ready", true)], more).await
        }
    }
}

/// Writes the status, unless it is so already.
async fn say(
    namespace: &Namespaced,
    kind: &str,
    object: &DynamicObject,
    conditions: Vec<Value>,
    more: Value,
) -> kube::Result<()> {
    let mut status = more;
    status["conditions"] = json!(conditions);
    let fields = status.as_object().into_iter().flatten();
    if fields.clone().all(|(field, value)| object.data["status"][field] == *value) {
        return Ok(());
    }
    let patch = Patch::Merge(json!({"status": status}));
    let written =
        namespace.of(kind).patch_status(&object.name_any(), &PatchParams::default(), &patch).await;
    written.map(drop)
}

/// Scales a target to the paused count; without one, from 0 to 1.
async fn scale(namespace: &Namespaced, target: &Value, count: Option<i32>) -> kube::Result<()> {
    let Some(name) = target.as_str() else { return Ok(()) };
    let deployments: Api<Deployment> = Api::namespaced(namespace.client.clone(), &namespace.name);
    let Some(now) = deployments.get_opt(name).await? else { return Ok(()) };
    let now = now.spec.and_then(|spec| spec.replicas).unwrap_or(1);
    let wanted = count.unwrap_or(now.max(1));
    if now == wanted {
        return Ok(());
    }
    let by = PatchParams { field_manager: Some("keda".to_owned()), ..PatchParams::default() };
    let patch = Patch::Merge(json!({"spec": {"replicas": wanted}}));
    deployments.patch_scale(name, &by, &patch).await.map(drop)
}

async fn clusters(namespace: &Namespaced, pod_template: Option<&Value>) -> kube::Result<()> {
    for object in namespace.of("Cluster").list(&ListParams::default()).await? {
        cluster(namespace, &object, pod_template).await?;
    }
    Ok(())
}

async fn cluster(
    namespace: &Namespaced,
    object: &DynamicObject,
    pod_template: Option<&Value>,
) -> kube::Result<()> {
    let (name, hibernates) =
        (object.name_any(), annotation(object, "cnpg.io/hibernation") == Some("on"));
    let pods: Api<Pod> = Api::namespaced(namespace.client.clone(), &namespace.name);
    let mine = ListParams::default().labels(&format!("{CLUSTER}={name}"));
    let there = pods.list(&mine).await?.items;
    if hibernates {
        for pod in there.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()) {
            pods.delete(&pod.name_any(), &DeleteParams::default()).await?;
        }
    } else if let Some(template) = pod_template.filter(|_| there.is_empty()) {
        let mut pod = template.clone();
        pod["metadata"]["name"] = json!(format!("{name}-1"));
        pod["metadata"]["labels"][CLUSTER] = json!(name);
        pod["metadata"]["ownerReferences"] = json!([{
            "apiVersion": "postgresql.cnpg.io/v1", "kind": "Cluster", "name": name,
            "uid": object.metadata.uid, "controller": true,
        }]);
        let pod = serde_json::from_value(pod).expect("a pod");
        pods.create(&PostParams::default(), &pod).await?;
    }
    let is_ready = |pod: &Pod| {
        let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
        conditions.into_iter().flatten().any(|c| c.type_ == "Ready" && c.status == "True")
    };
    // Without pods of its own it is ready at once.
    let ready = if pod_template.is_none() && !hibernates {
        object.data["spec"]["instances"].clone()
    } else {
        json!(there.iter().filter(|pod| is_ready(pod)).count())
    };
    let mut conditions = vec![condition("Ready", true)];
    if hibernates {
        conditions.push(condition("cnpg.io/hibernation", there.is_empty()));
    }
    say(namespace, "Cluster", object, conditions, json!({"readyInstances": ready})).await
}
