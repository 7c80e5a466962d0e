//! `torpor run`: the operator.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use jiff::SignedDuration;
use kube::Config;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};

use super::admin::{Admin, Readiness};
use super::control::Controllers;
use super::triggers::Scope;
use crate::api::{Hibernation, MaintenanceWindow};
use crate::apiserver::client;
use crate::deals::client::Account;
use crate::lease::{self, CurrentEpoch, Lease, LeaseParams};
use crate::logging::{self, Format, LoggingError};
use crate::metrics::Metrics;
use crate::reconcile::context::Context;

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

    /// The operator's own service account, by whose tokens servers of the Deals API know it. Default: that
    /// of the pod it runs in (`POD_NAMESPACE` and `POD_SERVICE_ACCOUNT`)
    #[arg(long, env = "TORPOR_SERVICE_ACCOUNT", value_name = "NAMESPACE/NAME")]
    pub service_account: Option<Account>,

    /// How long a claim to lead is valid; it is renewed three times as often. Longer: the operator outlasts
    /// an API server that does not answer for longer, and a replica that crashed is followed later
    #[arg(long, env = "TORPOR_LEASE_DURATION", default_value = "15s", value_name = "DURATION",
          value_parser = lease_duration)]
    pub lease_duration: SignedDuration,

    /// Image of the truncation Jobs and of the bridges that are run: this program's own
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

/// The operator's own service account: the one that it was told, or that of its pod.
pub fn account(args: &RunArgs) -> Option<Account> {
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
        let in_flight = args.writes_in_flight.into();
        let account = account(&args);
        let image = args.image;
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
