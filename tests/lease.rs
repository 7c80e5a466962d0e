//! Contenders for a lease on a real API server (`make test` starts one).

#![allow(clippy::unwrap_used, clippy::panic)]

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease as Object;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use torpor::operator::lease::{Claim, Epoch, Lease, LeaseParams, identity};

const DURATION: Duration = Duration::from_secs(3);
const RENEW: Duration = Duration::from_millis(500);

struct Contender {
    claim: Claim,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
    identity: String,
}

fn contend(client: &kube::Client, name: &str) -> Contender {
    let identity = identity("contender");
    let params = LeaseParams {
        namespace: "default".into(),
        name: name.into(),
        identity: identity.clone(),
        duration: DURATION,
        renew_every: RENEW,
    };
    let (lease, claim) = Lease::new(client.clone(), params);
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(lease.run(async { stopped.await.unwrap_or_default() }));
    Contender { claim, stop: Some(stop), task, identity }
}

/// A client and a Lease's name that no other test uses.
async fn cluster(name: &str) -> (kube::Client, Api<Object>, String) {
    // A KUBECONFIG alone may be somebody's own.
    assert!(std::env::var_os("TORPOR_CLUSTER").is_some(), "this needs a cluster: run `make test`");
    let client = kube::Client::try_default().await.unwrap();
    let api: Api<Object> = Api::namespaced(client.clone(), "default");
    let name = format!("test-{name}");
    let _ = api.delete(&name, &DeleteParams::default()).await;
    (client, api, name)
}

async fn leads(contender: &Contender) -> Epoch {
    timeout(DURATION * 3, contender.claim.acquired()).await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_one_leads_and_the_other_follows_when_it_is_killed() {
    let (client, _, name) = cluster("killed").await;
    let first = contend(&client, &name);
    let epoch = leads(&first).await;
    let second = contend(&client, &name);
    // For longer than a claim: it is renewed, and the other waits.
    let watched = Instant::now();
    while watched.elapsed() < DURATION * 2 {
        assert_eq!(first.claim.check(), Ok(epoch));
        assert!(second.claim.check().is_err());
        sleep(Duration::from_millis(20)).await;
    }
    // Killed: nothing is renewed and nothing is let go.
    first.task.abort();
    let killed = Instant::now();
    let next = loop {
        let next = second.claim.check();
        assert!(first.claim.check().is_err() || next.is_err(), "both lead");
        if let Ok(next) = next {
            break next;
        }
        assert!(killed.elapsed() < DURATION * 3, "nobody leads");
        sleep(Duration::from_millis(5)).await;
    };
    assert!(next > epoch);
    assert!(killed.elapsed() + RENEW * 2 > DURATION, "{:?}", killed.elapsed());
    second.task.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_told_to_end_hands_over_at_once() {
    let (client, api, name) = cluster("vacated").await;
    let mut first = contend(&client, &name);
    let epoch = leads(&first).await;
    let second = contend(&client, &name);
    sleep(RENEW * 2).await;
    first.stop.take().unwrap().send(()).unwrap();
    let told = Instant::now();
    timeout(DURATION, first.claim.lost()).await.unwrap();
    assert!(first.claim.check().is_err());
    let next = leads(&second).await;
    assert!(told.elapsed() < DURATION / 2, "{:?}", told.elapsed());
    assert!(next > epoch);
    first.task.await.unwrap();
    let lease = api.get(&name).await.unwrap().spec.unwrap();
    assert_eq!(lease.holder_identity, Some(second.identity));
    assert_eq!(lease.lease_transitions, Some(next.0));
    second.task.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whose_lease_is_taken_or_gone_stops_at_once() {
    let (client, api, name) = cluster("taken").await;
    let contender = contend(&client, &name);
    let epoch = leads(&contender).await;
    // Touched without being taken: it goes on.
    let label = serde_json::json!({"metadata": {"labels": {"touched": "yes"}}});
    api.patch(&name, &PatchParams::default(), &Patch::Merge(label)).await.unwrap();
    sleep(RENEW * 3).await;
    assert_eq!(contender.claim.check(), Ok(epoch));
    // Taken by somebody else.
    let stolen =
        serde_json::json!({"spec": {"holderIdentity": "thief", "leaseTransitions": epoch.0 + 1}});
    api.patch(&name, &PatchParams::default(), &Patch::Merge(stolen)).await.unwrap();
    timeout(RENEW * 3, contender.claim.lost()).await.unwrap();
    // The thief renews nothing, so it is taken back.
    let back = leads(&contender).await;
    assert!(back.0 >= epoch.0 + 2);
    // Deleted: the epoch still grows.
    sleep(Duration::from_secs(3)).await;
    api.delete(&name, &DeleteParams::default()).await.unwrap();
    timeout(RENEW * 3, contender.claim.lost()).await.unwrap();
    assert!(leads(&contender).await > back);
    contender.task.abort();
}
