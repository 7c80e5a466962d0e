//! `torpor bridge sonm` against the stand-in of a SONM Node: the runbook's calls.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use torpor::deals::types::Term;

use crate::support::bridge::{detail, problem};
use crate::support::http::send;
use crate::support::market::{
    deals, failures, forward, orders, payloads, started, tasks, unsigned,
};
use crate::support::sonm_node::{CONSUMER, Market, WORKER, plan, spot};

#[tokio::test]
async fn an_observation_shows_what_binds() {
    for encrypted in [true, false] {
        let plans = vec![forward("f", 3, 7200), plan("o", 1), spot("s", 2)];
        let (bridge, node) = started(Market { plans, encrypted, ..Market::default() }).await;
        let before = Timestamp::now();
        let seen = bridge.commitments().await;
        assert!(before <= seen.as_of && seen.as_of <= Timestamp::now());
        assert_eq!(orders(&seen), ["o"]);
        let [fixed, open] = seen.deals.as_slice() else { panic!("{seen:?}") };
        let Term::Fixed { ends_at } = fixed.term else { panic!("{fixed:?}") };
        let left = ends_at.duration_since(before);
        assert!((7195..=7205).contains(&left.as_secs()), "{left}");
        assert_eq!(open.term, Term::Open);
        let consumer = open.counterparty.as_ref().unwrap().as_str();
        assert!(consumer.eq_ignore_ascii_case(CONSUMER));
        assert_eq!(tasks(&seen), [format!("task-{}-1", open.id)]);
        assert_eq!((seen.next_maintenance, failures(&seen)), (None, vec![]));

        // All that the plan said, and nothing that the worker gave it.
        let restore = seen.orders.as_slice()[0].restore.as_str();
        // Without a key there is nothing to sign with.
        assert_eq!(restore.starts_with("hmac-sha256:"), encrypted, "{restore}");
        let restore: Value = serde_json::from_str(unsigned(restore)).unwrap();
        assert_eq!(restore, json!({"plan": plan("o", 1)["ask"], "of": "o"}));
        let of_deal = unsigned(open.restore.as_ref().unwrap().as_str());
        let of_deal: Value = serde_json::from_str(of_deal).unwrap();
        assert_eq!(of_deal, json!({"plan": spot("s", 2)["ask"], "of": "s"}));
        // The same again, so that nobody writes it anew.
        assert_eq!(payloads(&bridge.commitments().await), payloads(&seen));

        let calls = node.truth().await["model"]["journal"].clone();
        let asked = calls.as_array().unwrap().iter().find(|entry| {
            entry["call"]["method"].as_str().is_some_and(|method| method.ends_with("AskPlans"))
        });
        assert_eq!(asked.unwrap()["call"]["selector"], format!("{WORKER}@127.0.0.1:15010"));
        let status = node.calls("DealManagementServer/Status").await;
        assert!(status.iter().all(|(request, _)| request.is_string()), "{status:?}");
    }
}

#[tokio::test]
async fn an_empty_market_is_empty() {
    let (bridge, _node) = started(Market::default()).await;
    let seen = bridge.commitments().await;
    assert_eq!((orders(&seen), deals(&seen), tasks(&seen)), (vec![], vec![], vec![]));
}

#[tokio::test]
async fn maintenance_is_announced_never_too_early_and_taken_back() {
    let (bridge, node) = started(Market::default()).await;
    for (asked, announced) in [
        ("2030-12-01T02:00:00Z", "2030-12-01T02:00:00Z"),
        ("2030-12-01T03:00:00.000000001+01:00", "2030-12-01T02:00:01Z"),
    ] {
        let answer = bridge.change("PUT", "/v1/maintenance", 1, &json!({"at": asked})).await;
        assert_eq!(answer.status, 204, "{answer:?}");
        let announced: Timestamp = announced.parse().unwrap();
        assert_eq!(bridge.commitments().await.next_maintenance, Some(announced));
    }
    assert_eq!(bridge.change("DELETE", "/v1/maintenance", 1, &Value::Null).await.status, 204);
    assert_eq!(bridge.commitments().await.next_maintenance, None);
    let calls = node.calls("ScheduleMaintenance").await;
    let last: Timestamp = calls.last().unwrap().0.as_str().unwrap().parse().unwrap();
    assert!(last.duration_since(Timestamp::now()) > SignedDuration::from_hours(99 * 365 * 24));
}

