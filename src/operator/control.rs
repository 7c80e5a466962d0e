//! The controllers: one for each kind of reconciled object and each watched scope.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::channel::mpsc;
use futures::future::{BoxFuture, join_all};
use futures::{FutureExt, SinkExt, Stream, StreamExt, TryStreamExt};
use jiff::SignedDuration;
use kube::Resource;
use kube::api::Api;
use kube::runtime::controller::{self, Controller};
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{self, Store};
use kube::runtime::{Predicate, PredicateConfig, WatchStreamExt, predicates, watcher};
use tokio::sync::watch;
use tokio::time;

use super::holds::Holds;
use super::sweep;
use super::triggers::{Scope, triggers};
use crate::hold::record::Holder;
use crate::reconcile::context::Context;
use crate::reconcile::kind::{Managed, Metadata, holder, reference};
use crate::reconcile::run::{error_policy, reconcile};

/// How long reconciles under way go on after the shutdown signal: a market that does not answer, or a webhook, may take a minute.
/// What is left then is as after a crash, and the next leader takes it over.
const GRACE: Duration = Duration::from_secs(4);
/// Capacity of the channel of triggers to one controller.
const WAITING: usize = 64;

/// All controllers, and the watches and the sweep that they share.
pub(crate) struct Controllers {
    context: Arc<Context>,
    scopes: Vec<(Scope, Routes)>,
    holds: Holds,
    running: Vec<BoxFuture<'static, ()>>,
    ended: watch::Sender<bool>,
}

impl Controllers {
    /// Creates no controller yet. The sweep releases the holds of a holder that has been missing for the grace
    /// period.
    pub(crate) fn new(context: Arc<Context>, scopes: Vec<Scope>, grace: SignedDuration) -> Self {
        Self {
            context,
            scopes: scopes.into_iter().map(|scope| (scope, Routes::default())).collect(),
            holds: Holds::new(grace),
            running: Vec::new(),
            ended: watch::channel(false).0,
        }
    }

    /// Adds a controller of this kind in each scope.
    #[must_use]
    pub(crate) fn of<K: Managed>(mut self) -> Self {
        for (scope, routes) in &mut self.scopes {
            let api = match &scope.0 {
                None => Api::all(self.context.client.clone()),
                Some(namespace) => Api::namespaced(self.context.client.clone(), namespace),
            };
            let (store, writer) = reflector::store();
            let listed = self.holds.watch::<K>(store.clone());
            let watched = Watched { api, store, writer, again: routes.to::<K>() };
            let end = until(&self.ended);
            self.running.push(controller::<K>(watched, listed, &self.context, end).boxed());
        }
        self
    }

    /// Watches and reconciles until `shutdown`. Reconciles under way finish first, as far as [`GRACE`] allows.
    pub(crate) async fn run(self, shutdown: impl Future<Output = ()>) {
        let Self { context, scopes, holds, mut running, ended } = self;
        let holds = Arc::new(holds);
        for (scope, routes) in scopes {
            let triggers = triggers(&context.client, &scope, &context, &holds);
            let end = until(&ended);
            let follow = async {
                tokio::select! {
                    () = routes.follow(triggers) => {}
                    () = end => {}
                }
            };
            running.push(follow.boxed());
        }
        let sweeping = tokio::spawn(sweep::run(holds, context.clone()));
        let end = until(&ended);
        let overdue = async {
            end.await;
            time::sleep(GRACE).await;
        };
        let shutdown = async {
            shutdown.await;
            context.slots.close();
            ended.send_replace(true);
        };
        let finished = async { futures::join!(join_all(running), shutdown) };
        tokio::select! {
            _ = finished => {}
            () = overdue => tracing::warn!("reconciles still run {GRACE:?} after the shutdown signal; the next leader continues them"),
        }
        sweeping.abort();
    }
}

/// Waits until the controllers are told to stop.
fn until(ended: &watch::Sender<bool>) -> impl Future<Output = ()> + Send + Sync + use<> {
    let mut ended = ended.subscribe();
    async move { drop(ended.wait_for(|ended| *ended).await) }
}

/// The channels of triggers to the controllers of one scope, by kind.
#[derive(Default)]
struct Routes(HashMap<String, mpsc::Sender<Holder>>);

