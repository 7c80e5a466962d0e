//! The loop for both kinds of object: read, validate, observe, plan, write the status, apply, until
//! there is nothing to do but wait.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use kube::Resource;
use kube::runtime::controller::Action;

use super::apply::{Applier, forget_old};
use super::context::Context;
use super::error::Error;
use super::kind::{Managed, Metadata, has_finalizer, holder, reference};
use super::market::Market;
use super::object::{self, fresh_id, publish_foreign, read, whole_seconds, write_status};
use super::object_state::{AtRest, Version};
use super::slots::Slot;
use super::watch_filter::WatchFilter;
use crate::api::condition::{RECONCILING, STALLED, true_condition};
use crate::api::reason::Reason;
use crate::hold::record::Holder;
use crate::metrics::{Counted, Outcome};
use crate::transition::contest::take_over;
use crate::transition::observe::{Observed, Reader};
use crate::transition::plan::{Action as PlannedAction, Input, Next, Plan, PlanState};

/// Longest sleep: timers run on the monotonic clock, and a suspended machine's stands still.
const LONGEST_SLEEP: SignedDuration = SignedDuration::from_mins(5);
/// Iterations in one reconcile before others get their turn.
const ITERATIONS: usize = 32;
/// Plans in one iteration, each with more observed than the one before: pods, and the market.
const PLANS: usize = 3;

/// Reconciles one object.
pub async fn reconcile<K: Managed>(
    seen: Arc<Metadata<K>>,
    context: Arc<Context>,
) -> Result<Action, Error> {
    let object = holder::<K>(seen.meta());
    let version = Version::of(seen.meta());
    // From here on a change in the namespace counts.
    let state = context.register(&object);
    let now = whole_seconds(Timestamp::now());
    if let Some(rest) = state.rest(&version, now) {
        return Ok(sleep(rest.until, now));
    }
    if let Some(left) = state.rest_left(&version, Instant::now()) {
        return Ok(Action::requeue(left));
    }
    let Some(slot) = context.slots.enter(&object.namespace).await else {
        return Ok(Action::await_change());
    };
    let began = Instant::now();
    let result = Box::pin(iterate::<K>(&object, &context, state.plan, slot)).await;
    let outcome = match &result {
        Ok(_) if context.state(&object).at_rest.is_some() => Outcome::Settled,
        Ok(_) => Outcome::Waiting,
        Err(error) if error.is_conflict() => Outcome::Deferred,
        Err(_) => Outcome::Failed,
    };
    context.metrics.reconciled(K::KIND, outcome, began.elapsed());
    match &result {
        Ok(_) => context.update(&object, |state| (state.failures, state.conflicts) = (0, 0)),
        Err(error) if error.is_conflict() && context.state(&object).reads_again() => {
            context.update(&object, |state| state.conflicts += 1);
        }
        Err(error) => {
            context.update(&object, |state| state.failures += 1);
            report_failure::<K>(&object, &context, error).await;
            remove_overdue_finalizer::<K>(&object, &context).await;
        }
    }
    result
}

/// Returns the backoff of an object: 1 s, 2 s, ... up to a minute. After some conflicts the object is read again at once.
#[expect(clippy::needless_pass_by_value, reason = "the controller hands them over so")]
pub fn error_policy<K: Managed>(
    seen: Arc<Metadata<K>>,
    error: &Error,
    context: Arc<Context>,
) -> Action {
    let holder = holder::<K>(seen.meta());
    let state = context.state(&holder);
    if error.is_conflict() && state.failures == 0 {
        return Action::requeue(Duration::from_millis(100));
    }
    let object = reference::<K>(&holder);
    tracing::warn!(%object, %error, "reconcile failed");
    let failures = state.failures.clamp(1, 7) - 1;
    Action::requeue(Duration::from_secs((1 << failures).min(60)))
}

/// Iterates until there is nothing to do but wait.
async fn iterate<K: Managed>(
    holder: &Holder,
    context: &Context,
    mut memory: PlanState,
    mut slot: Slot<'_>,
) -> Result<Action, Error> {
    // During a transition every workload counts, from the first step on.
    context.update(holder, |state| state.at_rest = None);
    forget_old(&mut memory.failures, Timestamp::now());
    let result = iterations::<K>(holder, context, &mut memory, &mut slot).await;
    // What an iteration has observed holds back the next one, also where it failed.
    if !matches!(&result, Ok(None)) {
        context.update(holder, |state| state.plan = memory);
    }
    Ok(result?.unwrap_or_else(Action::await_change))
}

/// Returns what follows; none where the object is gone, or does not parse.
async fn iterations<K: Managed>(
    holder: &Holder,
    context: &Context,
    memory: &mut PlanState,
    slot: &mut Slot<'_>,
) -> Result<Option<Action>, Error> {
    for _ in 0..ITERATIONS {
        let now = whole_seconds(Timestamp::now());
        match iteration::<K>(holder, context, memory, slot, now).await? {
            Outlook::Gone => {
                context.forget(K::KIND, holder);
                return Ok(None);
            }
            Outlook::Again => {}
            Outlook::Wait(wait) => return Ok(Some(Action::requeue(wait.unsigned_abs()))),
            Outlook::Rest(until) => return Ok(Some(sleep(until, now))),
        }
    }
    Ok(Some(Action::requeue(Duration::ZERO)))
}

