//! The contract agrees with the types and problems of the code.

use serde_json::{Value, json};
use torpor::deals::problem::{ProblemType, TYPES};

use crate::support::contract::{document, validator};

#[test]
fn every_problem_is_in_the_contract_and_no_other() {
    let listed = document()["components"]["schemas"]["Problem"]["properties"]["type"]["enum"]
        .as_array()
        .unwrap()
        .clone();
    let mut known: Vec<Value> =
        ProblemType::ALL.iter().map(|kind| json!(format!("{TYPES}{}", kind.name()))).collect();
    for kind in ProblemType::ALL {
        let line = format!("`{}` (", kind.name());
        let text = &document()["components"]["schemas"]["Problem"]["properties"]["type"];
        let text = text["description"].as_str().unwrap();
        assert!(text.contains(&line), "{line}");
        let status = format!("{line}{})", kind.status().as_u16());
        assert!(text.contains(&status), "{status}");
    }
    let sorted = |values: &mut Vec<Value>| values.sort_by_key(Value::to_string);
    let mut listed = listed;
    sorted(&mut listed);
    sorted(&mut known);
    assert_eq!(listed, known);
}

#[test]
fn the_contract_and_the_types_agree_on_what_can_be_read() {
    use torpor::deals::types::{Announcement, Commitments, Drain, Resume};

    fn reads<T: serde::de::DeserializeOwned>(value: &Value) -> bool {
        serde_json::from_value::<T>(value.clone()).is_ok()
    }

    let deal = |term: &str, ends_at: Value| {
        json!({"asOf": "2026-12-01T02:00:00Z", "complete": true, "orders": [], "tasks": [],
               "deals": [{"id": "1", "term": term, "endsAt": ends_at}]})
    };
    let with = |key: &str, value: Value| {
        let mut observation = deal("Open", Value::Null);
        observation[key] = value;
        observation
    };
    let id = |length: usize| json!({"orders": ["x".repeat(length)], "deals": [], "tasks": []});
    let restore = |text: &str| json!({"orders": [{"id": "a", "restore": text}]});
    for (schema, value, good) in [
        ("Commitments", deal("Fixed", json!("2026-12-01T02:00:00Z")), true),
        ("Commitments", deal("Open", Value::Null), true),
        ("Commitments", deal("Fixed", Value::Null), false),
        ("Commitments", deal("Open", json!("2026-12-01T02:00:00Z")), false),
        ("Commitments", deal("Forward", Value::Null), false),
        ("Commitments", with("complete", json!(false)), false),
        ("Commitments", with("failures", json!([{"id": "a", "detail": "b"}])), true),
        ("Commitments", with("failures", Value::Null), false),
        ("Commitments", with("nextMaintenance", json!("2026-12-01T02:00:00.5+02:00")), true),
        ("Commitments", with("nextMaintenance", json!("soon")), false),
        ("Commitments", with("more", json!(1)), false),
        ("Commitments", json!({}), false),
        ("Announcement", json!({"at": "2026-12-01T02:00:00Z"}), true),
        ("Announcement", json!({"at": 1}), false),
        ("Drain", id(256), true),
        ("Drain", id(257), false),
        ("Drain", id(0), false),
        ("Drain", json!({"orders": ["a\u{85}"], "deals": [], "tasks": []}), false),
        ("Drain", json!({"orders": vec!["a"; 10_001], "deals": [], "tasks": []}), false),
        ("Drain", json!({"orders": []}), false),
        ("Resume", restore(&"x".repeat(65_536)), true),
        ("Resume", restore(&"x".repeat(65_537)), false),
        ("Resume", restore("a\0"), false),
    ] {
        let by_contract = validator(schema).is_valid(&value);
        let by_type = match schema {
            "Commitments" => reads::<Commitments>(&value),
            "Announcement" => reads::<Announcement>(&value),
            "Drain" => reads::<Drain>(&value),
            _ => reads::<Resume>(&value),
        };
        assert_eq!((by_contract, by_type), (good, good), "{schema} {value:.200}");
    }
}
