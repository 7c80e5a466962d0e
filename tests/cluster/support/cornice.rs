//! The application of `examples/cornice/`, deployed with its manifests.

use axum::http::{Method, Request};
use k8s_openapi::api::{apps::v1::Deployment, batch::v1::Job, core::v1::Pod};
use serde_json::Value;

use super::{cluster::kubectl, namespace::Namespace, wait, workload};

/// The Deployments of the application.
pub(crate) const DEPLOYMENTS: [&str; 3] = ["cornice-api", "cornice-ingest", "cornice-monitor"];

/// Applies the manifests and waits until the tables are filled and everything runs. The namespace
/// must have a database.
pub(crate) async fn deploy(namespace: &Namespace) {
    apply(namespace, "examples/cornice/app.yaml");
    wait::until::<Job>(&namespace.api(), "cornice-seed", "complete", |job| {
        job.status.as_ref().and_then(|status| status.succeeded) == Some(1)
    })
    .await;
    for name in DEPLOYMENTS {
        wait::until::<Deployment>(&namespace.api(), name, "ready", workload::ready).await;
    }
}

/// Applies a manifest of the repository in a namespace.
pub(crate) fn apply(namespace: &Namespace, file: &str) {
    kubectl(&["--namespace", &namespace.name, "apply", "--filename", file]);
}

/// Returns the mode that each running pod of the API reports.
pub(crate) async fn modes(namespace: &Namespace) -> Vec<Value> {
    let labelled = kube::api::ListParams::default().labels("app=cornice,role=api");
    let pods = namespace.api::<Pod>().list(&labelled).await.expect("pods are listed");
    let mut modes = Vec::new();
    for pod in pods.items.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()) {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        modes.push(call(namespace, Method::GET, &format!("pods/{name}:8080/proxy/mode")).await);
    }
    modes
}

/// Logs a user in at the API, which records that in `requests`.
pub(crate) async fn login(namespace: &Namespace) -> Value {
    call(namespace, Method::POST, "services/cornice-api:http/proxy/login/user-1").await
}

/// Calls the application's API through the proxy of the Kubernetes API server.
async fn call(namespace: &Namespace, method: Method, path: &str) -> Value {
    let request = Request::builder()
        .method(method)
        .uri(format!("/api/v1/namespaces/{}/{path}", namespace.name))
        .body(Vec::new())
        .expect("a request");
    namespace.client.request(request).await.expect("the API answers")
}
