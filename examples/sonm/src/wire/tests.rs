//! Messages, read and written as Go does.

use serde_json::{Value, json};

use super::{read, write};
use crate::model::chain::Deal;
use crate::model::worker::Plan;
use crate::model::{Address, Terms};

fn address(digit: char) -> Address {
    format!("0x{}", digit.to_string().repeat(40)).try_into().unwrap()
}

fn full() -> Value {
    json!({
        "duration": {"nanoseconds": 28_800_000_000_000_u64},
        "price": {"perSecond": "123456789012345678901234567890"},
        "blacklist": address('b'),
        "counterparty": address('c'),
        "identity": 2,
        "tag": "dG9ycG9y",
        "resources": {"CPU": {"core_percents": 150}, "GPU": {"hashes": ["x"]}},
    })
}

fn terms(plan: Value) -> Result<Terms, String> {
    plan.try_into()
}

#[test]
fn terms_come_back_as_they_were_written() {
    assert_eq!(Value::from(terms(full()).unwrap()), full());
}

#[test]
fn what_is_zero_is_absent() {
    let plan = json!({
        "duration": {"nanoseconds": 0}, "price": {"perSecond": "0"}, "identity": 0, "tag": "",
    });
    assert_eq!(Value::from(terms(plan).unwrap()), json!({"price": {"perSecond": "0"}}));
}

#[test]
fn a_plan_shows_its_order_and_deal_as_texts_and_no_status_while_it_is_active() {
    let now = "2026-12-01T00:00:00Z".parse().unwrap();
    let mut plan = Plan {
        id: "some".to_owned(),
        terms: terms(json!({})).unwrap(),
        order: None,
        deal: None,
        pending_deletion: false,
        created: now,
        last_order_placed: None,
    };
    let price = json!({"perSecond": "0"});
    assert_eq!(
        write::plan(&plan),
        json!({"ID": "some", "createTime": "2026-12-01T00:00:00Z", "price": price})
    );
    (plan.order, plan.deal) = (Some(12), Some(34));
    (plan.pending_deletion, plan.last_order_placed) = (true, Some(now));
    assert_eq!(
        write::plan(&plan),
        json!({
            "ID": "some", "orderID": "12", "dealID": "34", "status": 1, "price": price,
            "createTime": "2026-12-01T00:00:00Z", "lastOrderPlacedTime": "2026-12-01T00:00:00Z",
        })
    );
}

#[test]
fn a_spot_deal_has_no_duration() {
    let start = "2026-12-01T00:00:00Z".parse().unwrap();
    let mut deal = Deal {
        id: 34,
        supplier: address('a'),
        consumer: address('c'),
        master: address('b'),
        ask: 12,
        bid: 13,
        duration: 0,
        price: "7".to_owned(),
        start,
        end: None,
        closed: false,
    };
    assert_eq!(
        write::deal(&deal),
        json!({
            "id": "34", "askID": "12", "bidID": "13", "price": "7", "status": 1,
            "supplierID": address('a'), "consumerID": address('c'), "masterID": address('b'),
            "startTime": "2026-12-01T00:00:00Z", "endTime": "1970-01-01T00:00:00Z",
            "blockedBalance": "0", "totalPayout": "0", "lastBillTS": "2026-12-01T00:00:00Z",
        })
    );
    (deal.duration, deal.closed) = (60, true);
    deal.end = Some(deal.promised_until());
    let written = write::deal(&deal);
    assert_eq!((&written["duration"], &written["status"]), (&json!(60), &json!(2)));
    assert_eq!(written["endTime"], "2026-12-01T00:01:00Z");
}

#[test]
fn names_match_in_whatever_case_and_unknown_ones_are_passed_over() {
    let plan = json!({"PRICE": {"persecond": "5"}, "DuRation": {"Nanoseconds": 7}, "colour": 1});
    let terms = terms(plan).unwrap();
    assert_eq!((terms.price.as_str(), terms.duration_ns), ("5", 7));
}

#[test]
fn the_processors_share_has_one_name_only() {
    let plan = json!({"resources": {"CPU": {"corePercents": 100}, "RAM": {"size": {"bytes": 1}}}});
    let resources = terms(plan).unwrap().resources;
    assert_eq!(resources, json!({"CPU": {}, "RAM": {"size": {"bytes": 1}}}));
}

#[test]
fn what_has_the_wrong_type_is_refused() {
    for plan in [
        json!({"price": {"perSecond": 5}}),
        json!({"price": {"perSecond": "five"}}),
        json!({"price": {"perSecond": ""}}),
        json!({"price": "5"}),
        json!({"duration": 5}),
        json!({"duration": {"nanoseconds": "5"}}),
        json!({"blacklist": "0x12"}),
        json!({"tag": "***="}),
        json!({"tag": "abc"}),
        json!({"identity": "2"}),
        json!([]),
    ] {
        assert!(terms(plan.clone()).is_err(), "{plan}");
    }
}

#[test]
fn a_new_plan_has_nothing_that_the_worker_sets() {
    assert!(read::new_plan(&full()).is_ok());
    for (name, value) in [
        ("ID", json!("x")),
        ("orderID", json!("1")),
        ("dealID", json!("1")),
        ("createTime", json!("2026-12-01T00:00:00Z")),
        ("lastOrderPlacedTime", json!("2026-12-01T00:00:00Z")),
    ] {
        let mut plan = full();
        plan[name] = value;
        let error = read::new_plan(&plan).unwrap_err();
        assert!(error.contains(name), "{error}");
        plan[name] = Value::Null;
        assert!(read::new_plan(&plan).is_ok(), "{name} is not set");
    }
}

#[test]
fn a_timestamp_is_a_text_and_unset_the_beginning_of_1970() {
    let read = |value| read::timestamp(&value).map(|time| time.to_string());
    assert_eq!(read(json!("2026-01-02T03:04:05Z")).unwrap(), "2026-01-02T03:04:05Z");
    assert_eq!(read(json!("2026-01-02T03:04:05+02:00")).unwrap(), "2026-01-02T01:04:05Z");
    assert_eq!(read(Value::Null).unwrap(), "1970-01-01T00:00:00Z");
    for wrong in [json!({}), json!(5), json!(""), json!("tomorrow"), json!({"seconds": 5})] {
        assert!(read(wrong.clone()).is_err(), "{wrong}");
    }
}

#[test]
fn a_big_number_is_a_decimal_text() {
    assert_eq!(read::big(&json!("007")).unwrap(), "7");
    assert_eq!(read::big(&json!("000")).unwrap(), "0");
    assert_eq!(read::big_id(&json!("34")).unwrap(), 34);
    for wrong in [json!(34), json!("0x22"), json!("-1"), json!("")] {
        assert!(read::big(&wrong).is_err(), "{wrong}");
    }
}
