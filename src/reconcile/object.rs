//! Reads an object, writes its status, publishes its Events.

use jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{Api, DynamicObject, Patch};
use kube::core::ApiResource;
use kube::runtime::events::{Event as Published, EventType};
use kube::runtime::reflector::ObjectRef;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::apply;
use super::context::Context;
use super::error::Error;
use super::kind::{InvalidSpec, Managed, reference};
use crate::api::condition::{Conditions, shorten};
use crate::api::definition::NEVER_OBSERVED;
use crate::api::event::Event;
use crate::api::reason::Reason;
use crate::api::text::few;
use crate::apiserver::request::{call, patch_params};
use crate::hold::lever::digest;
use crate::hold::record::Holder;

/// Reads an object. One that does not parse gets a condition, and does not stop the others.
pub async fn read<K: Managed>(holder: &Holder, context: &Context) -> Result<Option<K>, Error> {
    let resource = ApiResource::erase::<K>(&());
    let api: Api<DynamicObject> =
        Api::namespaced_with(context.client.clone(), &holder.namespace, &resource);
    let Some(raw) = call(holder.to_string(), api.get_opt(&holder.name)).await? else {
        return Ok(None);
    };
    match parse(&raw) {
        Ok(object) => Ok(Some(object)),
        // Its holds are released all the same.
        Err(_) if raw.metadata.deletion_timestamp.is_some() => Ok(salvage(&raw)),
        Err(error) => {
            report_malformed::<K>(holder, &api, &raw, &error).await?;
            Ok(None)
        }
    }
}

/// Writes the conditions of an object that does not parse by a merge patch of them alone, so that nothing
/// that the status records is lost.
async fn report_malformed<K: Managed>(
    holder: &Holder,
    api: &Api<DynamicObject>,
    raw: &DynamicObject,
    error: &serde_json::Error,
) -> Result<(), Error> {
    let message =
        format!("{holder} does not parse: {error}; install the CRDs of the operator's version");
    let malformed = InvalidSpec { reason: Reason::Malformed, message };
    let now = whole_seconds(Timestamp::now());
    let generation = raw.metadata.generation;
    let status = invalid_status::<K>(K::Status::default(), generation, &malformed, now);
    let status = serde_json::to_value(&status).map_err(apply::Error::from)?;
    let patch = json!({"status": {
        "conditions": status["conditions"],
        "message": status["message"],
    }});
    if raw.data.pointer("/status/message") != status.get("message") {
        let patch = Patch::Merge(&patch);
        let params = patch_params();
        let sent = api.patch_status(&holder.name, &params, &patch);
        call(holder.to_string(), sent).await?;
    }
    tracing::warn!(object = %reference::<K>(holder), %error, "malformed object");
    Ok(())
}

/// Returns the status of an object whose spec is not valid. Everything else that it records stays.
pub fn invalid<K: Managed>(object: &K, error: &InvalidSpec, now: Timestamp) -> K::Status {
    let status = object.status().cloned().unwrap_or_default();
    invalid_status::<K>(status, object.meta().generation, error, now)
}

fn invalid_status<K: Managed>(
    mut status: K::Status,
    generation: Option<i64>,
    error: &InvalidSpec,
    now: Timestamp,
) -> K::Status {
    let common = K::common(&mut status);
    *common.observed_generation = generation;
    *common.message = Some(shorten(&error.message));
    Conditions::new(common.conditions, generation, now).stalled(&error.reason, &error.message);
    status
}

/// Returns the status of an object whose reconcile fails. Everything else that it records stays.
pub fn failing<K: Managed>(object: &K, message: &str, now: Timestamp) -> K::Status {
    let mut status = object.status().cloned().unwrap_or_default();
    let common = K::common(&mut status);
    *common.message = Some(shorten(message));
    Conditions::new(common.conditions, object.meta().generation, now).failing(message);
    status
}

/// Parses an object. One that was never observed has no `observedGeneration`.
fn parse<K: DeserializeOwned>(raw: &DynamicObject) -> Result<K, serde_json::Error> {
    let mut object = serde_json::to_value(raw)?;
    if object["status"]["observedGeneration"] == NEVER_OBSERVED {
        object["status"] = json!({});
    }
    serde_json::from_value(object)
}

