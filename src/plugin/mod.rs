//! The commands for people, as `torpor` and as the kubectl plugin `kubectl torpor`. Each command has a module: it asks
//! the cluster, and a pure function makes the text from the objects and the time.

mod arguments;
mod asked;
mod calendar;
mod change;
mod check;
mod complete;
mod completion;
mod error;
mod find;
#[cfg(test)]
mod golden;
mod history;
mod live;
mod name;
mod object;
mod paint;
mod plan;
mod report;
mod status;
mod table;
mod versions;
mod watch;
mod when;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Subcommand;

pub(crate) use self::arguments::{named, ordered, program};
use self::error::Error;

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the requested and the actual state of a Hibernation or MaintenanceWindow, its obstacles and its next transition
    Status(status::StatusArgs),
    /// Hibernate a project now: until it is woken, for a while, or until a time
    Hibernate(change::HibernateArgs),
    /// Wake a project now: until it is hibernated, for a while, or until a time
    Wake(change::WakeArgs),
    /// Show the progress of a Hibernation or MaintenanceWindow until it is as asked
    Watch(watch::WatchArgs),
    /// Show the transitions to come, also of a file that is not applied yet
    Calendar(calendar::CalendarArgs),
    /// Show the actions that a hibernation or maintenance would take, and its obstacles; change nothing
    Plan(plan::PlanArgs),
    /// Show the last transitions
    History(history::HistoryArgs),
    /// Check the installation: definitions, operator, Lease, admission policy and your rights
    Check(check::CheckArgs),
    /// Print the facts that a bug report needs, without Secrets and without values of ConfigMaps
    Report(report::ReportArgs),
    /// Print the version of this program and of the operator
    Version(versions::VersionArgs),
    /// Print the completion script of a shell
    Completion(completion::CompletionArgs),
    /// Print completions for kubectl
    #[command(name = "__complete", hide = true)]
    Complete(complete::CompleteArgs),
}

/// Runs a command. `cli` is the whole command line, for completions. Returns the exit status.
pub(crate) async fn run(command: Command, cli: clap::Command) -> ExitCode {
    let done = match command {
        Command::Status(args) => shown(Box::pin(status::run(args)).await),
        Command::Hibernate(args) => Box::pin(change::hibernate(args)).await,
        Command::Wake(args) => Box::pin(change::wake(args)).await,
        Command::Watch(args) => Box::pin(watch::run(args)).await,
        Command::Calendar(args) => shown(Box::pin(calendar::run(args)).await),
        Command::Plan(args) => shown(Box::pin(plan::run(args)).await),
        Command::History(args) => shown(Box::pin(history::run(args)).await),
        Command::Check(args) => Box::pin(check::run(args)).await,
        Command::Report(args) => shown(Box::pin(report::run(args)).await),
        Command::Version(args) => shown(Box::pin(versions::run(args)).await),
        Command::Completion(args) => shown(Ok(completion::script(&args, cli))),
        Command::Complete(args) => shown(Ok(Box::pin(complete::run(args, &cli)).await)),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("torpor: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Prints the output of a command.
fn shown(output: Result<String, Error>) -> Result<bool, Error> {
    match std::io::stdout().lock().write_all(output?.as_bytes()) {
        // A reader such as `head` has read enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(true),
        result => Ok(result.map(|()| true)?),
    }
}
