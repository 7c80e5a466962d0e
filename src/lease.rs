//! Leader election with a `coordination.k8s.io/v1` Lease, after the design of linkerd's kubert.
//!
//! One process leads at a time. Each write of the Lease carries the resourceVersion that was read, so
//! one of two contenders meets a conflict. The claim of the leader is valid for the duration of the
//! Lease, counted from the moment when the leader *sent* the renewal. A contender waits for the same
//! duration, counted from the moment when it *observed* the last change. Each process uses its own
//! clock: clocks may differ as long as they run at the same rate, and a claim ends before the next one
//! begins. The client checks the [`Claim`] before each write.
//!
//! `spec.leaseTransitions` is the **epoch**. It grows with each term, also when the same process leads
//! again, and is at least the number of seconds since 2025. A Lease that was deleted or restored from a
//! backup therefore never repeats an epoch.
//!
//! This is written by hand on purpose: kube-leader-election and kube-lease-manager renew without the
//! resourceVersion, so two processes could lead, and kubert depends on an old kube.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease as Object, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{Api, ObjectMeta, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use crate::apiserver::request::{self, call_within, patch_params, post_params};

pub use self::published::LeaseName;
pub(crate) use self::published::epoch;

mod published;

/// The field manager of the Lease: a contender is not [`request::MANAGER`], whose writes need the Lease.
const MANAGER: &str = "torpor-lease";
/// The annotation of the Lease with the release of its holder.
pub const RELEASE: &str = "torpor.dev/release";
/// 2025-01-01T00:00:00Z. The epoch is a 32-bit integer, which lasts from here until 2093.
const EPOCH_ZERO: i64 = 1_735_689_600;

/// A number that grows with each term of a leader.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Epoch(pub i32);

/// Returns the epoch in which this process leads now; none while it does not lead.
pub(crate) type CurrentEpoch = Arc<dyn Fn() -> Option<Epoch> + Send + Sync>;

/// This process does not lead.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("this process does not hold the lease")]
pub struct NotLeader;

/// The parameters of leader election.
#[derive(Clone, Debug)]
pub struct LeaseParams {
    /// The namespace of the Lease: the namespace of the operator.
    pub namespace: String,
    /// The name of the Lease.
    pub name: String,
    /// The `holderIdentity` of this process. It must be unique, see [`identity`].
    pub identity: String,
    /// The duration of a claim, in whole seconds.
    pub duration: Duration,
    /// The interval of renewals; at most a third of the duration.
    pub renew_every: Duration,
    /// The release of this process, such as `torpor-system/torpor`. The holder writes it into the annotation
    /// [`RELEASE`] of the Lease.
    pub release: Option<String>,
}

impl LeaseParams {
    /// Returns the part of a claim that the leader does not use: it covers clocks that run at slightly
    /// different rates, and the time between the check and the API server.
    fn margin(&self) -> Duration {
        self.duration / 10
    }

    /// Returns the timeout of a request. It is shorter than [`request::TIMEOUT`] on purpose: a renewal that
    /// hangs must fail early enough for another try before the claim ends.
    fn call_timeout(&self) -> Duration {
        self.renew_every.min(self.duration / 3)
    }

    fn seconds(&self) -> i32 {
        i32::try_from(self.duration.as_millis().div_ceil(1000)).unwrap_or(i32::MAX)
    }
}

/// Returns a unique identity that begins with the name of the pod or the host.
pub fn identity(name: &str) -> String {
    use std::hash::{BuildHasher, RandomState};
    let random = RandomState::new().hash_one(SystemTime::now());
    format!("{name}_{}_{random:016x}", std::process::id())
}

/// A term of leadership.
#[derive(Clone, Copy, Debug)]
struct Term {
    epoch: Epoch,
    /// The time at which the claim or its renewal was sent.
    sent: Instant,
    /// The same time on the wall clock: a machine that is suspended stops only the monotonic clock.
    sent_wall: SystemTime,
    /// The duration after `sent` in which this process may write.
    valid: Duration,
}

impl Term {
    fn is_valid(&self) -> bool {
        let wall = self.sent_wall.elapsed().unwrap_or_default();
        self.sent.elapsed().max(wall) < self.valid
    }

    fn end(&self) -> Instant {
        self.sent + self.valid
    }
}

/// The claim of this process to lead. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Claim(watch::Receiver<Option<Term>>);

