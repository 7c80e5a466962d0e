//! An admission webhook whose server sleeps.

use k8s_openapi::api::apps::v1::Deployment;
use serde_json::json;

use crate::support::{
    afterwards::afterwards,
    cluster::{kubectl, kubectl_or_error},
    hibernation::Hibernation,
    hold::held,
    kubectl::{exactly, file},
    namespace::Namespace,
    scene::Scene,
    wait, workload,
};

/// A webhook for one Deployment, whose server is a Service without endpoints. Dropping it deletes it.
struct Webhook {
    name: String,
}

impl Webhook {
    /// Creates the webhook, and waits until the API server calls it.
    async fn create(scene: &Scene, deployment: &str, service: &str) -> Self {
        let Namespace { name, .. } = &scene.namespace;
        let server = json!({"service": {"name": service, "namespace": name, "port": 443}});
        let configuration = json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": name},
            "webhooks": [{
                "name": "gate.webhook.example",
                "clientConfig": server,
                "rules": [{
                    "apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["UPDATE"],
                    "resources": ["deployments"],
                }],
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}},
                "objectSelector": {"matchLabels": {"app": deployment}},
                "failurePolicy": "Fail",
                "timeoutSeconds": 2,
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
            }],
        });
        kubectl(&["create", "--filename", &file(scene, &configuration)]);
        let webhook = Self { name: name.clone() };
        let label = ["label", "deployment", deployment, "probe=yes", "--dry-run=server"];
        let probe = [&["--namespace", name.as_str()], &label[..]].concat();
        wait::poll("it is called", async || kubectl_or_error(&probe).err()).await;
        webhook
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        let name = self.name.clone();
        afterwards("the webhook", async move {
            let kind = "validatingwebhookconfiguration";
            kubectl_or_error(&["delete", "--ignore-not-found", kind, &name]).map(drop)
        });
    }
}

#[tokio::test]
async fn a_workload_whose_wake_a_dead_webhook_rejects_keeps_nobody_else_asleep() {
    let scene = Scene::create("webhook").await;
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "gate"},
        "spec": {"selector": {"app": "gate"}, "ports": [{"port": 443, "targetPort": 8443}]},
    });
    scene.kubectl(&["create", "--filename", &file(&scene, &service)]);
    scene.deploy("gate", 1).await;
    scene.deploy("shop", 2).await;
    let before = ["deployment/gate", "deployment/shop"].map(|object| exactly(&scene, object));
    let spec = json!({
        "state": "Hibernated",
        "progressDeadline": "10s",
        "workloads": [
            // Down first, so back last.
            {"kind": "Deployment", "name": "gate", "stage": 0},
            {"kind": "Deployment", "name": "shop", "stage": 1},
        ],
    });
    let hibernation = Hibernation::create(&scene.namespace, "project", spec).await;
    hibernation.until_phase("Hibernated").await;
    let webhook = Webhook::create(&scene, "shop", "gate").await;

    hibernation.set_state("Awake").await;
    wait::until::<Deployment>(&scene.namespace.api(), "gate", "awake", |gate| {
        workload::replicas(gate) == 1 && workload::ready(gate)
    })
    .await;
    let stalled = hibernation.until_condition("Stalled", "True").await;
    let says = stalled["conditions"].to_string();
    assert!(says.contains("Deployment shop"), "{stalled:#}");
    assert!(says.contains("failed calling webhook \\\"gate.webhook.example\\\""), "{stalled:#}");
    assert!(held(&scene.deployment("shop").await), "its record is there");

    drop(webhook);
    hibernation.until_phase("Awake").await;
    assert_eq!(
        ["deployment/gate", "deployment/shop"].map(|object| exactly(&scene, object)),
        before
    );
}
