//! Waits for states of objects, by watches.

use std::{collections::BTreeMap, fmt::Debug, pin::pin, time::Duration};

use futures::StreamExt;
use kube::{
    Api, Resource, ResourceExt,
    runtime::watcher::{self, Event, watcher},
};
use serde::{Serialize, de::DeserializeOwned};

pub(crate) use super::shared::wait::{TIMEOUT, poll, try_poll};

/// A kind that can be watched.
pub(crate) trait Watched:
    Resource + Clone + DeserializeOwned + Serialize + Debug + Send + 'static
{
}
impl<K: Resource + Clone + DeserializeOwned + Serialize + Debug + Send + 'static> Watched for K {}

/// Returns the object of this name as soon as it exists and `holds` is true for it.
pub(crate) async fn until<K: Watched>(
    api: &Api<K>,
    name: &str,
    what: &str,
    mut holds: impl FnMut(&K) -> bool,
) -> K {
    let objects = until_all(
        api,
        watcher::Config::default().fields(&format!("metadata.name={name}")),
        &format!("{name}: {what}"),
        |objects| objects.iter().any(&mut holds),
    )
    .await;
    objects.into_iter().next().expect("an object holds, so there is one")
}

/// Returns as soon as there is no object of this name.
pub(crate) async fn until_gone<K: Watched>(api: &Api<K>, name: &str) {
    until_all(
        api,
        watcher::Config::default().fields(&format!("metadata.name={name}")),
        &format!("{name}: gone"),
        <[K]>::is_empty,
    )
    .await;
}

/// Returns the watched objects, ordered by name, as soon as `holds` is true for all of them
/// together.
pub(crate) async fn until_all<K: Watched>(
    api: &Api<K>,
    config: watcher::Config,
    what: &str,
    mut holds: impl FnMut(&[K]) -> bool,
) -> Vec<K> {
    let mut last = Vec::new();
    let watch = async {
        let mut events = pin!(watcher(api.clone(), config));
        let (mut objects, mut listed) = (BTreeMap::new(), false);
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Init) => {
                    objects.clear();
                    listed = false;
                }
                Ok(Event::InitApply(object) | Event::Apply(object)) => {
                    objects.insert(object.name_any(), object);
                }
                Ok(Event::Delete(object)) => {
                    objects.remove(&object.name_any());
                }
                Ok(Event::InitDone) => listed = true,
                Err(error) => eprintln!("waiting for {what}: {error}"),
            }
            if listed {
                last = objects.values().cloned().collect();
                if holds(&last) {
                    return;
                }
            }
        }
        panic!("the watch for {what} ended");
    };
    if tokio::time::timeout(TIMEOUT, watch).await.is_err() {
        let seen: Vec<_> = last.iter().map(shown).collect();
        panic!("waited {TIMEOUT:?} in vain for {what}. Last seen:\n{}", seen.join("\n"));
    }
    last
}

/// Watches for `long`, and panics if the forbidden state occurs.
pub(crate) async fn never_within<K: Watched>(
    api: &Api<K>,
    config: watcher::Config,
    long: Duration,
    what: &str,
    happens: impl FnMut(&[K]) -> bool,
) {
    if let Ok(objects) = tokio::time::timeout(long, until_all(api, config, what, happens)).await {
        let seen: Vec<_> = objects.iter().map(shown).collect();
        panic!("it must not be that {what}, and it is:\n{}", seen.join("\n"));
    }
}

/// Returns an object as text, without its managedFields.
fn shown<K: Watched>(object: &K) -> String {
    let mut value = serde_json::to_value(object).unwrap_or_default();
    if let Some(metadata) = value.get_mut("metadata").and_then(|m| m.as_object_mut()) {
        metadata.remove("managedFields");
    }
    serde_json::to_string_pretty(&value).unwrap_or_default()
}
