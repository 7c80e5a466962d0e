//! Reads and writes of an object that is looked after, and what is told of it.

use jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{Api, DynamicObject, Patch};
use kube::core::ApiResource;
use kube::runtime::events::{Event as Published, EventType};
use kube::runtime::reflector::ObjectRef;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::context::{Context, Notes};
use super::kind::{Managed, reference};
use super::run::Error;
use crate::api::condition::shorten;
use crate::api::event::Event;
use crate::apiserver::request::{call, patch_params};
use crate::deals::clearance;
use crate::hibernation::plan::{Action, few};
use crate::hibernation::validate::DatabaseEntry;
use crate::hold::lever::digest;
use crate::hold::record::Holder;
use crate::reconcile::apply::{self, Applier, write_status};
use crate::reconcile::market::Market;

/// Reads an object. One that does not parse gets a condition, and does not stop the others.
pub async fn read<K: Managed>(holder: &Holder, context: &Context) -> Result<Option<K>, Error> {
    let resource = ApiResource::erase::<K>(&());
    let api: Api<DynamicObject> =
        Api::namespaced_with(context.client.clone(), &holder.namespace, &resource);
    let Some(raw) = call("the object", api.get_opt(&holder.name)).await? else { return Ok(None) };
    match parse(&raw) {
        Ok(read) => Ok(Some(read)),
        // What it holds is let go all the same.
        Err(_) if raw.metadata.deletion_timestamp.is_some() => Ok(salvage(&raw)),
        Err(error) => {
            context.writer.permitted().map_err(apply::Error::from)?;
            let message = format!("the object can't be read: {error}");
            let now = whole_seconds(Timestamp::now());
            let generation = raw.metadata.generation;
            let said = K::invalid(&K::Status::default(), generation, "Malformed", &message, now);
            let said = serde_json::to_value(&said).map_err(apply::Error::from)?;
            // A merge patch of the conditions alone, so that nothing recorded in the status is lost.
            let patch = json!({"status": {
                "conditions": said["conditions"],
                "message": said["message"],
            }});
            let params = patch_params();
            if raw.data.pointer("/status/message") != said.get("message") {
                call("the status", api.patch_status(&holder.name, &params, &Patch::Merge(&patch)))
                    .await?;
            }
            let object = reference::<K>(holder);
            tracing::warn!(%object, %error, "malformed object");
            Ok(None)
        }
    }
}

/// Reads an object as it was sent.
fn parse<K: DeserializeOwned>(raw: &DynamicObject) -> Result<K, serde_json::Error> {
    serde_json::to_value(raw).and_then(serde_json::from_value)
}

/// What can be read of an object that does not parse and is on its way out: parts of its spec and
/// status, each for itself. What is not there is found from the annotations.
fn salvage<K: DeserializeOwned>(raw: &DynamicObject) -> Option<K> {
    let mut object = DynamicObject { data: json!({"spec": {}, "status": {}}), ..raw.clone() };
    for part in ["spec", "status"] {
        for (key, value) in raw.data[part].as_object().into_iter().flatten() {
            let mut more = object.clone();
            more.data[part][key] = value.clone();
            if parse::<K>(&more).is_ok() {
                object = more;
            }
        }
    }
    parse(&object).ok()
}

/// Writes the status where it differs, and publishes what happened. Returns the object as it is then.
pub async fn settle_status<K: Managed>(
    context: &Context,
    read: &K,
    status: &K::Status,
) -> Result<K, Error> {
    let before = read.status().cloned().unwrap_or_default();
    if before == *status {
        return Ok(read.clone());
    }
    let written = write_status(&context.client, &context.writer, read, status).await?;
    K::measure(&before, status, &context.metrics);
    for event in K::events(&before, status) {
        publish(context, read, event).await;
    }
    Ok(written)
}

/// What a pass has planned.
pub struct Planned<S> {
    /// Written first, where it differs.
    pub status: S,
    /// Then told to the market, in this order.
    pub calls: Vec<clearance::Action>,
    /// Then done in the cluster, in this order.
    pub actions: Vec<Action>,
    /// Whether a change in the namespace may change the plan.
    pub listens: bool,
}

/// Carries out a plan. Returns the object with its status as it was written.
pub async fn carry_out<K: Managed>(
    context: &Context,
    (object, holder): (&K, &Holder),
    planned: Planned<K::Status>,
    market: &Market<'_>,
    database: Option<&DatabaseEntry>,
    notes: &mut Notes,
) -> Result<K, Error> {
    if !planned.listens {
        context.listen(holder, None);
    }
    context.count(K::KIND, holder, K::phase(&planned.status));
    let read = settle_status(context, object, &planned.status).await?;
    market.tell(&planned.calls, &mut notes.market).await;
    let mut told = Vec::new();
    let applier = Applier::new(context, &read, holder);
    let acted = applier.act(planned.actions, database, &mut notes.contests, &mut told).await;
    if !told.is_empty() {
        let reason = "ForeignChange".to_owned();
        publish(context, &read, Event { warning: false, reason, note: few(&told) }).await;
    }
    acted?;
    Ok(read)
}

/// Logs what happened, and publishes it as an event.
pub async fn publish<K: Managed>(context: &Context, read: &K, event: Event) {
    let object = ObjectRef::from_obj(read);
    tracing::info!(%object, reason = event.reason, note = event.note, "event");
    let event = Published {
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

/// `now` once, at the edge: the API writes whole seconds.
pub fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// An id for what begins now: no two of one object begin in the same second.
pub fn fresh_id(object: &impl ResourceExt, now: Timestamp) -> String {
    let uid = object.uid().unwrap_or_default();
    digest(&format!("{uid} {now}"))[..8].to_owned()
}