/// Returns the parts of spec and status that parse, of an object that does not and is being deleted. The
/// annotations of its holds tell the rest.
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

/// Writes the status where it differs, and publishes the Events. Returns the object as it is then.
pub async fn write_status<K: Managed>(
    context: &Context,
    object: &K,
    status: &K::Status,
) -> Result<K, Error> {
    let none = K::Status::default();
    let before = object.status().unwrap_or(&none);
    if before == status {
        return Ok(object.clone());
    }
    let written = patch_status(context, object, before, status).await?;
    K::measure(before, status, &context.metrics);
    for event in K::events(before, status) {
        publish(context, object, event).await;
    }
    Ok(written)
}

/// Patches the changes of a status. An apply would leave behind fields that somebody else has written
/// there too, as a restore from a backup does, and half of a status is not valid. A conflict means that the
/// object was changed since it was read: then nothing of the plan is done.
async fn patch_status<K: Managed>(
    context: &Context,
    object: &K,
    before: &K::Status,
    status: &K::Status,
) -> Result<K, Error> {
    let before = serde_json::to_value(before).map_err(apply::Error::from)?;
    let after = serde_json::to_value(status).map_err(apply::Error::from)?;
    let patch = json!({
        "metadata": {"resourceVersion": object.resource_version()},
        "status": difference(&before, after),
    });
    let namespace = object.namespace().unwrap_or_default();
    let api: Api<K> = Api::namespaced(context.client.clone(), &namespace);
    let (name, patch) = (object.name_any(), Patch::Merge(&patch));
    Ok(call("the status", api.patch_status(&name, &patch_params(), &patch)).await?)
}

/// Returns the merge patch (RFC 7386) that makes one document of another. Neither has nulls. By hand:
/// a library would also have to know that an equal value must not be sent.
fn difference(before: &Value, after: Value) -> Value {
    let (Value::Object(before), Value::Object(after)) = (before, &after) else { return after };
    let mut patch = serde_json::Map::new();
    for key in before.keys().filter(|key| !after.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    for (key, value) in after {
        match before.get(key) {
            Some(same) if same == value => {}
            Some(old) => {
                patch.insert(key.clone(), difference(old, value.clone()));
            }
            None => {
                patch.insert(key.clone(), value.clone());
            }
        }
    }
    Value::Object(patch)
}

/// Publishes one Event about the foreign changes that an iteration found, if there are any.
pub async fn publish_foreign<K: Managed>(context: &Context, object: &K, foreign: &[String]) {
    if !foreign.is_empty() {
        publish(context, object, Event::normal(&Reason::ForeignChange, few(foreign))).await;
    }
}

/// Logs and publishes an Event. The status says the same, so that a lost Event stops nothing.
async fn publish<K: Managed>(context: &Context, read: &K, event: Event) {
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
    if let Err(error) = call("Events", published).await {
        tracing::warn!(%error, "an Event was not published");
    }
}

/// Returns the time in whole seconds, as the API writes it. Called once, at the edge.
pub fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// Returns the id of an episode that begins now. No two of one object begin in the same second.
pub fn fresh_id(object: &impl ResourceExt, now: Timestamp) -> String {
    let uid = object.uid().unwrap_or_default();
    digest(&format!("{uid} {now}"))[..8].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_says_what_has_changed_and_what_is_gone() {
        let before = json!({"phase": "Waking", "counts": {"held": 1, "down": 1}, "list": [1, 2]});
        let after =
            json!({"phase": "Awake", "counts": {"held": 1, "down": 0}, "list": [2], "new": {}});
        let patch = json!({"phase": "Awake", "counts": {"down": 0}, "list": [2], "new": {}});
        assert_eq!(difference(&before, after.clone()), patch);
        assert_eq!(
            difference(&before, json!({"list": [1, 2]})),
            json!({"phase": null, "counts": null})
        );
        assert_eq!(difference(&after, after.clone()), json!({}));
    }
}