/// What follows an iteration.
enum Outlook {
    /// The object is gone, or does not parse.
    Gone,
    /// The next iteration, at once.
    Again,
    /// The next iteration after this time, or when something changes.
    Wait(SignedDuration),
    /// Nothing until then, or until something changes.
    Rest(Option<Timestamp>),
}

/// Runs one iteration of the loop. Comments mark the calls that talk to the API server or a market.
async fn iteration<K: Managed>(
    holder: &Holder,
    context: &Context,
    memory: &mut PlanState,
    slot: &mut Slot<'_>,
    now: Timestamp,
) -> Result<Outlook, Error> {
    let state = context.state(holder);
    let (changes, reads_again) = (state.changes, state.reads_again());
    let Some(object) = read::<K>(holder, context).await? else { return Ok(Outlook::Gone) }; // API server
    let valid = match object.validate() {
        Ok(valid) => valid,
        // A deletion releases every hold all the same.
        Err(_) if object.meta().deletion_timestamp.is_some() => object.unreadable(),
        // Held objects stay held until the spec is valid.
        Err(error) => {
            let mut status = object::invalid(&object, &error, now);
            count::<K>(context, holder, &mut status);
            write_status(context, &object, &status).await?; // API server
            rest(context, holder, &object, None, changes);
            return Ok(Outlook::Rest(None));
        }
    };
    // Register the watch filter before observing, so that no change is missed.
    let before = object.status().cloned().unwrap_or_default();
    take_over(&mut memory.contests, K::hold_state(&before));
    let filter = WatchFilter::of(K::hold_spec(&valid), &K::hold_state(&before).originals);
    context.watch(holder, Some(filter));
    let fresh_id = fresh_id(&object, now);
    let current =
        Current { object: &object, status: &before, valid: &valid, holder, now, fresh_id };
    let mut observations = current.observe(context).await?; // API server
    let mut plan = K::plan(current.input(&observations, memory));
    let mut plans = 1;
    // API server, market
    while current.observe_more(&plan.next, &mut observations, memory, slot).await? {
        if plans == PLANS {
            return Ok(Outlook::Again);
        }
        plan = K::plan(current.input(&observations, memory));
        plans += 1;
    }
    let Plan { mut status, calls, actions, next, confirmations, market: known, watches } = plan;
    (memory.confirmations, memory.market) = (confirmations, known);
    if !watches {
        context.watch(holder, None);
    }
    count::<K>(context, holder, &mut status);
    let written = write_status(context, &object, &status).await; // API server
    let (object, actions, unwritten) = match written {
        Ok(object) => (object, actions, None),
        Err(error) if error.is_conflict() && reads_again => return Err(error),
        // No wake and no deletion waits for the status: the annotations suffice.
        Err(error) => (object, without_status(actions), Some(error)),
    };
    if unwritten.is_none() && !calls.is_empty() {
        slot.go_to_market().await;
        observations.market.notify(&calls, &mut memory.market).await; // market
    }
    let applier = Applier::new(context, &object, holder);
    let mut foreign = Vec::new();
    let database = K::hold_spec(&valid).database.as_ref();
    let outcome = applier.apply(actions, database, memory, &mut foreign).await; // API server
    publish_foreign(context, &object, &foreign).await; // API server
    outcome?;
    if let Some(error) = unwritten {
        return Err(error);
    }
    Ok(match next {
        Next::Again | Next::ObservePods | Next::ObserveMarket => Outlook::Again,
        Next::Wait(wait) => Outlook::Wait(wait),
        Next::AtRest => {
            let until = K::next_change(&valid, &status, now);
            rest(context, holder, &object, until, changes);
            Outlook::Rest(until)
        }
    })
}

/// Returns the actions that need no record in the status: they take nothing down.
fn without_status(actions: Vec<PlannedAction>) -> Vec<PlannedAction> {
    actions.into_iter().filter(PlannedAction::needs_no_status).collect()
}

/// The object of an iteration, as it was read.
struct Current<'o, 'a, K: Managed> {
    object: &'o K,
    status: &'a K::Status,
    valid: &'a K::Valid,
    holder: &'a Holder,
    now: Timestamp,
    /// The id of an episode that the plan may begin.
    fresh_id: String,
}

/// What an iteration has observed.
struct Observations<'a> {
    reader: Reader,
    observed: Observed,
    market: Market<'a>,
}

