//! What makes a Hibernation look again: changes of workloads and ConfigMaps in its namespace. Only
//! metadata is watched, and nothing of it is kept.

use std::sync::Arc;

use futures::{Stream, StreamExt, stream};
use kube::api::{Api, DynamicObject, PartialObjectMeta};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Client, ResourceExt};

use super::context::{Context, Seen};
use super::sweep::Sweep;
use crate::hold::lever::Kind;

/// Objects in one page of a watch's first list.
const PAGE: u32 = 500;

/// The namespaces that are watched: all, or those named.
#[derive(Clone, Debug, Default)]
pub struct Scope(pub Vec<String>);

impl Scope {
    /// The APIs to watch: one for the whole cluster, or one for each namespace.
    pub fn apis<T>(&self, all: impl Fn() -> T, namespaced: impl Fn(&str) -> T) -> Vec<T> {
        if self.0.is_empty() {
            vec![all()]
        } else {
            self.0.iter().map(|namespace| namespaced(namespace)).collect()
        }
    }
}

/// Hibernations to look at again, as workloads and ConfigMaps change.
pub fn triggers(
    client: &Client,
    scope: &Scope,
    context: &Arc<Context>,
    sweep: &Arc<Sweep>,
) -> impl Stream<Item = ObjectRef<Seen>> + Send + 'static {
    let streams = Kind::all().flat_map(|kind| {
        let resource = kind.api_resource();
        let apis: Vec<Api<PartialObjectMeta<DynamicObject>>> = scope.apis(
            || Api::all_with(client.clone(), &resource),
            |namespace| Api::namespaced_with(client.clone(), namespace, &resource),
        );
        apis.into_iter().map(move |api| (kind, api))
    });
    let watches: Vec<_> = streams
        .map(|(kind, api)| {
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
) -> Vec<ObjectRef<Seen>> {
    match event {
        Event::Apply(object) | Event::InitApply(object) => {
            sweep.saw(kind, &object.metadata);
            context.changed(&object.namespace().unwrap_or_default())
        }
        Event::Delete(object) => context.changed(&object.namespace().unwrap_or_default()),
        Event::Init | Event::InitDone => Vec::new(),
    }
}
