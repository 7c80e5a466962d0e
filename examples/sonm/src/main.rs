//! A stand-in for a SONM Node with its workers, its market and its DWH, for the demo and tests.
//!
//! It speaks the Node's REST interface as the protocol has it, and behaves as the worker, the chain and
//! the index are known to behave, defects included. A control interface of its own sets up what
//! consumers and bad luck do, and tells the truth. `README.md` says what it does and what it doesn't.

mod app;
mod control;
mod envelope;
mod faults;
mod forward;
mod host;
mod model;
mod rest;
mod scenario;
mod wire;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Parser, Subcommand};
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use app::{App, World};
use envelope::Key;
use faults::Faults;
use model::{Address, Model};
use scenario::Scenario;

/// What ends a command early, told to a person.
type Failure = Box<dyn std::error::Error + Send + Sync>;

#[derive(Parser)]
#[command(version, about = "A stand-in for a SONM Node, its workers and their market")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the Node's REST interface on loopback, and the control interface.
    Node(Node),
    /// Hand TCP connections on to a Node, which listens on loopback only.
    Forward {
        /// The address to listen on. In one network with the Node it has to be another port than the Node's.
        #[arg(long, default_value = "0.0.0.0:15032")]
        listen: SocketAddr,
        /// The Node's address.
        #[arg(long, default_value = "127.0.0.1:15031")]
        to: SocketAddr,
    },
    /// Be the process of a worker: tell the control interface of its start and its stop.
    Worker {
        /// The control interface, as host:port.
        #[arg(long)]
        control: String,
        /// The worker's account.
        #[arg(long, value_parser = address)]
        worker: Address,
    },
}

#[derive(clap::Args)]
struct Node {
    /// The port of the REST interface; 0: any, which is printed.
    #[arg(long, default_value_t = 15031)]
    port: u16,
    /// The address of the control interface; port 0: any, which is printed.
    #[arg(long, default_value = "127.0.0.1:15039")]
    control: SocketAddr,
    /// A file with the Node's Ethereum private key in hexadecimal.
    #[arg(long, required_unless_present = "insecure")]
    key: Option<PathBuf>,
    /// No encryption, as `node.allow_insecure_connection: true` has it.
    #[arg(long, conflicts_with = "key")]
    insecure: bool,
    /// What there is at the start (JSON).
    #[arg(long)]
    scenario: Option<PathBuf>,
    /// The Node's account, which without a scenario is its only worker's too.
    #[arg(
        long,
        value_parser = address,
        conflicts_with = "scenario",
        default_value = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
    )]
    account: Address,
    /// Keep everything in this file. If it is there at the start, the scenario isn't read.
    #[arg(long)]
    state: Option<PathBuf>,
}

fn address(text: &str) -> Result<Address, String> {
    text.to_owned().try_into()
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    // What a test reads is on stdout.
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).init();
    match Cli::parse().command {
        Command::Node(options) => until_told_to_end(node(options)).await,
        Command::Forward { listen, to } => {
            let forward = async {
                let listener = TcpListener::bind(listen).await?;
                println!("sonm forward={}", listener.local_addr()?);
                Ok(forward::serve(listener, to).await?)
            };
            until_told_to_end(forward).await
        }
        Command::Worker { control, worker } => {
            let work = async {
                host::tell(&control, &worker, "start").await?;
                println!("sonm worker={worker}");
                std::future::pending().await
            };
            until_told_to_end(work).await?;
            Ok(host::tell(&control, &worker, "stop").await?)
        }
    }
}

async fn node(options: Node) -> Result<(), Failure> {
    let key = options.key.as_deref().map(Key::read).transpose()?;
    let world = match &options.state {
        Some(path) if path.exists() => World::load(path)?,
        _ => begin(options.scenario.as_deref(), options.account)?,
    };
    let app = Arc::new(App::new(key, world, options.state));
    let rest = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await?;
    let control = TcpListener::bind(options.control).await?;
    println!("sonm node={} control={}", rest.local_addr()?, control.local_addr()?);
    let (wanted, listens) = app.gate();
    let gate = rest::gate::Gate::new(rest, wanted, listens)?;
    tokio::select! {
        ended = async { axum::serve(gate, rest::router(app.clone())).await } => Ok(ended?),
        ended = async { axum::serve(control, control::router(app.clone())).await } => Ok(ended?),
        () = app.sync_for_ever() => Ok(()),
    }
}

/// The market as a scenario has it, or an empty one.
fn begin(scenario: Option<&Path>, account: Address) -> Result<World, Failure> {
    let now = Timestamp::now();
    let Some(path) = scenario else {
        return Ok(World::new(Model::empty(now, account), Faults::default()));
    };
    let said = |why: String| format!("the scenario {}: {why}", path.display());
    let text = std::fs::read(path).map_err(|error| said(error.to_string()))?;
    let scenario: Scenario =
        serde_json::from_slice(&text).map_err(|error| said(error.to_string()))?;
    let faults = scenario.faults.clone();
    let model = scenario.begin(now).map_err(|error| said(error.to_string()))?;
    Ok(World::new(model, faults))
}

/// Carries on until it is done or the process is asked to end, which is heard from before it begins.
async fn until_told_to_end(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        result = work => result,
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    }
}
