//! One reconcile: observe, validate, plan, apply, status, until there is nothing to do but wait.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::ApiResource;
use kube::runtime::controller::Action;
use kube::runtime::events::{Event, EventType};
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};
use serde_json::json;

use super::context::{Context, Memory, Seen, Settled, Version};
use super::interest::Interest;
use super::metrics::{Kind, Outcome};
use crate::api::condition::shorten;
use crate::api::hibernation::{Hibernation, HibernationStatus};
use crate::hibernation::apply::{self, Applier, forget_old, write_status};
use crate::hibernation::database;
use crate::hibernation::observe::{self, Observed, Reader, call};
use crate::hibernation::plan::{
    Action as PlannedAction, Contests, FINALIZER, Input, Next, few, plan,
};
use crate::hibernation::report;
use crate::hibernation::validate::{Valid, validate};
use crate::hold::MANAGER;
use crate::hold::apply::is_status;
use crate::hold::record::Holder;
use crate::schedule::Desired;

/// Longest sleep: timers run on the monotonic clock, and a suspended machine's stands still.
const LONGEST_SLEEP: SignedDuration = SignedDuration::from_mins(5);
/// Passes in one reconcile before others get their turn.
const PASSES: usize = 32;

/// Why a reconcile failed. It is tried again, later each time.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something could not be seen.
    #[error(transparent)]
    Observe(#[from] observe::Error),
    /// Something could not be done.
    #[error(transparent)]
    Apply(#[from] apply::Error),
}

impl Error {
    /// The object changed under our hands: no failure, it is only looked at again.
    fn is_conflict(&self) -> bool {
        let (Self::Observe(observe::Error::Api { source, .. })
        | Self::Apply(apply::Error::Request(observe::Error::Api { source, .. }))) = self
        else {
            return false;
        };
        is_status(source, 409)
    }

    /// The API server said no, and would say so again.
    fn is_rejection(&self) -> bool {
        let (Self::Observe(error) | Self::Apply(apply::Error::Request(error))) = self else {
            return false;
        };
        error.is_rejection()
    }
}

/// Reconciles one Hibernation.
pub async fn reconcile(seen: Arc<Seen>, context: Arc<Context>) -> Result<Action, Error> {
    let object = ObjectRef::from_obj(&*seen);
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
    let result = Box::pin(work(&object, &context, memory)).await;
    let outcome = match &result {
        Ok(_) if context.memory(&object).settled.is_some() => Outcome::Settled,
        Ok(_) => Outcome::Waiting,
        Err(error) if error.is_conflict() => Outcome::Deferred,
        Err(_) => Outcome::Failed,
    };
    context.metrics.reconciled(Kind::Hibernation, outcome, began.elapsed());
    match &result {
        Ok(_) => context.remember(&object, |memory| memory.failures = 0),
        Err(error) if error.is_conflict() => {}
        Err(error) => {
            context.remember(&object, |memory| memory.failures += 1);
            say_so(&object, &context, error).await;
            if error.is_rejection() {
                let_it_go(&object, &context).await;
            }
        }
    }
    result
}

/// Backoff per object: 1 s, 2 s, ... up to a minute. A conflict is looked at again at once.
#[expect(clippy::needless_pass_by_value, reason = "the controller hands them over so")]
pub fn error_policy(seen: Arc<Seen>, error: &Error, context: Arc<Context>) -> Action {
    let object = ObjectRef::from_obj(&*seen);
    if error.is_conflict() {
        return Action::requeue(Duration::from_millis(100));
    }
    tracing::warn!(%object, %error, "reconcile failed");
    let failures = context.memory(&object).failures.clamp(1, 7) - 1;
    Action::requeue(Duration::from_secs((1 << failures).min(60)))
}

async fn work(
    object: &ObjectRef<Seen>,
    context: &Context,
    mut memory: Memory,
) -> Result<Action, Error> {
    // On the way every workload counts, from the first step on.
    context.remember(object, |memory| memory.settled = None);
    forget_old(&mut memory.contests, Timestamp::now());
    for _ in 0..PASSES {
        let Some(read) = read(object, context).await? else {
            context.forget(object);
            return Ok(Action::await_change());
        };
        let status = read.status.clone().unwrap_or_default();
        let now = whole_seconds(Timestamp::now());
        let valid = match validate(&read.spec) {
            Ok(valid) => valid,
            Err(_) if read.metadata.deletion_timestamp.is_some() => Valid::unreadable(&read.spec),
            // What is held stays held until the spec can be read; a deletion lets go all the same.
            Err(error) => {
                let said = error.status(&status, read.metadata.generation, now);
                settle_status(context, &read, &said).await?;
                context.remember(object, |memory| {
                    memory.settled = Some(Settled { of: Version::of(&read.metadata), until: None });
                });
                return Ok(sleep(None, now));
            }
        };
        let next = Box::pin(pass(object, context, &read, &valid, &mut memory, now)).await?;
        let (looks, contests) = (memory.looks.clone(), memory.contests.clone());
        context.remember(object, |stored| {
            stored.looks = looks;
            stored.contests = contests;
        });
        match next {
            Next::Again | Next::LookAtPods | Next::LookAtMarket => {}
            Next::Wait(wait) => {
                return Ok(Action::requeue(wait.unsigned_abs()));
            }
            Next::Settled => {
                let until = next_change(&valid, now);
                let before = memory.changes;
                context.remember(object, |memory| {
                    if memory.changes == before {
                        memory.settled = Some(Settled { of: Version::of(&read.metadata), until });
                    }
                });
                return Ok(sleep(until, now));
            }
        }
    }
    Ok(Action::requeue(Duration::ZERO))
}

/// One pass: what is seen, what follows, and doing it.
async fn pass(
    object: &ObjectRef<Seen>,
    context: &Context,
    read: &Hibernation,
    valid: &Valid,
    memory: &mut Memory,
    now: Timestamp,
) -> Result<Next, Error> {
    let holder = holder(object);
    let status = read.status.clone().unwrap_or_default();
    let reader = Reader { client: context.client.clone(), namespace: holder.namespace.clone() };
    // What is to be heard of is, before anything is looked at.
    context.listen(object, Some(Interest::of(valid, &status)));
    let seen = observe(&reader, read, valid, &status).await?;
    let fresh_id = fresh_id(read, now);
    let input = Input {
        holder: &holder,
        generation: read.metadata.generation,
        deleting_since: read.metadata.deletion_timestamp.as_ref().map(|time| time.0),
        finalizer: read.finalizers().iter().any(|finalizer| finalizer == FINALIZER),
        spec: valid,
        status: &status,
        seen: &seen,
        looks: &memory.looks,
        contests: &memory.contests,
        now,
        fresh_id: &fresh_id,
    };
    let mut planned = plan(input);
    if planned.next == Next::LookAtPods {
        let with_pods = Observed { pods: Some(reader.pods().await?), ..seen.clone() };
        planned = plan(Input { seen: &with_pods, ..input });
    }
    if !planned.listens {
        context.listen(object, None);
    }
    memory.looks = planned.looks;
    context.count(object, planned.status.phase);
    let read = settle_status(context, read, &planned.status).await?;
    let applier = Applier {
        client: context.client.clone(),
        writer: &context.writer,
        object: &read,
        holder: &holder,
        image: &context.image,
    };
    let mut told = Vec::new();
    let database = valid.database.as_ref();
    let acted = applier.act(planned.actions, database, &mut memory.contests, &mut told).await;
    if !told.is_empty() {
        let reason = "ForeignChange".to_owned();
        publish(context, &read, report::Event { warning: false, reason, note: few(&told) }).await;
    }
    acted?;
    Ok(planned.next)
}

async fn observe(
    reader: &Reader,
    read: &Hibernation,
    valid: &Valid,
    status: &HibernationStatus,
) -> Result<Observed, Error> {
    let deleting = read.metadata.deletion_timestamp.is_some();
    // Then nothing else matters: what can't be seen there keeps nothing.
    if deleting && reader.namespace_deleting().await {
        return Ok(Observed { namespace_deleting: true, ..Observed::default() });
    }
    let waking = status.episode.as_ref().is_some_and(|episode| episode.waking_since.is_some());
    let attempt = status.episode.as_ref().and_then(|episode| episode.attempt.as_ref());
    let truncation = attempt.filter(|attempt| attempt.ended.is_none() || waking || deleting);
    let preflight = status.preflight.as_ref().map(|preflight| &preflight.attempt);
    let preflight = preflight.filter(|attempt| attempt.ended.is_none());
    let job = async |attempt: Option<&crate::api::hibernation::Attempt>| match attempt {
        Some(attempt) => reader.job(&attempt.job).await.map(Some),
        None => Ok(None),
    };
    let ((workloads, config_maps), truncation, preflight) =
        futures::try_join!(reader.subjects(valid, status), job(truncation), job(preflight))?;
    Ok(Observed { workloads, config_maps, preflight, truncation, ..Observed::default() })
}

/// Reads the object. One that does not parse gets a condition, and does not stop the others.
async fn read(object: &ObjectRef<Seen>, context: &Context) -> Result<Option<Hibernation>, Error> {
    let namespace = object.namespace.clone().unwrap_or_default();
    let resource = ApiResource::erase::<Hibernation>(&());
    let api: Api<DynamicObject> =
        Api::namespaced_with(context.client.clone(), &namespace, &resource);
    let Some(raw) = call("the object", api.get_opt(&object.name)).await? else { return Ok(None) };
    match report::parse(&raw) {
        Ok(read) => Ok(Some(read)),
        // What it holds is let go all the same.
        Err(_) if raw.metadata.deletion_timestamp.is_some() => Ok(report::salvage(&raw)),
        Err(error) => {
            context.writer.permitted().map_err(apply::Error::from)?;
            let message = format!("the object can't be read: {error}");
            let now = whole_seconds(Timestamp::now());
            let said = report::invalid(
                &HibernationStatus::default(),
                raw.metadata.generation,
                "Malformed",
                &message,
                now,
            );
            // A merge patch of the conditions alone, so that nothing recorded in the status is lost.
            let patch = json!({"status": {
                "conditions": said.conditions,
                "message": said.message,
            }});
            let params =
                PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
            let known = raw.data.pointer("/status/message").and_then(|m| m.as_str());
            if known != said.message.as_deref() {
                call("the status", api.patch_status(&object.name, &params, &Patch::Merge(&patch)))
                    .await?;
            }
            tracing::warn!(%object, %error, "malformed object");
            Ok(None)
        }
    }
}

/// Writes the status where it differs, and publishes what happened.
async fn settle_status(
    context: &Context,
    read: &Hibernation,
    status: &HibernationStatus,
) -> Result<Hibernation, Error> {
    let before = read.status.clone().unwrap_or_default();
    if before == *status {
        return Ok(read.clone());
    }
    let written = write_status(&context.client, &context.writer, read, status).await?;
    if let Some(done) = &status.truncation
        && before.truncation.as_ref() != Some(done)
    {
        context.metrics.truncated(done.bytes_freed.try_into().unwrap_or_default());
    }
    for event in report::events(&before, status) {
        publish(context, read, event).await;
    }
    Ok(written)
}

/// Logs what happened, and publishes it as an event.
async fn publish(context: &Context, read: &Hibernation, event: report::Event) {
    let object = ObjectRef::from_obj(read);
    tracing::info!(%object, reason = event.reason, note = event.note, "event");
    let event = Event {
        type_: if event.warning { EventType::Warning } else { EventType::Normal },
        reason: event.reason,
        note: Some(shorten(&event.note)),
        action: "Reconcile".to_owned(),
        secondary: None,
    };
    let about = read.object_ref(&());
    let published = context.recorder.publish(&event, &about);
    // An event that is lost is no reason to stop: the status says the same.
    if let Err(error) = call("an event", published).await {
        tracing::warn!(%error, "an event was not published");
    }
}

/// Says in the object that its reconcile fails, where it can be said.
async fn say_so(object: &ObjectRef<Seen>, context: &Context, error: &Error) {
    let Ok(Some(read)) = read(object, context).await else { return };
    let before = read.status.clone().unwrap_or_default();
    let now = whole_seconds(Timestamp::now());
    let said = report::failing(&before, read.metadata.generation, &error.to_string(), now);
    if let Err(error) = settle_status(context, &read, &said).await {
        tracing::debug!(%object, %error, "the failure could not be written into the status");
    }
}

/// Takes the finalizer off an object on its way out that has had its time, where what is answered with a
/// no is answered so again and again: it would be there for ever, and its namespace with it.
async fn let_it_go(object: &ObjectRef<Seen>, context: &Context) {
    let Ok(Some(read)) = read(object, context).await else { return };
    let held_back = read.finalizers().iter().any(|finalizer| finalizer == FINALIZER);
    if !held_back || !had_its_time(&read, Timestamp::now()) {
        return;
    }
    let applier = Applier {
        client: context.client.clone(),
        writer: &context.writer,
        object: &read,
        holder: &holder(object),
        image: &context.image,
    };
    let actions = vec![PlannedAction::RemoveFinalizer];
    match applier.act(actions, None, &mut Contests::default(), &mut Vec::new()).await {
        Ok(()) => tracing::warn!(%object, "it goes as it is; what it holds is left to the sweep"),
        Err(error) => tracing::warn!(%object, %error, "its finalizer could not be removed"),
    }
}

/// Whether an object has been on its way out for longer than it may be: what a deletion may take, and
/// after it a truncation that nobody could look at.
fn had_its_time(read: &Hibernation, now: Timestamp) -> bool {
    let fence = database::TIME_LIMIT + database::CLOCK_MARGIN;
    let limit = Valid::unreadable(&read.spec).deadline.saturating_add(fence);
    let since = read.metadata.deletion_timestamp.as_ref();
    since.is_some_and(|since| now.duration_since(since.0) > limit)
}

/// The object, as a holder.
fn holder(object: &ObjectRef<Seen>) -> Holder {
    Holder {
        kind: Hibernation::kind(&()).into_owned(),
        namespace: object.namespace.clone().unwrap_or_default(),
        name: object.name.clone(),
    }
}

/// When time itself brings a change.
fn next_change(valid: &Valid, now: Timestamp) -> Option<Timestamp> {
    Desired::resolve(&valid.basis, valid.override_.as_ref(), now).next.map(|next| next.at)
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

/// `now` once, at the edge: the API writes whole seconds.
fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// An id for a hibernation that begins now: no two of one object begin in the same second.
fn fresh_id(read: &Hibernation, now: Timestamp) -> String {
    let uid = read.uid().unwrap_or_default();
    crate::hold::lever::digest(&format!("{uid} {now}"))[..8].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

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
