//! What a hold costs: 1,000 Deployments held beside as many raw writes, the time of a Hibernation beside others whose
//! market does not answer, the operator's memory with 10,000 Deployments and 100 Hibernations, and the time from its
//! start to the first reconcile.
//!
//! It wants a cluster of its own, which it leaves without a controller manager: nothing but the
//! operator and this program then writes. `make bench-hold` starts one, and runs this: `hack/bench-hold held markets memory`
//! runs these parts, and nothing at all means all.

// Something that cannot go on says why and ends.
#![allow(clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::pin::pin;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Config, ResourceExt};
use serde_json::{Value, json};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinHandle;
use torpor::api::Hibernation;

/// Writes under way at once, as the operator has them.
const IN_FLIGHT: usize = 16;
/// Deployments that are held.
const HELD: usize = 1000;
/// Rounds, of which the median counts.
const ROUNDS: usize = 3;
/// Namespaces with a Hibernation and a hundredth of all Deployments each.
const NAMESPACES: usize = 100;
const DEPLOYMENTS: usize = 10_000;
/// Hibernations that wait for a market that does not answer.
const WAITING: usize = 64;
/// Hibernations beside them, one after the other: for more than a minute, after which the first observations time out.
const BESIDE: usize = 400;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let name = std::env::var("TORPOR_CLUSTER").expect("TORPOR_CLUSTER names a cluster of its own");
    let stop = ["signal", "STOP", "kube-controller-manager", "--name", &name];
    run(Command::new("hack/cluster/cluster").args(stop));
    run(Command::new("kubectl").args(["apply", "--server-side", "--filename", "crds/"]));
    // The operator asks for a token of its service account before it asks a market.
    run(Command::new("kubectl").args([
        "create",
        "serviceaccount",
        "torpor",
        "--namespace",
        "default",
    ]));
    let client = Client::try_default().await.expect("KUBECONFIG leads to a cluster");
    // Cargo adds --bench.
    let parts: Vec<String> = std::env::args().skip(1).filter(|part| part != "--bench").collect();
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|wanted| wanted == part);
    if wanted("held") {
        Box::pin(held_beside_raw_writes(&client)).await;
    }
    if wanted("markets") {
        Box::pin(beside_dead_markets(&client)).await;
    }
    if wanted("memory") {
        Box::pin(memory_and_start(&client)).await;
    }
}

// 1,000 held -----------------------------------------------------------------------------------------

async fn held_beside_raw_writes(client: &Client) {
    let namespace = "held";
    make_namespace(client, namespace).await;
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let hibernations: Api<Hibernation> = Api::namespaced(client.clone(), namespace);
    make_deployments(client, namespace, HELD).await;
    let operator = Operator::start(&["--watch-namespace", namespace]);
    let mut rounds: [Vec<Duration>; 3] = Default::default();
    for _ in 0..ROUNDS {
        rounds[0].push(Box::pin(until_replicas(&deployments, 0, raw(&deployments, 0))).await);
        raw(&deployments, 1).await;

        let hold = create(&hibernations, "held", "Hibernated");
        rounds[1].push(Box::pin(until_replicas(&deployments, 0, hold)).await);
        let wake = merge(&hibernations, "held", json!({"spec": {"state": "Awake"}}));
        rounds[2].push(Box::pin(until_replicas(&deployments, 1, wake)).await);
        // It waits for pods, of which nobody makes any.
        hibernations.delete("held", &DeleteParams::default()).await.expect("it is deleted");
        merge(&hibernations, "held", json!({"metadata": {"finalizers": null}})).await;
    }
    let memory = operator.memory();
    drop(operator);
    let [raw, held, woken] = rounds.map(median);
    println!("{HELD} Deployments, median of {ROUNDS} rounds, {IN_FLIGHT} writes in flight:");
    println!("  paged LIST and raw PATCHes    {:6.2} s", raw.as_secs_f64());
    for (what, took) in
        [("held, from the object's creation", held), ("let go, from its change", woken)]
    {
        let ratio = took.as_secs_f64() / raw.as_secs_f64();
        println!("  {what:<29} {:6.2} s, {ratio:.2} times", took.as_secs_f64());
    }
    println!("  memory, resident (peak)       {memory}");
}

