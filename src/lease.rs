//! Leadership by a `coordination.k8s.io/v1` Lease, after the design of linkerd's kubert.
//!
//! One process leads at a time. Each write of the Lease carries the resourceVersion that was read, so
//! of two contenders one gets a conflict. The leader's claim is valid for the Lease's duration from
//! when the renewing request was *sent*; everybody else waits for the same duration from when they
//! *saw* the last change. Both are measured on the own clock of each, so clocks may differ as long as
//! they run at the same rate, and a claim has ended before the next can begin. A [`Claim`] is checked
//! right before each write.
//!
//! `spec.leaseTransitions` is the **epoch**. It grows with each term of a leader, also when the same
//! process leads again, and is at least the seconds since 2025: so a Lease that was deleted, or restored
//! from a backup, does not give an epoch twice.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease as Object, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{Api, ObjectMeta, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

const MANAGER: &str = "torpor-lease";
/// 2025-01-01T00:00:00Z. The field is a 32-bit integer, which lasts from here until 2093.
const EPOCH_ZERO: i64 = 1_735_689_600;

/// A number that grows with each term of a leader.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Epoch(pub i32);

/// In which epoch this process leads, right now; none where it does not. Ask right before each write.
pub type CurrentEpoch = Arc<dyn Fn() -> Option<Epoch> + Send + Sync>;

/// This process may not write: it does not lead, or no longer.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("this process does not hold the lease")]
pub struct NotLeader;

/// How to lead.
#[derive(Clone, Debug)]
pub struct LeaseParams {
    /// The namespace of the Lease, which is the operator's own.
    pub namespace: String,
    /// The name of the Lease.
    pub name: String,
    /// Who claims it. Two processes must never have the same, see [`identity`].
    pub identity: String,
    /// How long a claim is valid, in whole seconds.
    pub duration: Duration,
    /// How often it is renewed; at most a third of the duration.
    pub renew_every: Duration,
}

impl LeaseParams {
    /// The part of a claim that is given away, for clocks that do not run at quite the same rate and
    /// for the way from a check to the API server.
    fn margin(&self) -> Duration {
        self.duration / 10
    }

    fn call_timeout(&self) -> Duration {
        self.renew_every.min(self.duration / 3)
    }

    fn seconds(&self) -> i32 {
        i32::try_from(self.duration.as_millis().div_ceil(1000)).unwrap_or(i32::MAX)
    }
}

/// An identity that no other process has, beginning with the pod's name or the host's.
pub fn identity(name: &str) -> String {
    use std::hash::{BuildHasher, RandomState};
    let random = RandomState::new().hash_one(SystemTime::now());
    format!("{name}_{}_{random:016x}", std::process::id())
}

/// A term of leadership as far as it is certain.
#[derive(Clone, Copy, Debug)]
struct Term {
    epoch: Epoch,
    sent: Instant,
    /// The same on the other clock: a machine that sleeps stops the first one only.
    sent_wall: SystemTime,
    /// How long after `sent` nothing may be written any more.
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

/// What this process may do. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Claim(watch::Receiver<Option<Term>>);

impl Claim {
    /// Whether a write may go out now, and in which epoch. Ask right before each write.
    pub fn check(&self) -> Result<Epoch, NotLeader> {
        let term = *self.0.borrow();
        term.filter(Term::is_valid).map(|term| term.epoch).ok_or(NotLeader)
    }

    /// Waits until this process leads. Fails when it never will, since [`Lease::run`] has ended.
    pub async fn acquired(&self) -> Result<Epoch, NotLeader> {
        let mut terms = self.0.clone();
        let term = terms.wait_for(|term| term.is_some_and(|term| term.is_valid())).await;
        term.ok().and_then(|term| *term).map(|term| term.epoch).ok_or(NotLeader)
    }

    /// Waits until this process does not lead, or leads in another term than when this was called.
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
                    // Nobody renews it any more.
                    sleep_until(term.end()).await;
                    return;
                }
            }
        }
    }
}

/// What went wrong with a call. All of it is tried again.
#[derive(Debug, thiserror::Error)]
enum CallError {
    #[error("{0}")]
    Api(#[from] Box<kube::Error>),
    #[error("no answer in time")]
    Timeout,
}

impl CallError {
    fn code(&self) -> Option<u16> {
        match self {
            Self::Api(error) => match error.as_ref() {
                kube::Error::Api(status) => Some(status.code),
                _ => None,
            },
            Self::Timeout => None,
        }
    }
}

/// What a contender has seen of somebody else's lease.
#[derive(Clone, Debug)]
struct Seen {
    version: String,
    since: Instant,
}

/// What a contender does about a Lease.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Decision {
    /// Claim it, in that epoch.
    Take(Epoch),
    /// Look again at that time.
    Wait(Instant),
}

/// A Lease is free if nobody holds it, if we do (by a request whose answer we never got), or if it
/// has not changed for its duration, by our own clock.
fn decide(
    lease: &Object,
    params: &LeaseParams,
    seen: &mut Option<Seen>,
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
    let since = match seen {
        Some(seen) if seen.version == version => seen.since,
        _ => seen.insert(Seen { version, since: now }).since,
    };
    let theirs = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    let free = since + theirs.map_or(params.duration, Duration::from_secs).max(params.duration);
    if free <= now { Decision::Take(next) } else { Decision::Wait(free) }
}

/// The epoch that follows.
fn next_epoch(spec: &LeaseSpec, wall: Timestamp) -> Epoch {
    let since = wall.as_second().saturating_sub(EPOCH_ZERO);
    let since = i32::try_from(since.max(1)).unwrap_or(i32::MAX);
    Epoch(spec.lease_transitions.unwrap_or(0).saturating_add(1).max(since))
}

