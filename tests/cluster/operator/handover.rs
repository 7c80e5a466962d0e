//! Two replicas: the leader ends, is killed or stands still, and the other one goes on. No test expects a time, as the
//! machine may stall at any moment; the measured ones are printed.

use std::{io::Write as _, time::Instant};

use axum::http::Method;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{
    apps::v1::Deployment,
    batch::v1::Job,
    coordination::v1::{Lease, LeaseSpec},
};
use kube::{Api, api::ListParams, runtime::watcher};
use serde_json::{Value, json};

use crate::support::{
    database_scene::DatabaseScene,
    hibernation::{Hibernation, of},
    hold::untouched,
    market::{self, offers},
    namespace::Namespace,
    operator::Operator,
    proxy::{Fate, Proxy, Request},
    sonm_node::plan,
    time::{in_seconds, time},
    truncation, wait,
    workload::{self, STUBBORN, WELL_BEHAVED, authored, replicas},
};

/// The log of a replica that does not lead.
const WAITS: &str = "waiting for the lease";
/// The name of the Deployment.
const WEB: &str = "web";

fn say(what: &str) {
    // Past the capture of what tests print.
    let _ = writeln!(std::io::stderr(), "handover: {what}");
}

async fn lease(namespace: &Namespace) -> LeaseSpec {
    let lease = namespace.api::<Lease>().get("torpor").await.expect("the Lease is there");
    lease.spec.expect("a spec")
}

fn is_held_by(lease: &Lease, operator: &Operator) -> bool {
    let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_ref());
    holder.is_some_and(|holder| holder.contains(&format!("_{}_", operator.id())))
}

async fn until_leading(namespace: &Namespace, operator: &Operator) {
    wait::until(&namespace.api::<Lease>(), "torpor", "the replica leads", |lease| {
        is_held_by(lease, operator)
    })
    .await;
}

async fn until_ready(operator: &Operator) {
    wait::poll("it is ready", async || (operator.readyz().await.0 == 200).then_some(())).await;
}

/// Starts a leader, and a second replica that waits.
async fn two(namespace: &Namespace, duration: &str) -> (Operator, Operator) {
    let more = ["--lease-duration", duration];
    let leader = Operator::start_from(namespace, &namespace.name, &more);
    until_leading(namespace, &leader).await;
    let other = Operator::start_second_with(namespace, "-second", &more);
    other.until_logged(WAITS).await;
    (leader, other)
}

/// Creates a Deployment whose pods take a while to end, and a Hibernation that takes it down.
async fn going_down(namespace: &Namespace) -> Hibernation {
    let deployment = workload::deployment(WEB, 2, STUBBORN, 5);
    workload::create(namespace, &deployment).await;
    workload::until_ready(namespace, WEB).await;
    let hibernation = Hibernation::create(namespace, "project", of(WEB, json!({}))).await;
    until_held(namespace, WEB).await;
    hibernation
}

async fn until_held(namespace: &Namespace, name: &str) {
    wait::until::<Deployment>(&namespace.api(), name, "held", |d| replicas(d) == 0).await;
}

#[tokio::test]
async fn a_leader_that_is_told_to_end_hands_over_by_releasing_the_lease() {
    let namespace = Namespace::create("told-to-end").await;
    // Too long to run out in this test: only a release lets the other one lead.
    let (mut leader, other) = two(&namespace, "1h").await;
    let hibernation = going_down(&namespace).await;
    let told = Instant::now();
    let ((), ()) = tokio::join!(leader.stop(), async {
        until_leading(&namespace, &other).await;
        say(&format!("{} ms from SIGTERM to the next leader", told.elapsed().as_millis()));
    });
    hibernation.until_phase("Hibernated").await;
}

