//! The worker's known defects by number; the bridge works around each.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use torpor::deals::types::Term;

use crate::support::bridge::Bridge;
use crate::support::market::{deals, failures, forward, orders, started, tasks};
use crate::support::sonm_node::{CONSUMER, Market, Node, plan, spot};

async fn accept(node: &Node, plan: &str, seconds: u64) -> String {
    let order = node.order_of(plan).await;
    let bid = json!({"consumer": CONSUMER, "duration_s": seconds});
    let deal = node.control("POST", &format!("/orders/{order}/accept"), &bid).await["deal"].clone();
    deal.to_string()
}

/// Returns the wanted events of the journal, in order.
async fn events(node: &Node, wanted: &[&str]) -> Vec<String> {
    let truth = node.truth().await;
    let journal = truth["model"]["journal"].as_array().unwrap();
    let names = journal.iter().filter_map(|entry| entry["what"].as_str());
    names.filter(|name| wanted.contains(name)).map(str::to_owned).collect()
}

#[tokio::test]
async fn defect_1_orders_go_before_deals_and_deals_are_read_again() {
    let (bridge, node) = started(Market::of(vec![plan("a", 1), spot("s", 2), plan("z", 3)])).await;
    // Placed before, an order keeps its full duration, whatever is announced.
    let soon = Timestamp::now() + SignedDuration::from_mins(20);
    bridge.change("PUT", "/v1/maintenance", 1, &json!({"at": soon.to_string()})).await;
    let seen = bridge.commitments().await;
    let late = accept(&node, "z", 3600).await;
    // The deal was an order in the observation, so the drain does not name or touch it.
    bridge.drain(1, &json!({"orders": orders(&seen), "deals": deals(&seen)})).await;
    let seen =
        bridge.until("drained", |seen| orders(seen).is_empty() && deals(seen).len() == 1).await;
    assert_eq!(deals(&seen), [late]);
    assert!(matches!(seen.deals.as_slice()[0].term, Term::Fixed { ends_at } if ends_at > soon));
    let events = events(&node, &["order_cancelled", "deal_closed"]).await;
    assert_eq!(events, ["order_cancelled", "deal_closed"]);
    node.kept_its_promises().await;
}

#[tokio::test]
async fn defect_2_an_order_accepted_during_the_drain_is_left_to_the_next_observation() {
    let (bridge, node) = started(Market::of(vec![plan("a", 1), plan("b", 2)])).await;
    let forward = accept(&node, "a", 3600).await;
    bridge.drain(1, &json!({"orders": ["a", "b"]})).await;
    let seen = bridge.until("withdrawn", |seen| orders(seen).is_empty()).await;
    assert_eq!(deals(&seen), [forward.as_str()]);
    assert_eq!(failures(&seen), []);
    // It was not even marked: that could not be taken back.
    assert_eq!(node.calls("RemoveAskPlan").await.len(), 1);
    // If it happens between the last observation and the removal, the worker rejects the removal.
    for why in [
        "failed to remove ask plan c: failed to cancel order: failed to cancel order 9: order already have deal",
        "failed to remove ask plan c: concurrent order or deal was placed",
    ] {
        let created = node.worker("POST", "plans", &plan("", 5)["ask"]).await;
        let fault =
            json!({"errors": [{"method": "WorkerManagementServer/RemoveAskPlan", "message": why}]});
        node.control("PUT", "/faults", &fault).await;
        bridge.drain(1, &json!({"orders": [created["id"]]})).await;
        let calls = node.calls("RemoveAskPlan").await.len();
        assert_eq!(bridge.resume(1, &json!([])).await.status, 204);
        let seen = bridge.commitments().await;
        assert_eq!(
            (failures(&seen), node.calls("RemoveAskPlan").await.len() > calls - 1),
            (vec![], true)
        );
        assert_eq!(orders(&seen), [created["id"].as_str().unwrap()]);
        bridge.drain(1, &json!({"orders": [created["id"]]})).await;
        bridge.until("withdrawn", |seen| orders(seen).is_empty()).await;
    }
}

#[tokio::test]
async fn defect_3_after_a_restart_deals_are_found_although_their_plans_have_forgotten_them() {
    let (bridge, node) = started(Market::of(vec![forward("f", 1, 7200), spot("s", 2)])).await;
    let before = bridge.commitments().await;
    node.worker("POST", "restart", &json!({})).await;
    let seen = bridge.commitments().await;
    assert_eq!((deals(&seen), orders(&seen)), (deals(&before), vec![]));
    assert_eq!(seen.deals, before.deals);
    // A restarted bridge depends neither on its memory nor on the index.
    let again = Bridge::open(&node.bridge()).await;
    assert_eq!(again.commitments().await.deals, before.deals);
    node.kept_its_promises().await;
}

#[tokio::test]
async fn defect_4_a_task_that_the_worker_lost_sight_of_stays_in_the_observations() {
    let mut market = Market::of(vec![spot("s", 1)]);
    market.defects = json!({"lose_containers": true});
    let (bridge, node) = started(market).await;
    let before = bridge.commitments().await;
    let task = tasks(&before)[0].to_owned();
    bridge.drain(1, &json!({"deals": deals(&before)})).await;
    let seen = bridge.until("the failure is reported", |seen| failures(seen).len() == 2).await;
    assert!(failures(&seen).iter().any(|(id, why)| *id == task && why.contains("may still run")));
    // The plan goes with the worker's next round, and the task is still not taken for ended.
    node.sync().await;
    let seen = bridge.commitments().await;
    assert_eq!((deals(&seen), orders(&seen), tasks(&seen)), (vec![], vec![], vec![task.as_str()]));
    assert_eq!(node.plans().await, Vec::<String>::new());
}

