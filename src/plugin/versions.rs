//! `torpor version`: the version of this program, and of the operator where the cluster can be asked.

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::check::operator::{Operator, operators};
use super::error::Error;
use crate::apiserver::client::ClusterArgs;
use crate::version::{VERSION, full, revision};

/// Arguments of `torpor version`.
#[derive(Args, Clone, Debug)]
pub(crate) struct VersionArgs {
    #[command(flatten)]
    cluster: ClusterArgs,

    /// Print the version of this program only, and ask no cluster
    #[arg(long)]
    client: bool,

    /// Namespace of the operator. Default: all namespaces are searched
    #[arg(long, value_name = "NAMESPACE")]
    operator_namespace: Option<String>,

    /// Format of the output. Default: for people
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    output: Option<Format>,
}

/// A format for machines.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Format {
    /// JSON
    Json,
    /// YAML
    Yaml,
}

/// Runs the command. Returns the output.
pub(super) async fn run(args: VersionArgs) -> Result<String, Error> {
    let VersionArgs { cluster, client, operator_namespace, output } = args;
    let operators = if client {
        Ok(Vec::new())
    } else {
        match cluster.connect().await {
            Ok((client, _)) => operators(&client, operator_namespace.as_deref())
                .await
                .map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        }
    };
    if let Some(format) = output {
        let value = values(&operators);
        return Ok(match format {
            Format::Json => serde_json::to_string_pretty(&value)? + "\n",
            Format::Yaml => serde_saphyr::to_string(&value)?,
        });
    }
    Ok(text(&operators, client))
}

/// Returns the versions for people. Pure.
fn text(operators: &Result<Vec<Operator>, String>, client: bool) -> String {
    let mut lines = vec![format!("this program: {}\n", full())];
    match operators {
        _ if client => {}
        Ok(operators) if operators.is_empty() => {
            lines.push("the operator: no Deployment of it in the cluster\n".to_owned());
        }
        Ok(operators) => lines.extend(operators.iter().map(|operator| {
            let Operator { namespace, name, version, image, .. } = operator;
            let version = version.as_deref().unwrap_or("unknown");
            format!("the operator {namespace}/{name}: {version} (image {image})\n")
        })),
        Err(error) => lines.push(format!("the operator: not known ({error})\n")),
    }
    lines.concat()
}

/// Returns the versions for machines.
fn values(operators: &Result<Vec<Operator>, String>) -> Value {
    let operators: Vec<Value> = operators
        .iter()
        .flatten()
        .map(|Operator { namespace, name, version, image, .. }| {
            json!({"namespace": namespace, "name": name, "version": version, "image": image})
        })
        .collect();
    json!({"client": {"version": VERSION, "commit": revision()}, "operators": operators})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operator_is_shown_where_it_is_known() {
        let operator = Operator {
            namespace: "torpor-system".to_owned(),
            name: "torpor".to_owned(),
            image: "registry.example/torpor:1".to_owned(),
            ..Operator::default()
        };
        let known = Ok(vec![operator]);
        let last = |text: String| text.lines().last().unwrap_or_default().to_owned();
        assert_eq!(
            last(text(&known, false)),
            "the operator torpor-system/torpor: unknown (image registry.example/torpor:1)"
        );
        assert_eq!(
            last(text(&Ok(Vec::new()), false)),
            "the operator: no Deployment of it in the cluster"
        );
        assert_eq!(
            last(text(&Err("no route".to_owned()), false)),
            "the operator: not known (no route)"
        );
        assert_eq!(text(&known, true), format!("this program: {}\n", full()));
        assert_eq!(values(&known)["operators"][0]["namespace"], "torpor-system");
        assert_eq!(values(&Err(String::new()))["client"]["version"], VERSION);
    }
}
