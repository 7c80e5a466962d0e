//! `torpor run`: the operator.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use futures::future::join_all;
use futures::{StreamExt, TryStreamExt};
use jiff::SignedDuration;
use kube::api::Api;
use kube::runtime::controller::{self, Controller};
use kube::runtime::{Predicate, PredicateConfig, WatchStreamExt, predicates, reflector, watcher};
use kube::{Client, Config};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};

use super::admin::{Admin, Readiness};
use super::client;
use super::context::{Context, Seen};
use super::lease::{self, Lease, LeaseParams};
use super::metrics::Metrics;
use super::reconcile::{error_policy, reconcile};
use super::sweep::Sweep;
use super::triggers::{Scope, triggers};
use crate::hold::apply::Permit;
use crate::logging::{self, Format, LoggingError};

/// Reconciles at once.
const RECONCILES: u16 = 16;
/// Shortest claim to lead: within it there must be time for renewing it, and trying that again.
const SHORTEST_LEASE: SignedDuration = SignedDuration::from_secs(3);
/// Longest one. Nobody is to wait for longer for who has crashed.
const LONGEST_LEASE: SignedDuration = SignedDuration::from_hours(1);

/// What the operator is started with.
#[derive(Args, Clone, Debug)]
pub struct RunArgs {
    /// Namespace to watch; may be given several times. Default: all of them
    #[arg(long, env = "TORPOR_WATCH_NAMESPACES", value_delimiter = ',', value_name = "NAMESPACE")]
    pub watch_namespace: Vec<String>,

    /// Namespace of the lease by which one replica leads. Default: the one it runs in
    #[arg(long, env = "POD_NAMESPACE", value_name = "NAMESPACE")]
    pub lease_namespace: Option<String>,

    /// Name of that lease
    #[arg(long, env = "TORPOR_LEASE_NAME", default_value = "torpor", value_name = "NAME")]
    pub lease_name: String,

    /// How long a claim to lead is valid; it is renewed three times as often. Longer: the operator outlasts
    /// an API server that does not answer for longer, and a replica that crashed is followed later
    #[arg(long, env = "TORPOR_LEASE_DURATION", default_value = "15s", value_name = "DURATION",
          value_parser = lease_duration)]
    pub lease_duration: SignedDuration,

    /// Image of the truncation Jobs: this program's own
    #[arg(long, env = "TORPOR_IMAGE", value_name = "IMAGE")]
    pub image: String,

    /// Where /healthz, /readyz and /metrics are served
    #[arg(
        long,
        env = "TORPOR_ADMIN_ADDRESS",
        default_value = "0.0.0.0:8080",
        value_name = "ADDRESS"
    )]
    pub admin_address: SocketAddr,

    /// Writes of holds under way at once: more only add latency
    #[arg(long, env = "TORPOR_WRITES_IN_FLIGHT", default_value_t = 16, value_name = "NUMBER",
          value_parser = clap::value_parser!(u16).range(1..=256))]
    pub writes_in_flight: u16,

    /// How long a holder must be gone before what it held is let go, for example 5m
    #[arg(long, env = "TORPOR_HOLDER_GRACE", default_value = "5m", value_name = "DURATION",
          value_parser = positive)]
    pub holder_grace: SignedDuration,

    /// How log lines are written
    #[arg(long, env = "TORPOR_LOG_FORMAT", value_enum, default_value_t = Format::Json)]
    pub log_format: Format,

    /// What is logged: a level, or a filter such as info,kube=warn. `RUST_LOG` beats it
    #[arg(long, env = "TORPOR_LOG_LEVEL", default_value = "info", value_name = "LEVEL")]
    pub log_level: String,
}

fn positive(text: &str) -> Result<SignedDuration, String> {
    let duration: SignedDuration = text.parse().map_err(|error: jiff::Error| error.to_string())?;
    if duration < SignedDuration::from_secs(1) {
        return Err("write a second or more, for example 5m".to_owned());
    }
    Ok(duration)
}

