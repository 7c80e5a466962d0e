//! The truncation's Job from one hibernation to the next, with manual changes in between. Pods run
//! on a paper node.

use k8s_openapi::api::{apps::v1::Deployment, batch::v1::Job};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::support::{
    hibernation::{Hibernation, asleep, condition, woken},
    kubectl::exactly,
    paper_node::PaperNode,
    scene::Scene,
    truncation, wait, workload,
};

/// A namespace with a Deployment, and a Hibernation of it that has truncated a database.
struct Emptied {
    // The paper node must end the pods before the namespace can go.
    node: PaperNode,
    scene: Scene,
    hibernation: Hibernation,
    before: Value,
}

impl Emptied {
    async fn asleep(test: &str) -> Self {
        let scene = Scene::create(test).await;
        let node = PaperNode::start(&scene.namespace, |_| true).await;
        let worker: Deployment = workload::object(json!({
            "metadata": {"name": "worker"},
            "spec": {
                "selector": {"matchLabels": {"app": "worker"}},
                "template": node.pod_template("worker"),
            },
        }));
        workload::create(&scene.namespace, &worker).await;
        workload::until_ready(&scene.namespace, "worker").await;
        let before = exactly(&scene, "deployment/worker");
        let spec = json!({
            "state": "Hibernated",
            "workloads": [{"kind": "Deployment", "name": "worker"}],
            "database": {
                "secretRef": {"name": "database", "key": "DATABASE_URL"},
                "truncate": {"scope": "Runtime", "pod": node.placement()},
            },
        });
        let hibernation = asleep(&scene, spec).await;
        Self { node, scene, hibernation, before }
    }

    /// Returns the existing Jobs by name, with their scope.
    async fn jobs(&self, wanted: fn(&Job) -> bool) -> Vec<(String, String)> {
        let jobs: Api<Job> = self.scene.namespace.api();
        let jobs = jobs.list(&kube::api::ListParams::default()).await.expect("they are listed");
        let scope = |job: &Job| {
            let arguments = truncation::arguments(job);
            let scope = arguments.iter().find_map(|argument| argument.strip_prefix("--scope="));
            (job.metadata.name.clone().unwrap_or_default(), scope.unwrap_or_default().to_owned())
        };
        jobs.items.iter().filter(|job| wanted(job)).map(scope).collect()
    }

    /// Returns name and scope of the only Job that truncates tables.
    async fn emptying(&self) -> (String, String) {
        let jobs = self.jobs(truncation::empties).await;
        let [job] = &jobs[..] else { panic!("one Job empties: {jobs:?}") };
        job.clone()
    }

    /// Returns how often tables were truncated so far.
    fn times(&self) -> usize {
        self.node.truncations().iter().filter(|truncation| !truncation.dry_run).count()
    }
}

#[tokio::test]
async fn a_database_that_is_changed_while_asleep_is_what_the_next_hibernation_works_with() {
    let emptied = Emptied::asleep("changed-database").await;
    let hibernation = &emptied.hibernation;
    let (job, scope) = emptied.emptying().await;
    assert_eq!(scope, "Runtime");
    let preflights = emptied.jobs(truncation::is_preflight).await;
    hibernation
        .patch(json!({"spec": {"database": {"truncate": {"scope": "Opportunities"}}}}))
        .await;
    // The first preflight says nothing about this database, and while asleep the database may be
    // down.
    let changed = |status: &Value| {
        status["phase"] == "Hibernated"
            && condition(status, "Ready") == "True"
            && condition(status, "PreflightPassed") == "Unknown"
    };
    hibernation.until("asleep, and the change is seen", changed).await;
    assert_eq!(emptied.emptying().await.0, job);
    assert_eq!(emptied.jobs(truncation::is_preflight).await, preflights);
    woken(hibernation).await;
    assert_eq!(exactly(&emptied.scene, "deployment/worker"), emptied.before);
    assert_eq!(emptied.times(), 1);
    hibernation.until_condition("PreflightPassed", "True").await;

    hibernation.set_state("Hibernated").await;
    hibernation.until_phase("Hibernated").await;
    assert_eq!(emptied.emptying().await.1, "Opportunities");
    assert_eq!(emptied.times(), 2);
    // A database that is removed from the spec is truncated no more.
    hibernation.patch(json!({"spec": {"database": null}})).await;
    let unsaid = |status: &Value| condition(status, "PreflightPassed").is_empty();
    hibernation.until("nothing is said of a dry run", unsaid).await;
    for state in ["Awake", "Hibernated"] {
        hibernation.set_state(state).await;
        hibernation.until_phase(state).await;
    }
    assert_eq!(emptied.jobs(|_| true).await, Vec::<(String, String)>::new());
    assert_eq!(emptied.times(), 2);
}

#[tokio::test]
async fn a_job_that_somebody_keeps_from_going_keeps_nobody_asleep() {
    let emptied = Emptied::asleep("kept-job").await;
    let hibernation = &emptied.hibernation;
    let (job, _) = emptied.emptying().await;
    let jobs: Api<Job> = emptied.scene.namespace.api();
    let finalizers = async |wanted: Value| {
        let patch = Patch::Merge(json!({"metadata": {"finalizers": wanted}}));
        jobs.patch(&job, &PatchParams::default(), &patch).await.expect("the Job is changed");
    };
    finalizers(json!(["example.com/archive"])).await;
    woken(hibernation).await;
    assert_eq!(exactly(&emptied.scene, "deployment/worker"), emptied.before);
    let kept = jobs.get(&job).await.expect("it is kept");
    assert!(kept.metadata.deletion_timestamp.is_some(), "and on its way out");

    // It is not mistaken for the Job of the next hibernation either.
    hibernation.set_state("Hibernated").await;
    hibernation.until_phase("Hibernated").await;
    assert_eq!(emptied.times(), 2);
    finalizers(json!(null)).await;
    wait::until_gone(&jobs, &job).await;
    woken(hibernation).await;
}