impl<'a, K: Managed> Current<'_, 'a, K> {
    /// Observes the workloads and ConfigMaps, without pods and market.
    async fn observe(&self, context: &'a Context) -> Result<Observations<'a>, Error> {
        let Self { object, status, valid, holder, .. } = *self;
        let (spec, client) = (K::hold_spec(valid), context.client.clone());
        let reader = Reader { client, namespace: holder.namespace.clone() };
        let (state, database) = (K::hold_state(status), K::database_state(status));
        let deleting = object.meta().deletion_timestamp.is_some();
        let mut observed = reader.observe(spec, state, database, deleting).await?; // API server
        observed.believe_moved(holder);
        let market = Market::new(context, holder, K::deals(status), spec.deals.as_ref());
        Ok(Observations { reader, observed, market })
    }

    /// Observes what a plan asks for: the pods, or the market. Returns whether there is more to plan from.
    async fn observe_more(
        &self,
        next: &Next,
        observations: &mut Observations<'_>,
        memory: &mut PlanState,
        slot: &mut Slot<'_>,
    ) -> Result<bool, Error> {
        let Observations { reader, observed, market } = observations;
        match next {
            Next::ObservePods => {
                let mut pods = reader.pods(K::hold_spec(self.valid)).await?; // API server
                if let Some(since) = observed.events_since(K::hold_state(self.status)) {
                    pods.failed_creates = reader.failed_creates(since).await; // API server
                }
                observed.pods = Some(pods);
                Ok(true)
            }
            Next::ObserveMarket => {
                slot.go_to_market().await;
                // False without a market.
                Ok(market.observe(&mut memory.market).await) // market
            }
            _ => Ok(false),
        }
    }

    /// Returns what the plan is made from.
    fn input<'b>(
        &'b self,
        observations: &'b Observations<'_>,
        memory: &'b PlanState,
    ) -> Input<'b, K::Valid, K::Status> {
        let Self { object, status, valid, holder, now, .. } = *self;
        let meta = object.meta();
        Input {
            holder,
            generation: meta.generation,
            created: meta.creation_timestamp.as_ref().map_or(now, |time| time.0),
            deleting_since: meta.deletion_timestamp.as_ref().map(|time| time.0),
            finalizer: has_finalizer(object),
            spec: valid,
            status,
            observed: &observations.observed,
            market: observations.market.observed.as_ref(),
            memory,
            now,
            fresh_id: &self.fresh_id,
        }
    }
}

/// Counts an object by its status. The kubelet's own reasons count as one.
fn count<K: Managed>(context: &Context, holder: &Holder, status: &mut K::Status) {
    let conditions = &*K::common(status).conditions;
    let reason = |kind| {
        let reason = &true_condition(conditions, kind)?.reason;
        Some(Reason::named(reason).map_or_else(|| "Container".to_owned(), |r| r.to_string()))
    };
    let (stalled, reconciling) = (reason(STALLED), reason(RECONCILING));
    context.count(K::KIND, holder, Counted { phase: K::phase(status), stalled, reconciling });
}

/// Remembers that an object is at rest, unless something has changed in its namespace meanwhile.
fn rest<K: Managed>(
    context: &Context,
    holder: &Holder,
    object: &K,
    until: Option<Timestamp>,
    changes: u64,
) {
    let version = Version::of(object.meta());
    context.update(holder, |state| {
        state.last_rest = Some((Instant::now(), version.clone()));
        if state.changes == changes {
            state.at_rest = Some(AtRest { version, until });
        }
    });
}

/// Says in the object that its reconcile fails, where that can be written.
async fn report_failure<K: Managed>(holder: &Holder, context: &Context, error: &Error) {
    let Ok(Some(object)) = read::<K>(holder, context).await else { return };
    let status = object::failing(&object, &error.to_string(), whole_seconds(Timestamp::now()));
    if let Err(error) = write_status(context, &object, &status).await {
        let object = reference::<K>(holder);
        tracing::debug!(%object, %error, "the failure could not be written into the status");
    }
}

/// Removes the finalizer of an object whose deletion is overdue and whose reconcile fails again and
/// again: the object would stay for ever, and its namespace with it.
async fn remove_overdue_finalizer<K: Managed>(holder: &Holder, context: &Context) {
    let Ok(Some(object)) = read::<K>(holder, context).await else { return };
    if !has_finalizer(&object) || !is_overdue(&object, Timestamp::now()) {
        return;
    }
    let applier = Applier::new(context, &object, holder);
    let reference = reference::<K>(holder);
    let actions = vec![PlannedAction::RemoveFinalizer];
    match applier.apply(actions, None, &mut PlanState::default(), &mut Vec::new()).await {
        Ok(()) => tracing::warn!(
            object = %reference,
            "finalizer removed after the deadline; remaining holds are left to the sweep"
        ),
        Err(error) => {
            tracing::warn!(object = %reference, %error, "the finalizer could not be removed");
        }
    }
}

/// Returns whether an object has been deleted for longer than its deletion may take.
fn is_overdue<K: Managed>(object: &K, now: Timestamp) -> bool {
    let since = object.meta().deletion_timestamp.as_ref();
    since.is_some_and(|since| now.duration_since(since.0) > object.longest_deletion())
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
    fn a_deletion_may_take_its_deadline_and_the_fence_of_a_truncation() {
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
        assert!(!is_overdue(&deleted, at("2026-12-01T00:04:30Z")));
        assert!(is_overdue(&deleted, at("2026-12-01T00:04:31Z")));
        assert!(!is_overdue(&object(None), at("2026-12-01T00:04:31Z")));
    }
}