#[tokio::test]
async fn after_a_kill_the_other_replica_leads_once_the_lease_has_run_out_and_not_before() {
    let namespace = Namespace::create("killed-leader").await;
    let (mut leader, other) = two(&namespace, "15s").await;
    let hibernation = going_down(&namespace).await;
    leader.kill9();
    let killed = Instant::now();
    let left = lease(&namespace).await;
    until_leading(&namespace, &other).await;
    say(&format!(
        "{} ms from SIGKILL to the next leader, with a lease of 15 s",
        killed.elapsed().as_millis()
    ));
    let time =
        |time: Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime>| -> Timestamp {
            time.expect("a time").0
        };
    let (renewed, taken) = (time(left.renew_time), time(lease(&namespace).await.acquire_time));
    assert!(taken.duration_since(renewed) >= SignedDuration::from_secs(15), "{renewed} {taken}");
    hibernation.until_phase("Hibernated").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_leader_that_stood_still_has_sent_has_no_effect_and_it_writes_nothing_more() {
    let (proxy, namespace) = (Proxy::start().await, Namespace::create("stood-still").await);
    let still = Operator::start_behind_with(&namespace, &proxy, &[]);
    until_leading(&namespace, &still).await;
    let web = workload::deployment(WEB, 2, WELL_BEHAVED, 1);
    workload::create(&namespace, &web).await;
    let before = authored(&workload::until_ready(&namespace, WEB).await);
    // Its hold is on the way to the API server when it stops.
    let mut first = true;
    let holds =
        |request: &Request| request.method == Method::PATCH && request.resource() == "deployments";
    proxy.rule(
        move |request| {
            if holds(request) && std::mem::take(&mut first) { Fate::Held } else { Fate::Pass }
        },
    );
    let hibernation = Hibernation::create(&namespace, "project", of(WEB, json!({}))).await;
    let sent = proxy.until_request("the hold", holds).await;
    still.signal("STOP");
    let other = Operator::start_second(&namespace);
    until_leading(&namespace, &other).await;
    hibernation.until_phase("Hibernated").await;
    until_held(&namespace, WEB).await;
    hibernation.set_state("Awake").await;
    hibernation.until_phase("Awake").await;
    wait::until::<Deployment>(&namespace.api(), WEB, "released", untouched).await;

    let versions = async || {
        let web = namespace.api::<Deployment>().get(WEB).await.expect("it is there");
        let project = hibernation.api.get("project").await.expect("it is there");
        (web.metadata.generation, project.metadata.resource_version)
    };
    let settled = versions().await;
    proxy.resume();
    let answered = proxy.until_request("an answer", |request| {
        request.arrived == sent.arrived && request.answer.is_some()
    });
    assert_eq!(answered.await.answer.expect("an answer").status, 409);
    let woken = Instant::now();
    still.signal("CONT");
    still.until_lease_lost().await;
    let late: Vec<_> = proxy
        .requests()
        .into_iter()
        .filter(|request| request.arrived >= woken && request.matters())
        .map(|request| request.title())
        .collect();
    assert_eq!(late, Vec::<String>::new());
    assert_eq!(versions().await, settled);
    let after = workload::until_ready(&namespace, WEB).await;
    assert_eq!(authored(&after), before);
}

/// Replaces the leader as a Deployment does it: a new replica starts, and once it is ready the old one is told to end.
/// `idle` is the replica that has ended.
async fn roll(namespace: &Namespace, leader: &mut Operator, idle: &mut Option<Operator>) {
    let next = if let Some(mut next) = idle.take() {
        let waits = |operator: &Operator| operator.output().matches(WAITS).count();
        let before = waits(&next);
        next.restart();
        wait::poll("it waits", async || (waits(&next) > before).then_some(())).await;
        next
    } else {
        let next = Operator::start_second(namespace);
        next.until_logged(WAITS).await;
        next
    };
    leader.stop().await;
    until_leading(namespace, &next).await;
    *idle = Some(std::mem::replace(leader, next));
}

/// Returns the names of the Jobs that truncate tables.
async fn truncations(namespace: &Namespace) -> Vec<String> {
    let jobs = namespace.api::<Job>().list(&ListParams::default()).await;
    let mut jobs = jobs.expect("Jobs are listed").items;
    jobs.retain(truncation::empties);
    workload::names(&jobs)
}

#[tokio::test]
async fn a_rolling_change_in_the_middle_of_anything_changes_nothing() {
    const WAITING: &str =
        "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND relation = 'requests'::regclass";
    let mut scene = DatabaseScene::create("rolling").await;
    scene.deploy("worker", 1, WELL_BEHAVED, 1).await;
    scene.deploy(WEB, 2, STUBBORN, 8).await;
    let deployments: Api<Deployment> = scene.namespace.api();
    let get = async |name: &str| authored(&deployments.get(name).await.expect("it is there"));
    let before = [get("worker").await, get(WEB).await];
    let workloads = json!([
        {"kind": "Deployment", "name": "worker"},
        {"kind": "Deployment", "name": WEB, "stage": 1},
    ]);
    let hibernation = scene.hibernation(workloads, json!([])).await;
    let truncate = json!({"spec": {"database": {"truncate": {"lockTimeout": "1m"}}}});
    hibernation.patch(truncate).await;
    hibernation.until_condition("PreflightPassed", "True").await;
    let (mut idle, rows) = (None, "SELECT count(*) FROM requests");
    let DatabaseScene { operator: leader, namespace, database } = &mut scene;

    // Going down: the pods of the first stage end while those of the second one still run.
    let mut reader = database.pool.begin().await.expect("a transaction begins");
    sqlx::query(rows).execute(&mut *reader).await.expect("it is read");
    hibernation.set_state("Hibernated").await;
    until_held(namespace, "worker").await;
    roll(namespace, leader, &mut idle).await;
    // The truncation waits for the reader.
    database.until("the truncation waits for the lock", WAITING).await;
    let job = truncations(namespace).await;
    assert_eq!(job.len(), 1, "{job:?}");
    roll(namespace, leader, &mut idle).await;
    assert_eq!(truncations(namespace).await, job);
    reader.commit().await.expect("the lock is released");
    let status = hibernation.until_phase("Hibernated").await;
    assert_eq!(status["episode"]["truncation"], "Done", "{status:#}");
    assert_eq!(database.number(rows).await, 0);
    assert_eq!(truncations(namespace).await, job);

    // A row that comes later stays: nothing truncates a second time.
    database.execute("INSERT INTO requests (path, recorded_by) VALUES ('/', 'test')").await;
    hibernation.set_state("Awake").await;
    let one_is_up = |all: &[Deployment]| all.iter().any(|deployment| replicas(deployment) > 0);
    wait::until_all(&deployments, watcher::Config::default(), "one is up", one_is_up).await;
    roll(namespace, leader, &mut idle).await;
    hibernation.until_phase("Awake").await;
    for (name, before) in ["worker", WEB].into_iter().zip(&before) {
        workload::until_ready(namespace, name).await;
        assert_eq!(&get(name).await, before, "{name}");
    }
    assert_eq!(database.number(rows).await, 1);
}

#[tokio::test]
async fn a_rolling_change_while_a_window_drains_breaks_no_promise() {
    // Long enough that the window starts before the Forward deal ends.
    const PROMISED: u64 = 20;
    let plans = [market::selling(), vec![plan("promised", 4)]].concat();
    let mut scene = market::Scene::with_syncs("rolling-window", plans, 0).await;
    let window = scene.window(market::spec(json!({"after": "12h"}), json!({}))).await;
    window.until_phase("Scheduled").await;
    scene.selling.accept("4", PROMISED).await;
    scene.selling.node.sync().await;
    let mut idle = None;

    // A Forward deal blocks the start.
    let start = in_seconds(4);
    window.change(json!({"after": null, "start": start.to_string()})).await;
    let status = window.until_in("Blocked").await;
    let earliest = status["earliestStart"].clone();
    roll(&scene.namespace, &mut scene.operator, &mut idle).await;
    // The orders are withdrawn and the Spot deal is closed; the worker has not closed the deal that ran out.
    let closed = |truth: &Value| !offers(truth).contains_key("2");
    scene.selling.until("the Spot deal is closed", closed).await;
    assert!(Timestamp::now() > time(&earliest));
    roll(&scene.namespace, &mut scene.operator, &mut idle).await;
    assert_eq!(scene.replicas().await, 2, "a deal is open");
    for _ in 0..2 {
        scene.selling.node.sync().await;
    }
    window.until_condition("InMaintenance", "True").await;
    assert_eq!(scene.replicas().await, 0);
    roll(&scene.namespace, &mut scene.operator, &mut idle).await;

    // Withdrawn orders are offered again, each once.
    let lasts = Timestamp::now().duration_since(start).as_secs() + 5;
    window.change(json!({"duration": format!("{lasts}s")})).await;
    window.until_phase("Completed").await;
    scene.selling.node.sync().await;
    scene.until_as_before(&window, &["1", "2", "4"]).await;
}

#[tokio::test]
async fn a_replica_that_waits_for_the_lease_of_another_release_says_so_and_is_not_ready() {
    let namespace = Namespace::create("releases").await;
    let more = |name| ["--lease-duration", "1h", "--release-name", name];
    let mut first = Operator::start_from(&namespace, &namespace.name, &more("mine/first"));
    until_leading(&namespace, &first).await;
    until_ready(&first).await;
    let second = Operator::start_second_with(&namespace, "-second", &more("yours/second"));
    second.until_logged("of release mine/first").await;
    let told = wait::poll("/readyz says it", async || {
        let (status, body) = second.readyz().await;
        (status == 503 && body.contains("Lease torpor in namespace")).then_some(body)
    })
    .await;
    assert!(
        told.contains("of release mine/first, and this operator is of release yours/second"),
        "{told}"
    );
    assert_eq!(told.lines().count(), 1, "{told}");
    // The first release goes. The Lease names the second one.
    first.stop().await;
    until_leading(&namespace, &second).await;
    until_ready(&second).await;
    let lease = namespace.api::<Lease>().get("torpor").await.expect("it is there");
    let annotations = lease.metadata.annotations.expect("annotations");
    assert_eq!(annotations["torpor.dev/release"], "yours/second");
    // A replica of the same release waits too, and is ready.
    let third = Operator::start_second_with(&namespace, "-third", &more("yours/second"));
    third.until_logged(WAITS).await;
    until_ready(&third).await;
}
