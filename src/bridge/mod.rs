//! Bridges: servers of the Deals API, each of which translates it for one kind of market and holds
//! that market's credentials.
//!
//! The way through one: [`server`] takes a request, [`auth`] says whose it is, [`changes`] puts
//! changes in order, and [`sonm`] or [`postgres`] does what is asked.

use std::time::Duration;

use clap::{Args, Subcommand};
use jiff::{SignedDuration, Timestamp};

use self::changes::Progress;
use self::server::ServerArgs;
use crate::deals::problem::Problem;
use crate::deals::types::{Commitments, Drain, Order};

mod auth;
mod changes;
mod epoch;
#[cfg(test)]
mod folder;
mod postgres;
mod server;
mod sonm;

/// A market, as a bridge sees it.
pub(crate) trait Market: Send + Sync + 'static {
    /// All that binds at the moment. Whoever cannot see all of it answers a problem. The failures
    /// of the last drain are added by the caller.
    fn observe(&self) -> impl Future<Output = Result<Commitments, Problem>> + Send;

    /// Tells the market when the maintenance begins; `None` takes back what was told.
    fn announce(&self, at: Option<Timestamp>) -> impl Future<Output = Result<(), Problem>> + Send;

    /// Withdraws orders, closes deals, ends tasks. Asks before each step whether it may go on.
    fn drain(&self, what: Drain, progress: Progress) -> impl Future<Output = ()> + Send;

    /// Offers again those orders that are not on the market.
    fn resume(&self, orders: Vec<Order>) -> impl Future<Output = Result<(), Problem>> + Send;
}

/// Why a bridge ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something that it was started with cannot be used.
    #[error("{0}")]
    Configuration(String),
    /// The address is taken, for example.
    #[error("the listener at {address}: {source}")]
    Listen {
        /// Where it was to listen.
        address: std::net::SocketAddr,
        /// What was answered.
        source: std::io::Error,
    },
    /// Serving ended.
    #[error("the server: {0}")]
    Serve(std::io::Error),
    /// Shutdown signals could not be listened to.
    #[error("signals: {0}")]
    Signals(std::io::Error),
    /// Logging could not be set up.
    #[error(transparent)]
    Logging(#[from] crate::logging::LoggingError),
}

/// `torpor bridge`.
#[derive(Clone, Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct BridgeArgs {
    #[command(subcommand)]
    market: MarketArgs,
}

#[derive(Clone, Debug, Subcommand)]
enum MarketArgs {
    /// Bridge to a worker of the SONM marketplace
    Sonm(SonmCommand),
    /// Bridge to an application that keeps its orders, deals and tasks in PostgreSQL
    Postgres(PostgresCommand),
}

#[derive(Clone, Debug, Args)]
#[command(after_help = sonm::AFTER_HELP)]
struct SonmCommand {
    #[command(flatten)]
    market: sonm::SonmArgs,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Clone, Debug, Args)]
#[command(after_help = postgres::AFTER_HELP)]
struct PostgresCommand {
    #[command(flatten)]
    market: postgres::PostgresArgs,
    #[command(flatten)]
    server: ServerArgs,
}

const AFTER_HELP: &str = "\
A bridge serves the Deals API: what binds at the moment (GET /v1/commitments), announcing a maintenance,
draining, and offering orders again. docs/bridges.md explains it.

Examples:
  Look at a SONM worker, by hand:
      torpor bridge sonm --node http://127.0.0.1:15031 --worker 0x8125...@10.0.0.7:15010 \\
          --key-file master.key --listen 127.0.0.1:8080 --insecure-no-authentication
      curl http://127.0.0.1:8080/v1/commitments
  Look at the open orders of an application:
      torpor bridge postgres --listen 127.0.0.1:8080 --insecure-no-authentication \\
          --query \"SELECT id::text, 'order' AS kind, NULL AS term, NULL::timestamptz AS ends_at
                   FROM execution_orders WHERE closed_at IS NULL\"";

/// A flag's value.
fn duration(text: &str) -> Result<Duration, String> {
    let wanted = "a duration from 100ms to 1h, such as 15s";
    let duration: SignedDuration = text.parse().map_err(|_| wanted.to_owned())?;
    if duration < SignedDuration::from_millis(100) || duration > SignedDuration::from_hours(1) {
        return Err(wanted.to_owned());
    }
    duration.try_into().map_err(|_| wanted.to_owned())
}

/// Runs a bridge until it is told to end.
pub async fn run(args: BridgeArgs) -> Result<(), Error> {
    match args.market {
        MarketArgs::Sonm(SonmCommand { market, server }) => {
            server.start_logging()?;
            server.run(sonm::Sonm::new(&market)?).await
        }
        MarketArgs::Postgres(PostgresCommand { market, server }) => {
            server.start_logging()?;
            server.run(postgres::Postgres::new(market).await?).await
        }
    }
}
