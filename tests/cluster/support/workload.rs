//! Small workloads of busybox pods.

use k8s_openapi::api::{apps::v1::Deployment, batch::v1::CronJob, core::v1::Pod};
use kube::{
    Api, Resource, ResourceExt,
    api::{Patch, PatchParams, PostParams},
    core::NamespaceResourceScope,
    runtime::watcher,
};
use serde_json::{Value, json};

use super::{
    namespace::Namespace,
    wait::{self, Watched},
};

/// A script that ends at once on SIGTERM.
pub(crate) const WELL_BEHAVED: &str = "trap 'exit 0' TERM; sleep 86400 & wait";

/// A script that ignores SIGTERM.
pub(crate) const STUBBORN: &str = "trap '' TERM; while :; do sleep 1; done";

/// Returns a Deployment whose pods run a script and have a grace period in seconds.
pub(crate) fn deployment(name: &str, replicas: i32, script: &str, grace: i64) -> Deployment {
    object(json!({
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": pod_template(name, "Always", script, grace),
        },
    }))
}

/// Returns a `CronJob` whose Jobs run a script. Its schedule starts none during a test.
pub(crate) fn cron_job(name: &str, script: &str) -> CronJob {
    object(json!({
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "schedule": "0 0 1 1 *",
            "jobTemplate": {"spec": {"template": pod_template(name, "Never", script, 1)}},
        },
    }))
}

fn pod_template(name: &str, restart_policy: &str, script: &str, grace: i64) -> Value {
    json!({
        "metadata": {"labels": {"app": name}},
        "spec": {
            "restartPolicy": restart_policy,
            "automountServiceAccountToken": false,
            "terminationGracePeriodSeconds": grace,
            "containers": [{
                "name": "main",
                "image": "localhost/busybox:local",
                "imagePullPolicy": "IfNotPresent",
                "command": ["/bin/busybox", "sh", "-c", script],
                "resources": {"requests": {"cpu": "1m", "memory": "4Mi"}},
            }],
        },
    })
}

/// Parses a manifest.
pub(crate) fn object<K: serde::de::DeserializeOwned>(manifest: Value) -> K {
    serde_json::from_value(manifest).expect("the manifest is one of its kind")
}

/// Creates an object.
pub(crate) async fn create<K>(namespace: &Namespace, object: &K) -> K
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Watched,
{
    namespace.api().create(&PostParams::default(), object).await.expect("the object is created")
}

/// Merges a patch into an object.
pub(crate) async fn merge<K>(namespace: &Namespace, name: &str, patch: Value) -> K
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Watched,
{
    namespace
        .api()
        .patch(name, &PatchParams::default(), &Patch::Merge(patch))
        .await
        .expect("the object is changed")
}

/// Waits until a Deployment is up and ready at its current generation.
pub(crate) async fn until_ready(namespace: &Namespace, name: &str) -> Deployment {
    wait::until(&namespace.api(), name, "ready", ready).await
}

/// Whether a Deployment is up and ready at its current generation. Held at 0, none is.
pub(crate) fn ready(deployment: &Deployment) -> bool {
    let Some(status) = &deployment.status else { return false };
    let wanted = replicas(deployment);
    wanted > 0
        && status.observed_generation == deployment.metadata.generation
        && status.replicas.unwrap_or(0) == wanted
        && status.updated_replicas.unwrap_or(0) == wanted
        && status.ready_replicas.unwrap_or(0) == wanted
}

/// Returns the desired replicas of a Deployment.
pub(crate) fn replicas(deployment: &Deployment) -> i32 {
    deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

/// Lists the pods with this label `app`, in any phase.
pub(crate) async fn pods(namespace: &Namespace, app: &str) -> Vec<Pod> {
    let pods: Api<Pod> = namespace.api();
    let labelled = kube::api::ListParams::default().labels(&format!("app={app}"));
    pods.list(&labelled).await.expect("pods are listed").items
}

/// Returns the selector of the pods with this label `app`.
pub(crate) fn labelled(app: &str) -> watcher::Config {
    watcher::Config::default().labels(&format!("app={app}"))
}

/// Returns an object as its author sees it, without the fields that API server and controllers
/// write.
pub(crate) fn authored<K: Watched>(object: &K) -> Value {
    let mut value = serde_json::to_value(object).expect("an object is JSON");
    if let Some(object) = value.as_object_mut() {
        object.remove("status");
    }
    if let Some(metadata) = value["metadata"].as_object_mut() {
        for key in ["generation", "managedFields", "resourceVersion"] {
            metadata.remove(key);
        }
        // The Deployment controller and, for a DaemonSet, the API server count the templates that
        // there were.
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove("deployment.kubernetes.io/revision");
            annotations.remove("deprecated.daemonset.template.generation");
        }
        for key in ["annotations", "labels"] {
            if metadata.get(key).is_some_and(|map| map == &json!({})) {
                metadata.remove(key);
            }
        }
    }
    value
}

/// Returns the names of objects.
pub(crate) fn names<K: Resource>(objects: &[K]) -> Vec<String> {
    objects.iter().map(ResourceExt::name_any).collect()
}

/// Returns the manifest of a Deployment, with a version in its pod template.
pub(crate) fn manifest(name: &str, replicas: i32, version: &str) -> Value {
    let deployment = deployment(name, replicas, WELL_BEHAVED, 1);
    let mut manifest = serde_json::to_value(deployment).expect("it is JSON");
    manifest["apiVersion"] = json!("apps/v1");
    manifest["kind"] = json!("Deployment");
    manifest["spec"]["template"]["metadata"]["annotations"] = json!({"version": version});
    manifest
}

/// Returns a pod template with this label `app`.
pub(crate) fn template(app: &str, restart_policy: &str, script: &str) -> Value {
    let deployment = deployment(app, 1, script, 1);
    let mut template =
        serde_json::to_value(deployment).expect("it is JSON")["spec"]["template"].take();
    template["spec"]["restartPolicy"] = json!(restart_policy);
    template
}

/// Returns a workload with more fields in its spec.
pub(crate) fn controller<K: serde::de::DeserializeOwned>(name: &str, more: Value) -> K {
    let mut spec = json!({
        "selector": {"matchLabels": {"app": name}},
        "template": template(name, "Always", WELL_BEHAVED),
    });
    if let (Some(spec), Value::Object(more)) = (spec.as_object_mut(), more) {
        spec.extend(more);
    }
    object(json!({"metadata": {"name": name}, "spec": spec}))
}