impl Claim {
    /// Returns the epoch in which this process leads now. Fails while it does not lead.
    pub fn check(&self) -> Result<Epoch, NotLeader> {
        let term = *self.0.borrow();
        term.filter(Term::is_valid).map(|term| term.epoch).ok_or(NotLeader)
    }

    /// Waits until this process leads. Fails when [`Lease::run`] has ended.
    pub async fn acquired(&self) -> Result<Epoch, NotLeader> {
        let mut terms = self.0.clone();
        let term = terms.wait_for(|term| term.is_some_and(|term| term.is_valid())).await;
        term.ok().and_then(|term| *term).map(|term| term.epoch).ok_or(NotLeader)
    }

    /// Waits until the current term ends.
    pub async fn lost(&self) {
        let mut terms = self.0.clone();
        let Ok(epoch) = self.check() else { return };
        loop {
            let term = *terms.borrow_and_update();
            let Some(term) = term.filter(|term| term.epoch == epoch && term.is_valid()) else {
                return;
            };
            tokio::select! {
                () = sleep_until(term.end()) => {}
                changed = terms.changed() => if changed.is_err() {
                    // The term is not renewed any more.
                    sleep_until(term.end()).await;
                    return;
                }
            }
        }
    }
}

/// The last change of another process's Lease that a contender observed.
#[derive(Clone, Debug)]
struct Observed {
    version: String,
    since: Instant,
}

/// The next action of a contender.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Decision {
    /// Claim the Lease, in that epoch.
    Take(Epoch),
    /// Read the Lease again at that time.
    Wait(Instant),
}

/// Returns the next action of a contender. A Lease is free if it has no holder, if this process is the
/// holder (by a request whose answer was lost), or if it has not changed for its duration by the clock
/// of this process.
fn decide(
    lease: &Object,
    params: &LeaseParams,
    observed: &mut Option<Observed>,
    (now, wall): (Instant, Timestamp),
) -> Decision {
    let empty = LeaseSpec::default();
    let spec = lease.spec.as_ref().unwrap_or(&empty);
    let next = next_epoch(spec, wall);
    let holder = spec.holder_identity.as_deref().unwrap_or_default();
    if holder.is_empty() || holder == params.identity {
        return Decision::Take(next);
    }
    let version = lease.metadata.resource_version.clone().unwrap_or_default();
    let since = match observed {
        Some(observed) if observed.version == version => observed.since,
        _ => observed.insert(Observed { version, since: now }).since,
    };
    let theirs = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    let free = since + theirs.map_or(params.duration, Duration::from_secs).max(params.duration);
    if free <= now { Decision::Take(next) } else { Decision::Wait(free) }
}

/// Returns the epoch of the next term.
fn next_epoch(spec: &LeaseSpec, wall: Timestamp) -> Epoch {
    let since = wall.as_second().saturating_sub(EPOCH_ZERO);
    let since = i32::try_from(since.max(1)).unwrap_or(i32::MAX);
    Epoch(spec.lease_transitions.unwrap_or(0).saturating_add(1).max(since))
}

/// The holder of a Lease that belongs to another release than the contender.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Foreign {
    /// The `holderIdentity`.
    pub holder: String,
    /// The release of the holder.
    pub release: String,
}

/// Returns the holder if it belongs to another release. A holder that says none is an earlier version, which a
/// rolling upgrade replaces.
fn foreign(lease: &Object, params: &LeaseParams) -> Option<Foreign> {
    let holder = lease.spec.as_ref()?.holder_identity.clone()?;
    let release = lease.metadata.annotations.as_ref()?.get(RELEASE)?.clone();
    let other = !holder.is_empty() && params.release.as_ref() != Some(&release);
    other.then_some(Foreign { holder, release })
}

/// A contender for the Lease.
#[derive(Debug)]
pub struct Lease {
    api: Api<Object>,
    params: LeaseParams,
    term: watch::Sender<Option<Term>>,
    /// The holder of another release for which this contender waits.
    foreign: watch::Sender<Option<Foreign>>,
    /// The last claim that was sent: a shutdown may come before its answer.
    sent: Mutex<Option<Term>>,
}

impl Lease {
    /// Returns a contender and its claim. Nothing happens until [`run`](Self::run).
    pub fn new(client: kube::Client, params: LeaseParams) -> (Self, Claim) {
        let (term, claim) = watch::channel(None);
        let api = Api::namespaced(client, &params.namespace);
        let foreign = watch::Sender::default();
        (Self { api, params, term, foreign, sent: Mutex::default() }, Claim(claim))
    }

