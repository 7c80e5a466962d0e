//! Checks the answers of a bridge against `docs/deals-api.yaml`.

use std::sync::OnceLock;

use jsonschema::Validator;
use serde_json::{Value, json};
use torpor::deals::problem::{MEDIA_TYPE, ProblemBody};

use super::http::Answer;

/// Returns the contract.
pub(crate) fn document() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(|| {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/deals-api.yaml");
        serde_saphyr::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
    })
}

/// Returns a validator for a schema of the contract.
pub(crate) fn validator(schema: &str) -> Validator {
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$ref": format!("#/components/schemas/{schema}"),
        "components": document()["components"],
    });
    jsonschema::options().should_validate_formats(true).build(&schema).unwrap()
}

fn judge(schema: &str, value: &Value) {
    let errors: Vec<String> =
        validator(schema).iter_errors(value).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{value} is no {schema}: {errors:?}");
}

/// Panics if the contract does not have this answer to this request.
pub(crate) fn judge_answer(method: &str, path: &str, answer: &Answer) {
    let operation = &document()["paths"][path][method.to_ascii_lowercase()];
    let status = answer.status.to_string();
    if !operation.is_null() {
        let described = &operation["responses"];
        let known = &described[&status];
        let success = answer.status < 300;
        assert!(!known.is_null() || (!success && !described["default"].is_null()), "{answer:?}");
        if success && known["content"].is_null() {
            assert_eq!(answer.body, "", "{method} {path}");
        } else if success {
            assert_eq!(answer.header("content-type"), Some("application/json"));
            judge("Commitments", &answer.json());
        }
    }
    if answer.status < 400 {
        return;
    }
    assert_eq!(answer.header("content-type"), Some(MEDIA_TYPE), "{answer:?}");
    judge("Problem", &answer.json());
    let problem: ProblemBody = serde_json::from_value(answer.json()).unwrap();
    assert_eq!(problem.status, answer.status);
    assert_eq!(answer.header("www-authenticate").is_some(), answer.status == 401, "{answer:?}");
    assert_eq!(answer.header("retry-after").is_some(), answer.status == 503, "{answer:?}");
    assert!(answer.status != 405 || answer.header("allow").is_some(), "{answer:?}");
}
