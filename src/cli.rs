//! The command line: parsed here, done elsewhere.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use kube::CustomResourceExt;

use crate::api::Hibernation;
use crate::operator::run::{self, RunArgs};
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
    /// Print the custom resource definitions
    Crd,
}

/// Does what the command line says.
pub async fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(args) => {
            tracing_subscriber::fmt().with_writer(std::io::stderr).init();
            match run::run(args).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("torpor: {error}");
                ExitCode::FAILURE
            }
        }},
        Command::Truncate(args) => truncate::run(args).await,
        Command::Crd => {
            match serde_json::to_string_pretty(&Hibernation::crd()) {
                Ok(text) => println!("{text}"),
                Err(error) => {
                    eprintln!("torpor: {error}");
                    return ExitCode::FAILURE;
                }
            }
            ExitCode::SUCCESS
        }
    }
}
