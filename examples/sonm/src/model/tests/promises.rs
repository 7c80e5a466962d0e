//! What the journal calls broken.

use super::*;

#[test]
fn a_worker_that_stops_with_nothing_open_breaks_nothing() {
    let mut market = Market::new();
    let (plan, _) = market.sell(0, 0);
    let offered = market.offer(HOUR);
    market.remove(&plan).unwrap();
    market.remove(&offered).unwrap();
    let now = market.now;
    market.model.stop_worker(now, &node()).unwrap();
    assert!(market.broken().is_empty());
    assert_eq!(market.count(What::WorkerStopped), 1);
}

#[test]
fn a_worker_that_stops_breaks_what_is_open() {
    let mut market = Market::new();
    let (_, forward) = market.sell(HOUR, HOUR);
    let (_, spot) = market.sell(HOUR, 0);
    let offered = market.offer(0);
    let order = market.order(&offered).id;
    let now = market.now;
    market.model.stop_worker(now, &node()).unwrap();
    let [broken] = market.broken()[..] else { panic!("one entry") };
    for part in [
        format!("Forward deal {forward} was open"),
        format!("Spot deal {spot} was open"),
        format!("order {order} was on the market"),
        format!("task-{forward}-1 was running"),
    ] {
        assert!(broken.contains(&part), "{broken:?} has no {part:?}");
    }
    assert_eq!(market.containers(), 0);
}

#[test]
fn a_stopped_worker_does_nothing_and_starts_like_a_new_process() {
    let mut market = Market::new();
    let (plan, deal) = market.sell(0, 0);
    let now = market.now;
    market.model.stop_worker(now, &node()).unwrap();
    market.announce(now);
    market.sync();
    assert!(!market.deal(deal).closed);
    assert!(market.model.start_task(now, deal, "x", TaskStatus::Running).is_err());
    market.model.start_worker(now, &node()).unwrap();
    assert_eq!(market.plan(&plan).unwrap().deal, None);
    assert_eq!(market.worker().maintenance(), now);
}

#[test]
fn a_forward_deal_that_a_client_closes_as_its_consumer_is_broken() {
    let mut market = Market::new();
    let (_, deal) = market.sell(HOUR, HOUR);
    let now = market.now;
    market.model.close_deal(now, deal, &consumer(), By::Client).unwrap();
    assert_eq!(market.broken().len(), 1);
}

#[test]
fn a_forward_deal_that_its_consumer_closes_is_not() {
    let mut market = Market::new();
    let (_, deal) = market.sell(HOUR, HOUR);
    market.close_as_consumer(deal);
    assert!(market.broken().is_empty());
}

#[test]
fn a_refused_close_is_in_the_journal() {
    let mut market = Market::new();
    let (plan, _) = market.sell(HOUR, HOUR);
    market.remove(&plan).unwrap_err();
    assert_eq!(market.count(What::DealCloseRefused), 1);
    assert!(market.broken().is_empty());
}

#[test]
fn a_lost_container_can_be_ended_by_hand() {
    let mut market = Market::new();
    market.worker().defects.lose_containers = true;
    let (plan, deal) = market.sell(0, 0);
    market.remove(&plan).unwrap_err();
    let now = market.now;
    market.model.end_task(now, &format!("task-{deal}-1")).unwrap();
    assert_eq!(market.containers(), 0);
    assert!(market.model.end_task(now, &format!("task-{deal}-1")).is_err());
}
