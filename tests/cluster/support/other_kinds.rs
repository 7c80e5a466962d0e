//! Kinds of other projects: their definitions, and a scene with an operator that has the presets.

use std::sync::OnceLock;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api,
    api::{ApiResource, DynamicObject, PostParams},
    runtime::conditions,
};
use serde_json::{Value, json};
use torpor::hold::{kinds, lever::Kind};

use super::{
    cluster::{kubectl, script},
    namespace::Namespace,
    operator::Operator,
    other_controllers::OtherControllers,
    scene::Scene,
    wait,
};

/// The table of the presets.
pub(crate) const PRESETS: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/src/hold/kinds/presets.yaml");

/// The annotation that pauses a `ScaledObject` at a number of replicas.
pub(crate) const PAUSED: &str = "autoscaling.keda.sh/paused-replicas";

/// The chart's value with all presets.
pub(crate) const KIND_PRESETS: &str = "kindPresets={argoRollouts,cloudnativepg,flux,keda}";

/// Returns the kinds of the presets.
pub(crate) fn presets() -> &'static [Kind] {
    static KINDS: OnceLock<Vec<Kind>> = OnceLock::new();
    KINDS.get_or_init(kinds::presets)
}

/// Returns the resource of a kind of the presets.
pub(crate) fn resource(kind: &str) -> ApiResource {
    presets().iter().find(|of| of.name == kind).expect("a preset").api_resource()
}

/// Returns the API of a kind of the presets.
pub(crate) fn api(namespace: &Namespace, kind: &str) -> Api<DynamicObject> {
    Api::namespaced_with(namespace.client.clone(), &namespace.name, &resource(kind))
}

/// Installs the definitions of the presets' projects, once in a run.
pub(crate) async fn install(namespace: &Namespace) {
    static INSTALLED: OnceLock<()> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        let folder = script("hack/crds");
        kubectl(&["apply", "--server-side", "--force-conflicts", "--filename", folder.trim()]);
    });
    for kind in presets() {
        established(namespace, &format!("{}.{}", kind.plural, kind.group)).await;
    }
}

/// Waits until a definition is established.
pub(crate) async fn established(namespace: &Namespace, name: &str) {
    let definitions: Api<CustomResourceDefinition> = Api::all(namespace.client.clone());
    wait::until(&definitions, name, "the definition is established", |definition| {
        use kube::runtime::wait::Condition as _;
        conditions::is_crd_established().matches_object(Some(definition))
    })
    .await;
}

/// A scene with the kinds of the presets, and stand-ins for their controllers.
pub(crate) struct OtherScene {
    pub(crate) scene: Scene,
    pub(crate) controllers: OtherControllers,
}

impl OtherScene {
    pub(crate) async fn create(test: &str) -> Self {
        let namespace = Namespace::create(test).await;
        install(&namespace).await;
        let controllers = OtherControllers::start(&namespace, None);
        let more = ["--kinds", PRESETS];
        let operator = Operator::start_from(&namespace, &namespace.name, &more);
        Self { scene: Scene { operator, namespace }, controllers }
    }
}

/// Returns a manifest of a kind of the presets.
pub(crate) fn manifest(kind: &str, name: &str, annotations: Value, spec: Value) -> Value {
    let mut manifest = json!({
        "apiVersion": resource(kind).api_version,
        "kind": kind,
        "metadata": {"name": name},
    });
    manifest["metadata"]["annotations"] = annotations;
    manifest["spec"] = spec;
    manifest
}

/// Creates an object of a kind of the presets.
pub(crate) async fn create(namespace: &Namespace, manifest: Value) -> DynamicObject {
    let kind = manifest["kind"].as_str().expect("a kind").to_owned();
    let object = serde_json::from_value(manifest).expect("an object");
    api(namespace, &kind).create(&PostParams::default(), &object).await.expect("it is created")
}

/// Creates a `ScaledObject` of a Deployment.
pub(crate) async fn scaled_object(
    namespace: &Namespace,
    name: &str,
    annotations: Value,
    target: &str,
) {
    create(namespace, manifest("ScaledObject", name, annotations, scales(target))).await;
}

/// Returns the spec of a `ScaledObject` of a Deployment.
pub(crate) fn scales(target: &str) -> Value {
    json!({
        "scaleTargetRef": {"name": target},
        "minReplicaCount": 1,
        "triggers": [{"type": "cron", "metadata": {
            "timezone": "Etc/UTC", "start": "0 6 * * *", "end": "0 20 * * *", "desiredReplicas": "2",
        }}],
    })
}

/// Returns two manifests of each kind of the presets: one that runs, and one that rests already; besides a
/// `ScaledObject` that its author has paused at 3.
pub(crate) fn of_each_kind() -> Vec<Value> {
    let job = json!({
        "jobTargetRef": {"template": {"spec": {"restartPolicy": "Never", "containers": [
            {"name": "main", "image": "none.invalid/job"},
        ]}}},
        "triggers": [{"type": "cron", "metadata": {"timezone": "Etc/UTC"}}],
    });
    let rollout = |replicas: i32| {
        json!({
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "rollout"}},
            "template": {
                "metadata": {"labels": {"app": "rollout"}},
                "spec": {"containers": [{"name": "main", "image": "none.invalid/rollout"}]},
            },
            "strategy": {"canary": {}},
        })
    };
    let kustomization = |suspend: Option<bool>| {
        json!({
            "interval": "10m", "prune": true, "path": "./", "suspend": suspend,
            "sourceRef": {"kind": "GitRepository", "name": "apps"},
        })
    };
    let release = |suspend: Option<bool>| {
        json!({
            "interval": "10m", "suspend": suspend,
            "chart": {"spec": {"chart": "app", "sourceRef": {"kind": "HelmRepository", "name": "apps"}}},
        })
    };
    let cluster = json!({"instances": 1, "storage": {"size": "1Gi"}});
    let none = || json!({"team": "a"});
    let manifests = [
        manifest("ScaledObject", "runs", none(), scales("worker")),
        manifest("ScaledObject", "rests", json!({PAUSED: "0"}), scales("other")),
        manifest("ScaledObject", "paused", json!({PAUSED: "3"}), scales("third")),
        manifest("ScaledJob", "runs", none(), job.clone()),
        manifest("ScaledJob", "rests", json!({"autoscaling.keda.sh/paused": "true"}), job),
        manifest("Rollout", "runs", none(), rollout(3)),
        manifest("Rollout", "rests", none(), rollout(0)),
        manifest("Kustomization", "runs", none(), kustomization(None)),
        manifest("Kustomization", "rests", none(), kustomization(Some(true))),
        manifest("HelmRelease", "runs", none(), release(None)),
        manifest("HelmRelease", "rests", none(), release(Some(true))),
        manifest("Cluster", "runs", none(), cluster.clone()),
        manifest("Cluster", "rests", json!({"cnpg.io/hibernation": "on"}), cluster),
    ];
    manifests.into_iter().map(without_nulls).collect()
}

/// Returns the manifest without fields that are null.
fn without_nulls(mut manifest: Value) -> Value {
    if let Some(spec) = manifest["spec"].as_object_mut() {
        spec.retain(|_, value| !value.is_null());
    }
    manifest
}
