//! The sweep: it releases the holds of a holder that does not exist any more, and finishes releases that
//! nobody else finishes. It is the last line behind the finalizer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use kube::api::{Api, DynamicObject, ListParams, PartialObjectMeta};
use kube::runtime::events::{Event, EventType};
use kube::{Resource, ResourceExt};

use super::holds::{Held, Holds, Missing};
use crate::api::Hibernation;
use crate::api::condition::shorten;
use crate::api::reason::Reason;
use crate::apiserver::request::call;
use crate::hold::lever::Kind;
use crate::hold::plan::{Decision, Desired, decide, hand_back_ownership};
use crate::hold::subject::Subject;
use crate::hold::writer::{Manner, Outcome};
use crate::reconcile::apply;
use crate::reconcile::context::Context;
use crate::transition::attempt;
use crate::transition::missed::skips_before;

/// Interval of the sweep. A sweep that finds nothing makes no request.
const EVERY: Duration = Duration::from_secs(15);

/// Sweeps for as long as the operator runs.
pub(crate) async fn run(holds: Arc<Holds>, context: Arc<Context>) {
    let mut every = tokio::time::interval(EVERY.min(holds.grace.unsigned_abs()));
    loop {
        every.tick().await;
        if !holds.all_listed() {
            continue;
        }
        for (held, uid, note) in holds.new_copies() {
            publish_copy(&context, &held, &uid, note).await;
        }
        for held in holds.left_unfinished(Timestamp::now()) {
            if let Err(error) = write(&holds, &context, &held, hand_back_ownership).await {
                tracing::warn!(?held, %error, "finishing a release failed; the next sweep retries");
            }
        }
        for (missing, objects) in holds.overdue(Timestamp::now()) {
            if let Err(error) = release(&holds, &context, &missing, objects).await {
                let holder = &missing.0;
                tracing::warn!(%holder, %error, "releasing the holds of a missing holder failed; the next sweep retries");
            }
        }
    }
}

/// Releases the objects of a missing holder, unless the API server still knows the holder.
async fn release(
    holds: &Holds,
    context: &Context,
    missing: &Missing,
    objects: BTreeSet<Held>,
) -> Result<(), apply::Error> {
    let (holder, namespace) = missing;
    let Some(resource) = holds.resource_of(holder) else { return Ok(()) };
    let api: Api<DynamicObject> =
        Api::namespaced_with(context.client.clone(), &holder.namespace, resource);
    if holder.namespace == *namespace
        && call(holder.to_string(), api.get_metadata_opt(&holder.name)).await?.is_some()
    {
        holds.not_missing(missing);
        return Ok(());
    }
    if may_truncate(holds, context, missing).await? {
        return Ok(());
    }
    tracing::info!(%holder, objects = objects.len(), "holder does not exist any more; releasing its holds");
    for held in objects {
        // An object that cannot be released yet does not delay the others.
        let wants = BTreeMap::new();
        let release = |subject: &Subject| {
            let record = subject.found.record();
            if record.is_none_or(|record| record.holdings(holder).all(|(_, h)| h.kept)) {
                return Decision::Unchanged;
            }
            decide(subject, &Desired { holder, episode: "", wants: &wants, remembered: None })
        };
        if let Err(error) = write(holds, context, &held, release).await {
            tracing::warn!(%holder, ?held, %error, "releasing an object failed; the next sweep retries");
        }
    }
    Ok(())
}

/// Returns whether a truncation of a missing Hibernation may still commit: its Job is deleted with it, but
/// a pod may run on until the fence. Until then the held objects stay down.
async fn may_truncate(
    holds: &Holds,
    context: &Context,
    missing: &Missing,
) -> Result<bool, apply::Error> {
    let fence = attempt::TIME_LIMIT + attempt::CLOCK_MARGIN;
    let (holder, namespace) = missing;
    if holder.kind != Hibernation::kind(&())
        || holds
            .missing_since(missing)
            .is_none_or(|since| Timestamp::now().duration_since(since) > fence)
    {
        return Ok(false);
    }
    let pods: Api<Pod> = Api::namespaced(context.client.clone(), namespace);
    let running = ListParams::default()
        .labels("torpor.dev/job=truncation")
        .fields("status.phase!=Succeeded,status.phase!=Failed");
    let running = call("pods", pods.list_metadata(&running)).await?;
    let of = |pod: &PartialObjectMeta<Pod>| pod.labels().get("torpor.dev/hibernation").cloned();
    Ok(running.items.iter().any(|pod| of(pod).as_ref() == Some(&holder.name)))
}

/// Publishes an Event about an object with the record of another one.
async fn publish_copy(context: &Context, held: &Held, uid: &str, note: String) {
    let Some(kind) = Kind::any(held.kind) else { return };
    tracing::warn!(?held, note, "an object has the record of another one");
    let event = Event {
        type_: EventType::Warning,
        reason: Reason::RecordCopied.to_string(),
        note: Some(shorten(&note)),
        action: "Sweep".to_owned(),
        secondary: None,
    };
    let about = ObjectReference {
        api_version: Some(kind.api_resource().api_version),
        kind: Some(kind.name.to_owned()),
        namespace: Some(held.namespace.clone()),
        name: Some(held.name.clone()),
        uid: Some(uid.to_owned()),
        ..ObjectReference::default()
    };
    if let Err(error) = call("Events", context.recorder.publish(&event, &about)).await {
        tracing::warn!(%error, "an Event was not published");
    }
}

/// Reads an object, and writes the decision about it.
async fn write(
    holds: &Holds,
    context: &Context,
    held: &Held,
    decide: impl Fn(&Subject) -> Decision,
) -> Result<(), apply::Error> {
    let Some(kind) = Kind::any(held.kind) else { return Ok(()) };
    let api: Api<DynamicObject> =
        Api::namespaced_with(context.client.clone(), &held.namespace, &kind.api_resource());
    let read = call(format!("{} {}", held.kind, held.name), api.get_opt(&held.name)).await?;
    let Some(object) = read else {
        // A watch that reconnects lists existing objects, and does not report deleted ones.
        holds.forget(held);
        return Ok(());
    };
    if let Some(subject) = Subject::read(kind, &object, []) {
        let manner = Manner {
            skip_runs_before: skips_before(&subject, Timestamp::now()),
            ..Manner::default()
        };
        if let Outcome::Altered(altered) = context.writer.write(&subject, manner, decide).await? {
            tracing::warn!(?held, %altered, "an object is not released; the next sweep retries");
        }
    }
    Ok(())
}
