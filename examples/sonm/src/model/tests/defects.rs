//! The worker's defects.

use super::*;

#[test]
fn a_restart_forgets_deals_until_the_next_sync() {
    let mut market = Market::new();
    let (plan, deal) = market.sell(HOUR, HOUR);
    let now = market.now;
    market.model.restart_worker(now, &node()).unwrap();
    let forgotten = market.plan(&plan).unwrap();
    assert_eq!((forgotten.order.is_some(), forgotten.deal), (true, None));
    market.sync();
    assert_eq!(market.plan(&plan).unwrap().deal, Some(deal));
}

#[test]
fn a_removal_right_after_a_restart_finds_an_order_with_a_deal() {
    let mut market = Market::new();
    let (plan, deal) = market.sell(0, 0);
    let now = market.now;
    market.model.restart_worker(now, &node()).unwrap();
    let error = format!("{:?}", market.remove(&plan).unwrap_err());
    assert!(error.contains("order already have deal"), "{error}");
    assert!(!market.deal(deal).closed);
}

#[test]
fn a_removal_does_not_outlive_a_restart() {
    let mut market = Market::new();
    let plan = market.offer(0);
    let begun = market.begin(&plan).unwrap();
    let now = market.now;
    market.model.restart_worker(now, &node()).unwrap();
    assert_eq!(market.finish(&plan, &begun), Err(RemovalError::Interrupted));
    // It was marked before, so the next sync removes it.
    market.sync();
    assert!(!market.order(&plan).active && market.plan(&plan).is_none());
}

#[test]
fn lost_containers_run_on_although_no_task_is_listed() {
    let mut market = Market::new();
    market.worker().defects.lose_containers = true;
    let (plan, deal) = market.sell(0, 0);
    let why = format!("failed to cancel tasks of deal {deal}");
    assert_eq!(market.remove(&plan), failed(&plan, &why));
    assert_eq!((market.listed_tasks(), market.containers()), (0, 1));
    // With nothing listed, the next try finds nothing to do.
    market.sync();
    assert!(market.plan(&plan).is_none());
    assert_eq!(market.containers(), 1);
}

#[test]
fn a_stuck_removal_holds_up_the_round_until_it_is_free() {
    let mut market = Market::new();
    let mut plans = [market.offer(HOUR), market.offer(HOUR)];
    plans.sort();
    let [first, second] = plans;
    market.worker().defects.stuck_plans.insert(first.clone());
    let deal = market.accept(&first, HOUR);
    assert!(market.remove(&first).is_err());
    market.accept(&second, HOUR);
    for _ in 0..3 {
        market.sync();
    }
    assert_eq!(market.plan(&second).unwrap().deal, None);
    assert_eq!(market.count(What::SyncStalled), 1, "it is one round that doesn't end");
    market.worker().defects.stuck_plans.clear();
    market.sync();
    assert_eq!(market.plan(&first).unwrap().deal, Some(deal));
    assert!(market.plan(&second).unwrap().deal.is_some());
}

#[test]
fn a_deadlocked_worker_does_nothing_until_it_is_restarted() {
    let mut market = Market::new();
    let plan = market.create(0);
    market.worker().defects.deadlocked = true;
    market.sync();
    assert_eq!(market.plan(&plan).unwrap().order, None);
    let now = market.now;
    market.model.restart_worker(now, &node()).unwrap();
    market.sync();
    assert!(market.plan(&plan).unwrap().order.is_some());
}

#[test]
fn optimus_makes_plans_anew_until_maintenance_begins() {
    let mut market = Market::new();
    market.worker().defects.optimus = vec![Market::terms(0, "7"), Market::terms(HOUR, "8")];
    market.announce(market.at(HOUR));
    market.sync();
    let plans: Vec<String> = market.worker().plans.keys().cloned().collect();
    assert_eq!(plans.len(), 2);
    market.sync();
    assert_eq!(market.model.chain.orders.len(), 2, "each is offered once");
    market.remove(&plans[0]).unwrap();
    market.sync();
    assert_eq!(market.worker().plans.len(), 2, "what was removed is there again");
    market.later(HOUR);
    let plans: Vec<String> = market.worker().plans.keys().cloned().collect();
    for plan in plans {
        market.remove(&plan).unwrap();
    }
    market.sync();
    assert!(market.worker().plans.is_empty());
}
