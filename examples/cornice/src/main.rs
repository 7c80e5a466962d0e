//! Cornice: a stand-in for the application of the hold runbook (docs/runbook.md), for the demo and tests.
//!
//! One binary is the whole of it: an API, a monitor, an ingest worker, a nightly job, and the
//! migration with its sample data. It reads its configuration from the environment at its start,
//! once, as applications do: what changes in a `ConfigMap` reaches it by a restart.

mod api;
mod store;
mod work;

use std::time::Duration;

use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

/// What ends a command early, told to a person.
type Failure = Box<dyn std::error::Error + Send + Sync>;

#[derive(Parser)]
#[command(version, about = "A stand-in application that writes rows until it is told not to")]
struct Cli {
    #[command(flatten)]
    settings: Settings,
    #[command(subcommand)]
    command: Command,
}

/// What every part of the application is told by its environment.
#[derive(clap::Args, Clone)]
struct Settings {
    /// The database, as the application writes it: `postgresql+asyncpg://...` is understood.
    #[arg(long, env, hide_env_values = true, global = true, default_value = "")]
    database_url: String,

    /// On hold: the API stays up for login and inspection, and skips all background tasks.
    #[arg(long, env, global = true, default_value_t = false, action = clap::ArgAction::Set)]
    hibernate_mode: bool,

    /// Whether the ingest workers write anything.
    #[arg(long, env, global = true, default_value_t = true, action = clap::ArgAction::Set)]
    ingest_enabled: bool,

    /// The name under which rows are recorded: the pod's.
    #[arg(long, env, global = true, default_value = "cornice")]
    hostname: String,

    /// Carry on after a SIGTERM, until the grace period is over. For tests of what waits for it.
    #[arg(long, env, global = true)]
    ignore_sigterm: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the API, and run the background tasks unless in hibernate mode.
    Api {
        /// The address to listen on.
        #[arg(long, default_value = "0.0.0.0:8080")]
        listen: std::net::SocketAddr,
    },
    /// Watch the markets: agent runs, arbitrage observations and signals.
    Monitor,
    /// Take in prices and order books, several rows a second.
    Ingest,
    /// Simulate the strategies over the day, as the nightly job does.
    Nightly {
        /// How long the simulation takes.
        #[arg(long, default_value_t = 5)]
        seconds: u64,
    },
    /// Create what is missing of the schema.
    Migrate,
    /// Create the schema and fill it with sample data, unless it has some.
    Seed {
        /// How much: 1 is a few thousand rows.
        #[arg(long, default_value_t = 1)]
        scale: u32,
    },
    /// Print a line for each table: its name, its count of rows and a digest of them.
    Rows {
        /// These tables only.
        tables: Vec<String>,
    },
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    // The subcommands' own output is on stdout.
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).init();
    let Cli { settings, command } = Cli::parse();
    let ignore_sigterm = settings.ignore_sigterm;
    tokio::select! {
        result = run(settings, command) => result,
        () = told_to_end(ignore_sigterm) => {
            tracing::info!("ending, as asked");
            Ok(())
        }
    }
}

async fn run(settings: Settings, command: Command) -> Result<(), Failure> {
    let store = store::Store::connect(&settings.database_url, settings.hostname.clone())?;
    match command {
        Command::Api { listen } => api::serve(store, &settings, listen).await,
        Command::Monitor => work::forever(store, work::Task::Monitor).await,
        Command::Ingest if settings.ingest_enabled => {
            work::forever(store, work::Task::Ingest).await
        }
        Command::Ingest => {
            tracing::info!("INGEST_ENABLED is false: nothing to do");
            std::future::pending().await
        }
        Command::Nightly { seconds } => work::nightly(&store, Duration::from_secs(seconds)).await,
        Command::Migrate => store.migrate().await,
        Command::Seed { scale } => {
            store.migrate().await?;
            store.seed(scale).await
        }
        Command::Rows { tables } => {
            for table in store.tables().await? {
                if tables.is_empty() || tables.contains(&table) {
                    let (rows, digest) = store.fingerprint(&table).await?;
                    println!("{table} {rows} {digest}");
                }
            }
            Ok(())
        }
    }
}

/// Returns when the process is asked to end, and never if it is to ignore that.
async fn told_to_end(ignore: bool) {
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    loop {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        if !ignore {
            return;
        }
        tracing::warn!("asked to end, and carrying on");
    }
}