/// Contends for the Lease and keeps it.
#[derive(Debug)]
pub struct Lease {
    api: Api<Object>,
    params: LeaseParams,
    term: watch::Sender<Option<Term>>,
}

impl Lease {
    /// A contender and the claim that it keeps. Nothing happens until [`run`](Self::run).
    pub fn new(client: kube::Client, params: LeaseParams) -> (Self, Claim) {
        let (term, claim) = watch::channel(None);
        let api = Api::namespaced(client, &params.namespace);
        (Self { api, params, term }, Claim(claim))
    }

    /// Contends until `shutdown`, then lets go, so that somebody else leads at once. Before that,
    /// `shutdown` should have waited for writes that are under way: the claim ends here.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        tokio::select! {
            () = shutdown => {}
            () = self.contend() => {}
        }
        let term = self.term.send_replace(None);
        self.vacate(term.map_or_else(Instant::now, |term| term.end())).await;
    }

    /// Follows and leads in turn.
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

    /// Waits for the Lease to be free and claims it.
    async fn follow(&self) -> (String, Term) {
        let events = watcher::watch_object(self.api.clone(), &self.params.name).default_backoff();
        let mut events = std::pin::pin!(events);
        let mut seen = None;
        loop {
            let look_again = match self.try_claim(&mut seen).await {
                Ok(Ok(claimed)) => return claimed,
                Ok(Err(at)) => at,
                Err(error) if error.code() == Some(409) => continue,
                Err(error) => {
                    tracing::warn!(%error, "cannot claim the lease");
                    sleep(self.params.renew_every).await;
                    continue;
                }
            };
            // A change is only a reason to look; what is seen there may be old.
            tokio::select! {
                () = sleep_until(look_again) => {}
                event = events.next() => if event.is_none_or(|event| event.is_err()) {
                    sleep(self.params.call_timeout()).await;
                }
            }
        }
    }

    async fn try_claim(
        &self,
        seen: &mut Option<Seen>,
    ) -> Result<Result<(String, Term), Instant>, CallError> {
        let Some(lease) = self.call(self.api.get_opt(&self.params.name)).await? else {
            let epoch = next_epoch(&LeaseSpec::default(), Timestamp::now());
            let lease = Object {
                metadata: ObjectMeta {
                    name: Some(self.params.name.clone()),
                    ..ObjectMeta::default()
                },
                spec: serde_json::from_value(self.claimed(epoch)).ok(),
            };
            let post =
                PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
            let term = self.term_from_now(epoch);
            let lease = self.call(self.api.create(&post, &lease)).await?;
            return Ok(Ok((lease.metadata.resource_version.unwrap_or_default(), term)));
        };
        match decide(&lease, &self.params, seen, (Instant::now(), Timestamp::now())) {
            Decision::Wait(at) => Ok(Err(at)),
            Decision::Take(epoch) => {
                let version = lease.metadata.resource_version.unwrap_or_default();
                let term = self.term_from_now(epoch);
                let version = self.patch(&version, self.claimed(epoch)).await?;
                Ok(Ok((version, term)))
            }
        }
    }

    /// Renews until that is impossible or the claim has run out.
    async fn lead(&self, mut version: String, mut term: Term) {
        let mut pause = self.params.renew_every;
        loop {
            tokio::select! {
                () = sleep_until(term.end()) => return,
                () = sleep(pause) => {}
            }
            let renewed = self.term_from_now(term.epoch);
            let spec = json!({
                "renewTime": MicroTime(Timestamp::now()),
                "leaseDurationSeconds": self.params.seconds(),
            });
            pause = self.params.renew_every;
            match self.patch(&version, spec).await {
                Ok(renewed_version) => {
                    version = renewed_version;
                    term = renewed;
                    self.term.send_replace(Some(term));
                    continue;
                }
                Err(error) if error.code() == Some(404) => return,
                Err(error) if error.code() == Some(409) => {}
                Err(error) => tracing::warn!(%error, "cannot renew the lease"),
            }
            // Somebody wrote it, perhaps we did without getting the answer. The next try tells.
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

    /// Lets go of what is held, and tries until it has run out by itself.
    async fn vacate(&self, until: Instant) {
        while let Err(error) = self.try_vacate().await {
            let pause = self.params.renew_every / 4;
            if Instant::now() + pause >= until {
                tracing::warn!(%error, "cannot let go of the lease; it runs out by itself");
                return;
            }
            sleep(pause).await;
        }
    }

    /// Lets go of what is held, also by a request whose answer never came.
    async fn try_vacate(&self) -> Result<(), CallError> {
        let lease = self.call(self.api.get_opt(&self.params.name)).await?;
        if let Some(lease) = lease.filter(|lease| self.holds(lease)) {
            let version = lease.metadata.resource_version.unwrap_or_default();
            let spec = json!({"holderIdentity": null, "acquireTime": null, "renewTime": null});
            self.patch(&version, spec).await?;
            tracing::info!("let go of the lease");
        }
        Ok(())
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

    /// Writes, unless somebody else has since `version`, and gives the new version.
    async fn patch(&self, version: &str, spec: serde_json::Value) -> Result<String, CallError> {
        let patch = Patch::Merge(json!({"metadata": {"resourceVersion": version}, "spec": spec}));
        let params =
            PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let call = self.api.patch(&self.params.name, &params, &patch);
        Ok(self.call(call).await?.metadata.resource_version.unwrap_or_default())
    }

    async fn call<T>(
        &self,
        call: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, CallError> {
        match timeout(self.params.call_timeout(), call).await {
            Ok(result) => result.map_err(|error| Box::new(error).into()),
            Err(_) => Err(CallError::Timeout),
        }
    }
}

#[cfg(test)]
#[path = "lease_tests.rs"]
mod tests;