fn lease_duration(text: &str) -> Result<SignedDuration, String> {
    let duration: SignedDuration = text.parse().map_err(|error: jiff::Error| error.to_string())?;
    let whole = duration.subsec_nanos() == 0;
    if !whole || !(SHORTEST_LEASE..=LONGEST_LEASE).contains(&duration) {
        return Err("write whole seconds from 3s to 1h, for example 15s".to_owned());
    }
    Ok(duration)
}

/// Why the operator ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no cluster to talk to.
    #[error("no cluster: {0}. Set KUBECONFIG, or run it in a cluster with a service account")]
    Config(#[from] kube::config::InferConfigError),
    /// The client could not be made.
    #[error("the client: {0}")]
    Client(#[from] kube::Error),
    /// The address of the admin server is taken, for example.
    #[error("the admin server at {address}: {source}")]
    Admin {
        /// Where it was to listen.
        address: SocketAddr,
        /// What was answered.
        source: std::io::Error,
    },
    /// Shutdown signals could not be listened to.
    #[error("signals: {0}")]
    Signals(std::io::Error),
    /// Logging could not be set up.
    #[error(transparent)]
    Logging(#[from] LoggingError),
    /// Another replica leads now. What this one knows may be old, so that it starts anew.
    #[error("the lease was lost")]
    LeaseLost,
}

/// Runs until it is told to end.
pub async fn run(args: RunArgs) -> Result<(), Error> {
    logging::init(args.log_format, &args.log_level, std::env::var("RUST_LOG").ok().as_deref())?;
    let mut config = Config::infer().await?;
    config.connect_timeout = Some(Duration::from_secs(10));
    let namespace = args.lease_namespace.clone().unwrap_or(config.default_namespace.clone());
    let shutdown = Shutdown::listen().map_err(Error::Signals)?;

    let metrics = Arc::new(Metrics::new());
    let ready = Readiness::default();
    let admin = Admin::bind(args.admin_address, ready.clone(), metrics.clone())
        .await
        .map_err(|source| Error::Admin { address: args.admin_address, source })?;
    // Served to the last, so that an orderly end is not taken for a hang.
    let admin = tokio::spawn(admin.serve(std::future::pending()));

    let name = std::env::var("POD_NAME").or_else(|_| std::env::var("HOSTNAME"));
    let (lease, claim) = Lease::new(
        client::plain(config.clone())?,
        LeaseParams {
            namespace,
            name: args.lease_name.clone(),
            identity: lease::identity(name.as_deref().unwrap_or("torpor")),
            duration: args.lease_duration.unsigned_abs(),
            renew_every: args.lease_duration.unsigned_abs() / 3,
        },
    );
    let permit: Permit = {
        let claim = claim.clone();
        Arc::new(move || claim.check().is_ok())
    };
    let client = client::permitted(config, permit.clone())?;
    let (end_lease, lease_ends) = oneshot::channel::<()>();
    let lease = tokio::spawn(lease.run(async { drop(lease_ends.await) }));

    // Whoever waits for the lease is ready to take it.
    ready.set(true);
    let led = tokio::select! {
        leads = claim.acquired() => leads.is_ok(),
        () = shutdown.asked() => false,
    };
    let mut result = Ok(());
    if led {
        metrics.set_leader(true);
        let lost = {
            let claim = claim.clone();
            async move { claim.lost().await }
        };
        let (asked, end) = (shutdown.clone(), async move {
            tokio::select! {
                () = shutdown.asked() => {}
                () = lost => {}
            }
        });
        control(&client, &args, permit, &metrics, end).await;
        metrics.set_leader(false);
        if !asked.was_asked() {
            result = Err(Error::LeaseLost);
        }
    }
    ready.set(false);
    // The task may have ended by itself.
    let _ = end_lease.send(());
    // Its own calls have timeouts.
    drop(lease.await);
    admin.abort();
    result
}

/// SIGTERM and SIGINT.
#[derive(Clone)]
struct Shutdown(watch::Receiver<bool>);

impl Shutdown {
    fn listen() -> std::io::Result<Self> {
        let (sender, receiver) = watch::channel(false);
        let mut term = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::spawn(async move {
            tokio::select! {
                _ = term.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!("ending");
            sender.send_replace(true);
            sender.closed().await;
        });
        Ok(Self(receiver))
    }

    async fn asked(&self) {
        drop(self.0.clone().wait_for(|asked| *asked).await);
    }

    fn was_asked(&self) -> bool {
        *self.0.borrow()
    }
}

/// Watches and reconciles until `shutdown`; reconciles under way are finished first.
async fn control(
    client: &Client,
    args: &RunArgs,
    permit: Permit,
    metrics: &Arc<Metrics>,
    shutdown: impl Future<Output = ()> + Send + Sync + 'static,
) {
    let in_flight = args.writes_in_flight.into();
    let context =
        Context::new(client.clone(), permit, args.image.clone(), in_flight, metrics.clone());
    let scopes = Scope::all(&args.watch_namespace);
    let sweep = Arc::new(Sweep::new(args.holder_grace, scopes.len()));
    let (ended, end) = watch::channel(false);
    let mut stores = Vec::new();
    let mut controllers = Vec::new();
    for scope in scopes {
        let (store, writer) = reflector::store();
        stores.push(store.clone());
        let mut end = end.clone();
        let end = async move { drop(end.wait_for(|ended| *ended).await) };
        controllers.push(controller(client, &scope, &context, &sweep, store, writer, end));
    }
    let sweeping = tokio::spawn(sweep.clone().run(context.clone(), stores));
    let shutdown = async {
        shutdown.await;
        ended.send_replace(true);
    };
    futures::join!(join_all(controllers), shutdown);
    sweeping.abort();
}

/// The controller of one scope.
fn controller<E: Future<Output = ()> + Send + Sync + 'static>(
    client: &Client,
    scope: &Scope,
    context: &Arc<Context>,
    sweep: &Arc<Sweep>,
    store: reflector::Store<Seen>,
    writer: reflector::store::Writer<Seen>,
    end: E,
) -> impl Future<Output = ()> + use<E> {
    let api = match &scope.0 {
        None => Api::<Seen>::all(client.clone()),
        Some(namespace) => Api::<Seen>::namespaced(client.clone(), namespace),
    };
    let forgetful = context.clone();
    let mut sweeping = Some(sweep.clone());
    // Status writes, most of which are the operator's own, change neither of the two.
    let changed = watcher(api, watcher::Config::default())
        .default_backoff()
        .modify(|object| object.metadata.managed_fields = None)
        .inspect_ok(move |event| {
            if let watcher::Event::Delete(object) = event {
                forgetful.forget(&reflector::ObjectRef::from_obj(object));
            }
        })
        .reflect(writer)
        .inspect_ok(move |event| {
            if matches!(event, watcher::Event::InitDone)
                && let Some(sweep) = sweeping.take()
            {
                sweep.listed();
            }
        })
        .applied_objects()
        .predicate_filter(
            predicates::generation.combine(predicates::finalizers),
            PredicateConfig::default(),
        );
    Controller::for_stream(changed, store)
        .with_config(controller::Config::default().concurrency(RECONCILES))
        .reconcile_on(triggers(client, scope, context, sweep))
        .graceful_shutdown_on(end)
        .run(reconcile, error_policy, context.clone())
        .for_each(|result| {
            if let Err(controller::Error::QueueError(error)) = &result {
                tracing::warn!(%error, "a watch of Hibernations failed; it is taken up again");
            }
            std::future::ready(())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_has_whole_seconds_enough_to_renew_it_in_and_no_more_than_an_hour() {
        assert_eq!(lease_duration("15s"), Ok(SignedDuration::from_secs(15)));
        assert_eq!(lease_duration("3s"), Ok(SHORTEST_LEASE));
        assert_eq!(lease_duration("1h"), Ok(LONGEST_LEASE));
        for wrong in ["2s", "-15s", "15500ms", "61m", "15", ""] {
            assert!(lease_duration(wrong).is_err(), "{wrong}");
        }
    }
}
