//! A project with every kind of held object and a truncation, on a paper node. It checks itself
//! while asleep and once awake.

use k8s_openapi::api::{
    apps::v1::{DaemonSet, Deployment, StatefulSet},
    batch::v1::{CronJob, Job},
    core::v1::{ConfigMap, Pod},
};
use kube::{
    Api, ResourceExt,
    api::{DynamicObject, Patch, PatchParams},
    runtime::watcher,
};
use serde_json::{Value, json};
use torpor::hold::lever::Kind;

use super::{
    hibernation::Hibernation,
    namespace::Namespace,
    paper_node::PaperNode,
    truncation, wait,
    workload::{self, authored},
};

/// The name of the Hibernation.
pub(crate) const NAME: &str = "project";

/// The objects that are held.
pub(crate) const HELD: [(&str, &str); 8] = [
    ("ConfigMap", "environment"),
    ("Deployment", "first"),
    ("Deployment", "at-zero"),
    ("DaemonSet", "agent"),
    ("CronJob", "nightly"),
    ("Deployment", "second"),
    ("StatefulSet", "queue"),
    ("Deployment", "api"),
];

/// The objects that are not held.
const LEFT_ALONE: [(&str, &str); 2] = [("ConfigMap", "other"), ("Deployment", "bystander")];

/// An object as its author sees it, and its fields owned by server-side applies.
type Observed = (Value, Vec<Value>);

pub(crate) struct Project {
    // Its pods have to go before the namespace can.
    node: PaperNode,
    pub(crate) namespace: Namespace,
    before: Vec<Observed>,
}

impl Project {
    /// Creates a project and waits until everything runs.
    pub(crate) async fn create(namespace: Namespace) -> Self {
        let node = PaperNode::start(&namespace, writes).await;
        let project = Self { node, namespace, before: Vec::new() };
        project.deploy().await;
        let before = project.observe(&[&HELD[..], &LEFT_ALONE].concat()).await;
        Self { before, ..project }
    }

    /// Creates the Hibernation.
    pub(crate) async fn hibernate(&self) {
        self.hibernate_within("10m").await;
    }

    /// Creates the Hibernation, with this `progressDeadline`.
    pub(crate) async fn hibernate_within(&self, deadline: &str) {
        let mut pod = self.node.placement();
        pod["annotations"] = json!({"team": "project"});
        let spec = json!({
            "state": "Hibernated",
            "progressDeadline": deadline,
            "workloads": [
                {"kind": "Deployment", "name": "first"},
                {"kind": "Deployment", "name": "at-zero"},
                {"kind": "DaemonSet", "name": "agent"},
                {"kind": "CronJob", "name": "nightly"},
                {"kind": "Deployment", "name": "second", "stage": 1},
                {"kind": "StatefulSet", "name": "queue", "stage": 1},
                {"kind": "Deployment", "name": "api", "action": "Restart"},
            ],
            "configMaps": [{"name": "environment"}],
            "database": {
                "secretRef": {"name": "database", "key": "DATABASE_URL"},
                "truncate": {"scope": "Runtime", "pod": pod},
            },
        });
        Hibernation::create(&self.namespace, NAME, spec).await;
    }

    /// Waits until everything is down, and panics if something is wrong.
    pub(crate) async fn until_down(&self) {
        let status = self.hibernation().until_phase("Hibernated").await;
        assert_eq!(status["counts"]["held"], HELD.len(), "{status:#}");
        assert_eq!(status["episode"]["truncation"], "Done", "{status:#}");
        self.assert_truncated_once();
        for ((kind, name), (object, _)) in HELD.iter().zip(self.observe(&HELD).await) {
            let held = match *kind {
                "ConfigMap" => {
                    object["data"]
                        == json!({
                            "HIBERNATE_MODE": "true", "INGEST_ENABLED": "false", "OTHER": "stays",
                        })
                }
                "CronJob" => object["spec"]["suspend"] == true,
                "DaemonSet" => {
                    object["spec"]["template"]["spec"]["nodeSelector"]["torpor.dev/held"] == "true"
                }
                _ if *name == "api" => object["spec"]["replicas"] == 1,
                _ => object["spec"]["replicas"] == 0,
            };
            assert!(held, "{kind} {name} is not held: {object:#}");
        }
        self.assert_others_untouched().await;
    }

    /// Waits until these objects are held, or until they are as before.
    pub(crate) async fn until_so(&self, objects: &[(&str, &str)], is_held: bool) {
        for (kind, name) in objects {
            let resource = Kind::any(kind).expect("a kind").api_resource();
            let client = self.namespace.client.clone();
            let api: Api<DynamicObject> =
                Api::namespaced_with(client, &self.namespace.name, &resource);
            let what = format!("{kind} {name} is {}held", if is_held { "" } else { "not " });
            wait::until(&api, name, &what, |object: &DynamicObject| {
                object.labels().contains_key("torpor.dev/held") == is_held
            })
            .await;
        }
    }

    /// Waits until the project is awake and the Hibernation has released everything.
    pub(crate) async fn until_awake(&self) {
        let hibernation = self.hibernation();
        hibernation.until_phase("Awake").await;
        wait::until(&hibernation.api, NAME, "no finalizer is left", |object| {
            object.finalizers().is_empty()
        })
        .await;
    }