/// Returns the offer in a payload, without the plan's ID.
fn offer(restore: &Value) -> String {
    let payload: Value = serde_json::from_str(unsigned(restore.as_str().unwrap())).unwrap();
    payload["plan"].to_string()
}

#[tokio::test]
async fn a_drain_takes_all_but_forward_deals_and_a_resume_brings_it_back_once() {
    let plans = vec![forward("f", 3, 7200), plan("a", 1), plan("b", 1), plan("c", 4), spot("s", 2)];
    // Unsigned, so that the test may write a payload that another observation would have given.
    let market = Market { plans, encrypted: false, ..Market::default() };
    let (bridge, node) = started(market).await;
    let before = bridge.commitments().await;
    let [fixed, open] = before.deals.as_slice() else { panic!("{before:?}") };
    // The drain names all deals. The Forward deal is left alone and reported.
    let all = json!({"orders": orders(&before), "deals": deals(&before), "tasks": tasks(&before)});
    bridge.drain(1, &all).await;
    let drained = bridge
        .until("drained", |seen| orders(seen).is_empty() && deals(seen) == [fixed.id.as_str()])
        .await;
    assert_eq!(tasks(&drained), Vec::<&str>::new());
    let [(id, why)] = failures(&drained)[..] else { panic!("{drained:?}") };
    assert!(id == fixed.id.as_str() && why.contains("its term runs until"), "{id}: {why}");
    assert_eq!(node.plans().await, ["f"]);

    let back = payloads(&before);
    let back: Vec<Value> = back
        .as_array()
        .unwrap()
        .iter()
        .filter(|order| order["id"] != fixed.id.as_str())
        .cloned()
        .collect();
    // The worker may have closed the Spot deal by itself; what was left of it was withdrawn as an order.
    let mut back = back;
    let sold = back.iter().find(|order| order["id"] == open.id.as_str()).unwrap();
    let left = json!({"id": "s", "restore": sold["restore"]});
    back.push(left);
    for _ in 0..2 {
        let answer = bridge.resume(1, &json!(back)).await;
        assert_eq!(answer.status, 204, "{answer:?}");
        assert_eq!(node.plans().await.len(), 5);
    }
    node.sync().await;
    let after = bridge.commitments().await;
    let terms = |orders: &Value| -> Vec<String> {
        let mut terms: Vec<String> =
            orders.as_array().unwrap().iter().map(|order| offer(&order["restore"])).collect();
        terms.sort();
        terms.dedup();
        terms
    };
    let offered: Vec<Value> =
        after.orders.as_slice().iter().map(|order| json!({"restore": order.restore})).collect();
    assert_eq!(terms(&json!(offered)), terms(&json!(back)));
    assert_eq!(node.calls("CreateAskPlan").await.len(), 4);
    // Asked for once they were live and had orders, it is still the same.
    assert_eq!(bridge.resume(2, &json!(back)).await.status, 204);
    assert_eq!(node.calls("CreateAskPlan").await.len(), 4);
    // Sold at once, an order is back all the same.
    let sold = node.order_of(orders(&after)[0]).await;
    let bid = json!({"consumer": CONSUMER, "duration_s": 60});
    node.control("POST", &format!("/orders/{sold}/accept"), &bid).await;
    node.sync().await;
    assert_eq!(bridge.resume(2, &json!(back)).await.status, 204);
    assert_eq!(node.calls("CreateAskPlan").await.len(), 4);
    assert_eq!(open.term, Term::Open);
    node.kept_its_promises().await;
    assert_eq!(node.calls("PurgeAskPlansDetailed").await.len(), 0);
}

