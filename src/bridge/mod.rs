//! Bridges: servers of the Deals API. Each bridge translates the API for one type of market and holds
//! the credentials of that market.
//!
//! [`server`] receives a request, [`auth`] authenticates it, [`changes`] serializes changes, and [`sonm`]
//! or [`postgres`] calls the market. [`signature`] signs the payloads of orders.

use std::time::Duration;

use clap::{Args, Subcommand};
use jiff::{SignedDuration, Timestamp};

use self::changes::Progress;
use self::server::ServerArgs;
use self::signature::Secret;
use crate::deals::problem::Problem;
use crate::deals::types::{Commitments, Drain, Order};

mod auth;
mod changes;
mod epoch;
#[cfg(test)]
mod folder;
mod postgres;
mod server;
mod signature;
mod sonm;

/// The calls of the Deals API, implemented for one type of market.
trait Market: Send + Sync + 'static {
    /// Returns all commitments of the market, or a problem if it cannot observe all of them. The caller
    /// adds the failures of the last drain.
    fn observe(&self) -> impl Future<Output = Result<Commitments, Problem>> + Send;

    /// Announces when the maintenance begins; `None` withdraws the announcement.
    fn announce(&self, at: Option<Timestamp>) -> impl Future<Output = Result<(), Problem>> + Send;

    /// Withdraws orders, closes deals and ends tasks. Asks `progress` before each step.
    fn drain(&self, drain: Drain, progress: Progress) -> impl Future<Output = ()> + Send;

    /// Returns the secret that the payloads of orders are signed with; none for a bridge without one.
    fn secret(&self) -> Option<&Secret>;

    /// Offers the orders again that are not on the market.
    fn resume(&self, orders: Vec<Order>) -> impl Future<Output = Result<(), Problem>> + Send;
}

/// The error that ends a bridge.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A flag, an environment variable or a file that a flag names is invalid.
    #[error("{0}")]
    Configuration(String),
    /// The address is in use, for example.
    #[error("the bridge cannot listen at {address} (--listen): {source}")]
    Listen {
        /// The address of `--listen`.
        address: std::net::SocketAddr,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// The server ended by itself.
    #[error("the HTTP server failed: {0}")]
    Serve(std::io::Error),
    /// The handlers of SIGTERM and SIGINT could not be installed.
    #[error("the signal handlers cannot be installed: {0}")]
    Signals(std::io::Error),
    /// Logging could not be started.
    #[error(transparent)]
    Logging(#[from] crate::logging::LoggingError),
}

/// The arguments of `torpor bridge`.
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
A bridge serves the Deals API of one market: it lists the open deals, orders and tasks
(GET /v1/commitments), announces a maintenance, drains, and offers orders again. docs/bridges.md explains it.

Examples:
  List the commitments of a SONM worker:
      torpor bridge sonm --node http://127.0.0.1:15031 --worker 0x8125...@10.0.0.7:15010 \\
          --key-file master.key --listen 127.0.0.1:8080 --insecure-no-authentication
      curl http://127.0.0.1:8080/v1/commitments
  List the open orders of an application:
      torpor bridge postgres --listen 127.0.0.1:8080 --insecure-no-authentication \\
          --query \"SELECT id::text, 'order' AS kind, NULL AS term, NULL::timestamptz AS ends_at
                   FROM execution_orders WHERE closed_at IS NULL\"";

/// Parses the duration of a flag.
fn duration(text: &str) -> Result<Duration, String> {
    let expected = "expected a duration from 100ms to 1h, such as 15s";
    let duration: SignedDuration = text.parse().map_err(|_| expected.to_owned())?;
    if duration < SignedDuration::from_millis(100) || duration > SignedDuration::from_hours(1) {
        return Err(expected.to_owned());
    }
    duration.try_into().map_err(|_| expected.to_owned())
}

/// Runs a bridge until SIGTERM or SIGINT.
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
