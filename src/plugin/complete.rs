//! The completions of `kubectl torpor`: kubectl runs `kubectl_complete-torpor` with the words so far, and reads one
//! candidate a line. The last line is a directive of cobra, kubectl's library: `:4` completes no file names.

use std::time::Duration;

use clap::Args;
use tokio::time::timeout;

use super::find;
use super::name::Kind;
use super::object::Object;
use crate::apiserver::client::ClusterArgs;

/// The longest time to ask the cluster: somebody waits at the prompt.
const PATIENCE: Duration = Duration::from_secs(2);
/// The commands that take the name of an object, and whether it may be that of a MaintenanceWindow.
const NAMED: [(&str, bool); 8] = [
    ("status", true),
    ("hibernate", false),
    ("wake", false),
    ("watch", true),
    ("calendar", true),
    ("plan", true),
    ("history", true),
    ("report", true),
];

/// Arguments of `torpor __complete`.
#[derive(Args, Clone, Debug)]
pub(crate) struct CompleteArgs {
    /// The words after `kubectl torpor`; the last one is to be completed
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

/// Returns the candidates. A cluster that does not answer gives none.
pub(super) async fn run(args: CompleteArgs, cli: &clap::Command) -> String {
    let words = args.words;
    let objects = if takes_name(&words).is_some() { objects(&words).await } else { Vec::new() };
    let mut lines = candidates(&words, cli, &objects);
    lines.push(":4".to_owned());
    lines.join("\n") + "\n"
}

/// Returns whether the last word may name an object, and whether that may be a MaintenanceWindow.
fn takes_name(words: &[String]) -> Option<bool> {
    let (command, rest) = words.split_first()?;
    let is_name = rest.last().is_some_and(|word| !word.starts_with('-'));
    NAMED.iter().find(|(name, _)| name == command && is_name).map(|(_, windows)| *windows)
}

async fn objects(words: &[String]) -> Vec<Object> {
    let option = |names: [&str; 2]| {
        let value = |(index, word): (usize, &String)| {
            let next = || words.get(index + 1).cloned();
            let joined = || Some(word.strip_prefix(names[0])?.strip_prefix('=')?.to_owned());
            if names.contains(&word.as_str()) { next() } else { joined() }
        };
        words.iter().enumerate().find_map(value)
    };
    let cluster = ClusterArgs {
        namespace: option(["--namespace", "-n"]),
        context: option(["--context", "--context"]),
        kubeconfig: option(["--kubeconfig", "--kubeconfig"]).map(Into::into),
    };
    let asked = async {
        let (client, namespace) = cluster.connect().await.ok()?;
        find::all(&client, Some(&namespace)).await.ok()
    };
    let listing = timeout(PATIENCE, asked).await.ok().flatten().unwrap_or_default();
    listing.found.into_iter().map(|found| found.object).collect()
}

/// Returns the candidates for the last word. Pure.
fn candidates(words: &[String], cli: &clap::Command, objects: &[Object]) -> Vec<String> {
    let Some((last, before)) = words.split_last() else { return Vec::new() };
    let mut all: Vec<String> = match before.first() {
        None => cli
            .get_subcommands()
            .filter(|command| !command.is_hide_set())
            .map(|command| command.get_name().to_owned())
            .collect(),
        Some(command) if last.starts_with('-') => {
            let command = cli.find_subcommand(command);
            let options = command.into_iter().flat_map(clap::Command::get_arguments);
            options.filter_map(|option| Some(format!("--{}", option.get_long()?))).collect()
        }
        Some(_) => {
            let Some(windows) = takes_name(words) else { return Vec::new() };
            let wanted = |object: &&Object| windows || object.kind() == Kind::Hibernation;
            let objects: Vec<_> = objects.iter().filter(wanted).collect();
            let bare = objects.iter().map(|object| object.name().to_owned());
            bare.chain(objects.iter().map(|object| object.argument())).collect()
        }
    };
    all.retain(|candidate| candidate.starts_with(last.as_str()));
    all.sort();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use clap::{Command, arg};

    use super::*;
    use crate::plugin::golden;

    #[test]
    fn commands_options_and_names_are_completed() {
        let cli = Command::new("torpor")
            .subcommand(Command::new("status").arg(arg!(--output <FORMAT>)))
            .subcommand(Command::new("hibernate"))
            .subcommand(Command::new("__complete").hide(true));
        let objects = [golden::object("hibernated"), golden::object("window")];
        let of = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(ToString::to_string).collect();
            candidates(&words, &cli, &objects)
        };
        assert_eq!(of(&[""]), ["hibernate", "status"]);
        assert_eq!(of(&["sta"]), ["status"]);
        assert_eq!(of(&["status", "--"]), ["--output"]);
        assert_eq!(of(&["status", ""]), ["cornice", "gpu", "hib/cornice", "mw/gpu"]);
        assert_eq!(of(&["status", "mw"]), ["mw/gpu"]);
        assert_eq!(of(&["hibernate", ""]), ["cornice", "hib/cornice"]);
        assert!(of(&["release", ""]).is_empty());
        assert!(of(&[]).is_empty());
    }
}
