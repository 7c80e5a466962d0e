//! A Hibernation of a `ScaledObject` and a `Cluster`: the workers of the first write, and the second is the database, which
//! sleeps after the truncation.

use k8s_openapi::api::{apps::v1::Deployment, batch::v1::Job, core::v1::Pod};
use kube::{ResourceExt, api::DynamicObject, runtime::watcher};
use serde_json::{Value, json};

use super::{Scenario, Way, sweep};
use crate::support::{
    hibernation::Hibernation,
    namespace::Namespace,
    other_controllers::OtherControllers,
    other_kinds::{PAUSED, PRESETS, api, create, install, manifest, scaled_object},
    paper_node::PaperNode,
    proxy::Proxy,
    truncation, wait,
    workload::{self, authored},
};

const NAME: &str = "project";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_write_of_other_kinds_it_converges() {
    sweep::<OtherKinds>("sweep-kinds", &[Way::Down, Way::Back]).await;
}

struct OtherKinds {
    _controllers: OtherControllers,
    node: PaperNode,
    namespace: Namespace,
    before: Vec<Value>,
}

impl OtherKinds {
    async fn objects(&self) -> Vec<DynamicObject> {
        let scaler = api(&self.namespace, "ScaledObject").get("scaler").await.expect("it is there");
        let database = api(&self.namespace, "Cluster").get("db").await.expect("it is there");
        vec![scaler, database]
    }

    fn hibernation(&self) -> Hibernation {
        Hibernation::existing(&self.namespace, NAME)
    }
}

impl Scenario for OtherKinds {
    const ARGUMENTS: &[&str] = &["--kinds", PRESETS];

    async fn set_up(namespace: Namespace, _: &mut Proxy) -> Self {
        install(&namespace).await;
        let writes = |pod: &Pod| pod.labels().get("app").is_some_and(|app| app == "worker");
        let node = PaperNode::start(&namespace, writes).await;
        let controllers = OtherControllers::start(&namespace, Some(node.pod_template("db")));
        let worker: Deployment = workload::object(json!({
            "metadata": {"name": "worker"},
            "spec": {
                "replicas": 2, "selector": {"matchLabels": {"app": "worker"}},
                "template": node.pod_template("worker"),
            },
        }));
        workload::create(&namespace, &worker).await;
        scaled_object(&namespace, "scaler", json!({"team": "a"}), "worker").await;
        let spec = json!({"instances": 1, "storage": {"size": "1Gi"}});
        create(&namespace, manifest("Cluster", "db", json!({}), spec)).await;
        workload::until_ready(&namespace, "worker").await;
        wait::until(&api(&namespace, "Cluster"), "db", "ready", |cluster: &DynamicObject| {
            cluster.data["status"]["readyInstances"] == 1
        })
        .await;
        let mut scene = Self { _controllers: controllers, node, namespace, before: Vec::new() };
        scene.before = scene.objects().await.iter().map(authored).collect();
        scene
    }

    async fn go_down(&self) {
        let spec = json!({
            "state": "Hibernated",
            "workloads": [
                {"kind": "ScaledObject", "name": "scaler"}, {"kind": "Cluster", "name": "db", "stage": 3},
            ],
            "database": {
                "secretRef": {"name": "database", "key": "DATABASE_URL"},
                "truncate": {"scope": "Runtime", "beforeStage": 3, "pod": self.node.placement()},
            },
        });
        Hibernation::create(&self.namespace, NAME, spec).await;
    }

    async fn until_down(&self) {
        let status = self.hibernation().until_phase("Hibernated").await;
        assert_eq!(status["counts"]["held"], 2, "{status:#}");
        let objects = self.objects().await;
        assert_eq!(objects[0].annotations().get(PAUSED).map(String::as_str), Some("0"));
        assert_eq!(
            objects[1].annotations().get("cnpg.io/hibernation").map(String::as_str),
            Some("on")
        );
        for app in ["worker", "db"] {
            let pods = workload::pods(&self.namespace, app).await;
            assert_eq!(workload::names(&pods), Vec::<String>::new());
        }
        let mut truncations = self.node.truncations();
        truncations.retain(|truncation| !truncation.dry_run);
        assert!(
            matches!(&truncations[..], [only] if only.writers.is_empty()),
            "it is emptied once, while nobody writes: {truncations:?}"
        );
    }

    async fn come_back(&self) {
        self.hibernation().set_state("Awake").await;
    }

    async fn until_back(&self) {
        let hibernation = self.hibernation();
        hibernation.until_phase("Awake").await;
        wait::until(&hibernation.api, NAME, "no finalizer is left", |object| {
            object.finalizers().is_empty()
        })
        .await;
        let config = watcher::Config::default();
        wait::until_all::<Job>(&self.namespace.api(), config, "no truncation is left", |jobs| {
            !jobs.iter().any(truncation::empties)
        })
        .await;
        let after: Vec<_> = self.objects().await.iter().map(authored).collect();
        assert_eq!(after, self.before);
    }

    fn namespace(&self) -> &Namespace {
        &self.namespace
    }
}
