//! Faults during a hibernation or a wake: pods that do not end, lagging controllers, a killed
//! operator.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    batch::v1::{CronJob, Job},
    core::v1::{ConfigMap, Pod},
};
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams},
    runtime::watcher,
};
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard};

use crate::support::{
    cluster,
    database::kept_by_runtime,
    database_scene::DatabaseScene,
    hibernation::Hibernation,
    namespace::Namespace,
    truncation, wait,
    workload::{self, STUBBORN, WELL_BEHAVED, authored},
};

// What keeps the Job from starting, and what doesn't -----------------------------------------------

#[tokio::test]
async fn a_pod_that_ignores_sigterm_keeps_the_job_from_starting_through_its_grace_period() {
    let scene = DatabaseScene::create("stubborn").await;
    scene.deploy("worker", 1, STUBBORN, 20).await;
    let hibernation =
        scene.hibernation(json!([{"kind": "Deployment", "name": "worker"}]), json!([])).await;
    hibernation.set_state("Hibernated").await;
    scene.until_held("worker").await;
    // The Deployment's status says 0 now, or soon, and its pod runs for most of 20 seconds more.
    truncation::assert_not_started_within(&scene.namespace, Duration::from_secs(15)).await;
    assert_eq!(workload::pods(&scene.namespace, "worker").await.len(), 1, "it still runs");
    truncation::until_job(&scene.namespace, "truncates", truncation::empties).await;
    let pods = workload::pods(&scene.namespace, "worker").await;
    assert_eq!(workload::names(&pods), Vec::<String>::new());
    hibernation.until_phase("Hibernated").await;
    scene.assert_truncated().await;
}

