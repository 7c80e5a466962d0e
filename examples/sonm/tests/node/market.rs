//! Plans, maintenance and deals over the wire.

use serde_json::{Value, json};

use super::*;

#[test]
fn a_plan_is_made_offered_sold_and_gone() {
    let node = Node::start(&scenario(&json!([])));
    let ask = json!({
        "duration": {"nanoseconds": HOUR},
        "price": {"perSecond": "1000000000000000000000"},
        "tag": "dG9ycG9y",
        "resources": {"CPU": {"core_percents": 100}, "RAM": {"size": {"bytes": 1_048_576}}},
    });
    let id = node.manage("CreateAskPlan", &ask)["id"].as_str().unwrap().to_owned();
    let plan = node.plans()[&id].take();
    assert!(plan["orderID"].is_null());
    for (name, value) in ask.as_object().unwrap() {
        assert_eq!(plan[name], *value, "{name}");
    }
    node.sync();
    let (order, _) = node.order_and_deal(&id);
    assert_eq!(node.plans()[&id]["orderID"], order);
    let bid = json!({"duration_s": 60, "consumer": CONSUMER});
    let deal = node.control("POST", &format!("/orders/{order}/accept"), &bid)["deal"].take();
    // The chain knows it at once, the worker with its next sync.
    let (_, known) = node.call(None, "MarketServer/GetOrderByID", &json!({"id": order}));
    assert_eq!(known["dealID"], deal.to_string());
    assert!(node.plans()[&id]["dealID"].is_null());
    node.sync();
    assert_eq!(node.plans()[&id]["dealID"], deal.to_string());
    node.control("POST", &format!("/deals/{deal}/close"), &json!({}));
    node.sync();
    assert_eq!(node.manage("AskPlans", &json!({})), json!({}));
}

#[test]
fn a_plan_with_preset_fields_is_refused() {
    let node = Node::start(&scenario(&json!([])));
    for (name, value) in [
        ("ID", "x"),
        ("orderID", "1"),
        ("dealID", "1"),
        ("createTime", "2026-01-02T03:04:05Z"),
        ("lastOrderPlacedTime", "2026-01-02T03:04:05Z"),
    ] {
        let (status, _) = node.try_manage("CreateAskPlan", &json!({name: value}));
        assert_eq!(status, 500, "{name}");
    }
    assert_eq!(node.manage("AskPlans", &json!({})), json!({}));
}

#[test]
fn a_removal_says_why_it_failed() {
    let node = Node::start(&scenario(&json!([forward("f", 600), offer("o"), spot("s")])));
    let (_, deal) = node.order_and_deal("f");
    let (order, _) = node.order_and_deal("o");
    let bid = json!({"duration_s": 60, "consumer": CONSUMER});
    node.control("POST", &format!("/orders/{order}/accept"), &bid);
    let remove = |id: &str| node.try_manage("RemoveAskPlan", &json!({"id": id}));
    assert_eq!(remove("s"), (200, json!({})));
    assert_eq!(remove("s"), (500, error("Unknown", "specified ask-plan does not exist")));
    let why = format!(
        "failed to remove ask plan f: failed to close deal: failed to close deal {deal}: deal is forward"
    );
    assert_eq!(remove("f"), (500, error("Unknown", &why)));
    let why = format!(
        "failed to remove ask plan o: failed to cancel order: failed to cancel order {order}: \
         order already have deal"
    );
    assert_eq!(remove("o"), (500, error("Unknown", &why)));
    let plans = node.plans();
    assert_eq!((&plans["f"]["status"], &plans["o"]["status"]), (&json!(1), &json!(1)));
}

#[test]
fn a_purge_has_an_item_for_each_plan() {
    let node = Node::start(&scenario(&json!([forward("f", 600), offer("o"), spot("s")])));
    let (_, deal) = node.order_and_deal("f");
    let why = format!(
        "failed to remove ask plan f: failed to close deal: failed to close deal {deal}: deal is forward"
    );
    let expected = json!({"response": [{"ID": "f", "error": why}, {"ID": "o"}, {"ID": "s"}]});
    assert_eq!(node.manage("PurgeAskPlansDetailed", &json!({})), expected);
    assert_eq!(node.plans().as_object().unwrap().len(), 1);
}

