//! The command line: parsed here, done elsewhere.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use kube::CustomResourceExt;

use crate::api::Hibernation;
use crate::bridge::{self, BridgeArgs};
use crate::operator::run::{self, RunArgs};
use crate::release::{self, ReleaseArgs};
use crate::truncate;

/// Takes running services down without breaking a promise, and brings them back as they were.
#[derive(Debug, Parser)]
#[command(name = "torpor", version, about, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the operator
    Run(RunArgs),
    /// Empty tables of a PostgreSQL database, as the operator's Jobs do
    Truncate(truncate::Args),
    /// Let go of what is held, from the annotations alone, without an operator
    Release(ReleaseArgs),
    /// Serve the Deals API for a market
    Bridge(BridgeArgs),
    /// Print the custom resource definitions
    Crd,
}

/// Does what the command line says.
pub async fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(args) => match run::run(args).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error),
        },
        Command::Truncate(args) => truncate::run(args).await,
        Command::Release(args) => release::run(args).await,
        Command::Bridge(args) => match bridge::run(args).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error),
        },
        Command::Crd => match serde_saphyr::to_string(&Hibernation::crd()) {
            Ok(text) => {
                print!("# Printed by `torpor crd`. Change src/api/ instead.\n{text}");
                ExitCode::SUCCESS
            }
            Err(error) => fail(&error),
        },
    }
}

fn fail(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("torpor: {error}");
    ExitCode::FAILURE
}