/// Lists all Deployments and patches each, with as much to write as a hold has.
async fn raw(deployments: &Api<Deployment>, replicas: i32) {
    let mut names = Vec::new();
    let mut page = ListParams::default().limit(500);
    loop {
        let list = deployments.list(&page).await.expect("a page is listed");
        names.extend(list.items.iter().map(|d| (d.name_any(), d.resource_version())));
        match list.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => break,
        }
    }
    stream::iter(names)
        .for_each_concurrent(IN_FLIGHT, async |(name, version)| {
            let patch = json!({
                "metadata": {
                    "resourceVersion": version,
                    "annotations": {"raw": "x".repeat(300)},
                    "labels": {"raw": replicas.to_string()},
                },
                "spec": {"replicas": replicas},
            });
            merge(deployments, &name, patch).await;
        })
        .await;
}

/// How long it takes from `cause` until every Deployment asks for so many replicas.
async fn until_replicas(
    deployments: &Api<Deployment>,
    replicas: i32,
    cause: impl Future<Output = ()>,
) -> Duration {
    let config = watcher::Config::default().page_size(500);
    let mut events = pin!(watcher(deployments.clone(), config));
    let (mut missing, mut cause, mut began) = (BTreeSet::new(), Some(cause), None);
    while let Some(event) = events.next().await {
        match event.expect("the watch goes on") {
            watcher::Event::InitApply(deployment) | watcher::Event::Apply(deployment) => {
                let asked = deployment.spec.as_ref().and_then(|spec| spec.replicas);
                if asked == Some(replicas) {
                    missing.remove(&deployment.name_any());
                } else {
                    missing.insert(deployment.name_any());
                }
            }
            watcher::Event::InitDone => {
                if let Some(cause) = cause.take() {
                    began = Some(Instant::now());
                    cause.await;
                }
            }
            watcher::Event::Init | watcher::Event::Delete(_) => {}
        }
        if let Some(began) = began.filter(|_| missing.is_empty()) {
            return began.elapsed();
        }
    }
    panic!("the watch ended");
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

// Beside dead markets --------------------------------------------------------------------------------

async fn beside_dead_markets(client: &Client) {
    let (plain, dead) = ("plain", "dead");
    for namespace in [plain, dead] {
        make_namespace(client, namespace).await;
    }
    let more = ["--watch-namespace", plain, "--watch-namespace", dead];
    let operator = Operator::start(&more);
    let alone = one_after_the_other(client, plain, "alone").await;
    let (market, connections) = dead_market(client, dead).await;
    let hibernations: Api<Hibernation> = Api::namespaced(client.clone(), dead);
    for number in 0..WAITING {
        let spec = json!({
            "state": "Hibernated",
            "workloads": [{"kind": "Deployment", "name": "sells"}],
            "deals": {"source": {"service": {"name": "market", "port": 80}}},
        });
        create_with(&hibernations, &format!("waits-{number}"), spec).await;
    }
    // All have got to the market, or wait for a place there.
    until_observed(&hibernations, WAITING).await;
    let asked = async {
        while connections.load(Ordering::Relaxed) < 4 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), asked)
        .await
        .expect("the operator asks the market");
    let beside = one_after_the_other(client, plain, "beside").await;
    market.abort();
    drop(operator);
    println!("{BESIDE} Hibernations one after the other, from the creation to Hibernated:");
    for (what, times) in [("alone", &alone), ("beside 64 dead markets", &beside)] {
        let [median, late] = [50, 99].map(|percent| percentile(times, percent).as_secs_f64());
        println!("  {what:<29} {median:6.3} s median, {late:.3} s p99");
    }
    let ratio = percentile(&beside, 99).as_secs_f64() / percentile(&alone, 99).as_secs_f64();
    println!("  p99 beside dead markets       {ratio:.2} times");
}

/// Creates Hibernations of a ConfigMap each, and deletes each before the next. Returns how long each took until it was
/// hibernated.
async fn one_after_the_other(client: &Client, namespace: &str, prefix: &str) -> Vec<Duration> {
    let config_maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let hibernations: Api<Hibernation> = Api::namespaced(client.clone(), namespace);
    let mut times = Vec::new();
    for number in 0..BESIDE {
        let name = format!("{prefix}-{number}");
        let config_map =
            from(json!({"metadata": {"name": name}, "data": {"HIBERNATE_MODE": "false"}}));
        config_maps.create(&PostParams::default(), &config_map).await.expect("it is created");
        let spec = json!({"state": "Hibernated", "configMaps": [{"name": name}]});
        let only = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let mut events = pin!(watcher(hibernations.clone(), only));
        let mut began = None;
        loop {
            match events.next().await.expect("the watch goes on").expect("it is heard") {
                watcher::Event::InitDone => {
                    began = Some(Instant::now());
                    create_with(&hibernations, &name, spec.clone()).await;
                }
                watcher::Event::Apply(hibernation) => {
                    let status = hibernation.status.as_ref();
                    if status.is_some_and(|status| status.conditions.iter().any(is_hibernated))
                        && let Some(began) = began.take()
                    {
                        times.push(began.elapsed());
                        let params = DeleteParams::default();
                        hibernations.delete(&name, &params).await.expect("it is deleted");
                    }
                }
                watcher::Event::Delete(_) => break,
                _ => {}
            }
        }
    }
    times
}

