use serde_json::{Value, json};

use super::*;

fn commitments() -> Value {
    json!({
        "asOf": "2026-12-01T02:00:00Z",
        "complete": true,
        "deals": [
            {"id": "1", "term": "Fixed", "endsAt": "2026-12-01T10:00:00Z", "counterparty": "0xab"},
            {"id": "2", "term": "Open", "endsAt": null, "restore": "{}"},
        ],
        "orders": [{"id": "a", "restore": ""}],
        "tasks": [{"id": "t"}],
        "nextMaintenance": "2026-12-02T00:00:00Z",
        "failures": [{"id": "2", "detail": "no"}],
    })
}

fn with(pointer: &str, value: Value) -> Value {
    let mut changed = commitments();
    *changed.pointer_mut(pointer).unwrap() = value;
    changed
}

fn without(pointer: &str, key: &str) -> Value {
    let mut changed = commitments();
    changed.pointer_mut(pointer).unwrap().as_object_mut().unwrap().remove(key).unwrap();
    changed
}

fn error(value: impl std::borrow::Borrow<Value>) -> String {
    let value = value.borrow();
    Commitments::deserialize(value).expect_err(&value.to_string()).to_string()
}

#[test]
fn what_is_written_is_what_was_read() {
    let read: Commitments = serde_json::from_value(commitments()).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), commitments());
    let ends_at = "2026-12-01T10:00:00Z".parse().unwrap();
    assert_eq!(read.deals.as_slice()[0].term, Term::Fixed { ends_at });
    assert_eq!(read.deals.as_slice()[1].term, Term::Open);
}

#[test]
fn what_may_be_absent_may_be_absent() {
    for (pointer, key) in [
        ("", "nextMaintenance"),
        ("", "failures"),
        ("/deals/0", "counterparty"),
        ("/deals/1", "restore"),
    ] {
        let read: Commitments = serde_json::from_value(without(pointer, key)).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), without(pointer, key));
    }
}

#[test]
fn nothing_else_may_be_absent() {
    for (pointer, key) in [
        ("", "asOf"),
        ("", "complete"),
        ("", "deals"),
        ("", "orders"),
        ("", "tasks"),
        ("/deals/0", "id"),
        ("/deals/0", "term"),
        ("/deals/0", "endsAt"),
        ("/deals/1", "endsAt"),
        ("/orders/0", "id"),
        ("/orders/0", "restore"),
        ("/tasks/0", "id"),
        ("/failures/0", "detail"),
    ] {
        assert!(error(without(pointer, key)).contains("missing field"), "{pointer}/{key}");
    }
    assert!(error(json!({})).contains("missing field"));
}

#[test]
fn an_unknown_field_is_an_error_everywhere() {
    for pointer in ["", "/deals/0", "/orders/0", "/tasks/0", "/failures/0"] {
        let mut changed = commitments();
        changed.pointer_mut(pointer).unwrap()["more"] = json!(1);
        assert!(error(changed).contains("unknown field `more`"), "{pointer}");
    }
    assert!(
        serde_json::from_value::<Announcement>(json!({"at": "2026-01-01T00:00:00Z", "in": 1}))
            .is_err()
    );
    assert!(serde_json::from_value::<Drain>(json!({"orders": [], "deals": []})).is_err());
    assert!(serde_json::from_value::<Resume>(json!({})).is_err());
}

#[test]
fn an_incomplete_answer_is_none() {
    assert!(error(with("/complete", json!(false))).contains("complete is not true"));
}

#[test]
fn term_and_end_go_together() {
    let message = BoundError::Term.to_string();
    assert!(error(with("/deals/0/endsAt", json!(null))).contains(&message));
    assert!(error(with("/deals/1/endsAt", json!("2026-12-01T10:00:00Z"))).contains(&message));
    error(with("/deals/0/term", json!("Forward")));
    error(with("/deals/0/endsAt", json!("tomorrow")));
    error(with("/deals/0/counterparty", json!(null)));
    error(with("/nextMaintenance", json!(null)));
}

#[test]
fn ids_payloads_and_lists_are_bounded() {
    let id = |text: String| serde_json::from_value::<Id>(json!(text));
    assert!(id("ü".repeat(LONGEST_ID)).is_ok());
    assert!(id("ü".repeat(LONGEST_ID + 1)).is_err());
    assert!(id(String::new()).is_err());
    assert!(id("a\u{1b}[2J".to_owned()).is_err());
    let restore = |text: String| serde_json::from_value::<Restore>(json!(text));
    assert!(restore("x".repeat(LONGEST_RESTORE)).is_ok());
    assert!(restore("x".repeat(LONGEST_RESTORE + 1)).is_err());
    assert!(restore("a\0".to_owned()).is_err());
    let list = |length: usize| serde_json::from_value::<List<Id>>(json!(vec!["a"; length]));
    assert_eq!(list(LONGEST_LIST).unwrap().as_slice().len(), LONGEST_LIST);
    assert!(list(LONGEST_LIST + 1).unwrap_err().to_string().contains("at most 10000"));
    assert!(List::try_from(vec![(); LONGEST_LIST + 1]).is_err());
}

#[test]
fn foreign_text_is_cleaned_and_bounded() {
    assert_eq!(cleaned("a\u{1b}[2J\nb"), "a [2J b");
    let long = cleaned(&"ü".repeat(10_000));
    assert_eq!(long.chars().count(), LONGEST_DETAIL);
    assert!(long.ends_with('…'));
    assert_eq!(cleaned(&"ü".repeat(LONGEST_DETAIL)), "ü".repeat(LONGEST_DETAIL));
}
