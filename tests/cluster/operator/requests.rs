//! The operator's requests to the API server, counted at a proxy.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use axum::http::{Method, StatusCode};
use futures::{StreamExt, stream};
use k8s_openapi::api::{coordination::v1::Lease, core::v1::ConfigMap};
use serde_json::{Value, json};

use crate::support::{
    hibernation::Hibernation,
    namespace::Namespace,
    operator::Operator,
    project::Project,
    proxy::{Fate, Proxy, Request},
    wait,
    workload::{self, cron_job},
};

/// A namespace with an operator behind a proxy.
struct Scene {
    operator: Operator,
    namespace: Namespace,
    proxy: Proxy,
}

impl Scene {
    async fn create(test: &str) -> Self {
        let (proxy, namespace) = (Proxy::start().await, Namespace::create(test).await);
        Self { operator: Operator::start_behind(&namespace, &proxy), namespace, proxy }
    }

    async fn config_map(&self, name: &str) {
        let config_map: ConfigMap = workload::object(json!({
            "metadata": {"name": name, "labels": {"app": "many"}},
            "data": {"HIBERNATE_MODE": "false", "INGEST_ENABLED": "true"},
        }));
        workload::create(&self.namespace, &config_map).await;
    }
}

/// Returns how often each write was made, by title. A write with a conflict does not count.
fn writes(requests: &[Request]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for request in requests.iter().filter(|request| request.matters() && !request.met(409)) {
        *counts.entry(request.title()).or_default() += 1;
    }
    counts
}

/// Returns the objects that were read by name, without reads after a conflict.
fn gets(requests: &[Request]) -> BTreeSet<String> {
    let conflicts: BTreeSet<_> =
        requests.iter().filter(|r| r.met(409)).map(|r| (r.resource(), r.name())).collect();
    requests
        .iter()
        .filter(|request| !request.writes() && !request.is_of_lease() && !request.name().is_empty())
        .filter(|request| !conflicts.contains(&(request.resource(), request.name())))
        .map(Request::title)
        .collect()
}

/// Panics if a write has no resourceVersion, or if a status write changed nothing.
fn assert_sound(requests: &[Request]) {
    for request in requests.iter().filter(|request| request.method == Method::PATCH) {
        let version = |body: &Value| body.pointer("/metadata/resourceVersion").cloned();
        let carried = version(&request.body);
        assert!(
            carried.is_some_and(|v| v.is_string()) || request.resource() == "events",
            "{request:?}"
        );
        let Some(answer) = request.answer.as_ref().filter(|answer| answer.status == 200) else {
            continue;
        };
        if request.subresource() == "status" {
            let after = version(&answer.body);
            assert_ne!(after, version(&request.body), "nothing was changed by {}", request.body);
        }
    }
}