/// A stopped controller manager. Dropping this continues it. All tests share it, so one test does
/// this at a time.
struct LaggingControllers(#[expect(dead_code, reason = "held")] MutexGuard<'static, ()>);

static CONTROLLERS: Mutex<()> = Mutex::const_new(());

impl LaggingControllers {
    async fn begin() -> Self {
        let alone = CONTROLLERS.lock().await;
        cluster::signal("STOP", "kube-controller-manager");
        Self(alone)
    }
}

impl Drop for LaggingControllers {
    fn drop(&mut self) {
        cluster::signal("CONT", "kube-controller-manager");
    }
}

#[tokio::test]
async fn a_controller_manager_that_lags_behind_the_hold_keeps_the_job_from_starting() {
    let scene = DatabaseScene::create("lagging").await;
    scene.deploy("worker", 1, WELL_BEHAVED, 1).await;
    let hibernation =
        scene.hibernation(json!([{"kind": "Deployment", "name": "worker"}]), json!([])).await;
    let lagging = LaggingControllers::begin().await;
    hibernation.set_state("Hibernated").await;
    scene.until_held("worker").await;
    // No pod is left, but the resumed controllers may first create another one.
    let pods: Api<Pod> = scene.namespace.api();
    let at_once = DeleteParams::default().grace_period(0);
    for pod in workload::names(&workload::pods(&scene.namespace, "worker").await) {
        pods.delete(&pod, &at_once).await.expect("the pod is deleted");
        wait::until_gone(&pods, &pod).await;
    }
    truncation::assert_not_started_within(&scene.namespace, Duration::from_secs(15)).await;
    drop(lagging);
    hibernation.until_phase("Hibernated").await;
    scene.assert_truncated().await;
}

#[tokio::test]
async fn an_evicted_pod_that_stays_listed_keeps_nothing_waiting() {
    let scene = DatabaseScene::create("evicted").await;
    scene.deploy("worker", 1, WELL_BEHAVED, 1).await;
    // As an eviction leaves it: owned by the ReplicaSet, failed, and listed until somebody clears it.
    let replica_sets = scene.namespace.api::<ReplicaSet>().list(&ListParams::default()).await;
    let owner = replica_sets.expect("ReplicaSets are listed").items.remove(0);
    let template = owner.spec.as_ref().and_then(|s| s.template.as_ref()).expect("a template");
    let labels = template.metadata.as_ref().and_then(|m| m.labels.as_ref());
    let mut spec = serde_json::to_value(&template.spec).expect("it is JSON");
    spec["nodeSelector"] = json!({"no-node": "has-it"});
    let evicted: Pod = workload::object(json!({"metadata": {"name": "evicted"}, "spec": spec}));
    workload::create(&scene.namespace, &evicted).await;
    let failed = json!({"status": {"phase": "Failed", "reason": "Evicted"}});
    let pods: Api<Pod> = scene.namespace.api();
    pods.patch_status("evicted", &PatchParams::default(), &Patch::Merge(failed))
        .await
        .expect("the pod is marked");
    // Only now, or the ReplicaSet would delete it as one too many.
    let adopted = json!({"metadata": {
        "labels": labels,
        "ownerReferences": [{
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "name": owner.metadata.name,
            "uid": owner.metadata.uid,
            "controller": true,
        }],
    }});
    workload::merge::<Pod>(&scene.namespace, "evicted", adopted).await;

    let hibernation =
        scene.hibernation(json!([{"kind": "Deployment", "name": "worker"}]), json!([])).await;
    hibernation.set_state("Hibernated").await;
    hibernation.until_phase("Hibernated").await;
    scene.assert_truncated().await;
    let pods = workload::pods(&scene.namespace, "worker").await;
    assert_eq!(workload::names(&pods), ["evicted"], "it is still listed");
}

#[tokio::test]
async fn a_running_job_of_a_cron_job_is_waited_for_and_a_finished_one_is_not() {
    let scene = DatabaseScene::create("cron").await;
    let until_file = "while [ ! -e /tmp/end ]; do sleep 0.2; done";
    workload::create(&scene.namespace, &workload::cron_job("nightly", until_file)).await;
    let namespace = &scene.namespace.name;
    let jobs: Api<Job> = scene.namespace.api();
    for job in ["finished", "running"] {
        cluster::kubectl(&["-n", namespace, "create", "job", job, "--from=cronjob/nightly"]);
    }
    let end = |job: &str| {
        let pod = format!("job/{job}");
        cluster::kubectl(&["-n", namespace, "exec", &pod, "--", "touch", "/tmp/end"]);
    };
    for job in ["finished", "running"] {
        wait::until(&jobs, job, "its pod runs", |job| {
            job.status.as_ref().and_then(|status| status.ready) == Some(1)
        })
        .await;
    }
    end("finished");
    wait::until(&jobs, "finished", "complete", truncation::succeeded).await;

    let hibernation =
        scene.hibernation(json!([{"kind": "CronJob", "name": "nightly"}]), json!([])).await;
    hibernation.set_state("Hibernated").await;
    let cron_jobs: Api<CronJob> = scene.namespace.api();
    wait::until(&cron_jobs, "nightly", "suspended", |cron_job| {
        cron_job.spec.as_ref().and_then(|spec| spec.suspend) == Some(true)
    })
    .await;
    wait::never_within(
        &jobs,
        watcher::Config::default(),
        Duration::from_secs(10),
        "the truncation starts",
        |jobs| jobs.iter().any(truncation::empties),
    )
    .await;
    end("running");
    hibernation.until_phase("Hibernated").await;
    scene.assert_truncated().await;
    let running = jobs.get("running").await.expect("it is there");
    assert!(truncation::succeeded(&running), "it ended by itself");
}

// The operator is killed ---------------------------------------------------------------------------

/// A step of the operator, by its visible effect.
#[derive(Clone, Copy)]
enum Step {
    Preflight,
    EnvironmentSet,
    FirstStageHeld,
    SecondStageHeld,
    ApiRestarted,
    TruncationStarted,
    TruncationDone,
    EnvironmentRestored,
    SecondStageRestored,
    FirstStageRestored,
    ApiRestored,
}

impl Step {
    fn is_of_waking(self) -> bool {
        matches!(
            self,
            Self::EnvironmentRestored
                | Self::SecondStageRestored
                | Self::FirstStageRestored
                | Self::ApiRestored
        )
    }

    async fn reached(self, namespace: &Namespace) {
        let deployments: Api<Deployment> = namespace.api();
        let scaled = |name: &'static str, to: i32| {
            let deployments = deployments.clone();
            async move {
                wait::until(&deployments, name, &format!("{to} replicas"), |deployment| {
                    workload::replicas(deployment) == to
                })
                .await;
            }
        };
        let api_rolled = |rolled: bool| {
            let deployments = deployments.clone();
            async move {
                wait::until(&deployments, "api", "rolled", |api| is_rolled(api) == rolled).await;
            }
        };
        let environment = |value: &'static str| {
            let config_maps: Api<ConfigMap> = namespace.api();
            async move {
                wait::until(&config_maps, "cornice-env", "set", |config_map| {
                    let data = config_map.data.as_ref();
                    data.and_then(|data| data.get("HIBERNATE_MODE")).is_some_and(|v| v == value)
                })
                .await;
            }
        };
        match self {
            Self::Preflight => {
                truncation::until_job(namespace, "is a preflight", truncation::is_preflight).await;
            }
            Self::EnvironmentSet => environment("true").await,
            Self::FirstStageHeld => scaled("first", 0).await,
            Self::SecondStageHeld => scaled("second", 0).await,
            Self::ApiRestarted => api_rolled(true).await,
            Self::TruncationStarted => {
                truncation::until_job(namespace, "truncates", truncation::empties).await;
            }
            Self::TruncationDone => {
                truncation::until_job(namespace, "has truncated", |job| {
                    truncation::empties(job) && truncation::succeeded(job)
                })
                .await;
            }
            Self::EnvironmentRestored => environment("false").await,
            Self::SecondStageRestored => scaled("second", 2).await,
            Self::FirstStageRestored => scaled("first", 1).await,
            Self::ApiRestored => api_rolled(false).await,
        }
    }
}

fn is_rolled(deployment: &Deployment) -> bool {
    let template = deployment.spec.as_ref().and_then(|spec| spec.template.metadata.as_ref());
    template
        .and_then(|template| template.annotations.as_ref())
        .is_some_and(|annotations| annotations.contains_key("torpor.dev/configuration"))
}