/// Starts a market that accepts connections and never answers, with a Service that leads to it. Returns its task, and
/// the number of connections.
async fn dead_market(client: &Client, namespace: &str) -> (JoinHandle<()>, Arc<AtomicUsize>) {
    let listener = TcpListener::bind(("0.0.0.0", 0)).await.expect("a port is free");
    let port = listener.local_addr().expect("an address").port();
    let config = Config::infer().await.expect("KUBECONFIG leads to a cluster");
    let socket = UdpSocket::bind("0.0.0.0:0").await.expect("a socket");
    // Nothing is sent: the way to the API server tells the address at which the cluster reaches this machine.
    let server = config.cluster_url;
    let address = (server.host().expect("a host"), server.port_u16().expect("a port"));
    socket.connect(address).await.expect("there is a way there");
    let own = socket.local_addr().expect("an address").ip().to_string();

    let service = from(json!({
        "metadata": {"name": "market"}, "spec": {"ports": [{"name": "http", "port": 80}]},
    }));
    let services: Api<Service> = Api::namespaced(client.clone(), namespace);
    services.create(&PostParams::default(), &service).await.expect("it is created");
    let endpoints = from(json!({
        "metadata": {"name": "market", "labels": {"kubernetes.io/service-name": "market"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [own]}],
        "ports": [{"name": "http", "port": port}],
    }));
    let slices: Api<EndpointSlice> = Api::namespaced(client.clone(), namespace);
    slices.create(&PostParams::default(), &endpoints).await.expect("it is created");

    let connections = Arc::new(AtomicUsize::new(0));
    let count = connections.clone();
    let task = tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((connection, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::Relaxed);
            open.push(connection);
        }
    });
    (task, connections)
}

fn percentile(times: &[Duration], percent: usize) -> Duration {
    let mut times = times.to_vec();
    times.sort();
    times[(times.len() * percent).div_ceil(100) - 1]
}

// Memory, and the start ------------------------------------------------------------------------------

async fn memory_and_start(client: &Client) {
    let all: Vec<String> = (0..NAMESPACES).map(|number| format!("memory-{number}")).collect();
    for namespace in &all {
        make_namespace(client, namespace).await;
        make_deployments(client, namespace, DEPLOYMENTS / NAMESPACES).await;
        let hibernations: Api<Hibernation> = Api::namespaced(client.clone(), namespace);
        create(&hibernations, "hibernation", "Awake").await;
    }
    let began = Instant::now();
    let operator = Operator::start(&[]);
    let hibernations: Api<Hibernation> = Api::all(client.clone());
    until_observed(&hibernations, 1).await;
    let first = began.elapsed();
    until_observed(&hibernations, NAMESPACES).await;
    println!("start, with {DEPLOYMENTS} Deployments and {NAMESPACES} Hibernations:");
    println!("  to the first reconcile   {:6.2} s", first.as_secs_f64());
    println!("  to the last              {:6.2} s", began.elapsed().as_secs_f64());
    println!("memory, resident (peak so far):");
    println!("  all awake                {}", operator.memory());
    stream::iter(&all)
        .for_each_concurrent(IN_FLIGHT, async |namespace| {
            let hibernations: Api<Hibernation> = Api::namespaced(client.clone(), namespace);
            merge(&hibernations, "hibernation", json!({"spec": {"state": "Hibernated"}})).await;
        })
        .await;
    until(&hibernations, NAMESPACES, |hibernation| {
        let status = hibernation.status.as_ref();
        status.is_some_and(|status| status.conditions.iter().any(is_hibernated))
    })
    .await;
    println!("  all asleep and held      {}", operator.memory());
    tokio::time::sleep(Duration::from_secs(30)).await;
    println!("  half a minute later      {}", operator.memory());
}

fn is_hibernated(condition: &k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition) -> bool {
    condition.type_ == "Hibernated" && condition.status == "True"
}

/// Waits until so many Hibernations have been reconciled.
async fn until_observed(hibernations: &Api<Hibernation>, number: usize) {
    until(hibernations, number, |hibernation| {
        hibernation.status.as_ref().is_some_and(|status| status.observed_generation.is_some())
    })
    .await;
}

