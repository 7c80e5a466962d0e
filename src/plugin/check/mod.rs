//! `torpor check`: the state of the installation, a line for each check.

mod facts;
mod kinds;
pub(super) mod operator;
mod verdicts;

use clap::Args;
use jiff::Timestamp;

use self::facts::gather;
use self::verdicts::{Level, Line, judge};
use super::error::Error;
use super::paint::{Paint, Screen};
use super::table::wrap;
use crate::api::text::counted;
use crate::apiserver::client::ClusterArgs;

/// Arguments of `torpor check`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
The command reads only. It checks what your own rights let it see; --namespace is the namespace of your projects.

Exit status: 0 no check failed (✓, or ! for what needs attention), 1 a check failed (✗).")]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    cluster: ClusterArgs,

    /// Namespace of the operator. Default: all namespaces are searched
    #[arg(long, value_name = "NAMESPACE")]
    operator_namespace: Option<String>,
}

/// Runs the command. Returns whether no check failed.
pub(super) async fn run(args: CheckArgs) -> Result<bool, Error> {
    let (client, namespace) = args.cluster.connect().await?;
    let operator = args.operator_namespace.as_deref();
    let facts = Box::pin(gather(&client, &namespace, operator)).await;
    let lines = judge(&facts, &namespace, Timestamp::now());
    print!("{}", render(&lines, Screen::stdout()));
    Ok(lines.iter().all(|line| line.level != Level::Failed))
}

/// Returns the checks as text, for a report.
pub(super) async fn text(client: &kube::Client, namespace: &str) -> String {
    let facts = Box::pin(gather(client, namespace, None)).await;
    let screen = Screen { colours: false, terminal: false, width: 120 };
    render(&judge(&facts, namespace, Timestamp::now()), screen)
}

/// Returns the lines, with a hint below each that is not well. Pure.
fn render(lines: &[Line], screen: Screen) -> String {
    let mut text = Vec::new();
    for Line { level, text: what, hint } in lines {
        let mark = match level {
            Level::Good => screen.paint("✓", Paint::Green),
            Level::Warning => screen.paint("!", Paint::Yellow),
            Level::Failed => screen.paint("✗", Paint::Red),
        };
        let indented = |text: &str| wrap(text, screen.width.saturating_sub(4).max(40));
        text.push(format!("{mark} {}", indented(what).join("\n  ")));
        if !hint.is_empty() {
            text.push(format!("    {}", indented(hint).join("\n    ")));
        }
    }
    let count = |level| lines.iter().filter(|line| line.level == level).count();
    let warnings = counted(count(Level::Warning), "warning");
    let failed = counted(count(Level::Failed), "check");
    let result = match (count(Level::Failed), count(Level::Warning)) {
        (0, 0) => "all is well".to_owned(),
        (0, _) => format!("no check failed, {warnings}"),
        (_, 0) => format!("{failed} failed"),
        _ => format!("{failed} failed, {warnings}"),
    };
    format!("{}\n\n{result}\n", text.join("\n"))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
