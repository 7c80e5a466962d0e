//! The objects of the Helm chart, as Helm renders them.

use serde_json::Value;

use super::cluster::helm_or_error;

const CHART: &str = "charts/torpor";
/// An API of the cluster that the chart asks for.
const MUTATING_POLICIES: &str = "admissionregistration.k8s.io/v1beta1/MutatingAdmissionPolicy";

/// Returns the objects of a template, for a release in this namespace with these values.
pub(crate) fn rendered(namespace: &str, template: &str, values: &[&str]) -> Vec<Value> {
    let template = format!("templates/{template}");
    let mut arguments = vec!["template", "torpor", CHART, "--namespace", namespace];
    arguments.extend(["--show-only", &template, "--api-versions", MUTATING_POLICIES]);
    arguments.extend(values.iter().flat_map(|value| ["--set", value]));
    let text = helm_or_error(&arguments).expect("the chart is rendered");
    let documents = text.split("---\n").filter(|document| !document.is_empty());
    documents.map(|document| serde_saphyr::from_str(document).expect("YAML")).collect()
}
