//! Watches of workloads and ConfigMaps. Each change triggers a reconcile of the objects that it concerns. The
//! watches deliver metadata only, keep none of it, and are shared by all kinds of objects.

use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use kube::Client;
use kube::api::{Api, DynamicObject, PartialObjectMeta};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use tokio::sync::Semaphore;
use tokio::time;

use super::holds::Holds;
use crate::apiserver::definitions;
use crate::hold::lever::Kind;
use crate::hold::record::Holder;
use crate::reconcile::context::Context;

/// Page size of a watch's first list. A page is in memory as a whole, and each object may have 256 KiB of
/// annotations.
const PAGE: u32 = 25;

/// Time until the API server is asked again whether it serves a kind of the table.
const UNTIL_SERVED: Duration = Duration::from_secs(15);

/// A watched scope: one namespace, or the whole cluster (None).
#[derive(Clone, Debug)]
pub(crate) struct Scope(pub(crate) Option<String>);

impl Scope {
    /// Returns one scope for each namespace, or the whole cluster if the list is empty. Each scope has stores
    /// of its own, because each watch fills one store.
    pub(crate) fn all(namespaces: &[String]) -> Vec<Self> {
        if namespaces.is_empty() {
            return vec![Self(None)];
        }
        namespaces.iter().map(|namespace| Self(Some(namespace.clone()))).collect()
    }
}

/// Returns a stream of the objects to reconcile, as workloads and ConfigMaps change.
pub(crate) fn triggers(
    client: &Client,
    scope: &Scope,
    context: &Arc<Context>,
    holds: &Arc<Holds>,
) -> impl Stream<Item = Holder> + Send + 'static {
    // The first lists come one after the other, and each leaves the memory of its pages to the next.
    let turn = Arc::new(Semaphore::new(1));
    let watches: Vec<_> = Kind::all()
        .map(|kind| {
            let resource = kind.api_resource();
            let api: Api<PartialObjectMeta<DynamicObject>> = match &scope.0 {
                None => Api::all_with(client.clone(), &resource),
                Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
            };
            let config = watcher::Config::default().page_size(PAGE);
            let (context, holds) = (context.clone(), holds.clone());
            let (again, turn) = (context.clone(), turn.clone());
            let namespace = scope.0.clone();
            // A kind of the table may not be served yet, and keeps no other back.
            let served = until_served(client.clone(), kind);
            let served = stream::once(served).flat_map(move |waited| {
                let naming =
                    if waited { again.naming(kind, namespace.as_deref()) } else { Vec::new() };
                stream::iter(naming)
            });
            let watched = stream::once(turn.acquire_owned())
                .flat_map(move |turn| {
                    let mut turn = turn.ok();
                    watch(api.clone(), config.clone()).default_backoff().inspect(move |event| {
                        if matches!(event, Ok(Event::InitDone) | Err(_)) {
                            drop(turn.take());
                        }
                    })
                })
                .flat_map(move |event| {
                    let concerned = match event {
                        Ok(event) => concerned_by(kind, event, &context, &holds),
                        Err(error) => {
                            tracing::warn!(kind = kind.name, %error, "watch failed; watching again");
                            Vec::new()
                        }
                    };
                    stream::iter(concerned)
                });
            served.chain(watched).boxed()
        })
        .collect();
    stream::select_all(watches)
}

/// Waits until the API server serves a kind of the table. Returns whether that took a while. The question is rare, and
/// is asked only until then.
async fn until_served(client: Client, kind: &'static Kind) -> bool {
    if kind.entry.is_none() {
        return false;
    }
    let mut waited = false;
    loop {
        match definitions::serves(&client, &kind.api_version(), kind.plural).await {
            Ok(true) if waited => {
                tracing::info!(kind = kind.name, "the cluster serves the kind now");
                return true;
            }
            Ok(true) => return false,
            Ok(false) => {}
            Err(error) => tracing::debug!(kind = kind.name, %error, "the kind was not looked for"),
        }
        waited = true;
        time::sleep(UNTIL_SERVED).await;
    }
}

/// Registers a change. Returns the objects that it concerns.
fn concerned_by(
    kind: &'static Kind,
    event: Event<PartialObjectMeta<DynamicObject>>,
    context: &Context,
    holds: &Holds,
) -> Vec<Holder> {
    match event {
        Event::Apply(object) | Event::InitApply(object) => {
            let holders = holds.observed(kind, &object.metadata);
            context.changed(kind, &object.metadata, &holders)
        }
        Event::Delete(object) => {
            holds.deleted(kind, &object.metadata);
            context.changed(kind, &object.metadata, &[])
        }
        Event::Init | Event::InitDone => Vec::new(),
    }
}
