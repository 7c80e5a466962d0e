//! The features of the operator, each run by an account of its own that has the rights of the chart.

use std::path::PathBuf;

use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    batch::v1::CronJob,
    coordination::v1::Lease,
    core::v1::ResourceQuota,
};
use kube::{
    Api,
    api::{DeleteParams, DynamicObject, Patch, PatchParams},
};
use serde_json::{Value, json};
use torpor::hold::lever::Kind;

use super::asked;
use crate::support::{
    audit::{self, Asked},
    cluster,
    hibernation::{Hibernation, of},
    hold::untouched,
    hosted_market::HostedMarket,
    market::{NAME, spec},
    namespace::Namespace,
    operator::{ACCOUNT, Operator},
    other_controllers::OtherControllers,
    other_kinds::{PAUSED, PRESETS, api, install, of_each_kind, presets},
    project::Project,
    rights, wait,
    window::Window,
    workload::{self, WELL_BEHAVED, template},
};

/// A namespace with the operator's account.
struct Scene {
    namespace: Namespace,
    user: String,
    kubeconfig: PathBuf,
}

impl Scene {
    async fn create(test: &str) -> Self {
        let namespace = Namespace::create(test).await;
        let user = rights::grant(&namespace).await;
        let kubeconfig = rights::kubeconfig(&namespace, ACCOUNT).await;
        Self { namespace, user, kubeconfig }
    }

    fn operator(&self, more: &[&str]) -> Operator {
        Operator::start_as(&self.namespace, &self.kubeconfig, "", more)
    }
}

/// Runs all features, and returns the requests of each.
pub(super) async fn all() -> Vec<(&'static str, Asked)> {
    let (election, hibernation, kinds, slow, truncation, market, sweep, check) = tokio::join!(
        Box::pin(election()),
        Box::pin(hibernation()),
        Box::pin(other_kinds()),
        Box::pin(slow_wake()),
        Box::pin(truncation()),
        Box::pin(market()),
        Box::pin(sweep()),
        Box::pin(uninstall_check()),
    );
    vec![
        ("leader election", election),
        ("Hibernation", hibernation),
        ("... of kinds of other projects", kinds),
        ("... whose wake is slow", slow),
        ("... with `database`", truncation),
        ("MaintenanceWindow with a bridge", market),
        ("release of orphans", sweep),
        ("uninstall check", check),
    ]
}

/// Two replicas; the second one leads when the first one ends.
async fn election() -> Asked {
    let scene = Scene::create("rights-lease").await;
    let mut first = scene.operator(&[]);
    let leases: Api<Lease> = scene.namespace.api();
    let held_by = async |operator: &Operator| {
        let id = format!("_{}_", operator.id());
        wait::until(&leases, "torpor", "it leads", |lease| {
            let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_ref());
            holder.is_some_and(|holder| holder.contains(&id))
        })
        .await;
    };
    held_by(&first).await;
    let second = Operator::start_as(&scene.namespace, &scene.kubeconfig, "-second", &[]);
    let watches = async || {
        let used = audit::asked(&scene.user).used;
        used.iter().any(|right| right.resource == "leases" && right.verb == "watch").then_some(())
    };
    wait::poll("the second one watches the Lease", watches).await;
    first.stop().await;
    held_by(&second).await;
    asked(&scene.user, &[].into()).await
}

/// The kinds of workloads, each with its own lever. None has a pod.
fn workloads() -> Vec<Value> {
    let controller = |kind: &str, more: Value| {
        let name = kind.to_lowercase();
        let mut spec = json!({
            "selector": {"matchLabels": {"app": name}},
            "template": template(&name, "Always", WELL_BEHAVED),
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            spec[key] = value.clone();
        }
        json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name}, "spec": spec})
    };
    let mut agent = controller("DaemonSet", json!({}));
    agent["spec"]["template"]["spec"]["nodeSelector"] = json!({"torpor.dev/nowhere": "true"});
    let pods = |name: &str| template(name, "Never", "exit 0");
    vec![
        controller("Deployment", json!({"replicas": 0})),
        controller("StatefulSet", json!({"replicas": 0, "serviceName": "none"})),
        controller("ReplicaSet", json!({"replicas": 0})),
        agent,
        json!({
            "apiVersion": "batch/v1",
            "kind": "CronJob",
            "metadata": {"name": "cronjob"},
            "spec": {
                "schedule": "0 0 1 1 *",
                "suspend": false,
                "jobTemplate": {"spec": {"template": pods("cronjob")}},
            },
        }),
        json!({
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": "job"},
            "spec": {"suspend": true, "template": pods("job")},
        }),
    ]
}