    /// Returns the holder of another release for which this contender waits. It ends with [`run`](Self::run).
    pub fn foreign(&self) -> watch::Receiver<Option<Foreign>> {
        self.foreign.subscribe()
    }

    /// Contends until `shutdown`, then releases the Lease, so that another process leads at once. The claim
    /// ends with `shutdown`, which should therefore wait for pending writes.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        tokio::select! {
            () = shutdown => {}
            () = self.contend() => {}
        }
        let sent = *self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        let term = self.term.send_replace(None).or(sent);
        self.vacate(term.map_or_else(Instant::now, |term| term.end())).await;
    }

    /// Follows and leads in turns.
    async fn contend(&self) {
        loop {
            let (version, term) = self.follow().await;
            tracing::info!(epoch = term.epoch.0, identity = self.params.identity, "leading");
            self.term.send_replace(Some(term));
            self.lead(version, term).await;
            self.term.send_replace(None);
            tracing::warn!(epoch = term.epoch.0, "no longer leading");
        }
    }

    /// Waits until the Lease is free and claims it. Returns its resourceVersion and the term.
    async fn follow(&self) -> (String, Term) {
        let events = watcher::watch_object(self.api.clone(), &self.params.name).default_backoff();
        let mut events = std::pin::pin!(events);
        let mut observed = None;
        loop {
            let read_again = match self.try_claim(&mut observed).await {
                Ok(Ok(claimed)) => return claimed,
                Ok(Err(at)) => at,
                Err(error) if error.is_conflict() => continue,
                Err(error) => {
                    tracing::warn!(%error, "cannot claim the lease");
                    sleep(self.params.renew_every).await;
                    continue;
                }
            };
            // A watch event only triggers a read: its object may be old.
            tokio::select! {
                () = sleep_until(read_again) => {}
                event = events.next() => if event.is_none_or(|event| event.is_err()) {
                    sleep(self.params.call_timeout()).await;
                }
            }
        }
    }

    async fn try_claim(
        &self,
        observed: &mut Option<Observed>,
    ) -> Result<Result<(String, Term), Instant>, request::Error> {
        let Some(lease) = self.call(self.api.get_opt(&self.params.name)).await? else {
            let epoch = next_epoch(&LeaseSpec::default(), Timestamp::now());
            let release = self.params.release.iter();
            let lease = Object {
                metadata: ObjectMeta {
                    name: Some(self.params.name.clone()),
                    annotations: Some(release.map(|r| (RELEASE.to_owned(), r.clone())).collect()),
                    ..ObjectMeta::default()
                },
                spec: serde_json::from_value(self.claimed(epoch)).ok(),
            };
            let post = PostParams { field_manager: Some(MANAGER.to_owned()), ..post_params() };
            let term = self.claiming(epoch);
            let lease = self.call(self.api.create(&post, &lease)).await?;
            return Ok(Ok((lease.metadata.resource_version.unwrap_or_default(), term)));
        };
        let first = observed.is_none();
        let decision = decide(&lease, &self.params, observed, (Instant::now(), Timestamp::now()));
        self.name_foreign(match decision {
            Decision::Wait(_) => foreign(&lease, &self.params),
            Decision::Take(_) => None,
        });
        match decision {
            Decision::Wait(at) => {
                if first {
                    let holder = lease.spec.and_then(|spec| spec.holder_identity);
                    let (lease, holder) = (&self.params.name, holder.unwrap_or_default());
                    tracing::info!(
                        lease,
                        holder,
                        "waiting for the lease, which another process holds"
                    );
                }
                Ok(Err(at))
            }
            Decision::Take(epoch) => {
                let version = lease.metadata.resource_version.unwrap_or_default();
                let term = self.claiming(epoch);
                // An earlier holder's release goes.
                let mut claim = json!({"spec": self.claimed(epoch)});
                claim["metadata"]["annotations"][RELEASE] = json!(self.params.release);
                let version = self.patch(&version, claim).await?;
                Ok(Ok((version, term)))
            }
        }
    }

    fn name_foreign(&self, foreign: Option<Foreign>) {
        self.foreign.send_if_modified(|known| {
            let differs = *known != foreign;
            *known = foreign;
            differs
        });
    }

    /// Renews the claim until the Lease is lost or the claim ends.
    async fn lead(&self, mut version: String, mut term: Term) {
        let mut pause = self.params.renew_every;
        loop {
            tokio::select! {
                () = sleep_until(term.end()) => return,
                () = sleep(pause) => {}
            }
            let renewed = self.term_from_now(term.epoch);
            let renewal = json!({"spec": {
                "renewTime": MicroTime(Timestamp::now()),
                "leaseDurationSeconds": self.params.seconds(),
            }});
            pause = self.params.renew_every;
            match self.patch(&version, renewal).await {
                Ok(renewed_version) => {
                    version = renewed_version;
                    term = renewed;
                    self.term.send_replace(Some(term));
                    continue;
                }
                Err(error) if error.is_not_found() => return,
                Err(error) if error.is_conflict() => {}
                Err(error) => tracing::warn!(%error, "cannot renew the lease"),
            }
            // Somebody wrote the Lease, perhaps this process in a request whose answer was lost.
            pause = self.params.renew_every / 4;
            match self.call(self.api.get_opt(&self.params.name)).await {
                Ok(Some(lease)) if self.is_ours(&lease, term.epoch) => {
                    version = lease.metadata.resource_version.unwrap_or_default();
                }
                Ok(_) => return,
                Err(error) => tracing::warn!(%error, "cannot read the lease"),
            }
        }
    }

    fn is_ours(&self, lease: &Object, epoch: Epoch) -> bool {
        self.holds(lease)
            && lease.spec.as_ref().is_some_and(|spec| spec.lease_transitions == Some(epoch.0))
    }

    fn holds(&self, lease: &Object) -> bool {
        let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_ref());
        holder == Some(&self.params.identity)
    }

    /// Releases the Lease. Retries until the claim ends.
    async fn vacate(&self, until: Instant) {
        while let Err(error) = self.try_vacate().await {
            let pause = self.params.renew_every / 4;
            if Instant::now() + pause >= until {
                tracing::warn!(%error, "cannot release the lease; another process can claim it when it expires");
                return;
            }
            sleep(pause).await;
        }
    }

    /// Releases the Lease if this process holds it, also by a request whose answer was lost.
    async fn try_vacate(&self) -> Result<(), request::Error> {
        let lease = self.call(self.api.get_opt(&self.params.name)).await?;
        if let Some(lease) = lease.filter(|lease| self.holds(lease)) {
            let version = lease.metadata.resource_version.unwrap_or_default();
            let release =
                json!({"spec": {"holderIdentity": null, "acquireTime": null, "renewTime": null}});
            self.patch(&version, release).await?;
            tracing::info!("released the lease");
        }
        Ok(())
    }

    /// Returns the term of a claim that is sent now.
    fn claiming(&self, epoch: Epoch) -> Term {
        let term = self.term_from_now(epoch);
        *self.sent.lock().unwrap_or_else(PoisonError::into_inner) = Some(term);
        term
    }

    fn term_from_now(&self, epoch: Epoch) -> Term {
        Term {
            epoch,
            sent: Instant::now(),
            sent_wall: SystemTime::now(),
            valid: self.params.duration.saturating_sub(self.params.margin()),
        }
    }

    fn claimed(&self, epoch: Epoch) -> serde_json::Value {
        let now = MicroTime(Timestamp::now());
        json!({
            "holderIdentity": self.params.identity,
            "leaseDurationSeconds": self.params.seconds(),
            "leaseTransitions": epoch.0,
            "acquireTime": now,
            "renewTime": now,
        })
    }

    /// Patches the Lease at a resourceVersion. Returns the new resourceVersion.
    async fn patch(
        &self,
        version: &str,
        mut patch: serde_json::Value,
    ) -> Result<String, request::Error> {
        patch["metadata"]["resourceVersion"] = json!(version);
        let patch = Patch::Merge(patch);
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..patch_params() };
        let call = self.api.patch(&self.params.name, &params, &patch);
        Ok(self.call(call).await?.metadata.resource_version.unwrap_or_default())
    }

    async fn call<T>(
        &self,
        request: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, request::Error> {
        let what = format!("Lease {}", self.params.name);
        call_within(self.params.call_timeout(), what, request).await
    }
}

#[cfg(test)]
#[path = "lease_tests.rs"]
mod tests;
