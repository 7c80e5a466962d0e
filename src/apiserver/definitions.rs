//! Compares the custom resource definitions of the cluster with those of this version.

use http::Request;
use kube::Client;
use serde_json::Value;

use super::request::{self, call};
use crate::api::definition::definitions;
use crate::api::text::first;
use crate::version::VERSION;

/// The most fields that are named.
const FIELDS: usize = 3;

const REMEDY: &str = "apply those of this version: kubectl apply --server-side -f crds/, or set crds.enabled in the chart";

/// Returns a line for each definition that the cluster lacks, or whose fields are not those of this version, as the
/// API server publishes them.
pub(crate) async fn missing(client: &Client) -> Result<Vec<String>, request::Error> {
    let Some(served) = published(client, "/openapi/v3/apis/torpor.dev/v1alpha1").await? else {
        return Ok(vec![format!(
            "the cluster serves no torpor.dev/v1alpha1: it has no definitions of Hibernation and \
             MaintenanceWindow, or those of another version; {REMEDY}"
        )]);
    };
    let mut missing = Vec::new();
    for definition in definitions() {
        let kind = definition.spec.names.kind.clone();
        let schema = &served["components"]["schemas"][format!("dev.torpor.v1alpha1.{kind}")];
        let definition = serde_json::to_value(definition).unwrap_or_default();
        let ours = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        if schema.is_null() {
            missing.push(format!("the cluster has no definition of {kind}; {REMEDY}"));
            continue;
        }
        let mut fields = Vec::new();
        lacking(ours, schema, "", &mut fields);
        if !fields.is_empty() {
            missing.push(format!(
                "the definition of {kind} is not that of torpor {VERSION}: it lacks {}, so that the API server drops \
                 {}; {REMEDY}",
                first(&fields, FIELDS),
                if fields.len() == 1 { "this field" } else { "these fields" },
            ));
        }
    }
    Ok(missing)
}

async fn published(client: &Client, path: &str) -> Result<Option<Value>, request::Error> {
    let request = Request::get(path).body(Vec::new()).map_err(kube::Error::HttpError);
    let asked = async { client.request::<Value>(request?).await };
    match call(path, asked).await {
        Err(error) if error.is_not_found() => Ok(None),
        answer => answer.map(Some),
    }
}

/// Adds the paths of the fields that a schema has, and another lacks.
fn lacking(ours: &Value, theirs: &Value, path: &str, fields: &mut Vec<String>) {
    for (name, field) in ours["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match &theirs["properties"][name] {
            Value::Null => fields.push(path),
            field_there => lacking(field, field_there, &path, fields),
        }
    }
    if !ours["items"].is_null() {
        lacking(&ours["items"], &theirs["items"], &format!("{path}[]"), fields);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_fields_that_an_older_definition_lacks_are_found_in_any_depth() {
        let field = json!({"type": "string"});
        let list = |properties: Value| json!({"properties": {"spec": {"properties": {"workloads": {"items": {"properties": properties}}}}}});
        let ours = list(json!({"kind": field, "stage": field}));
        let mut fields = Vec::new();
        lacking(&ours, &ours, "", &mut fields);
        assert_eq!(fields, Vec::<String>::new());
        lacking(&ours, &list(json!({"kind": field})), "", &mut fields);
        assert_eq!(fields, ["spec.workloads[].stage"]);
        let many: Vec<_> = (0..5).map(|number| number.to_string()).collect();
        assert_eq!(first(&many, FIELDS), "0, 1, 2 and 2 more");
    }
}