#[tokio::test]
async fn each_workload_is_written_once_each_way_and_twice_where_ownership_is_handed_back() {
    let proxy = Proxy::start().await;
    let namespace = Namespace::create("writes").await;
    let _operator = Operator::start_behind(&namespace, &proxy);
    let project = Project::create(namespace).await;
    proxy.forget();

    project.hibernate().await;
    project.until_down().await;
    let down = proxy.requests();
    assert_sound(&down);
    let others = |writes: &BTreeMap<String, usize>| {
        let mut writes = writes.clone();
        writes.retain(|title, _| !title.contains("hibernations/") && !title.ends_with(" jobs"));
        writes
    };
    let once = [
        "PATCH configmaps/environment",
        "PATCH cronjobs/nightly",
        "PATCH daemonsets/agent",
        "PATCH deployments/api",
        "PATCH deployments/at-zero",
        "PATCH deployments/first",
        "PATCH deployments/second",
        "PATCH statefulsets/queue",
    ]
    .map(|title| (title.to_owned(), 1));
    assert_eq!(others(&writes(&down)), once.clone().into());
    assert_eq!(writes(&down)["PATCH hibernations/project"], 1, "the finalizer");
    assert_eq!(writes(&down)["POST jobs"], 2, "the preflight and the truncation");

    proxy.forget();
    project.hibernation().set_state("Awake").await;
    project.until_awake().await;
    project.assert_as_before().await;
    let back = proxy.requests();
    assert_sound(&back);
    let mut expected = BTreeMap::from(once);
    // Its replicas belonged to a server-side apply.
    expected.insert("PATCH deployments/first".to_owned(), 2);
    // Its record stays until the values are back: a ConfigMap has no generation that would tell.
    expected.insert("PATCH configmaps/environment".to_owned(), 2);
    assert_eq!(others(&writes(&back)), expected);
    assert_eq!(writes(&back)["PATCH hibernations/project"], 1, "the finalizer");

    // Workloads are listed, however few are named; a ConfigMap is read until it is held, and so is a workload
    // of a server-side apply, whose managedFields the hold marks.
    for (requests, applied) in [(&down, true), (&back, false)] {
        let mut gets = gets(requests);
        gets.retain(|title| title != "GET jobs" && title != "GET configmaps/environment");
        assert_eq!(gets.remove("GET deployments/first"), applied);
        assert_eq!(gets, BTreeSet::from(["GET hibernations/project".to_owned()]));
    }
}

#[tokio::test]
async fn many_are_listed_in_pages_and_sixteen_are_written_at_a_time() {
    const MANY: usize = 520;
    let scene = Scene::create("many").await;
    stream::iter(0..MANY)
        .for_each_concurrent(16, async |number| scene.config_map(&format!("many-{number}")).await)
        .await;
    scene.proxy.forget();
    // Slow enough that the maximum of requests is in flight.
    scene.proxy.rule(|request| {
        let holds = request.method == Method::PATCH && request.resource() == "configmaps";
        if holds { Fate::Late(Duration::from_millis(100)) } else { Fate::Pass }
    });
    let spec = json!({
        "state": "Hibernated",
        "configMaps": [{"selector": {"matchLabels": {"app": "many"}}}],
    });
    let hibernation = Hibernation::create(&scene.namespace, "many", spec).await;
    for phase in ["Hibernated", "Awake"] {
        if phase == "Awake" {
            scene.proxy.forget();
            hibernation.set_state("Awake").await;
        }
        hibernation.until_phase(phase).await;
        let requests = scene.proxy.requests();
        assert_sound(&requests);
        let mut written = writes(&requests);
        written.retain(|title, _| title.starts_with("PATCH configmaps/"));
        assert_eq!(written.len(), MANY, "each is written");
        let each = if phase == "Awake" { 2 } else { 1 };
        assert!(written.values().all(|count| *count == each), "{each} times: {written:?}");
        assert_eq!(most_at_once(&requests), 16);
        assert_eq!(gets(&requests), BTreeSet::from(["GET hibernations/many".to_owned()]));

        let mut first = 0;
        let mut next = 0;
        // The watch of ConfigMaps, which has no selector, may still be listing.
        let lists = requests.iter().filter(|r| r.title() == "GET configmaps" && !r.is_watch());
        for list in lists.filter(|list| list.query.contains("labelSelector=app%3Dmany")) {
            assert!(list.query.contains("limit=500"), "{}", list.query);
            let is_next = list.query.contains("continue=");
            first += usize::from(!is_next);
            next += usize::from(is_next);
        }
        assert!(first > 0, "they are listed");
        assert_eq!(next, first, "{MANY} are two pages");
    }
}

/// Returns the largest number of concurrent hold writes.
fn most_at_once(requests: &[Request]) -> usize {
    let mut changes = Vec::new();
    for request in requests.iter().filter(|request| request.resource() == "configmaps") {
        if let (true, Some(answer)) = (request.writes(), &request.answer) {
            changes.extend([(request.arrived, true), (answer.at, false)]);
        }
    }
    changes.sort();
    let mut under_way = 0_usize;
    changes
        .into_iter()
        .map(|(_, begins)| {
            under_way = if begins { under_way + 1 } else { under_way - 1 };
            under_way
        })
        .max()
        .unwrap_or_default()
}

