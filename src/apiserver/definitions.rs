//! Compares the custom resource definitions of the cluster with those of this version.

use http::Request;
use kube::Client;
use serde_json::Value;

use super::request::{self, call};
use super::wanted::Wanted;
use crate::api::definition::definitions;
use crate::api::text::first;
use crate::version::VERSION;

/// The field of a schema that keeps fields which it does not have.
const KEEPS_UNKNOWN: &str = "x-kubernetes-preserve-unknown-fields";
/// The most fields that are named.
const FIELDS: usize = 3;

/// What to do about a missing definition.
pub(crate) const REMEDY: &str = "apply those of this version: kubectl apply --server-side -f crds/, or set crds.enabled in the chart";

/// Returns a line for each definition that the cluster lacks, or whose fields are not those of this version, as the
/// API server publishes them.
pub(crate) async fn missing(client: &Client) -> Result<Vec<String>, request::Error> {
    let Some(served) = published(client, "/openapi/v3/apis/torpor.dev/v1alpha1").await? else {
        return Ok(vec![format!(
            "the cluster serves no torpor.dev/v1alpha1: it has no definitions of Hibernation and \
             MaintenanceWindow, or those of another version"
        )]);
    };
    let mut missing = Vec::new();
    for definition in definitions() {
        let kind = definition.spec.names.kind.clone();
        let schema = &served["components"]["schemas"][format!("dev.torpor.v1alpha1.{kind}")];
        let definition = serde_json::to_value(definition).unwrap_or_default();
        let ours = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        if schema.is_null() {
            missing.push(format!("the cluster has no definition of {kind}"));
            continue;
        }
        let mut fields = Vec::new();
        lacking(ours, schema, "", &mut fields);
        if !fields.is_empty() {
            missing.push(format!(
                "the definition of {kind} is not that of torpor {VERSION}: it lacks {}, so that the API server drops \
                 {}",
                first(&fields, FIELDS),
                if fields.len() == 1 { "this field" } else { "these fields" },
            ));
        }
    }
    Ok(missing)
}

/// Returns whether the cluster serves a resource of an API group and version. Every client may ask that.
pub(crate) async fn serves(
    client: &Client,
    api_version: &str,
    plural: &str,
) -> Result<bool, request::Error> {
    let served = published(client, &format!("/apis/{api_version}")).await?;
    let resources = served.as_ref().and_then(|served| served["resources"].as_array());
    Ok(resources.into_iter().flatten().any(|resource| resource["name"] == plural))
}

/// Returns whether the schema of a kind (group, version, kind) has a field, or keeps any. A kind without a schema keeps
/// any too.
pub(crate) async fn has_field(
    client: &Client,
    (group, version, kind): (&str, &str, &str),
    pointer: &str,
) -> Result<bool, request::Error> {
    let path = format!("/openapi/v3/apis/{group}/{version}");
    let request = Request::get(&path).body(Vec::new()).map_err(kube::Error::HttpError);
    let asked = async { client.request_text(request?).await };
    let document = call(path, asked).await?;
    let reversed: Vec<&str> = group.rsplit('.').collect();
    let root = format!("/components/schemas/{}.{version}.{kind}", reversed.join("."));
    // Of a document of megabytes only the schemas on the way to the field.
    let parts = schemas_to(root, pointer);
    let keeps = ["type", KEEPS_UNKNOWN, "x-kubernetes-int-or-string", "additionalProperties/type"];
    let wanted: Vec<String> =
        parts.iter().flat_map(|part| keeps.map(|field| format!("{part}/{field}"))).collect();
    let Ok(schemas) = Wanted::of(wanted.iter().map(String::as_str)).parse(document.as_bytes())
    else {
        return Ok(true);
    };
    Ok(keeps_field(&schemas, &parts))
}

/// Returns the pointers of the schemas from that of a kind to that of a field.
fn schemas_to(root: String, pointer: &str) -> Vec<String> {
    let mut parts = vec![root];
    for segment in pointer.split('/').skip(1) {
        let above = parts.last().cloned().unwrap_or_default();
        parts.push(format!("{above}/properties/{segment}"));
    }
    parts
}

/// Returns whether the last of these schemas is there, or one above it keeps what it does not know.
fn keeps_field(schemas: &Value, parts: &[String]) -> bool {
    let mut parts = parts.iter().map(|part| schemas.pointer(part));
    let Some(Some(mut schema)) = parts.next() else { return true };
    for next in parts {
        if schema[KEEPS_UNKNOWN] == true || !schema["additionalProperties"].is_null() {
            return true;
        }
        match next {
            Some(next) => schema = next,
            None => return false,
        }
    }
    true
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
    fn a_field_is_kept_that_the_schema_has_or_that_it_does_not_know() {
        let keeps = |spec: Value, pointer: &str| {
            let root = "/components/schemas/com.example.v1.Widget".to_owned();
            let schema = json!({"type": "object", "properties": {"spec": spec}});
            let schemas = json!({"components": {"schemas": {"com.example.v1.Widget": schema}}});
            keeps_field(&schemas, &schemas_to(root, pointer))
        };
        let suspend = json!({"type": "object", "properties": {"suspend": {"type": "boolean"}}});
        assert!(keeps(suspend.clone(), "/spec/suspend"));
        assert!(!keeps(suspend.clone(), "/spec/suspended"));
        assert!(!keeps(suspend, "/spec/mode/suspend"));
        assert!(keeps(json!({KEEPS_UNKNOWN: true}), "/spec/mode/suspend"));
        assert!(keeps(json!({"additionalProperties": {"type": "string"}}), "/spec/anything"));
    }

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
