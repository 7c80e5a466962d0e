//! One reconcile: observe, validate, plan, apply, status, until there is nothing to do but wait. The same for
//! every kind of object that is looked after; what is its own is told by [`Managed`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use kube::runtime::controller::Action;
use kube::{Resource, ResourceExt};

use super::apply::{self, Applier, forget_old};
use super::context::{Context, Memory, Settled, Version};
use super::kind::{Managed, Seen, holder, reference};
use super::object::{read, settle_status, whole_seconds};
use crate::apiserver::request;
use crate::hibernation::plan::{Action as PlannedAction, Contests, FINALIZER, Next};
use crate::hold::record::Holder;
use crate::metrics::Outcome;

/// Longest sleep: timers run on the monotonic clock, and a suspended machine's stands still.
const LONGEST_SLEEP: SignedDuration = SignedDuration::from_mins(5);
/// An object that was found as it is to be is left alone for so long, whatever changes around it: a look
/// costs a dozen requests, and others may write several times a second.
const REST: Duration = Duration::from_secs(1);
/// Passes in one reconcile before others get their turn.
const PASSES: usize = 32;

/// Why a reconcile failed. It is tried again, later each time.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something could not be seen.
    #[error(transparent)]
    Observe(#[from] request::Error),
    /// Something could not be done.
    #[error(transparent)]
    Apply(#[from] apply::Error),
}

impl Error {
    fn request(&self) -> Option<&request::Error> {
        match self {
            Self::Observe(error) | Self::Apply(apply::Error::Request(error)) => Some(error),
            Self::Apply(_) => None,
        }
    }

    /// Returns whether the object was changed since it was read: it is only read again.
    fn is_conflict(&self) -> bool {
        self.request().is_some_and(request::Error::is_conflict)
    }

    /// Returns whether the API server rejected a request, and would do so again.
    fn is_rejection(&self) -> bool {
        self.request().is_some_and(request::Error::is_rejection)
    }
}

/// Reconciles one object.
pub async fn reconcile<K: Managed>(
    seen: Arc<Seen<K>>,
    context: Arc<Context>,
) -> Result<Action, Error> {
    let object = holder::<K>(seen.meta());
    // From here on a change in the namespace counts.
    let memory = context.know(&object);
    let now = whole_seconds(Timestamp::now());
    if let Some(settled) = &memory.settled
        && settled.of == Version::of(seen.meta())
        && settled.until.is_none_or(|until| now < until)
    {
        return Ok(sleep(settled.until, now));
    }
    let began = Instant::now();
    if let Some(left) = rests(&memory, &Version::of(seen.meta()), began) {
        return Ok(Action::requeue(left));
    }
    let result = Box::pin(work::<K>(&object, &context, memory)).await;
    let outcome = match &result {
        Ok(_) if context.memory(&object).settled.is_some() => Outcome::Settled,
        Ok(_) => Outcome::Waiting,
        Err(error) if error.is_conflict() => Outcome::Deferred,
        Err(_) => Outcome::Failed,
    };
    context.metrics.reconciled(K::KIND, outcome, began.elapsed());
    match &result {
        Ok(_) => context.remember(&object, |memory| memory.failures = 0),
        Err(error) if error.is_conflict() => {}
        Err(error) => {
            context.remember(&object, |memory| memory.failures += 1);
            say_so::<K>(&object, &context, error).await;
            if error.is_rejection() {
                let_it_go::<K>(&object, &context).await;
            }
        }
    }
    result
}

/// How long an object still rests that was found as it is to be a moment ago, and is the same since.
fn rests(memory: &Memory, version: &Version, now: Instant) -> Option<Duration> {
    let (since, of) = memory.rested.as_ref()?;
    let left = REST.checked_sub(now.duration_since(*since))?;
    (of == version && !left.is_zero()).then_some(left)
}

/// Backoff per object: 1 s, 2 s, ... up to a minute. A conflict is looked at again at once.
#[expect(clippy::needless_pass_by_value, reason = "the controller hands them over so")]
pub fn error_policy<K: Managed>(
    seen: Arc<Seen<K>>,
    error: &Error,
    context: Arc<Context>,
) -> Action {
    let holder = holder::<K>(seen.meta());
    if error.is_conflict() {
        return Action::requeue(Duration::from_millis(100));
    }
    let object = reference::<K>(&holder);
    tracing::warn!(%object, %error, "reconcile failed");
    let failures = context.memory(&holder).failures.clamp(1, 7) - 1;
    Action::requeue(Duration::from_secs((1 << failures).min(60)))
}

async fn work<K: Managed>(
    object: &Holder,
    context: &Context,
    mut memory: Memory,
) -> Result<Action, Error> {
    // On the way every workload counts, from the first step on.
    context.remember(object, |memory| memory.settled = None);
    forget_old(&mut memory.notes.contests, Timestamp::now());
    for _ in 0..PASSES {
        let Some(read) = read::<K>(object, context).await? else {
            context.forget(K::KIND, object);
            return Ok(Action::await_change());
        };
        let status = read.status().cloned().unwrap_or_default();
        let meta = read.meta();
        let now = whole_seconds(Timestamp::now());
        let valid = match read.validate() {
            Ok(valid) => valid,
            Err(_) if meta.deletion_timestamp.is_some() => read.unreadable(),
            // What is held stays held until the spec can be read; a deletion lets go all the same.
            Err(error) => {
                let (generation, message) = (meta.generation, &error.message);
                let said = K::invalid(&status, generation, error.reason, message, now);
                settle_status(context, &read, &said).await?;
                context.remember(object, |memory| {
                    memory.settled = Some(Settled { of: Version::of(meta), until: None });
                });
                return Ok(sleep(None, now));
            }
        };
        // What is to be heard of is, before anything is looked at.
        context.listen(object, Some(K::interest(&valid, &status)));
        let passed = Box::pin(read.pass(context, object, &valid, &mut memory.notes, now));
        let (next, written) = passed.await?;
        let notes = memory.notes.clone();
        context.remember(object, |stored| stored.notes = notes);
        match next {
            Next::Again | Next::LookAtPods | Next::LookAtMarket => {}
            Next::Wait(wait) => {
                return Ok(Action::requeue(wait.unsigned_abs()));
            }
            Next::Settled => {
                let status = written.status().cloned().unwrap_or_default();
                let until = K::next_change(&valid, &status, now);
                let before = memory.changes;
                context.remember(object, |memory| {
                    memory.rested = Some((Instant::now(), Version::of(meta)));
                    if memory.changes == before {
                        memory.settled = Some(Settled { of: Version::of(meta), until });
                    }
                });
                return Ok(sleep(until, now));
            }
        }
    }
    Ok(Action::requeue(Duration::ZERO))
}

/// Says in the object that its reconcile fails, where it can be said.
async fn say_so<K: Managed>(holder: &Holder, context: &Context, error: &Error) {
    let Ok(Some(read)) = read::<K>(holder, context).await else { return };
    let before = read.status().cloned().unwrap_or_default();
    let now = whole_seconds(Timestamp::now());
    let said = K::failing(&before, read.meta().generation, &error.to_string(), now);
    if let Err(error) = settle_status(context, &read, &said).await {
        let object = reference::<K>(holder);
        tracing::debug!(%object, %error, "the failure could not be written into the status");
    }
}

/// Takes the finalizer off an object on its way out that has had its time, where what is answered with a
/// no is answered so again and again: it would be there for ever, and its namespace with it.
async fn let_it_go<K: Managed>(holder: &Holder, context: &Context) {
    let Ok(Some(read)) = read::<K>(holder, context).await else { return };
    let held_back = read.finalizers().iter().any(|finalizer| finalizer == FINALIZER);
    if !held_back || !had_its_time(&read, Timestamp::now()) {
        return;
    }
    let applier = Applier::new(context, &read, holder);
    let object = reference::<K>(holder);
    let actions = vec![PlannedAction::RemoveFinalizer];
    match applier.act(actions, None, &mut Contests::default(), &mut Vec::new()).await {
        Ok(()) => tracing::warn!(%object, "it goes as it is; what it holds is left to the sweep"),
        Err(error) => tracing::warn!(%object, %error, "its finalizer could not be removed"),
    }
}

/// Whether an object has been on its way out for longer than it may be.
fn had_its_time<K: Managed>(read: &K, now: Timestamp) -> bool {
    let since = read.meta().deletion_timestamp.as_ref();
    since.is_some_and(|since| now.duration_since(since.0) > read.longest_deletion())
}

fn sleep(until: Option<Timestamp>, now: Timestamp) -> Action {
    match until {
        None => Action::await_change(),
        Some(until) => {
            let left = until.duration_since(now).clamp(SignedDuration::ZERO, LONGEST_SLEEP);
            Action::requeue(left.unsigned_abs())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Hibernation;
    use serde_json::json;

    #[test]
    fn an_object_rests_for_a_second_unless_it_is_changed_itself() {
        let version = |generation: i64| {
            let meta = json!({"uid": "u", "generation": generation});
            Version::of(&serde_json::from_value(meta).unwrap())
        };
        let since = Instant::now();
        let memory = Memory { rested: Some((since, version(1))), ..Memory::default() };
        let after = |milliseconds| since + Duration::from_millis(milliseconds);
        assert_eq!(rests(&Memory::default(), &version(1), since), None);
        assert_eq!(rests(&memory, &version(1), after(300)), Some(Duration::from_millis(700)));
        assert_eq!(rests(&memory, &version(2), after(300)), None);
        assert_eq!(rests(&memory, &version(1), after(1000)), None);
    }

    #[test]
    fn an_object_on_its_way_out_has_its_time_and_that_of_a_truncation() {
        let object = |deleted: Option<&str>| {
            let object = json!({
                "apiVersion": "torpor.dev/v1alpha1",
                "kind": "Hibernation",
                "metadata": {"name": "project", "deletionTimestamp": deleted},
                "spec": {"state": "Awake", "progressDeadline": "1m"},
            });
            serde_json::from_value::<Hibernation>(object).unwrap()
        };
        let deleted = object(Some("2026-12-01T00:00:00Z"));
        let at = |time: &str| time.parse().unwrap();
        assert!(!had_its_time(&deleted, at("2026-12-01T00:04:30Z")));
        assert!(had_its_time(&deleted, at("2026-12-01T00:04:31Z")));
        assert!(!had_its_time(&object(None), at("2026-12-01T00:04:31Z")));
    }
}
