//! `torpor run`: starts the operator, and stops it in order.

use std::net::SocketAddr;
use std::sync::Arc;

use clap::Args;
use jiff::SignedDuration;
use kube::Config;
use tokio::sync::{oneshot, watch};

use super::admin::{Admin, Readiness};
use super::control::Controllers;
use super::preconditions::Preconditions;
use super::triggers::Scope;
use crate::api::{Hibernation, MaintenanceWindow};
use crate::apiserver::client;
use crate::deals::client::Account;
use crate::hold::kinds::{self, KindsArgs};
use crate::lease::{self, CurrentEpoch, Foreign, Lease, LeaseName, LeaseParams};
use crate::logging::{self, Format, LoggingError};
use crate::metrics::Metrics;
use crate::reconcile::context::Context;
use crate::signals;

/// Shortest lease: it leaves time to renew the lease, and to retry that.
const SHORTEST_LEASE: SignedDuration = SignedDuration::from_secs(3);
/// Longest lease: another replica waits for so long after a crash of the leader.
const LONGEST_LEASE: SignedDuration = SignedDuration::from_hours(1);

/// Options of `torpor run`.
#[derive(Args, Clone, Debug)]
pub(crate) struct RunArgs {
    /// Namespace to watch. Repeat the option for several namespaces. Default: all namespaces
    #[arg(long, env = "TORPOR_WATCH_NAMESPACES", value_delimiter = ',', value_name = "NAMESPACE")]
    pub(crate) watch_namespace: Vec<String>,

    /// Namespace of the Lease that elects the leading replica. Default: the namespace of the operator's pod, or
    /// that of the kubeconfig
    #[arg(long, env = "POD_NAMESPACE", value_name = "NAMESPACE")]
    pub(crate) lease_namespace: Option<String>,

    /// Name of the Lease that elects the leading replica
    #[arg(long, env = "TORPOR_LEASE_NAME", default_value = "torpor", value_name = "NAME")]
    pub(crate) lease_name: String,

    /// Release to which this operator belongs. A replica that waits for a Lease which another release holds says so,
    /// and is not ready
    #[arg(long, env = "TORPOR_RELEASE_NAME", value_name = "NAMESPACE/NAME")]
    pub(crate) release_name: Option<String>,

    /// Service account of the operator. Servers of the Deals API authenticate the operator by tokens of this
    /// account. Default: the account of the operator's pod (`POD_NAMESPACE` and `POD_SERVICE_ACCOUNT`)
    #[arg(long, env = "TORPOR_SERVICE_ACCOUNT", value_name = "NAMESPACE/NAME")]
    pub(crate) service_account: Option<Account>,

    /// Validity of the Lease, in whole seconds from 3s to 1h. The leader renews the Lease three times in this
    /// period. A longer period tolerates a longer outage of the API server, but delays the takeover after a crash
    #[arg(long, env = "TORPOR_LEASE_DURATION", default_value = "15s", value_name = "DURATION",
          value_parser = lease_duration)]
    pub(crate) lease_duration: SignedDuration,

    /// Image of truncation Jobs and bridges: the image of this program
    #[arg(long, env = "TORPOR_IMAGE", value_name = "IMAGE")]
    pub(crate) image: String,

    /// Address of the admin server, which serves /healthz, /readyz and /metrics
    #[arg(
        long,
        env = "TORPOR_ADMIN_ADDRESS",
        default_value = "0.0.0.0:8080",
        value_name = "ADDRESS"
    )]
    pub(crate) admin_address: SocketAddr,

    /// Maximum number of concurrent writes to held objects of one namespace; all others together may have half as
    /// many more. A higher number only adds latency
    #[arg(long, env = "TORPOR_WRITES_IN_FLIGHT", default_value_t = 16, value_name = "NUMBER",
          value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) writes_in_flight: u16,

    /// Time for which a Hibernation or MaintenanceWindow must be missing before the operator releases the holds
    /// that it left behind; at least 1s
    #[arg(long, env = "TORPOR_HOLDER_GRACE", default_value = "5m", value_name = "DURATION",
          value_parser = positive)]
    pub(crate) holder_grace: SignedDuration,

    #[command(flatten)]
    pub(crate) kinds: KindsArgs,

    /// Format of log lines
    #[arg(long, env = "TORPOR_LOG_FORMAT", value_enum, default_value_t = Format::Json)]
    pub(crate) log_format: Format,

    /// Log level, or a filter such as info,kube=warn. `RUST_LOG` takes precedence
    #[arg(long, env = "TORPOR_LOG_LEVEL", default_value = "info", value_name = "LEVEL")]
    pub(crate) log_level: String,
}