/// A Hibernation of every kind of workload, all from a server-side apply: down, up, down, and deleted while it holds.
async fn hibernation() -> Asked {
    let scene = Scene::create("rights-kinds").await;
    let mut named = Vec::new();
    let config_map = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "environment"},
        "data": {"HIBERNATE_MODE": "false"},
    });
    for manifest in workloads().into_iter().chain([config_map]) {
        let kind = Kind::any(manifest["kind"].as_str().unwrap_or_default()).expect("a kind");
        let (client, namespace) = (scene.namespace.client.clone(), &scene.namespace.name);
        let api: Api<DynamicObject> = Api::namespaced_with(client, namespace, &kind.api_resource());
        let name = manifest["metadata"]["name"].as_str().unwrap_or_default();
        let (by, patch) = (PatchParams::apply("deployer"), Patch::Apply(&manifest));
        api.patch(name, &by, &patch).await.expect("it is applied");
        if manifest["kind"] != "ConfigMap" {
            named.push(json!({"kind": manifest["kind"], "name": name}));
        }
    }
    let _operator = scene.operator(&[]);
    let spec = json!({
        "state": "Hibernated", "workloads": named, "configMaps": [{"name": "environment"}],
    });
    let hibernation = Hibernation::create(&scene.namespace, "kinds", spec).await;
    let status = hibernation.until_phase("Hibernated").await;
    assert_eq!(status["counts"]["held"], 7, "{status:#}");
    // As if the CronJob had missed a run, which the wake skips by a write of its status.
    let missed = json!({"status": {"lastScheduleTime": "2020-01-01T00:00:00Z"}});
    let cron_jobs: Api<CronJob> = scene.namespace.api();
    let params = PatchParams::default();
    let patched = cron_jobs.patch_status("cronjob", &params, &Patch::Merge(missed)).await;
    patched.expect("the status is written");
    // The second time an Event is not created, but counted.
    hibernation.set_state("Awake").await;
    hibernation.until_phase("Awake").await;
    hibernation.set_state("Hibernated").await;
    hibernation.until_phase("Hibernated").await;
    hibernation.api.delete("kinds", &DeleteParams::default()).await.expect("it is deleted");
    wait::until_gone(&hibernation.api, "kinds").await;
    asked(&scene.user, &[].into()).await
}

/// A Hibernation of each kind of the presets, down and up, with an edit that is reverted.
async fn other_kinds() -> Asked {
    let namespace = Namespace::create("rights-others").await;
    install(&namespace).await;
    let user = rights::grant_with_presets(&namespace).await;
    let kubeconfig = rights::kubeconfig(&namespace, ACCOUNT).await;
    let scene = Scene { namespace, user, kubeconfig };
    let _controllers = OtherControllers::start(&scene.namespace, None);
    let mut named = Vec::new();
    for kind in presets() {
        let runs =
            |object: &Value| object["kind"] == kind.name && object["metadata"]["name"] == "runs";
        let mut object = of_each_kind().into_iter().find(runs).expect("one that runs");
        // The lever is in Git, so that its owner is restored.
        let annotations = &mut object["metadata"]["annotations"];
        match kind.name {
            "ScaledObject" => annotations[PAUSED] = json!("3"),
            "ScaledJob" => annotations["autoscaling.keda.sh/paused"] = json!("false"),
            "Cluster" => annotations["cnpg.io/hibernation"] = json!("off"),
            "Rollout" => object["spec"]["replicas"] = json!(3),
            _ => object["spec"]["suspend"] = json!(false),
        }
        let (by, patch) = (PatchParams::apply("deployer"), Patch::Apply(&object));
        api(&scene.namespace, kind.name).patch("runs", &by, &patch).await.expect("it is applied");
        named.push(json!({"kind": kind.name, "name": "runs"}));
    }
    let _operator = scene.operator(&["--kinds", PRESETS]);
    let spec = json!({"state": "Hibernated", "workloads": named});
    let hibernation = Hibernation::create(&scene.namespace, "kinds", spec).await;
    hibernation.until_phase("Hibernated").await;
    for kind in presets() {
        let lever = kind.stop.expect("a lever");
        let removed = json!([{"op": "remove", "path": lever}]);
        let patch: Patch<()> = Patch::Json(serde_json::from_value(removed).expect("a patch"));
        let api = api(&scene.namespace, kind.name);
        api.patch("runs", &PatchParams::default(), &patch).await.expect("it is patched");
        wait::until(&api, "runs", "it is reverted", |object| {
            let object = serde_json::to_value(object).expect("it is JSON");
            object.pointer(lever) == kind.entry.as_ref().map(|entry| &entry.value)
        })
        .await;
    }
    hibernation.set_state("Awake").await;
    hibernation.until_phase("Awake").await;
    asked(&scene.user, &[].into()).await
}

