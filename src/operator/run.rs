//! `torpor run`: the operator.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use futures::StreamExt;
use kube::api::Api;
use kube::runtime::controller::{self, Controller};
use kube::runtime::{Predicate, WatchStreamExt, predicates, reflector, watcher};
use kube::{Client, Config};

use super::context::{Context, Seen};
use super::reconcile::{error_policy, reconcile};
use super::sweep::Sweep;
use super::triggers::{Scope, triggers};
use crate::hold::apply::Permit;

/// Reconciles at once.
const RECONCILES: u16 = 16;

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

    /// Image of the truncation Jobs: this program's own
    #[arg(long, env = "TORPOR_IMAGE", value_name = "IMAGE")]
    pub image: String,

    /// Where /healthz, /readyz and /metrics are served
    #[arg(long, env = "TORPOR_ADMIN_ADDRESS", default_value = "0.0.0.0:8080", value_name = "ADDRESS")]
    pub admin_address: SocketAddr,

    /// Writes of holds under way at once: more only add latency
    #[arg(long, env = "TORPOR_WRITES_IN_FLIGHT", default_value_t = 16, value_name = "NUMBER",
          value_parser = clap::value_parser!(u16).range(1..=256))]
    pub writes_in_flight: u16,
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
    /// Shutdown signals could not be listened to.
    #[error("signals: {0}")]
    Signals(#[from] std::io::Error),
}

/// Runs until it is told to end.
pub async fn run(args: RunArgs) -> Result<(), Error> {
    let mut config = Config::infer().await?;
    config.connect_timeout = Some(Duration::from_secs(10));
    let client = Client::try_from(config)?;
    let permit: Permit = Arc::new(|| true);
    control(client, &args, permit, std::future::pending()).await;
    Ok(())
}

/// Watches and reconciles until `shutdown`; reconciles under way are finished first.
async fn control(
    client: Client,
    args: &RunArgs,
    permit: Permit,
    shutdown: impl Future<Output = ()> + Send + Sync + 'static,
) {
    let scope = Scope(args.watch_namespace.clone());
    let context =
        Context::new(client.clone(), permit, args.image.clone(), args.writes_in_flight.into());
    let sweep = Arc::new(Sweep::default());
    let (store, writer) = reflector::store();
    let objects = scope.apis(
        || Api::<Seen>::all(client.clone()),
        |namespace| Api::<Seen>::namespaced(client.clone(), namespace),
    );
    let watches = objects
        .into_iter()
        .map(|api| watcher(api, watcher::Config::default()).default_backoff().boxed());
    // Status writes, most of which are the operator's own, change neither of the two.
    let changed = futures::stream::select_all(watches)
        .modify(|object| object.metadata.managed_fields = None)
        .reflect(writer)
        .applied_objects()
        .predicate_filter(
            predicates::generation.combine(predicates::finalizers),
            Default::default(),
        );
    let sweeping = tokio::spawn(sweep.clone().run(context.clone(), store.clone()));
    Controller::for_stream(changed, store)
        .with_config(controller::Config::default().concurrency(RECONCILES))
        .reconcile_on(triggers(&client, &scope, &context, &sweep))
        .graceful_shutdown_on(shutdown)
        .run(reconcile, error_policy, context)
        .for_each(|result| {
            if let Err(controller::Error::QueueError(error)) = &result {
                tracing::warn!(%error, "a watch of Hibernations failed; it is taken up again");
            }
            std::future::ready(())
        })
        .await;
    sweeping.abort();
}