    /// Waits until no truncation is left, and panics if something differs from before.
    pub(crate) async fn assert_as_before(&self) {
        wait::until_all::<Job>(
            &self.namespace.api(),
            watcher::Config::default(),
            "no truncation is left",
            |jobs| !jobs.iter().any(truncation::empties),
        )
        .await;
        let after = self.observe(&HELD).await;
        for (((kind, name), before), after) in HELD.iter().zip(&self.before).zip(&after) {
            assert_eq!(after, before, "{kind} {name}");
        }
        self.assert_others_untouched().await;
        self.assert_truncated_once();
        // The owner can apply it again: without a conflict and without a change.
        self.apply().await;
        assert_eq!(self.observe(&HELD[1..2]).await, self.before[1..2]);
    }
    /// Returns the Hibernation.
    pub(crate) fn hibernation(&self) -> Hibernation {
        Hibernation::existing(&self.namespace, NAME)
    }

    /// Creates all objects and waits until they run.
    async fn deploy(&self) {
        self.apply().await;
        let replicated = |name: &str, replicas: i32| {
            let mut object = self.with_pods(name);
            object["spec"]["replicas"] = json!(replicas);
            object
        };
        for (name, replicas) in [("at-zero", 0), ("second", 1), ("api", 1), ("bystander", 1)] {
            let mut deployment = replicated(name, replicas);
            if name == "second" {
                // Long enough for all that follows, if that didn't wait for its pod.
                deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = json!(8);
            }
            let deployment: Deployment = workload::object(deployment);
            workload::create(&self.namespace, &deployment).await;
        }
        let queue: StatefulSet = workload::object(replicated("queue", 1));
        workload::create(&self.namespace, &queue).await;
        let agent: DaemonSet = workload::object(self.with_pods("agent"));
        workload::create(&self.namespace, &agent).await;
        let mut template = self.node.pod_template("nightly");
        template["spec"]["restartPolicy"] = json!("Never");
        let nightly: CronJob = workload::object(json!({
            "metadata": {"name": "nightly"},
            "spec": {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"template": template}}},
        }));
        workload::create(&self.namespace, &nightly).await;
        for name in ["environment", "other"] {
            let config_map: ConfigMap = workload::object(json!({
                "metadata": {"name": name},
                "data": {"HIBERNATE_MODE": "false", "OTHER": "stays"},
            }));
            workload::create(&self.namespace, &config_map).await;
        }
        for name in ["first", "second", "api", "bystander"] {
            workload::until_ready(&self.namespace, name).await;
        }
        wait::until::<StatefulSet>(&self.namespace.api(), "queue", "ready", |set| {
            set.status.as_ref().and_then(|status| status.available_replicas) == Some(1)
        })
        .await;
        wait::until::<DaemonSet>(&self.namespace.api(), "agent", "ready", |set| {
            set.status.as_ref().and_then(|status| status.number_available) == Some(1)
        })
        .await;
    }

    /// Applies the Deployment whose replicas are owned by a server-side apply.
    async fn apply(&self) {
        let mut first = self.with_pods("first");
        first["apiVersion"] = json!("apps/v1");
        first["kind"] = json!("Deployment");
        first["spec"]["replicas"] = json!(2);
        let deployments: Api<Deployment> = self.namespace.api();
        let (by, patch) = (PatchParams::apply("deployer"), Patch::Apply(first));
        deployments.patch("first", &by, &patch).await.expect("it is applied");
    }

    fn with_pods(&self, name: &str) -> Value {
        json!({
            "metadata": {"name": name},
            "spec": {
                "selector": {"matchLabels": {"app": name}},
                "template": self.node.pod_template(name),
            },
        })
    }

    async fn observe(&self, objects: &[(&str, &str)]) -> Vec<Observed> {
        let mut observed = Vec::new();
        for (kind, name) in objects {
            let resource = Kind::any(kind).expect("a kind").api_resource();
            let client = self.namespace.client.clone();
            let api: Api<DynamicObject> =
                Api::namespaced_with(client, &self.namespace.name, &resource);
            let object = api.get(name).await.expect("it is there");
            let applied = object
                .managed_fields()
                .iter()
                .filter(|entry| entry.operation.as_deref() == Some("Apply"));
            let applied = applied.map(|entry| json!([entry.manager, entry.fields_v1])).collect();
            observed.push((authored(&object), applied));
        }
        observed
    }

    async fn assert_others_untouched(&self) {
        assert_eq!(self.observe(&LEFT_ALONE).await, self.before[HELD.len()..]);
    }

    /// Checks that one truncation ran, and that no pod wrote meanwhile.
    fn assert_truncated_once(&self) {
        let mut truncations = self.node.truncations();
        truncations.retain(|truncation| !truncation.dry_run);
        assert!(
            matches!(&truncations[..], [only] if only.writers.is_empty()),
            "it is emptied once, while nobody writes: {truncations:?}"
        );
    }
}

/// Whether a pod writes to the database: the pods of stopped workloads do, and those of the API
/// until their restart.
fn writes(pod: &Pod) -> bool {
    let app = pod.labels().get("app").map(String::as_str).unwrap_or_default();
    match app {
        "api" => !pod.annotations().contains_key("torpor.dev/configuration"),
        app => HELD.iter().any(|(_, name)| *name == app),
    }
}
