//! `torpor report`: the facts that a bug report needs. It reads no Secret, and shows no value of a ConfigMap.

use clap::Args;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::check;
use super::error::Error;
use super::find::{self, Listing};
use super::name::Name;
use crate::apiserver::client::ClusterArgs;
use crate::version::full;

/// The text in the place of a value.
const HIDDEN: &str = "(hidden)";

/// Arguments of `torpor report`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  torpor report > report.yaml            the installation, and all objects of the namespace
  torpor report hib/cornice              the installation, and one object

The report has names of workloads, namespaces and Secrets, but no Secret and no value of a ConfigMap. Read it before you send it.")]
pub(crate) struct ReportArgs {
    #[command(flatten)]
    cluster: ClusterArgs,

    /// The object: NAME, hib/NAME or mw/NAME. Default: all objects of the namespace
    #[arg(value_name = "NAME")]
    name: Option<Name>,
}

/// Runs the command. Returns the output: YAML, with the checks as a comment.
pub(super) async fn run(args: ReportArgs) -> Result<String, Error> {
    let (client, namespace) = args.cluster.connect().await?;
    let found = match &args.name {
        Some(name) => find::one(&client, &namespace, name)
            .await
            .map(|found| Listing { found: vec![found], hidden: None }),
        None => find::all(&client, Some(&namespace)).await,
    };
    let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default();
    let mut report = vec![format!("# Report of torpor {}, {now}\n#\n", full())];
    let checks = Box::pin(check::text(&client, &namespace)).await;
    report.extend(checks.lines().map(|line| format!("{}\n", format!("# {line}").trim_end())));
    match found {
        Ok(Listing { found, hidden }) => {
            report.extend(hidden.map(|hidden| format!("#\n# {hidden}\n")));
            for found in found {
                let object = serde_saphyr::to_string(&without_values(found.raw))?;
                report.push(format!("---\n{object}"));
            }
        }
        Err(error) => report.push(format!("#\n# the objects cannot be read: {error}\n")),
    }
    Ok(report.concat())
}

/// Returns an object without values of ConfigMaps and without managedFields. Pure.
fn without_values(mut object: Value) -> Value {
    if let Some(meta) = object["metadata"].as_object_mut() {
        // An annotation may be the whole manifest.
        if let Some(annotations) = meta.get_mut("annotations").and_then(Value::as_object_mut) {
            hide(annotations);
        }
        // They have the names of fields, and among them the keys of ConfigMaps.
        meta.remove("managedFields");
    }
    for entry in object["spec"]["configMaps"].as_array_mut().into_iter().flatten() {
        if let Some(set) = entry.get_mut("set").and_then(Value::as_object_mut) {
            hide(set);
        }
    }
    if let Some(postgres) = object["spec"].pointer_mut("/deals/source/postgres")
        && postgres.get("query").is_some()
    {
        postgres["query"] = HIDDEN.into();
    }
    let Some(status) = object.get_mut("status") else { return object };
    for workload in status["workloads"].as_array_mut().into_iter().flatten() {
        if workload["kind"] == "ConfigMap" {
            for field in ["original", "message", "foreignWrites"] {
                if workload.get(field).is_some() {
                    workload[field] = HIDDEN.into();
                }
            }
        }
    }
    if let Some(originals) = status.get_mut("originals").and_then(Value::as_object_mut) {
        for (key, value) in originals {
            if key.starts_with("ConfigMap/") {
                *value = HIDDEN.into();
            }
        }
    }
    hide_messages(status);
    object
}

/// Hides each text about a ConfigMap: a message may say the values that it has and should have.
fn hide_messages(value: &mut Value) {
    match value {
        Value::String(text) if text.contains("ConfigMap ") => HIDDEN.clone_into(text),
        Value::Array(items) => items.iter_mut().for_each(hide_messages),
        Value::Object(fields) => fields.values_mut().for_each(hide_messages),
        _ => {}
    }
}

fn hide(values: &mut Map<String, Value>) {
    for value in values.values_mut() {
        *value = HIDDEN.into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::golden;
    use serde_json::json;

    #[test]
    fn a_report_has_no_value_of_a_config_map() {
        let mut object = golden::json("hibernated");
        object["metadata"]["annotations"] = json!({"a/last": "{\"set\": {\"KEY\": \"hunter2\"}}"});
        object["spec"]["configMaps"][0]["set"]["KEY"] = json!("hunter2");
        object["spec"]["deals"] = json!({"source": {"postgres": {"query": "select 'hunter2'"}}});
        object["status"]["plan"] =
            json!(["1. now: ConfigMap env: KEY from \"hunter2\" to \"\"", "2. now: x"]);
        object["status"]["message"] =
            json!("ConfigMap env is not restored: admission set KEY to hunter2");
        object["status"]["conditions"][0]["message"] = object["status"]["message"].clone();
        object["status"]["workloads"] = json!([
            {"kind": "ConfigMap", "name": "env", "original": "KEY=hunter2", "message": "KEY is hunter2",
             "foreignWrites": {"change": "KEY from hunter2"}},
            {"kind": "Deployment", "name": "worker", "original": "3"},
        ]);
        object["status"]["originals"] = json!({
            "ConfigMap/env/1": "{\"/data/KEY\":[\"hunter2\"]}",
            "Deployment/worker/2": "{\"/spec/replicas\":[3,0]}",
        });
        let report = without_values(object);
        let text = report.to_string();
        assert!(!text.contains("hunter2"), "{text}");
        assert_eq!(report["spec"]["configMaps"][0]["set"]["KEY"], HIDDEN);
        assert_eq!(report["status"]["plan"][1], "2. now: x");
        assert_eq!(report["status"]["workloads"][1]["original"], "3");
        assert_eq!(
            report["status"]["originals"]["Deployment/worker/2"],
            "{\"/spec/replicas\":[3,0]}"
        );
        assert_eq!(report["metadata"]["managedFields"], Value::Null);
    }

    #[test]
    fn an_object_without_a_status_is_reported() {
        let object =
            json!({"kind": "Hibernation", "metadata": {"name": "a"}, "spec": {"state": "Awake"}});
        assert_eq!(without_values(object)["spec"]["state"], "Awake");
    }
}