#[tokio::test]
async fn retry_after_is_obeyed_by_reads_holds_and_the_status() {
    let scene = Scene::create("busy").await;
    scene.config_map("environment").await;
    workload::create(&scene.namespace, &cron_job("nightly", "true")).await;
    let refused =
        ["GET statefulsets", "PATCH configmaps/environment", "PATCH hibernations/busy/status"];
    // Only the lists of a reconcile: a watch begins with a list of its own.
    let meant = |request: &Request| request.writes() || request.query.contains("labelSelector");
    let mut left = BTreeSet::from(refused);
    scene.proxy.rule(move |request| {
        if meant(request) && left.remove(request.title().as_str()) {
            Fate::Refused(StatusCode::TOO_MANY_REQUESTS, Some(3))
        } else {
            Fate::Pass
        }
    });
    let spec = json!({
        "state": "Hibernated",
        "workloads": [{"kind": "CronJob", "name": "nightly"}],
        "configMaps": [{"name": "environment"}],
    });
    let hibernation = Hibernation::create(&scene.namespace, "busy", spec).await;
    hibernation.until_phase("Hibernated").await;
    let requests = scene.proxy.requests();
    for title in refused {
        let same = requests.iter().filter(|request| request.title() == title && meant(request));
        let mut same = same.skip_while(|request| !request.met(429));
        let (first, second) = (same.next().expect(title), same.next().expect(title));
        let answered = first.answer.as_ref().expect("it was refused").at;
        let waited = second.arrived.duration_since(answered);
        assert!(waited >= Duration::from_secs(3), "{title} was tried again after {waited:?}");
    }
}

#[tokio::test]
async fn a_write_that_waits_for_a_busy_api_server_is_not_sent_once_the_lease_is_lost() {
    let (proxy, namespace) = (Proxy::start().await, Namespace::create("lost").await);
    let operator = Operator::start_behind_with(&namespace, &proxy, &["--lease-duration", "15s"]);
    let mut scene = Scene { operator, namespace, proxy };
    scene.config_map("environment").await;
    let mut busy = false;
    scene.proxy.rule(move |request| {
        if request.title() == "PATCH configmaps/environment" && !busy {
            busy = true;
            // Longer than a claim to the lease is valid.
            return Fate::Refused(StatusCode::TOO_MANY_REQUESTS, Some(20));
        }
        if busy && request.is_of_lease() { Fate::Lost } else { Fate::Pass }
    });
    let spec = json!({"state": "Hibernated", "configMaps": [{"name": "environment"}]});
    Hibernation::create(&scene.namespace, "lost", spec).await;
    assert!(!scene.operator.until_ended().await.success(), "it says that the lease was lost");
    let requests = scene.proxy.requests();
    assert_eq!(writes(&requests)["PATCH configmaps/environment"], 1);
    let config_map = scene.namespace.api::<ConfigMap>().get("environment").await;
    assert_eq!(config_map.expect("it is there").data.expect("data")["HIBERNATE_MODE"], "false");
}

#[tokio::test]
async fn who_ends_releases_the_lease_though_the_api_server_is_busy_at_first() {
    let mut scene = Scene::create("busy-end").await;
    let leases = scene.namespace.api::<Lease>();
    let holder = |lease: &Lease| lease.spec.as_ref().and_then(|spec| spec.holder_identity.clone());
    wait::until(&leases, "torpor", "held", |lease| holder(lease).is_some()).await;
    let mut busy = 3;
    scene.proxy.rule(move |request| {
        if !request.is_of_lease() || busy == 0 {
            return Fate::Pass;
        }
        busy -= 1;
        Fate::Refused(StatusCode::TOO_MANY_REQUESTS, None)
    });
    scene.operator.stop().await;
    let lease = leases.get("torpor").await.expect("it is there");
    assert_eq!(holder(&lease), None);
}