fn positive(text: &str) -> Result<SignedDuration, String> {
    let duration: SignedDuration = text.parse().map_err(|error: jiff::Error| error.to_string())?;
    if duration < SignedDuration::from_secs(1) {
        return Err("write a duration of at least 1s, for example 5m".to_owned());
    }
    Ok(duration)
}

/// Returns the service account of the operator: the option, or else the account of its pod.
fn account(args: &RunArgs) -> Option<Account> {
    let pod = |name| std::env::var(name).ok();
    args.service_account
        .clone()
        .or_else(|| in_pod(&pod("POD_NAMESPACE")?, &pod("POD_SERVICE_ACCOUNT")?))
}

fn in_pod(namespace: &str, name: &str) -> Option<Account> {
    format!("{namespace}/{name}").parse().ok()
}

fn lease_duration(text: &str) -> Result<SignedDuration, String> {
    let duration: SignedDuration = text.parse().map_err(|error: jiff::Error| error.to_string())?;
    let whole = duration.subsec_nanos() == 0;
    if !whole || !(SHORTEST_LEASE..=LONGEST_LEASE).contains(&duration) {
        return Err("write whole seconds from 3s to 1h, for example 15s".to_owned());
    }
    Ok(duration)
}

/// An error that stopped the operator.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// No configuration of a cluster was found.
    #[error(
        "no cluster is configured ({0}): set KUBECONFIG, or run torpor in a pod with a service account"
    )]
    Config(#[from] kube::config::InferConfigError),
    /// The client could not be created.
    #[error("the client of the API server cannot be created: {0}")]
    Client(#[from] kube::Error),
    /// The admin server cannot listen, for example because the address is in use.
    #[error("the admin server cannot listen on {address}: {source}")]
    Admin {
        /// The address of the admin server.
        address: SocketAddr,
        /// The error of the system.
        source: std::io::Error,
    },
    /// Handlers of shutdown signals cannot be installed.
    #[error("handlers of SIGTERM and SIGINT cannot be installed: {0}")]
    Signals(std::io::Error),
    /// The table of kinds is not usable.
    #[error(transparent)]
    Kinds(#[from] kinds::Error),
    /// Logging cannot start.
    #[error(transparent)]
    Logging(#[from] LoggingError),
    /// Another replica leads now. The memory of this one may be stale, so the process ends and starts anew.
    #[error("stopping, as another replica may lead now: the lease was lost")]
    LeaseLost,
}

/// Runs the operator until a shutdown signal, or until the lease is lost.
pub(crate) async fn run(args: RunArgs) -> Result<(), Error> {
    logging::init(args.log_format, &args.log_level, std::env::var("RUST_LOG").ok().as_deref())?;
    args.kinds.install()?;
    let config = client::named(Config::infer().await?);
    let namespace = args.lease_namespace.clone().unwrap_or(config.default_namespace.clone());
    let shutdown = Shutdown::listen().map_err(Error::Signals)?;

    let metrics = Arc::new(Metrics::new());
    let ready = Readiness::default();
    let admin = Admin::bind(args.admin_address, ready.clone(), metrics.clone())
        .await
        .map_err(|source| Error::Admin { address: args.admin_address, source })?;
    // The admin server answers until the end, so that an orderly shutdown does not look like a hang.
    let admin = tokio::spawn(admin.serve(std::future::pending()));

    let name = std::env::var("POD_NAME").or_else(|_| std::env::var("HOSTNAME"));
    let plain = client::plain(config.clone())?;
    let preconditions = Preconditions {
        client: plain.clone(),
        scopes: Scope::all(&args.watch_namespace),
        lease: (namespace.clone(), args.lease_name.clone()),
        account: account(&args),
    };
    let preconditions = tokio::spawn(preconditions.watch(ready.clone()));
    let lease_name = LeaseName { namespace: namespace.clone(), name: args.lease_name.clone() };
    let (lease, claim) = Lease::new(
        plain,
        LeaseParams {
            namespace,
            name: args.lease_name.clone(),
            identity: lease::identity(name.as_deref().unwrap_or("torpor")),
            duration: args.lease_duration.unsigned_abs(),
            renew_every: args.lease_duration.unsigned_abs() / 3,
            release: args.release_name.clone(),
        },
    );
    tokio::spawn(tell_foreign(
        lease.foreign(),
        ready.clone(),
        lease_name.clone(),
        args.release_name.clone(),
    ));
    let epoch: CurrentEpoch = {
        let claim = claim.clone();
        Arc::new(move || claim.check().ok())
    };
    let permit = {
        let epoch = epoch.clone();
        Arc::new(move || epoch().is_some())
    };
    let client = client::permitted(config, permit)?;
    let (end_lease, lease_ends) = oneshot::channel::<()>();
    let lease = tokio::spawn(lease.run(async { drop(lease_ends.await) }));

    // A replica that waits for the lease is ready.
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
        let in_flight = args.writes_in_flight.into();
        let account = account(&args);
        let image = args.image;
        let epoch = (epoch, lease_name);
        let context = Context::new(client, epoch, image, account, in_flight, metrics.clone());
        let scopes = Scope::all(&args.watch_namespace);
        Controllers::new(context, scopes, args.holder_grace)
            .of::<Hibernation>()
            .of::<MaintenanceWindow>()
            .run(end)
            .await;
        metrics.set_leader(false);
        if !asked.was_asked() {
            result = Err(Error::LeaseLost);
        }
    }
    ready.set(false);
    preconditions.abort();
    // The task of the lease may have ended by itself.
    let _ = end_lease.send(());
    // The calls of the task have timeouts.
    drop(lease.await);
    admin.abort();
    result
}

/// Says in the log and in `/readyz` that another release holds the Lease, until the contender ends.
async fn tell_foreign(
    mut foreign: watch::Receiver<Option<Foreign>>,
    readiness: Readiness,
    LeaseName { namespace, name }: LeaseName,
    own: Option<String>,
) {
    loop {
        let line = foreign.borrow_and_update().as_ref().map(|Foreign { holder, release }| {
            format!(
                "Lease {name} in namespace {namespace} is held by {holder} of release {release}, and this operator is of release {}: only one of them works. \
                 Uninstall one of them, or give this one a Lease of its own (--lease-name; in the chart, fullnameOverride)",
                own.as_deref().unwrap_or("(none)"),
            )
        });
        if let Some(line) = &line {
            tracing::error!("{line}");
        }
        readiness.set_foreign(line);
        if foreign.changed().await.is_err() {
            return;
        }
    }
}

/// A request to shut down: SIGTERM or SIGINT.
#[derive(Clone)]
struct Shutdown(watch::Receiver<bool>);

impl Shutdown {
    fn listen() -> std::io::Result<Self> {
        let (sender, receiver) = watch::channel(false);
        let termination = signals::termination()?;
        tokio::spawn(async move {
            termination.await;
            tracing::info!("shutdown signal received; finishing reconciles under way");
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
