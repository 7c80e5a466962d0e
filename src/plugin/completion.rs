//! `torpor completion`: completion scripts.

use clap::Args;
use clap_complete::Shell;

/// Arguments of `torpor completion`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  source <(torpor completion bash)                                     for this shell
  torpor completion zsh > \"${fpath[1]}/_torpor\"                        for all
  torpor completion fish > ~/.config/fish/completions/torpor.fish
  torpor completion kubectl > /usr/local/bin/kubectl_complete-torpor   for `kubectl torpor`, with names; make it executable")]
pub(crate) struct CompletionArgs {
    /// The shell; kubectl for the completion of `kubectl torpor`
    #[arg(value_name = "SHELL", value_parser = ["bash", "zsh", "fish", "kubectl"])]
    shell: String,
}

/// The program that kubectl runs for completions.
const KUBECTL: &str = "#!/bin/sh\nexec kubectl-torpor __complete \"$@\"\n";

/// Returns the script.
pub(super) fn script(args: &CompletionArgs, mut cli: clap::Command) -> String {
    let shell = match args.shell.as_str() {
        "kubectl" => return KUBECTL.to_owned(),
        "zsh" => Shell::Zsh,
        "fish" => Shell::Fish,
        _ => Shell::Bash,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut cli, "torpor", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}