impl Routes {
    /// Creates the channel to the controller of a kind.
    fn to<K: Resource<DynamicType = ()>>(&mut self) -> mpsc::Receiver<Holder> {
        let (sender, receiver) = mpsc::channel(WAITING);
        self.0.insert(K::kind(&()).into_owned(), sender);
        receiver
    }

    /// Sends each trigger to the controller of its kind.
    async fn follow(mut self, triggers: impl Stream<Item = Holder>) {
        let mut triggers = pin!(triggers);
        while let Some(holder) = triggers.next().await {
            if let Some(controller) = self.0.get_mut(&holder.kind) {
                // A stopped controller needs no triggers.
                let _ = controller.send(holder).await;
            }
        }
    }
}

/// The inputs of a controller.
struct Watched<K: Managed> {
    api: Api<Metadata<K>>,
    store: Store<Metadata<K>>,
    writer: Writer<Metadata<K>>,
    /// Objects to reconcile again.
    again: mpsc::Receiver<Holder>,
}

/// Runs the controller of one kind in one scope. Calls `listed` after the first list.
fn controller<K: Managed>(
    watched: Watched<K>,
    listed: impl FnOnce() + Send + 'static,
    context: &Arc<Context>,
    end: impl Future<Output = ()> + Send + 'static,
) -> impl Future<Output = ()> + Send + 'static {
    let Watched { api, store, writer, again } = watched;
    let forgetful = context.clone();
    let mut listed = Some(listed);
    let lists = Arc::new(AtomicBool::new(true));
    let end = end.shared();
    // A kube controller stops only after its first list, but reads no list once it is told to stop. Before
    // the first list no reconcile is under way, so it can be dropped.
    let ends_early = {
        let (end, lists) = (end.clone(), lists.clone());
        async move {
            end.await;
            if !lists.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
        }
    };
    // Most status writes are the operator's own. They change neither generation nor finalizers.
    let changed = watcher(api, watcher::Config::default())
        .default_backoff()
        .modify(|object| object.metadata.managed_fields = None)
        .inspect_ok(move |event| {
            if let watcher::Event::Delete(object) = event {
                forgetful.forget(K::KIND, &holder::<K>(&object.metadata));
            }
        })
        .reflect(writer)
        .inspect_ok(move |event| {
            if matches!(event, watcher::Event::InitDone)
                && let Some(listed) = listed.take()
            {
                lists.store(false, Ordering::Relaxed);
                listed();
            }
        })
        .applied_objects()
        .predicate_filter(
            predicates::generation.combine(predicates::finalizers),
            PredicateConfig::default(),
        );
    let run = Controller::for_stream(changed, store)
        // Unbounded: each reconcile waits for a slot that its namespace has.
        .with_config(controller::Config::default().concurrency(0))
        .reconcile_on(again.map(|holder| reference::<K>(&holder)))
        .graceful_shutdown_on(end)
        .run(reconcile::<K>, error_policy::<K>, context.clone())
        .for_each(|result| {
            if let Err(controller::Error::QueueError(error)) = &result {
                tracing::warn!(kind = %K::kind(&()), %error, "watch failed; watching again");
            }
            std::future::ready(())
        });
    async move {
        tokio::select! {
            () = run => {}
            () = ends_early => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Hibernation, MaintenanceWindow};
    use futures::stream;

    #[tokio::test]
    async fn triggers_reach_the_controller_of_their_kind_and_a_stopped_one_blocks_no_other() {
        let names = |kind: &str| {
            let holder = |number| format!("{kind}/ns/{number}").parse::<Holder>().unwrap();
            (0..2 * WAITING).map(holder).collect::<Vec<_>>()
        };
        let [unknown, ended, running] = ["Unicorn", "Hibernation", "MaintenanceWindow"].map(names);
        let mut routes = Routes::default();
        drop(routes.to::<Hibernation>());
        let receiver = routes.to::<MaintenanceWindow>();
        let all = [unknown, ended, running.clone()].concat();
        let (heard, ()) =
            tokio::join!(receiver.collect::<Vec<_>>(), routes.follow(stream::iter(all)));
        assert_eq!(heard, running);
    }
}
