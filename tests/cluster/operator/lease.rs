//! Contenders for a lease on a real API server. A claim may expire when the machine or the API
//! server stalls, so the tests never expect a certain contender to lead; they expect only outcomes
//! that no stall can change.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease as Object;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use kube::client::{Body, ClientBuilder};
use kube::runtime::wait::await_condition;
use serde_json::json;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use torpor::lease::{Claim, Epoch, Lease, LeaseParams, identity};
use tower::buffer::BufferLayer;
use tower::filter::FilterLayer;

/// The duration of a claim that expires within a test.
const SHORT: Duration = Duration::from_secs(9);
/// The duration of a claim that does not expire within a test.
const LONG: Duration = Duration::from_hours(1);
/// The renewal interval, and the timeout of a call.
const RENEW: Duration = Duration::from_secs(3);
/// How long anything may take before it is missing.
const PATIENCE: Duration = Duration::from_mins(10);

struct Contender {
    claim: Claim,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
    identity: String,
    /// Whether it has observed another leader and waits for a change.
    follows: watch::Receiver<bool>,
}

/// Starts a contender with its own client.
async fn contend(name: &str, duration: Duration) -> Contender {
    let identity = identity("contender");
    let params = LeaseParams {
        namespace: "default".into(),
        name: name.into(),
        identity: identity.clone(),
        duration,
        renew_every: RENEW,
        release: None,
    };
    let (seen, follows) = watch::channel(false);
    let notice_watch = move |request: http::Request<Body>| {
        if request.uri().query().is_some_and(|query| query.contains("watch=")) {
            seen.send_replace(true);
        }
        Ok::<_, tower::BoxError>(request)
    };
    let client = ClientBuilder::try_from(kube::Config::infer().await.unwrap())
        .unwrap()
        .with_layer(&BufferLayer::new(16))
        .with_layer(&FilterLayer::new(notice_watch))
        .build();
    let (lease, claim) = Lease::new(client, params);
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(lease.run(async { stopped.await.unwrap_or_default() }));
    Contender { claim, stop: Some(stop), task, identity, follows }
}

impl Contender {
    async fn leads(&self) -> Epoch {
        timeout(PATIENCE, self.claim.acquired()).await.expect("it never leads").unwrap()
    }

    async fn lost(&self) {
        timeout(PATIENCE, self.claim.lost()).await.expect("it leads for ever");
    }

    async fn follows(&mut self) {
        let follows = self.follows.wait_for(|follows| *follows);
        drop(timeout(PATIENCE, follows).await.expect("it never follows").unwrap());
    }
}

/// Whether both lead at the same time: one leads before and after the other is asked.
fn both_lead(one: &Contender, other: &Contender) -> bool {
    let before = one.claim.check();
    let also = other.claim.check().is_ok();
    also && before.is_ok() && before == one.claim.check()
}

/// Returns the name of a lease that is unused.
async fn cluster(name: &str) -> (Api<Object>, String) {
    // A KUBECONFIG alone may be that of a person.
    assert!(std::env::var_os("TORPOR_CLUSTER").is_some(), "this needs a cluster: run `make test`");
    let api: Api<Object> = Api::namespaced(kube::Client::try_default().await.unwrap(), "default");
    let name = format!("test-{name}");
    let _ = api.delete(&name, &DeleteParams::default()).await;
    (api, name)
}

/// Patches the lease, whoever holds it.
async fn change(api: &Api<Object>, name: &str, change: serde_json::Value) -> Object {
    api.patch(name, &PatchParams::default(), &Patch::Merge(change)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_one_leads_and_the_other_follows_when_it_is_killed() {
    let (_, name) = cluster("killed").await;
    let contenders = [contend(&name, SHORT).await, contend(&name, SHORT).await];
    // For longer than a claim is valid: it is renewed, and the other waits.
    let (mut term, begun) = (None, Instant::now());
    let (leader, epoch) = loop {
        assert!(!both_lead(&contenders[0], &contenders[1]), "both lead");
        let leads = (0..2).find_map(|at| contenders[at].claim.check().ok().map(|of| (at, of)));
        term = match (leads, term) {
            (Some(leads), Some((since, known))) if leads == known => Some((since, known)),
            (leads, _) => leads.map(|leads| (Instant::now(), leads)),
        };
        match term {
            Some((since, leads)) if since.elapsed() > SHORT => break leads,
            _ => assert!(begun.elapsed() < PATIENCE, "nobody leads for longer than a claim"),
        }
        sleep(Duration::from_millis(5)).await;
    };
    // Killed: the lease is neither renewed nor released.
    let (killed, other) = (&contenders[leader], &contenders[1 - leader]);
    killed.task.abort();
    let killed_at = Instant::now();
    let next = loop {
        assert!(!both_lead(killed, other), "both lead");
        if let Ok(next) = other.claim.check() {
            break next;
        }
        assert!(killed_at.elapsed() < PATIENCE, "nobody leads");
        sleep(Duration::from_millis(5)).await;
    };
    assert!(next > epoch);
    other.task.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_told_to_end_hands_over_at_once() {
    let (api, name) = cluster("vacated").await;
    let mut first = contend(&name, LONG).await;
    let epoch = first.leads().await;
    let mut second = contend(&name, LONG).await;
    second.follows().await;
    first.stop.take().unwrap().send(()).unwrap();
    first.lost().await;
    assert!(first.claim.check().is_err());
    let next = second.leads().await;
    assert!(next > epoch);
    first.task.await.unwrap();
    let lease = api.get(&name).await.unwrap().spec.unwrap();
    assert_eq!(lease.holder_identity, Some(second.identity));
    assert_eq!(lease.lease_transitions, Some(next.0));
    second.task.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whose_lease_is_taken_or_gone_stops_at_once() {
    let (api, name) = cluster("taken").await;
    let mut contender = contend(&name, LONG).await;
    let epoch = contender.leads().await;
    // Changed but not taken: the leader renews it and goes on.
    let touched = change(&api, &name, json!({"metadata": {"labels": {"touched": "yes"}}})).await;
    let renewed_at = |lease: &Object| lease.spec.as_ref().and_then(|spec| spec.renew_time.clone());
    let before = renewed_at(&touched);
    let renewed = await_condition(api.clone(), &name, |lease: Option<&Object>| {
        lease.is_some_and(|lease| renewed_at(lease) != before)
    });
    timeout(PATIENCE, renewed).await.expect("it is never renewed again").unwrap();
    assert_eq!(contender.claim.check(), Ok(epoch));
    // Taken by somebody else.
    let stolen = json!({"holderIdentity": "thief", "leaseTransitions": epoch.0 + 1});
    change(&api, &name, json!({"spec": stolen})).await;
    contender.lost().await;
    // The lease is the thief's until the thief releases it.
    contender.follows().await;
    change(&api, &name, json!({"spec": {"holderIdentity": null}})).await;
    let back = contender.leads().await;
    assert!(back.0 >= epoch.0 + 2);
    // Deleted: the epoch still grows. A new one begins with the seconds of the clock, and those that were
    // given so far came faster than seconds do.
    let since_2025 = || Timestamp::now().as_second() - 1_735_689_600;
    while since_2025() <= back.0.into() {
        sleep(Duration::from_millis(100)).await;
    }
    api.delete(&name, &DeleteParams::default()).await.unwrap();
    contender.lost().await;
    assert!(contender.leads().await > back);
    contender.task.abort();
}
