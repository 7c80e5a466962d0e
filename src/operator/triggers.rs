//! What makes an object look again: changes of workloads and ConfigMaps in its namespace. Only
//! metadata is watched, and nothing of it is kept. What is watched is watched once for all kinds.

use std::sync::Arc;

use futures::{Stream, StreamExt, stream};
use kube::Client;
use kube::api::{Api, DynamicObject, PartialObjectMeta};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};

use super::sweep::Sweep;
use crate::hold::lever::Kind;
use crate::hold::record::Holder;
use crate::reconcile::context::Context;

/// Objects in one page of a watch's first list.
const PAGE: u32 = 500;

/// What is watched: the whole cluster, or one namespace.
#[derive(Clone, Debug)]
pub struct Scope(pub Option<String>);

impl Scope {
    /// The whole cluster where no namespace is named; else one scope each, as each watch fills a
    /// store of its own.
    pub fn all(namespaces: &[String]) -> Vec<Self> {
        if namespaces.is_empty() {
            return vec![Self(None)];
        }
        namespaces.iter().map(|namespace| Self(Some(namespace.clone()))).collect()
    }
}

/// Those who have to look again, as workloads and ConfigMaps change.
pub fn triggers(
    client: &Client,
    scope: &Scope,
    context: &Arc<Context>,
    sweep: &Arc<Sweep>,
) -> impl Stream<Item = Holder> + Send + 'static {
    let watches: Vec<_> = Kind::all()
        .map(|kind| {
            let resource = kind.api_resource();
            let api: Api<PartialObjectMeta<DynamicObject>> = match &scope.0 {
                None => Api::all_with(client.clone(), &resource),
                Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
            };
            let config = watcher::Config::default().page_size(PAGE);
            let (context, sweep) = (context.clone(), sweep.clone());
            watch(api, config)
                .default_backoff()
                .flat_map(move |event| {
                    let heard = match event {
                        Ok(event) => hear(kind, event, &context, &sweep),
                        Err(error) => {
                            tracing::warn!(kind = kind.name, %error, "a watch failed; it is taken up again");
                            Vec::new()
                        }
                    };
                    stream::iter(heard)
                })
                .boxed()
        })
        .collect();
    stream::select_all(watches)
}

fn hear(
    kind: &'static Kind,
    event: Event<PartialObjectMeta<DynamicObject>>,
    context: &Context,
    sweep: &Sweep,
) -> Vec<Holder> {
    match event {
        Event::Apply(object) | Event::InitApply(object) => {
            let holders = sweep.saw(kind, &object.metadata);
            context.changed(kind, &object.metadata, &holders)
        }
        Event::Delete(object) => {
            sweep.gone(kind, &object.metadata);
            context.changed(kind, &object.metadata, &[])
        }
        Event::Init | Event::InitDone => Vec::new(),
    }
}