/// More people may change ConfigMaps than may trade with the key of the market.
#[tokio::test]
async fn a_payload_that_somebody_changed_is_refused_and_nothing_is_offered() {
    let plans = vec![plan("a", 7), plan("b", 9)];
    let (bridge, node) = started(Market { plans, encrypted: true, ..Market::default() }).await;
    let before = payloads(&bridge.commitments().await);
    bridge.drain(1, &json!({"orders": ["a", "b"]})).await;
    bridge.until("withdrawn", |seen| orders(seen).is_empty()).await;
    let mut free = before.clone();
    let text = free[1]["restore"].as_str().unwrap().replace("\"9\"", "\"0\"");
    assert_ne!(free[1]["restore"], text);
    free[1]["restore"] = json!(text);
    let mut swapped = before.clone();
    swapped[0]["restore"] = before[1]["restore"].clone();
    let mut bare = before.clone();
    bare[0]["restore"] = json!(unsigned(before[0]["restore"].as_str().unwrap()));
    for (changed, id) in [(free, "b"), (swapped, "a"), (bare, "a")] {
        let answer = bridge.resume(1, &changed).await;
        assert_eq!(problem(&answer), (422, "invalid-restore".to_owned()));
        let text = detail(&answer);
        assert!(text.contains(&format!("order {id} ")) && text.contains("by hand"), "{text}");
    }
    assert_eq!(node.calls("CreateAskPlan").await.len(), 0);
    assert_eq!(bridge.resume(1, &before).await.status, 204);
    assert_eq!(node.plans().await.len(), 2);
}

#[tokio::test]
async fn an_equal_plan_that_stayed_with_its_forward_deal_is_not_taken_for_the_one_to_bring_back() {
    let (bridge, node) = started(Market::of(vec![forward("f", 1, 7200), plan("o", 1)])).await;
    let before = bridge.commitments().await;
    let back = json!([{"id": "o", "restore": before.orders.as_slice()[0].restore}]);
    bridge.drain(1, &json!({"orders": ["o"]})).await;
    bridge.until("withdrawn", |seen| orders(seen).is_empty()).await;
    for _ in 0..2 {
        assert_eq!(bridge.resume(1, &back).await.status, 204);
        assert_eq!(node.plans().await.len(), 2);
    }
}

#[tokio::test]
async fn a_forward_deal_that_has_run_out_is_closed() {
    let mut over = forward("f", 1, 0);
    over["deal"]["began_s_ago"] = json!(7200);
    over["deal"]["ends_in_s"] = json!(0);
    let (bridge, node) = started(Market::of(vec![over])).await;
    // The market's clock and the bridge's are one, and the margin between them is kept.
    let seen = bridge.commitments().await;
    bridge.drain(1, &json!({"deals": deals(&seen)})).await;
    let seen = bridge.until("said", |seen| !failures(seen).is_empty()).await;
    assert!(failures(&seen)[0].1.contains("its term runs until"), "{seen:?}");
    let deal = deals(&seen)[0].to_owned();
    // An accepted change request has shortened it: the deal is read again.
    let shorter = json!({"duration_s": 7000});
    node.control("POST", &format!("/deals/{deal}/duration"), &shorter).await;
    bridge.drain(2, &json!({"deals": [deal]})).await;
    bridge.until("closed", |seen| deals(seen).is_empty()).await;
    node.kept_its_promises().await;
}

#[tokio::test]
async fn deals_are_read_to_the_last_page() {
    let plans = (0..401).map(|number| spot(&format!("s{number:03}"), number + 1)).collect();
    let (bridge, node) = started(Market::of(plans)).await;
    let seen = bridge.commitments().await;
    assert_eq!((deals(&seen).len(), tasks(&seen).len()), (401, 401));
    let asked: Vec<Value> =
        node.calls("GetDeals").await.iter().map(|(request, _)| request["offset"].clone()).collect();
    // Several pages are read again until two reads agree.
    let pass = [Value::Null, json!(200), json!(400)];
    assert_eq!(asked, [pass.clone(), pass].concat());
}

#[tokio::test]
async fn the_key_shows_nowhere() {
    let (bridge, node) = started(Market::of(vec![plan("o", 1)])).await;
    bridge.commitments().await;
    node.control("PUT", "/faults", &json!({"wrong_key": true})).await;
    let answer = bridge.observe().await;
    let probe = send(bridge.address, "GET", "/healthz", &[], b"").await;
    for text in [bridge.log(), format!("{answer:?}"), format!("{probe:?}")] {
        assert!(!text.contains(&crate::support::sonm_node::KEY[4..]), "{text}");
    }
}
