//! What a worker does before its maintenance, and from then on.

use super::*;

#[test]
fn unannounced_it_is_a_hundred_years_after_each_start() {
    let mut market = Market::new();
    let first: Timestamp = "2126-12-01T00:00:00Z".parse().unwrap();
    assert_eq!(market.worker().maintenance(), first);
    market.later(86_400);
    assert_eq!(market.worker().maintenance(), first);
    let now = market.now;
    market.model.restart_worker(now, &node()).unwrap();
    assert_eq!(market.worker().maintenance().to_string(), "2126-12-02T00:00:00Z");
}

#[test]
fn what_was_announced_outlives_a_restart_and_may_be_past() {
    let mut market = Market::new();
    let past = "2020-01-01T00:00:00Z".parse().unwrap();
    market.announce(past);
    let now = market.now;
    market.model.restart_worker(now, &node()).unwrap();
    assert_eq!(market.worker().maintenance(), past);
}

#[test]
fn no_order_is_placed_from_ten_minutes_before() {
    let mut market = Market::new();
    market.announce(market.at(HOUR));
    market.later(HOUR - 600);
    let plan = market.create(0);
    market.sync();
    assert!(market.model.chain.orders.is_empty());
    assert_eq!(market.count(What::OrderRefused), 1);
    // Postponed, it is.
    market.announce(market.at(HOUR));
    market.sync();
    assert!(market.order(&plan).active);
}

#[test]
fn a_forward_order_ends_ten_minutes_before_at_the_latest() {
    let mut market = Market::new();
    market.announce(market.at(HOUR));
    let (long, short, spot) = (market.create(HOUR), market.create(60), market.create(0));
    market.sync();
    assert_eq!(market.order(&long).duration, HOUR - 600);
    assert_eq!(market.order(&short).duration, 60);
    assert_eq!(market.order(&spot).duration, 0);
}

#[test]
fn an_order_of_before_keeps_its_duration_and_its_place_on_the_market() {
    let mut market = Market::new();
    let plan = market.offer(8 * HOUR);
    market.announce(market.at(HOUR));
    for _ in 0..3 {
        market.later(HOUR);
        market.sync();
    }
    let order = market.order(&plan);
    assert_eq!((order.duration, order.active), (8 * HOUR, true));
    // Somebody may accept it still, for longer than there is time.
    let deal = market.accept(&plan, 8 * HOUR);
    market.sync();
    market.sync();
    assert!(!market.deal(deal).closed);
}

#[test]
fn a_spot_deal_is_closed_and_with_a_later_sync_its_plan_and_tasks_are_gone() {
    let mut market = Market::new();
    let (plan, deal) = market.sell(0, 0);
    market.announce(market.at(60));
    market.later(59);
    market.sync();
    assert!(!market.deal(deal).closed);
    market.later(1);
    market.sync();
    assert!(market.deal(deal).closed);
    assert!(market.plan(&plan).is_some());
    assert_eq!((market.listed_tasks(), market.containers()), (1, 1));
    market.sync();
    assert!(market.plan(&plan).is_none());
    assert_eq!((market.listed_tasks(), market.containers()), (0, 0));
    assert!(market.broken().is_empty());
}

#[test]
fn a_spot_deal_of_a_forward_plan_is_closed_like_any_other() {
    let mut market = Market::new();
    let (_, deal) = market.sell(HOUR, 0);
    market.announce(market.now);
    market.sync();
    assert!(market.deal(deal).closed);
}

#[test]
fn a_forward_deal_is_left_alone_until_its_term_has_run_out() {
    let mut market = Market::new();
    let (plan, deal) = market.sell(HOUR, 600);
    market.announce(market.now);
    market.later(600);
    market.sync();
    assert!(!market.deal(deal).closed);
    market.later(1);
    market.sync();
    assert!(market.deal(deal).closed);
    market.sync();
    assert!(market.plan(&plan).is_none());
    assert!(market.broken().is_empty());
}

#[test]
fn a_spot_deal_that_is_struck_during_maintenance_is_closed_soon() {
    let mut market = Market::new();
    let plan = market.offer(0);
    market.announce(market.now);
    market.sync();
    let deal = market.accept(&plan, 0);
    market.sync();
    assert!(!market.deal(deal).closed, "it is only known now");
    market.sync();
    assert!(market.deal(deal).closed);
}