#[test]
fn a_slow_removal_is_carried_out_whether_or_not_its_client_waits() {
    let node = Node::start(&scenario(&json!([offer("o")])));
    node.control("PUT", "/settings", &json!({"sync_ms": 0, "removal_ms": 1000}));
    // A client that goes away as soon as the removal has begun.
    let client = node.send(WORKER, "WorkerManagementServer/RemoveAskPlan", br#"{"id": "o"}"#);
    let state = node.wait("the mark", |state| {
        state["model"]["workers"][WORKER]["plans"]["o"]["pending_deletion"] == true
    });
    assert_eq!(state["offers"][0]["orders"].as_array().unwrap().len(), 1, "it isn't done yet");
    drop(client);
    let state = node.wait("the removal", |state| {
        state["model"]["workers"][WORKER]["plans"].as_object().unwrap().is_empty()
    });
    assert_eq!(state["offers"][0]["orders"], json!([]));
}

#[test]
fn past_its_maintenance_a_worker_closes_spot_deals_and_not_forward_ones() {
    let mut scenario = scenario(&json!([forward("f", 600), offer("o"), spot("s")]));
    scenario["settings"]["sync_ms"] = json!(50);
    let node = Node::start(&scenario);
    node.manage("ScheduleMaintenance", &json!("2020-01-01T00:00:00Z"));
    let state = node.wait("the end of the Spot deal's plan", |state| {
        state["model"]["workers"][WORKER]["plans"]["s"].is_null()
    });
    // The deal first, and its plan and tasks with a later sync.
    let entries = state["model"]["journal"].as_array().unwrap();
    let find = |what: &str| entries.iter().find(|entry| entry["what"] == what).unwrap();
    let (closed, cancelled) = (find("deal_closed"), find("task_cancelled"));
    assert_eq!(closed["by"], "worker");
    let [closed, cancelled] = [closed, cancelled]
        .map(|entry| entry["at"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap());
    assert!(closed < cancelled);
    let plans = node.plans();
    assert!(plans["f"]["dealID"].is_string(), "the Forward deal stays");
    assert!(plans["o"]["orderID"].is_string(), "so do sell orders");
    // Once its term has run out, it ends by itself.
    node.advance(601);
    node.wait("the end of the Forward deal", |state| {
        state["model"]["workers"][WORKER]["plans"]["f"].is_null()
    });
    assert_eq!(node.state()["broken"], json!([]));
    // And nothing new is offered.
    node.manage("CreateAskPlan", &json!({"price": {"perSecond": "5"}}));
    node.wait("the refusal", |state| {
        let entries = state["model"]["journal"].as_array().unwrap();
        entries.iter().any(|entry| entry["what"] == "order_refused")
    });
}

#[test]
fn deals_are_listed_page_by_page() {
    let plans: Vec<Value> = (0..205).map(|number| spot(&format!("p{number:03}"))).collect();
    let node = Node::start(&scenario(&plans.into()));
    let page = |request: Value| {
        let (status, answer) = node.call(None, "DWHServer/GetDeals", &request);
        assert_eq!(status, 200, "{answer}");
        let ids = answer["deals"].as_array().into_iter().flatten();
        let ids: Vec<u64> =
            ids.map(|deal| deal["deal"]["id"].as_str().unwrap().parse().unwrap()).collect();
        (ids, answer["count"].clone())
    };
    let (first, count) = page(json!({"status": 1, "supplierID": WORKER, "limit": 1000}));
    assert_eq!((first.len(), count), (200, Value::Null), "200 at most");
    let (second, count) =
        page(json!({"supplierID": WORKER, "limit": 200, "offset": 200, "withCount": true}));
    assert_eq!((second.len(), count), (5, json!(205)));
    assert!(first.last() < second.first());
    assert_eq!(page(json!({"offset": 205})), (vec![], Value::Null));
    assert_eq!(page(json!({"supplierID": CONSUMER, "withCount": true})), (vec![], Value::Null));
    assert_eq!(page(json!({"limit": 3})).0, first[..3]);
    assert_eq!(page(json!({})).0.len(), 200);
}

#[test]
fn the_list_of_deals_is_of_the_nodes_key_as_consumer_or_master_but_not_as_supplier() {
    let list = |node: &str, master: &str, consumer: &str| {
        let mut plan = spot("s");
        plan["deal"]["consumer"] = json!(consumer);
        let node = Node::start(&json!({
            "node": node,
            "settings": {"sync_ms": 0},
            "workers": [{"address": WORKER, "master": master, "plans": [plan]}],
        }));
        let (status, answer) = node.call(None, "DealManagementServer/List", &json!({"count": 10}));
        assert_eq!(status, 200);
        answer["deal"].as_array().map_or(0, Vec::len)
    };
    assert_eq!(list(NODE, NODE, CONSUMER), 1);
    assert_eq!(list(CONSUMER, NODE, CONSUMER), 1);
    assert_eq!(list(WORKER, NODE, CONSUMER), 0);
}

#[test]
fn deals_are_finished_with_the_nodes_key_unless_they_are_forward() {
    let node = Node::start(&scenario(&json!([forward("f", 600), spot("s")])));
    let (_, forward) = node.order_and_deal("f");
    let (_, spot) = node.order_and_deal("s");
    let request = json!({"dealInfo": [{"id": forward}, {"id": spot, "blacklistType": 0}]});
    let (status, answer) = node.call(None, "DealManagementServer/FinishDeals", &request);
    assert_eq!(status, 200);
    let why = format!("failed to close deal {forward}: deal is forward");
    assert_eq!(answer, json!({"response": [{"id": forward, "error": why}, {"id": spot}]}));
    node.sync();
    assert_eq!(node.plans().as_object().unwrap().len(), 1);
}

#[test]
fn a_changed_duration_is_seen_where_deals_are_read() {
    let node = Node::start(&scenario(&json!([forward("f", 600)])));
    let (_, deal) = node.order_and_deal("f");
    node.control("POST", &format!("/deals/{deal}/duration"), &json!({"duration_s": 6000}));
    let (_, answer) = node.call(None, "DealManagementServer/Status", &json!(deal));
    assert_eq!(answer["deal"]["duration"], 6000);
    node.advance(700);
    node.sync();
    assert_eq!(node.order_and_deal("f").1, deal, "it still runs");
}
