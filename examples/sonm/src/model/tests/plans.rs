//! Plans: offered, sold once, removed.

use super::*;

#[test]
fn an_order_is_placed_with_a_sync_after_the_plan_was_made() {
    let mut market = Market::new();
    let plan = market.create(HOUR);
    assert_eq!(market.plan(&plan).unwrap().order, None);
    market.sync();
    let order = market.order(&plan);
    assert_eq!((order.duration, order.active), (HOUR, true));
    assert_eq!(market.plan(&plan).unwrap().order, Some(order.id));
    market.sync();
    assert_eq!(market.model.chain.orders.len(), 1);
}

#[test]
fn an_accepted_orders_deal_is_known_with_the_next_sync() {
    let mut market = Market::new();
    let plan = market.offer(HOUR);
    let deal = market.accept(&plan, HOUR);
    assert_eq!(market.plan(&plan).unwrap().deal, None);
    market.sync();
    assert_eq!(market.plan(&plan).unwrap().deal, Some(deal));
}

#[test]
fn an_order_is_not_sold_for_longer_than_it_offers() {
    let mut market = Market::new();
    let plan = market.offer(HOUR);
    let order = market.order(&plan).id;
    assert!(market.model.accept_order(market.now, order, HOUR + 1, &consumer()).is_err());
    market.accept(&plan, HOUR - 1);
    // And not twice.
    assert!(market.model.accept_order(market.now, order, 1, &consumer()).is_err());
}

#[test]
fn a_plan_is_gone_once_its_deal_was_closed() {
    let mut market = Market::new();
    let (plan, deal) = market.sell(0, 0);
    market.close_as_consumer(deal);
    assert!(market.plan(&plan).is_some());
    market.sync();
    assert!(market.plan(&plan).is_none());
    assert_eq!((market.listed_tasks(), market.containers()), (0, 0));
    market.sync();
    assert_eq!(market.model.chain.orders.len(), 1, "nothing is offered again by itself");
}

#[test]
fn a_plan_is_gone_once_its_order_was_cancelled_by_somebody_else() {
    let mut market = Market::new();
    let plan = market.offer(0);
    let order = market.order(&plan).id;
    market.model.cancel_order(market.now, order, By::Control).unwrap();
    market.sync();
    assert!(market.plan(&plan).is_none());
    market.sync();
    assert_eq!(market.model.chain.orders.len(), 1);
}

#[test]
fn a_removal_takes_the_order_from_the_market() {
    let mut market = Market::new();
    let plan = market.offer(HOUR);
    assert_eq!(market.remove(&plan), Ok(()));
    assert!(!market.order(&plan).active);
    assert!(market.plan(&plan).is_none());
}

#[test]
fn a_plan_without_an_order_is_just_removed() {
    let mut market = Market::new();
    let plan = market.create(HOUR);
    assert_eq!(market.remove(&plan), Ok(()));
    market.sync();
    assert!(market.model.chain.orders.is_empty());
}

#[test]
fn a_removal_closes_a_spot_deal_and_ends_its_tasks() {
    let mut market = Market::new();
    let (plan, deal) = market.sell(0, 0);
    assert_eq!(market.remove(&plan), Ok(()));
    assert!(market.deal(deal).closed);
    assert!(market.plan(&plan).is_none());
    assert_eq!((market.listed_tasks(), market.containers()), (0, 0));
}

#[test]
fn a_plan_with_a_forward_deal_is_not_removed_but_marked_for_good() {
    let mut market = Market::new();
    let (plan, deal) = market.sell(HOUR, HOUR);
    let why = format!("failed to close deal: failed to close deal {deal}: deal is forward");
    assert_eq!(market.remove(&plan), failed(&plan, &why));
    assert!(market.plan(&plan).unwrap().pending_deletion);
    assert!(!market.deal(deal).closed);
    assert_eq!(market.containers(), 1);
    // Each sync tries again, until the term has run out.
    market.later(HOUR);
    market.sync();
    assert!(!market.deal(deal).closed);
    market.later(1);
    market.sync();
    assert!(market.deal(deal).closed && market.plan(&plan).is_none());
    assert!(market.broken().is_empty());
}

#[test]
fn an_order_that_was_accepted_before_its_removal_is_said() {
    let mut market = Market::new();
    let plan = market.offer(HOUR);
    let order = market.order(&plan).id;
    let deal = market.accept(&plan, HOUR);
    let why =
        format!("failed to cancel order: failed to cancel order {order}: order already have deal");
    assert_eq!(market.remove(&plan), failed(&plan, &why));
    // The deal is known with the next sync, and being Forward it stays.
    assert_eq!(market.plan(&plan).unwrap().deal, None);
    market.sync();
    assert_eq!(market.plan(&plan).unwrap().deal, Some(deal));
    market.sync();
    assert!(!market.deal(deal).closed);
}

#[test]
fn an_order_that_is_accepted_during_its_removal_is_said() {
    let mut market = Market::new();
    let plan = market.offer(0);
    let order = market.order(&plan).id;
    let begun = market.begin(&plan).unwrap();
    let deal = market.accept(&plan, 0);
    let why =
        format!("failed to cancel order: failed to cancel order {order}: order already have deal");
    assert_eq!(market.finish(&plan, &begun), failed(&plan, &why));
    // Marked, it is registered with one sync; being Spot, it is closed with another.
    market.sync();
    assert!(!market.deal(deal).closed);
    market.sync();
    assert!(market.deal(deal).closed && market.plan(&plan).is_none());
}

#[test]
fn a_deal_that_is_registered_during_a_removal_is_said() {
    let mut market = Market::new();
    let plan = market.offer(0);
    let begun = market.begin(&plan).unwrap();
    market.accept(&plan, 0);
    market.sync();
    let why = "concurrent order or deal was placed";
    assert_eq!(market.finish(&plan, &begun), failed(&plan, why));
}

#[test]
fn a_sync_leaves_a_plan_alone_that_is_being_removed() {
    let mut market = Market::new();
    let (plan, deal) = market.sell(0, 0);
    let other = market.create(0);
    let both = [market.begin(&plan).unwrap(), market.begin(&other).unwrap()];
    market.sync();
    assert!(!market.deal(deal).closed);
    assert_eq!(market.plan(&other).unwrap().order, None);
    assert_eq!(market.finish(&plan, &both[0]), Ok(()));
    assert_eq!(market.finish(&other, &both[1]), Ok(()));
}

#[test]
fn a_plan_that_is_not_there_is_said() {
    let mut market = Market::new();
    let why = "specified ask-plan does not exist".to_owned();
    assert_eq!(market.remove("none"), Err(RemovalError::Failed(why)));
}

#[test]
fn ids_of_plans_are_uuids_that_differ() {
    let mut market = Market::new();
    let ids = [market.create(0), market.create(0)];
    assert_ne!(ids[0], ids[1]);
    for id in ids {
        let lengths: Vec<_> = id.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12], "{id}");
        assert_eq!(&id[14..15], "4", "{id}");
    }
}