#[tokio::test]
async fn defect_5_a_plan_whose_deal_is_not_registered_is_not_removed() {
    let mut unregistered = spot("s", 1);
    unregistered["deal"]["registered"] = json!(false);
    let (bridge, node) = started(Market::of(vec![unregistered])).await;
    let seen = bridge.commitments().await;
    let deal = deals(&seen)[0].to_owned();
    bridge.drain(1, &json!({"orders": ["s"], "deals": [deal]})).await;
    let seen = bridge.until("the failure is reported", |seen| !failures(seen).is_empty()).await;
    assert!(failures(&seen)[0].1.contains("not registered"), "{seen:?}");
    assert_eq!(node.calls("RemoveAskPlan").await.len(), 0);
    node.sync().await;
    bridge.drain(1, &json!({"deals": [deal]})).await;
    let seen = bridge.until("closed", |seen| deals(seen).is_empty()).await;
    assert_eq!((failures(&seen), node.plans().await), (vec![], vec![]));
}

#[tokio::test]
async fn defect_6_a_plan_on_which_the_worker_is_stuck_holds_up_nothing() {
    let mut market = Market::of(vec![spot("a", 1), plan("b", 2), spot("c", 3)]);
    market.defects = json!({"lose_containers": true});
    let (bridge, node) = started(market).await;
    let before = bridge.commitments().await;
    let (first, second) = (deals(&before)[0].to_owned(), deals(&before)[1].to_owned());
    bridge.drain(1, &json!({"deals": [first]})).await;
    bridge.until("half done", |seen| !failures(seen).is_empty()).await;
    // Marked for deletion, it stalls every round of the worker from now on.
    node.worker("PUT", "defects", &json!({"stuck_plans": ["a"]})).await;
    node.sync().await;
    assert_eq!(events(&node, &["sync_stalled"]).await.len(), 1);
    let seen = bridge.commitments().await;
    assert_eq!(orders(&seen), ["a", "b"], "until it is gone, it binds");
    bridge.drain(1, &json!({"orders": orders(&seen), "deals": [second]})).await;
    let seen =
        bridge.until("drained", |seen| orders(seen).is_empty() && deals(seen).is_empty()).await;
    assert_eq!((failures(&seen), node.plans().await), (vec![], vec![]));
}

#[tokio::test]
async fn defect_7_what_optimus_offers_anew_is_seen_and_drained_until_maintenance_begins() {
    let optimus = json!({"optimus": [plan("", 1)["ask"]]});
    let market = Market { defects: optimus, ..Market::default() };
    let (bridge, node) = started(market).await;
    let mut names = Vec::new();
    for _ in 0..2 {
        node.sync().await;
        let seen = bridge.commitments().await;
        let [order] = orders(&seen)[..] else { panic!("{seen:?}") };
        names.push(order.to_owned());
        bridge.drain(1, &json!({"orders": [order]})).await;
        bridge.until("withdrawn", |seen| orders(seen).is_empty()).await;
    }
    assert_ne!(names[0], names[1]);
    let now = Timestamp::now().to_string();
    assert_eq!(bridge.change("PUT", "/v1/maintenance", 1, &json!({"at": now})).await.status, 204);
    node.control("POST", "/clock", &json!({"advance_s": 5})).await;
    node.sync().await;
    assert_eq!(orders(&bridge.commitments().await), Vec::<&str>::new());
}

#[tokio::test]
async fn defect_8_a_removal_that_outlasts_the_client_is_not_repeated_and_not_called_a_failure() {
    let mut market = Market::of(vec![plan("a", 1), spot("s", 2)]);
    market.settings = json!({"removal_ms": 1300});
    let node = Node::start(&market).await;
    let bridge = Bridge::open(&[node.bridge(), vec!["--removal-timeout", "1s"]].concat()).await;
    let before = bridge.commitments().await;
    bridge.drain(1, &json!({"orders": ["a"], "deals": deals(&before)})).await;
    let seen =
        bridge.until("drained", |seen| orders(seen).is_empty() && deals(seen).is_empty()).await;
    assert_eq!(failures(&seen), []);
    assert_eq!(node.calls("RemoveAskPlan").await.len(), 2);
    // One whose answer got lost was created all the same; asked again, it is not created twice.
    let order = json!([{"id": "a", "restore": before.orders.as_slice()[0].restore}]);
    let fault = json!({"errors": [{"method": "WorkerManagementServer/CreateAskPlan", "code": "Unavailable",
                                   "message": "transport is closing", "after": true}]});
    node.control("PUT", "/faults", &fault).await;
    let answer = bridge.resume(1, &order).await;
    assert_eq!(answer.status, 503, "{answer:?}");
    assert_eq!(bridge.resume(1, &order).await.status, 204);
    assert_eq!(node.plans().await.len(), 1);
}

#[tokio::test]
async fn a_resume_waits_for_the_removal_under_way() {
    let mut market = Market::of(vec![plan("a", 1), plan("b", 2)]);
    market.settings = json!({"removal_ms": 700});
    let (bridge, node) = started(market).await;
    let before = bridge.commitments().await;
    bridge.drain(1, &json!({"orders": ["a", "b"]})).await;
    let marked = |truth: &Value| {
        truth["model"]["workers"][crate::support::sonm_node::WORKER]["plans"]["a"]["pending_deletion"]
            == json!(true)
    };
    while !marked(&node.truth().await) {
        tokio::task::yield_now().await;
    }
    let back = crate::support::market::payloads(&before);
    assert_eq!(bridge.resume(1, &back).await.status, 204);
    // The first went and came back, the second never went.
    let plans = node.plans().await;
    assert!(
        plans.len() == 2 && plans.contains(&"b".to_owned()) && !plans.contains(&"a".to_owned())
    );
}
