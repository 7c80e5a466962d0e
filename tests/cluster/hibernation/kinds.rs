//! Peculiarities of kinds: missed runs, finished Jobs, order, and Deployments in a bad state.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{
    apps::v1::{DaemonSet, Deployment, StatefulSet},
    batch::v1::{CronJob, Job},
};
use kube::{ResourceExt, runtime::watcher};
use serde_json::{Value, json};

use crate::support::{
    database::Database,
    hibernation::{Hibernation, condition, message},
    hold::untouched,
    object::reason,
    scene::Scene,
    truncation, wait,
    workload::{self, WELL_BEHAVED, authored, controller, template},
};

// CronJobs -----------------------------------------------------------------------------------------

/// A `CronJob` of every minute: its name, more fields of its spec and of its entry, and its
/// behaviour at wake.
type Nightly = (&'static str, Value, Value, AtWake);

#[derive(Clone, Copy, Debug, PartialEq)]
enum AtWake {
    /// It starts the missed run.
    MakesUp,
    /// It waits for its next scheduled time.
    Waits,
    /// It was suspended before and is suspended again.
    Rests,
}

fn nightlies() -> Vec<Nightly> {
    use AtWake::{MakesUp, Rests, Waits};
    let run = json!({"missedRuns": "Run"});
    vec![
        ("skip", json!({}), json!({}), Waits),
        ("run", json!({}), run.clone(), MakesUp),
        ("zone", json!({"timeZone": "Asia/Kathmandu"}), json!({}), Waits),
        ("forbid", json!({"concurrencyPolicy": "Forbid"}), json!({}), Waits),
        ("forbid-run", json!({"concurrencyPolicy": "Forbid"}), run.clone(), MakesUp),
        ("lenient", json!({"startingDeadlineSeconds": 200}), json!({}), Waits),
        // What it missed is too old by then, as its author wants it.
        ("strict", json!({"startingDeadlineSeconds": 10}), run.clone(), Waits),
        ("suspended", json!({"suspend": true}), run, Rests),
    ]
}

/// Returns the scheduled time of the first Job that each `CronJob` created since.
async fn starts(scene: &Scene, since: Timestamp) -> BTreeMap<String, Timestamp> {
    let jobs = scene.namespace.api::<Job>().list(&kube::api::ListParams::default()).await;
    first_starts(&jobs.expect("jobs are listed").items, since)
}

fn first_starts(jobs: &[Job], since: Timestamp) -> BTreeMap<String, Timestamp> {
    let mut first = BTreeMap::new();
    for job in jobs {
        let made = job.metadata.creation_timestamp.as_ref().map(|time| time.0);
        let meant = job.annotations().get("batch.kubernetes.io/cronjob-scheduled-timestamp");
        let meant = meant.and_then(|text| text.parse::<Timestamp>().ok());
        let owner = job.owner_references().first().map(|owner| owner.name.clone());
        if let (Some(made), Some(meant), Some(owner)) = (made, meant, owner)
            && made >= since
        {
            let earliest = first.entry(owner).or_insert(meant);
            *earliest = meant.min(*earliest);
        }
    }
    first
}

#[tokio::test]
async fn a_run_that_is_due_at_the_wake_time_starts() {
    let scene = Scene::create("due-runs").await;
    let mut cron_job = serde_json::to_value(workload::cron_job("daily", "exit 0")).expect("JSON");
    // The next full minute that leaves time to go to sleep.
    let now = Timestamp::now().as_second() + 30;
    let wake = Timestamp::from_second(now - now.rem_euclid(60) + 60).expect("a time");
    // Once an hour, at the minute of the wake.
    cron_job["spec"]["schedule"] = json!(wake.strftime("%M * * * *").to_string());
    workload::create::<CronJob>(&scene.namespace, &workload::object(cron_job)).await;
    let spec = json!({
        "state": "Awake",
        "override": {"state": "Hibernated", "until": wake.to_string()},
        "workloads": [{"kind": "CronJob", "name": "daily"}],
    });
    let hibernation = Hibernation::create(&scene.namespace, "project", spec).await;
    hibernation.until_phase("Hibernated").await;
    hibernation.until_phase("Awake").await;
    let started = |jobs: &[Job]| first_starts(jobs, wake).get("daily") == Some(&wake);
    let jobs = scene.namespace.api::<Job>();
    wait::until_all(&jobs, watcher::Config::default(), "the run of the wake time", started).await;
}

#[tokio::test]
async fn a_cron_job_makes_up_for_what_it_missed_only_where_that_is_asked_for() {
    let scene = Scene::create("missed-runs").await;
    let mut workloads = Vec::new();
    let mut before = BTreeMap::new();
    for (name, spec, entry, _) in nightlies() {
        let mut cron_job = serde_json::to_value(workload::cron_job(name, "exit 0")).expect("JSON");
        cron_job["spec"]["schedule"] = json!("* * * * *");
        let mut named = json!({"kind": "CronJob", "name": name});
        for (into, more) in [(&mut cron_job["spec"], spec), (&mut named, entry)] {
            if let (Some(into), Value::Object(more)) = (into.as_object_mut(), more) {
                into.extend(more);
            }
        }
        workloads.push(named);
        let made = workload::create::<CronJob>(&scene.namespace, &workload::object(cron_job)).await;
        before.insert(name, authored(&made));
    }
    let spec = json!({"state": "Hibernated", "workloads": workloads});
    let hibernation = Hibernation::create(&scene.namespace, "project", spec).await;
    hibernation.until_phase("Hibernated").await;

    // Asleep over a full minute, and far enough into the next for what is strict.
    let asleep = Timestamp::now();
    let minute = SignedDuration::from_secs(60 - asleep.as_second().rem_euclid(60));
    tokio::time::sleep((minute + SignedDuration::from_secs(15)).unsigned_abs()).await;
    let woken = Timestamp::from_second(Timestamp::now().as_second()).expect("a time");
    assert_eq!(starts(&scene, asleep).await, BTreeMap::new(), "nothing runs while asleep");
    hibernation.set_state("Awake").await;
    hibernation.until_phase("Awake").await;

    // Until each has started something: those that wait do so at their next minute.
    let runs = nightlies().into_iter().filter(|(.., at_wake)| *at_wake != AtWake::Rests).count();
    let jobs = wait::until_all::<Job>(
        &scene.namespace.api(),
        watcher::Config::default(),
        "each has started a Job",
        |jobs| first_starts(jobs, woken).len() >= runs,
    )
    .await;
    let starts = first_starts(&jobs, woken);
    for (name, .., at_wake) in nightlies() {
        let did = match starts.get(name) {
            None => AtWake::Rests,
            Some(meant) if *meant <= woken => AtWake::MakesUp,
            Some(_) => AtWake::Waits,
        };
        assert_eq!(did, at_wake, "{name}: {:?}, woken at {woken}", starts.get(name));
        let cron_job: CronJob = scene.namespace.api().get(name).await.expect("it is there");
        assert_eq!(authored(&cron_job), before[name], "{name}");
    }
}

// Jobs ---------------------------------------------------------------------------------------------

fn job(name: &str, script: &str, suspended: bool) -> Job {
    workload::object(json!({
        "metadata": {"name": name},
        "spec": {"suspend": suspended, "template": template(name, "Never", script)},
    }))
}

#[tokio::test]
async fn an_unfinished_job_is_suspended_and_resumed_and_a_finished_one_left_alone() {
    let scene = Scene::create("jobs").await;
    let namespace = &scene.namespace;
    workload::create(namespace, &job("done", "exit 0", false)).await;
    workload::create(namespace, &job("long", WELL_BEHAVED, false)).await;
    workload::create(namespace, &job("suspended", WELL_BEHAVED, true)).await;
    let jobs = namespace.api::<Job>();
    let complete = |job: &Job| job.status.as_ref().is_some_and(|s| s.completion_time.is_some());
    let done = wait::until(&jobs, "done", "complete", complete).await;
    let active = |job: &Job| job.status.as_ref().and_then(|status| status.active) == Some(1);
    let long = authored(&wait::until(&jobs, "long", "active", active).await);
    let suspended = authored(&jobs.get("suspended").await.expect("it is there"));

    let spec = json!({"state": "Hibernated", "workloads": [{"kind": "Job", "all": true}]});
    let hibernation = Hibernation::create(namespace, "project", spec).await;
    let status = hibernation.until_phase("Hibernated").await;
    assert_eq!(status["counts"]["held"], 2, "{status:#}");
    assert_eq!(workload::names(&workload::pods(namespace, "long").await), Vec::<String>::new());
    hibernation.set_state("Awake").await;
    hibernation.until_phase("Awake").await;
    assert_eq!(authored(&wait::until(&jobs, "long", "active again", active).await), long);
    assert_eq!(authored(&jobs.get("suspended").await.expect("it is there")), suspended);
    let same = jobs.get("done").await.expect("it is there");
    assert_eq!(same.resource_version(), done.resource_version(), "it was never written");
}

// DaemonSets ---------------------------------------------------------------------------------------

#[tokio::test]
async fn a_daemon_set_comes_back_with_the_node_selector_that_it_had_and_no_other() {
    let scene = Scene::create("daemons").await;
    let namespace = &scene.namespace;
    let names = ["choosy", "everywhere"];
    let daemon = |name: &str| -> DaemonSet { controller(name, json!({})) };
    let mut choosy = daemon("choosy");
    let pod = choosy.spec.as_mut().and_then(|spec| spec.template.spec.as_mut()).expect("a spec");
    pod.node_selector = Some([("kubernetes.io/os".to_owned(), "linux".to_owned())].into());
    workload::create(namespace, &choosy).await;
    workload::create(namespace, &daemon("everywhere")).await;
    let daemons = namespace.api::<DaemonSet>();
    let ready = |daemon: &DaemonSet| {
        daemon.status.as_ref().is_some_and(|status| {
            status.observed_generation == daemon.metadata.generation && status.number_ready > 0
        })
    };
    let mut before = BTreeMap::new();
    for name in names {
        before.insert(name, wait::until(&daemons, name, "ready", ready).await.spec);
    }
    let spec = json!({"state": "Hibernated", "workloads": [{"kind": "DaemonSet", "all": true}]});
    let hibernation = Hibernation::create(namespace, "project", spec).await;
    hibernation.until_phase("Hibernated").await;
    for name in names {
        assert_eq!(workload::names(&workload::pods(namespace, name).await), Vec::<String>::new());
    }
    hibernation.set_state("Awake").await;
    hibernation.until_phase("Awake").await;
    for name in names {
        let daemon = wait::until(&daemons, name, "ready", ready).await;
        assert_eq!(daemon.spec, before[name], "{name}");
        assert!(untouched(&daemon), "{name}");
    }
}

// StatefulSets -------------------------------------------------------------------------------------

#[tokio::test]
async fn the_databases_own_stateful_set_goes_down_after_the_truncation_and_is_up_before_the_rest() {
    let scene = Scene::create("own-database").await;
    let namespace = &scene.namespace;
    let _database = Database::seeded(namespace).await;
    let more =
        json!({"serviceName": "postgres", "replicas": 2, "podManagementPolicy": "OrderedReady"});
    let sets = namespace.api::<StatefulSet>();
    workload::create::<StatefulSet>(namespace, &controller("postgres", more)).await;
    scene.deploy("worker", 1).await;
    let ready = |set: &StatefulSet| {
        set.status.as_ref().is_some_and(|status| status.ready_replicas == Some(2))
    };
    let before = authored(&wait::until(&sets, "postgres", "ready", ready).await);
    let spec = json!({
        "state": "Hibernated",
        "workloads": [
            {"kind": "Deployment", "name": "worker"},
            {"kind": "StatefulSet", "name": "postgres", "stage": 1},
        ],
        "database": {
            "secretRef": {"name": "cornice-db", "key": "DATABASE_URL"},
            "truncate": {"beforeStage": 1},
        },
    });
    let hibernation = Hibernation::create(namespace, "project", spec).await;
    let replicas = |set: &StatefulSet| set.spec.as_ref().and_then(|spec| spec.replicas);
    wait::until(&sets, "postgres", "held", |set| replicas(set) == Some(0)).await;
    assert_eq!(truncation::done(namespace).await.len(), 1, "it was up until the tables were empty");
    assert_eq!(workload::replicas(&scene.deployment("worker").await), 0);
    hibernation.until_phase("Hibernated").await;
    assert_eq!(workload::names(&workload::pods(namespace, "postgres").await), Vec::<String>::new());

    hibernation.set_state("Awake").await;
    scene.until_replicas("worker", 1).await;
    let set = sets.get("postgres").await.expect("it is there");
    assert!(ready(&set), "the database is up before its clients: {:?}", set.status);
    hibernation.until_phase("Awake").await;
    assert_eq!(authored(&sets.get("postgres").await.expect("it is there")), before);
}

// Deployments --------------------------------------------------------------------------------------

/// Rolls a Deployment to another image.
async fn roll(scene: &Scene, name: &str, image: &str) {
    let patch = json!({"spec": {
        "strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "template": {"spec": {"containers": [{"name": "main", "image": image}]}},
    }});
    let params = kube::api::PatchParams::default();
    let patch = kube::api::Patch::Strategic(patch);
    let deployments = scene.namespace.api::<Deployment>();
    deployments.patch(name, &params, &patch).await.expect("it is rolled");
}

#[tokio::test]
async fn deployments_that_are_paused_at_0_ill_or_rolling_come_back_as_they_were_and_keep_nobody() {
    const MISSING: &str = "localhost/not-there:none";
    let scene = Scene::create("no-good").await;
    let namespace = &scene.namespace;
    workload::create(namespace, &workload::deployment("none", 0, WELL_BEHAVED, 1)).await;
    workload::create(namespace, &workload::deployment("crashing", 1, "exit 1", 1)).await;
    workload::create(namespace, &workload::deployment("no-image", 1, WELL_BEHAVED, 1)).await;
    roll(&scene, "no-image", MISSING).await;
    for name in ["healthy", "paused", "rolling", "stuck"] {
        workload::create(namespace, &workload::deployment(name, 2, WELL_BEHAVED, 1)).await;
    }
    for name in ["healthy", "paused", "rolling", "stuck"] {
        workload::until_ready(namespace, name).await;
    }
    // Paused with a template that has not been rolled, and one that can't be.
    let pause = json!({"spec": {"paused": true}});
    workload::merge::<Deployment>(namespace, "paused", pause).await;
    roll(&scene, "paused", MISSING).await;
    roll(&scene, "stuck", MISSING).await;
    let deployments = namespace.api::<Deployment>();
    let surged = |d: &Deployment| d.status.as_ref().and_then(|s| s.replicas) == Some(3);
    wait::until(&deployments, "stuck", "in the middle of its rollout", surged).await;
    let version = json!({"spec": {"template": {"metadata": {"annotations": {"version": "2"}}}}});
    workload::merge::<Deployment>(namespace, "rolling", version).await;
    let names = ["none", "crashing", "no-image", "healthy", "paused", "rolling", "stuck"];
    let mut before = BTreeMap::new();
    for name in names {
        before.insert(name, authored(&scene.deployment(name).await));
    }

    let spec = json!({
        "state": "Hibernated",
        "progressDeadline": "1m",
        "workloads": [{"kind": "Deployment", "all": true}],
    });
    let hibernation = Hibernation::create(namespace, "project", spec).await;
    hibernation.until_phase("Hibernated").await;
    for name in names {
        assert_eq!(workload::replicas(&scene.deployment(name).await), 0, "{name}");
        assert_eq!(workload::names(&workload::pods(namespace, name).await), Vec::<String>::new());
    }
    hibernation.patch(json!({"spec": {"state": "Awake", "progressDeadline": "10s"}})).await;
    for name in ["healthy", "rolling"] {
        workload::until_ready(namespace, name).await;
    }
    let available =
        |d: &Deployment| d.status.as_ref().and_then(|s| s.available_replicas) == Some(2);
    wait::until(&deployments, "paused", "up with the template that it had", available).await;
    let ill = ["crashing", "no-image", "stuck"];
    let status = hibernation
        .until("those that are ill are named, and no other", |status| {
            let said = message(status, "Stalled");
            condition(status, "Stalled") == "True"
                && ill.iter().all(|name| said.contains(&format!("Deployment {name} has 0 of")))
                && !said.contains("healthy")
                && !said.contains("rolling")
                && !said.contains("paused")
        })
        .await;
    assert_eq!(reason(&status, "Stalled"), "NotReady");
    for name in names {
        assert_eq!(authored(&scene.deployment(name).await), before[name], "{name}");
    }
}