/// A StatefulSet whose pods a quota prevents.
async fn slow_wake() -> Asked {
    let scene = Scene::create("rights-slow").await;
    let queue = workload::controller::<StatefulSet>("queue", json!({"serviceName": "queue"}));
    workload::create(&scene.namespace, &queue).await;
    let _operator = scene.operator(&[]);
    let spec =
        json!({"state": "Hibernated", "workloads": [{"kind": "StatefulSet", "name": "queue"}]});
    let hibernation = Hibernation::create(&scene.namespace, "slow", spec).await;
    hibernation.until_phase("Hibernated").await;
    let quota: ResourceQuota =
        workload::object(json!({"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}));
    workload::create(&scene.namespace, &quota).await;
    hibernation.set_state("Awake").await;
    let told = |status: &Value| {
        status["message"].as_str().is_some_and(|message| message.contains("exceeded quota"))
    };
    hibernation.until("the quota is named", told).await;
    asked(&scene.user, &[].into()).await
}

/// A project with a database, down and up.
async fn truncation() -> Asked {
    let scene = Scene::create("rights-database").await;
    let _operator = scene.operator(&["--lease-duration", "2m"]);
    let user = scene.user;
    let project = Project::create(scene.namespace).await;
    project.hibernate().await;
    project.until_down().await;
    project.hibernation().set_state("Awake").await;
    project.until_awake().await;
    project.assert_as_before().await;
    asked(&user, &[].into()).await
}

/// A window of a worker whose bridge the operator runs, and its deletion.
async fn market() -> Asked {
    let scene = Scene::create("rights-market").await;
    let market = HostedMarket::start(&scene.namespace).await;
    let _operator = scene.operator(&[]);
    let window =
        Window::create(&scene.namespace, NAME, spec(json!({}), HostedMarket::deals())).await;
    window.until_condition("InMaintenance", "True").await;
    window.delete(&DeleteParams::default()).await;
    wait::until_gone(&window.api, NAME).await;
    market.selling.until_as_before(&scene.namespace, &["1", "2"]).await;
    asked(&scene.user, &[].into()).await
}

/// The holder of a Deployment is gone, and the operator releases what it held.
async fn sweep() -> Asked {
    let scene = Scene::create("rights-orphan").await;
    let deployment = workload::deployment("worker", 1, WELL_BEHAVED, 1);
    workload::create(&scene.namespace, &deployment).await;
    let _operator = scene.operator(&["--holder-grace", "3s"]);
    let hibernation = Hibernation::create(&scene.namespace, "gone", of("worker", json!({}))).await;
    hibernation.until_phase("Hibernated").await;
    hibernation.patch(json!({"metadata": {"finalizers": null}})).await;
    hibernation.api.delete("gone", &DeleteParams::default()).await.expect("it is deleted");
    let deployments: Api<Deployment> = scene.namespace.api();
    wait::until(&deployments, "worker", "released", untouched).await;
    asked(&scene.user, &[].into()).await
}

/// The check before an uninstallation, which finds nothing.
async fn uninstall_check() -> Asked {
    let scene = Scene::create("rights-check").await;
    let arguments = ["uninstall-check", "--watch-namespace", &scene.namespace.name];
    let output = cluster::torpor_as(&scene.kubeconfig, &arguments).await;
    assert!(output.contains("nothing is held"), "{output}");
    asked(&scene.user, &[].into()).await
}