#[tokio::test]
async fn idle_asleep_and_awake_it_asks_for_nothing_in_a_minute() {
    let asleep = async {
        let proxy = Proxy::start().await;
        let namespace = Namespace::create("idle-asleep").await;
        let operator = Operator::start_behind(&namespace, &proxy);
        let project = Project::create(namespace).await;
        project.hibernate().await;
        project.until_down().await;
        (proxy, operator, project)
    };
    let awake = async {
        let scene = Scene::create("idle-awake").await;
        scene.config_map("environment").await;
        workload::create(&scene.namespace, &cron_job("nightly", "true")).await;
        // An edge that is long to come, and an hour that is none.
        let spec = json!({
            "schedule": {"rules": [{"hibernate": "0 0 1 1 *", "wake": "1 0 1 1 *"}]},
            "workloads": [{"kind": "CronJob", "all": true}],
            "configMaps": [{"name": "environment"}],
        });
        let hibernation = Hibernation::create(&scene.namespace, "idle", spec).await;
        hibernation.until_phase("Awake").await;
        scene
    };
    let (asleep, awake) = tokio::join!(asleep, awake);
    tokio::join!(until_quiet(&asleep.0), until_quiet(&awake.proxy));
    for proxy in [&asleep.0, &awake.proxy] {
        proxy.forget();
    }
    tokio::time::sleep(Duration::from_mins(1)).await;
    for (name, proxy) in [("asleep", &asleep.0), ("awake", &awake.proxy)] {
        let requests = proxy.requests();
        let of_lease = requests.iter().filter(|request| request.is_of_lease()).count();
        assert!(of_lease > 0, "{name}: the lease is kept, and seen here");
        let others = requests.iter().filter(|r| !r.is_of_lease() && !r.is_watch());
        let others: Vec<_> = others.map(Request::title).collect();
        assert_eq!(others, Vec::<String>::new(), "{name}");
    }
}

#[tokio::test]
async fn what_is_held_and_written_all_the_time_is_reconciled_once_a_second_at_most() {
    let scene = Scene::create("restless").await;
    scene.config_map("environment").await;
    let spec = json!({"state": "Hibernated", "configMaps": [{"name": "environment"}]});
    let hibernation = Hibernation::create(&scene.namespace, "restless", spec).await;
    hibernation.until_phase("Hibernated").await;
    until_quiet(&scene.proxy).await;
    let write = async |data: Value| {
        workload::merge::<ConfigMap>(&scene.namespace, "environment", json!({"data": data})).await
    };
    let began = Instant::now();
    scene.proxy.forget();
    for beat in 0..200 {
        write(json!({"HEARTBEAT": beat.to_string()})).await;
    }
    write(json!({"HIBERNATE_MODE": "false"})).await;
    wait::until::<ConfigMap>(&scene.namespace.api(), "environment", "held again", |config_map| {
        config_map.data.as_ref().is_some_and(|data| data["HIBERNATE_MODE"] == "true")
    })
    .await;
    let requests = scene.proxy.requests();
    let reconciles = requests.iter().filter(|r| r.title() == "GET hibernations/restless").count();
    // The first reconcile is immediate, and each revert causes another one.
    let most = began.elapsed().as_secs() + 3;
    assert!(reconciles as u64 <= most, "{reconciles} reconciles, {} requests", requests.len());
}

/// Waits until the operator sends only lease requests and watches.
async fn until_quiet(proxy: &Proxy) {
    let quiet = async {
        loop {
            proxy.forget();
            tokio::time::sleep(Duration::from_secs(3)).await;
            if proxy.requests().iter().all(|r| r.is_of_lease() || r.is_watch()) {
                return;
            }
        }
    };
    tokio::time::timeout(wait::TIMEOUT, quiet).await.expect("it comes to rest");
}
