//! The controllers: one for each kind of object that is looked after and each scope that is watched.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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

use super::sweep::Sweep;
use super::triggers::{Scope, triggers};
use crate::hold::record::Holder;
use crate::reconcile::context::Context;
use crate::reconcile::kind::{Managed, Seen, holder, reference};
use crate::reconcile::run::{error_policy, reconcile};

/// Reconciles at once, of each kind.
const RECONCILES: u16 = 16;
/// Objects that wait to be put into the queue of their controller.
const WAITING: usize = 64;

/// All that is watched and reconciled.
pub struct Controllers {
    context: Arc<Context>,
    scopes: Vec<(Scope, Routes)>,
    sweep: Sweep,
    running: Vec<BoxFuture<'static, ()>>,
    ended: watch::Sender<bool>,
}

impl Controllers {
    /// None yet, in these scopes. What is held by somebody who has been missing for so long is let go.
    pub fn new(context: Arc<Context>, scopes: Vec<Scope>, grace: SignedDuration) -> Self {
        Self {
            context,
            scopes: scopes.into_iter().map(|scope| (scope, Routes::default())).collect(),
            sweep: Sweep::new(grace),
            running: Vec::new(),
            ended: watch::channel(false).0,
        }
    }

    /// Looks after objects of this kind too.
    #[must_use]
    pub fn of<K: Managed>(mut self) -> Self {
        for (scope, routes) in &mut self.scopes {
            let api = match &scope.0 {
                None => Api::all(self.context.client.clone()),
                Some(namespace) => Api::namespaced(self.context.client.clone(), namespace),
            };
            let (store, writer) = reflector::store();
            let listed = self.sweep.watch::<K>(store.clone());
            let watched = Watched { api, store, writer, again: routes.to::<K>() };
            let end = until(&self.ended);
            self.running.push(controller::<K>(watched, listed, &self.context, end).boxed());
        }
        self
    }

    /// Watches and reconciles until `shutdown`; reconciles under way are finished first.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let Self { context, scopes, sweep, mut running, ended } = self;
        let sweep = Arc::new(sweep);
        for (scope, routes) in scopes {
            let triggers = triggers(&context.client, &scope, &context, &sweep);
            let end = until(&ended);
            let follow = async {
                tokio::select! {
                    () = routes.follow(triggers) => {}
                    () = end => {}
                }
            };
            running.push(follow.boxed());
        }
        let sweeping = tokio::spawn(sweep.run(context));
        let shutdown = async {
            shutdown.await;
            ended.send_replace(true);
        };
        futures::join!(join_all(running), shutdown);
        sweeping.abort();
    }
}

/// Waits for the end.
fn until(ended: &watch::Sender<bool>) -> impl Future<Output = ()> + Send + Sync + use<> {
    let mut ended = ended.subscribe();
    async move { drop(ended.wait_for(|ended| *ended).await) }
}

/// Where those are told who have to look again: the controllers of one scope, by kind.
#[derive(Default)]
struct Routes(HashMap<String, mpsc::Sender<Holder>>);

impl Routes {
    /// The way to the controller of a kind.
    fn to<K: Resource<DynamicType = ()>>(&mut self) -> mpsc::Receiver<Holder> {
        let (sender, receiver) = mpsc::channel(WAITING);
        self.0.insert(K::kind(&()).into_owned(), sender);
        receiver
    }

    /// Tells each its own.
    async fn follow(mut self, triggers: impl Stream<Item = Holder>) {
        let mut triggers = pin!(triggers);
        while let Some(holder) = triggers.next().await {
            if let Some(controller) = self.0.get_mut(&holder.kind) {
                // One that has ended looks at nothing any more.
                let _ = controller.send(holder).await;
            }
        }
    }
}

/// What a controller watches.
struct Watched<K: Managed> {
    api: Api<Seen<K>>,
    store: Store<Seen<K>>,
    writer: Writer<Seen<K>>,
    /// Who has to look again.
    again: mpsc::Receiver<Holder>,
}

/// The controller of one kind in one scope. It says when it has listed what there is.
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
    // A controller waits for its list before it ends, and told to end it reads no list any more. Until
    // then nothing is under way that had to be finished.
    let ends_early = {
        let (end, lists) = (end.clone(), lists.clone());
        async move {
            end.await;
            if !lists.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
        }
    };
    // Status writes, most of which are the operator's own, change neither of the two.
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
        .with_config(controller::Config::default().concurrency(RECONCILES))
        .reconcile_on(again.map(|holder| reference::<K>(&holder)))
        .graceful_shutdown_on(end)
        .run(reconcile::<K>, error_policy::<K>, context.clone())
        .for_each(|result| {
            if let Err(controller::Error::QueueError(error)) = &result {
                tracing::warn!(kind = %K::kind(&()), %error, "a watch failed; it is taken up again");
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
    async fn each_hears_of_its_own_kind_and_nobody_waits_for_one_that_has_ended() {
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
