//! The command line. Each command is implemented in a module of its own.

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::api::definition::definitions;
use crate::bridge::{self, BridgeArgs};
use crate::hold::kinds::KindsArgs;
use crate::operator::run::{self, RunArgs};
use crate::plugin;
use crate::release::{self, ReleaseArgs};
use crate::self_test::{self, SelfTestArgs};
use crate::truncate;
use crate::uninstall_check::{self, UninstallCheckArgs};
use crate::version;

/// Kubernetes operator that takes workloads down without breaking a promise, and restores them exactly
#[derive(Debug, Parser)]
#[command(name = "torpor", version = version::full(), about, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Plugin(plugin::Command),
    /// Run the operator
    Run(RunArgs),
    /// Empty tables of a PostgreSQL database; the operator's Jobs run this command
    Truncate(truncate::Args),
    /// Restore held workloads and ConfigMaps from their annotations; needs no running operator
    Release(ReleaseArgs),
    /// Serve the Deals API for a SONM worker or a PostgreSQL database
    Bridge(BridgeArgs),
    /// Hibernate and wake a Deployment of its own, to check that the operator works; `helm test` runs this command
    SelfTest(SelfTestArgs),
    /// Fail if something is held; the chart runs this command before it is uninstalled
    UninstallCheck(UninstallCheckArgs),
    /// Print the custom resource definitions (CRDs) as YAML
    Crd {
        /// Plural name of the only definition to print. Default: all definitions
        #[arg(value_parser = ["hibernations", "maintenancewindows"])]
        plural: Option<String>,
    },
}

/// Parses the command line and runs its command.
pub async fn main() -> ExitCode {
    let command = plugin::named(Cli::command());
    let matches = command.clone().get_matches_from(plugin::ordered(std::env::args_os()));
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    match cli.command {
        Command::Plugin(args) => match KindsArgs::of_environment().install_with_presets() {
            Ok(()) => plugin::run(args, command).await,
            Err(error) => fail(&error),
        },
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
        Command::SelfTest(args) => self_test::run(args).await,
        Command::UninstallCheck(args) => uninstall_check::run(args).await,
        Command::Crd { plural } => match print_definitions(plural.as_deref()) {
            Ok(text) => {
                print!("{text}");
                ExitCode::SUCCESS
            }
            Err(error) => fail(&error),
        },
    }
}

/// Returns the text of the definition with this plural name, or of all definitions.
fn print_definitions(plural: Option<&str>) -> Result<String, serde_saphyr::ser::Error> {
    let mut documents = Vec::new();
    for definition in definitions() {
        if plural.is_none_or(|plural| plural == definition.spec.names.plural) {
            let text = serde_saphyr::to_string(&definition)?;
            documents.push(format!("# Printed by `torpor crd`. Change src/api/ instead.\n{text}"));
        }
    }
    Ok(documents.join("---\n"))
}

fn fail(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("torpor: {error}");
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_has_no_contradictions() {
        Cli::command().debug_assert();
        plugin::named(Cli::command()).debug_assert();
    }
}
