//! The command line as the users of kubectl write it.

use std::ffi::OsString;
use std::path::Path;

/// The name of this program.
const PROGRAM: &str = "torpor";
/// The commands for pods. As a plugin of kubectl they are not listed.
const FOR_PODS: [&str; 5] = ["run", "truncate", "bridge", "self-test", "uninstall-check"];
/// The options of kubectl that may precede a command. Each has a value.
const BEFORE: [&str; 4] = ["-n", "--namespace", "--context", "--kubeconfig"];

/// Returns the command as its user writes it: `torpor`, or `kubectl torpor` as a plugin of kubectl.
pub(crate) fn program() -> &'static str {
    let name = std::env::args_os().next();
    let name = name.as_ref().and_then(|name| Path::new(name).file_stem()?.to_str());
    // kubectl finds `kubectl-torpor`.
    if name == Some("kubectl-torpor") { "kubectl torpor" } else { PROGRAM }
}

/// Returns the command line under the name by which its user runs it.
pub(crate) fn named(cli: clap::Command) -> clap::Command {
    let cli = cli.bin_name(program());
    if program() == PROGRAM {
        return cli;
    }
    FOR_PODS.iter().fold(cli, |cli, name| cli.mut_subcommand(name, |command| command.hide(true)))
}

/// Returns the arguments with the options of kubectl behind the command: kubectl takes them before it too, as in
/// `torpor -n shop status`.
pub(crate) fn ordered(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut rest = arguments;
    let mut ordered: Vec<OsString> = rest.by_ref().take(1).collect();
    let mut options = Vec::new();
    while let Some(argument) = rest.next() {
        let text = argument.to_str().unwrap_or_default();
        let is_joined = BEFORE.iter().any(|name| {
            text.strip_prefix(name).is_some_and(|rest| {
                rest.starts_with('=') || (!rest.is_empty() && !name.starts_with("--"))
            })
        });
        if BEFORE.contains(&text) {
            options.push(argument);
            options.extend(rest.next());
        } else if is_joined {
            options.push(argument);
        } else {
            // The command, or an option that clap refuses.
            ordered.push(argument);
            break;
        }
    }
    ordered.extend(options);
    ordered.extend(rest);
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_options_of_kubectl_may_precede_the_command() {
        for (written, read) in [
            ("torpor status web", "torpor status web"),
            ("torpor -n shop status web", "torpor status -n shop web"),
            ("torpor --context=a -nshop status", "torpor status --context=a -nshop"),
            (
                "torpor --kubeconfig f --namespace x wake y",
                "torpor wake --kubeconfig f --namespace x y",
            ),
            ("torpor --help", "torpor --help"),
            ("torpor --nonsense status", "torpor --nonsense status"),
            ("torpor -n", "torpor -n"),
            ("torpor", "torpor"),
            ("torpor status -n shop", "torpor status -n shop"),
        ] {
            let arguments = written.split(' ').map(OsString::from);
            let all: Vec<String> = ordered(arguments)
                .into_iter()
                .map(|argument| argument.into_string().unwrap())
                .collect();
            assert_eq!(all.join(" "), read);
        }
    }
}