/// Waits until `holds` is true of so many Hibernations.
async fn until(api: &Api<Hibernation>, number: usize, holds: impl Fn(&Hibernation) -> bool) {
    let mut seen = BTreeSet::new();
    let objects = watcher(api.clone(), watcher::Config::default()).applied_objects();
    let mut objects = pin!(objects);
    while seen.len() < number {
        let object = objects.next().await.expect("the watch goes on").expect("it is heard");
        if holds(&object) {
            seen.insert(object.uid());
        }
    }
}

// The operator and the objects -----------------------------------------------------------------------

struct Operator(Child);

impl Operator {
    fn start(arguments: &[&str]) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_torpor"))
            .args(["run", "--image", "none.invalid/torpor", "--admin-address", "127.0.0.1:0"])
            .args(["--lease-namespace", "default", "--log-level", "warn"])
            // Without it no market is asked.
            .args(["--service-account", "default/torpor"])
            .args(arguments)
            // As the Deployment of the chart has them.
            .envs([("MALLOC_ARENA_MAX", "1"), ("MALLOC_MMAP_THRESHOLD_", "131072")])
            .stdout(Stdio::null())
            .spawn()
            .expect("the operator starts");
        Self(child)
    }

    /// What the kernel says of its memory.
    fn memory(&self) -> String {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id()));
        let status = status.expect("it runs");
        let mebibytes = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key)).expect("a line");
            let kibibytes =
                line.split_whitespace().next().and_then(|number| number.parse::<f64>().ok());
            kibibytes.expect("a number") / 1024.0
        };
        format!("{:6.1} MiB ({:.1})", mebibytes("VmRSS:"), mebibytes("VmHWM:"))
    }
}

impl Drop for Operator {
    /// In order, so that the next one has the lease at once.
    fn drop(&mut self) {
        run(Command::new("kill").arg(self.0.id().to_string()));
        self.0.wait().expect("it ends");
    }
}

async fn make_namespace(client: &Client, name: &str) {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let namespace = from(json!({"metadata": {"name": name}}));
    namespaces.create(&PostParams::default(), &namespace).await.expect("a namespace is made");
}

/// Makes Deployments that say that their controller has seen whatever comes.
async fn make_deployments(client: &Client, namespace: &str, number: usize) {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    stream::iter(0..number)
        .for_each_concurrent(IN_FLIGHT, async |number| {
            let name = format!("worker-{number}");
            let labels = json!({"app": name, "team": "bench", "tier": "worker"});
            let container = json!({
                "name": "main",
                "image": "none.invalid/worker:1.2.3",
                "env": [{"name": "MODE", "value": "worker"}],
                "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
            });
            let deployment = from(json!({
                "metadata": {"name": name, "labels": labels},
                "spec": {
                    "replicas": 1,
                    "selector": {"matchLabels": {"app": name}},
                    "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
                },
            }));
            deployments.create(&PostParams::default(), &deployment).await.expect("it is created");
            let seen = Patch::Merge(json!({"status": {"observedGeneration": 1_000_000}}));
            let by = PatchParams::default();
            deployments.patch_status(&name, &by, &seen).await.expect("its status is written");
        })
        .await;
}

async fn create(hibernations: &Api<Hibernation>, name: &str, state: &str) {
    let spec = json!({"state": state, "workloads": [{"kind": "Deployment", "all": true}]});
    create_with(hibernations, name, spec).await;
}

async fn create_with(hibernations: &Api<Hibernation>, name: &str, spec: Value) {
    let hibernation = from(json!({
        "apiVersion": "torpor.dev/v1alpha1", "kind": "Hibernation", "metadata": {"name": name}, "spec": spec,
    }));
    hibernations.create(&PostParams::default(), &hibernation).await.expect("it is created");
}

async fn merge<K>(api: &Api<K>, name: &str, patch: Value)
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let (by, patch) = (PatchParams::default(), Patch::Merge(patch));
    // The API server gives up where controllers write the same object again and again.
    while let Err(error) = api.patch(name, &by, &patch).await {
        let is_conflict = matches!(&error, kube::Error::Api(status) if status.code == 409);
        assert!(is_conflict, "{name} is not changed: {error}");
    }
}

fn from<K: serde::de::DeserializeOwned>(manifest: Value) -> K {
    serde_json::from_value(manifest).expect("a manifest")
}

fn run(command: &mut Command) {
    let status =
        command.current_dir(env!("CARGO_MANIFEST_DIR")).status().expect("the command runs");
    assert!(status.success(), "{command:?} ended with {status}");
}