/// Returns the held objects as their author sees them.
async fn objects(namespace: &Namespace) -> BTreeMap<&'static str, Value> {
    let mut objects = BTreeMap::new();
    for name in ["first", "second", "api"] {
        let deployments: Api<Deployment> = namespace.api();
        objects.insert(name, authored(&deployments.get(name).await.expect("it is there")));
    }
    let config_maps: Api<ConfigMap> = namespace.api();
    let environment = config_maps.get("cornice-env").await.expect("it is there");
    objects.insert("cornice-env", authored(&environment));
    objects
}

/// Hibernates and wakes. The operator is killed at this step, and started again once the step's
/// effect is complete.
async fn converges_when_killed_at(test: &str, step: Step) {
    let mut scene = DatabaseScene::create(test).await;
    let environment: ConfigMap = workload::object(json!({
        "metadata": {"name": "cornice-env"},
        "data": {"HIBERNATE_MODE": "false", "INGEST_ENABLED": "true", "OTHER": "stays"},
    }));
    workload::create(&scene.namespace, &environment).await;
    for (name, replicas) in [("first", 1), ("second", 2), ("api", 1)] {
        scene.deploy(name, replicas, WELL_BEHAVED, 1).await;
    }
    let before = objects(&scene.namespace).await;
    let kept = scene.database.fingerprints(&kept_by_runtime()).await;

    let spec = json!({
        "state": "Hibernated",
        "workloads": [
            {"kind": "Deployment", "name": "first", "stage": 0},
            {"kind": "Deployment", "name": "second", "stage": 1},
            {"kind": "Deployment", "name": "api", "action": "Restart"},
        ],
        "configMaps": [{"name": "cornice-env"}],
        "database": {
            "secretRef": {"name": "cornice-db", "key": "DATABASE_URL"},
            "truncate": {"scope": "Runtime"},
        },
    });
    let hibernation = Hibernation::create(&scene.namespace, "cornice", spec).await;
    if !step.is_of_waking() {
        step.reached(&scene.namespace).await;
        scene.operator.kill9();
        scene.operator.restart();
    }
    hibernation.until_phase("Hibernated").await;
    scene.assert_truncated().await;
    assert_eq!(truncation::done(&scene.namespace).await.len(), 1, "one truncation");
    // As the API does while on hold. A second truncation would take it.
    scene
        .database
        .execute("INSERT INTO requests (path, recorded_by) VALUES ('/login', 'api')")
        .await;

    hibernation.set_state("Awake").await;
    if step.is_of_waking() {
        step.reached(&scene.namespace).await;
        scene.operator.kill9();
        scene.operator.restart();
    }
    hibernation.until_phase("Awake").await;
    let after = objects(&scene.namespace).await;
    for (name, before) in &before {
        assert_eq!(&after[name], before, "{name}");
    }
    assert_eq!(scene.database.fingerprints(&kept_by_runtime()).await, kept);
    assert_eq!(scene.database.number("SELECT count(*) FROM requests").await, 1);
}

#[tokio::test]
async fn an_operator_that_is_asked_to_end_leaves_what_sleeps_asleep() {
    let mut scene = DatabaseScene::create("asked-to-end").await;
    scene.deploy("worker", 2, WELL_BEHAVED, 1).await;
    let hibernation =
        scene.hibernation(json!([{"kind": "Deployment", "name": "worker"}]), json!([])).await;
    hibernation.set_state("Hibernated").await;
    hibernation.until_phase("Hibernated").await;
    scene.operator.stop().await;
    assert_eq!(workload::pods(&scene.namespace, "worker").await.len(), 0);
    scene.operator.restart();
    hibernation.set_state("Awake").await;
    hibernation.until_phase("Awake").await;
    let worker = workload::until_ready(&scene.namespace, "worker").await;
    assert_eq!(workload::replicas(&worker), 2);
}

/// Creates a test for each step.
macro_rules! killed {
    ($($test:ident at $step:ident;)*) => {$(
        #[tokio::test]
        async fn $test() {
            let name = stringify!($step).to_lowercase();
            converges_when_killed_at(&format!("kill-{name}"), Step::$step).await;
        }
    )*};
}

killed! {
    killed_in_the_preflight_it_converges at Preflight;
    killed_after_the_environment_is_set_it_converges at EnvironmentSet;
    killed_after_the_first_stage_is_held_it_converges at FirstStageHeld;
    killed_after_the_second_stage_is_held_it_converges at SecondStageHeld;
    killed_after_the_api_is_restarted_it_converges at ApiRestarted;
    killed_after_the_truncation_is_started_it_converges at TruncationStarted;
    killed_after_the_truncation_is_done_it_converges at TruncationDone;
    killed_after_the_environment_is_restored_it_converges at EnvironmentRestored;
    killed_after_the_second_stage_is_restored_it_converges at SecondStageRestored;
    killed_after_the_first_stage_is_restored_it_converges at FirstStageRestored;
    killed_after_the_api_is_restored_it_converges at ApiRestored;
}
