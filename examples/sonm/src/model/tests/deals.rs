//! The chain's rules for deals, and the index of them.

use super::super::index::Query;
use super::*;

fn supplied() -> Query {
    Query { status: 1, supplier: Some(node()), ..Query::default() }
}

#[test]
fn the_supplier_closes_a_forward_deal_only_after_the_last_second_of_its_term() {
    let mut market = Market::new();
    let (_, deal) = market.sell(HOUR, 10);
    for (seconds, closed) in [(9, false), (1, false), (1, true)] {
        market.later(seconds);
        let now = market.now;
        let result = market.model.close_deal(now, deal, &node(), By::Client);
        assert_eq!(result.is_ok(), closed, "{now}");
        assert_eq!(market.deal(deal).closed, closed, "{now}");
    }
}

#[test]
fn the_consumer_closes_any_deal_at_any_time_and_once() {
    let mut market = Market::new();
    let (_, deal) = market.sell(HOUR, HOUR);
    market.close_as_consumer(deal);
    let now = market.now;
    assert_eq!(
        market.model.close_deal(now, deal, &consumer(), By::Consumer),
        Err(format!("failed to close deal {deal}: deal is not accepted"))
    );
}

#[test]
fn somebody_else_closes_no_deal() {
    let mut market = Market::new();
    let (_, deal) = market.sell(0, 0);
    let now = market.now;
    assert!(market.model.close_deal(now, deal, &address('b'), By::Client).is_err());
    assert!(!market.deal(deal).closed);
}

#[test]
fn a_changed_duration_moves_the_end_of_the_promise_but_not_the_end_time() {
    let mut market = Market::new();
    let (_, deal) = market.sell(HOUR, 10);
    let end = market.deal(deal).end;
    let now = market.now;
    market.model.change_duration(now, deal, 3600).unwrap();
    market.later(11);
    market.sync();
    assert!(!market.deal(deal).closed);
    assert_eq!(market.deal(deal).end, end);
    market.later(3600);
    market.sync();
    assert!(market.deal(deal).closed);
    assert_eq!(market.deal(deal).end, Some(market.now));
}

#[test]
fn a_spot_deal_never_becomes_a_forward_one() {
    let mut market = Market::new();
    let (_, deal) = market.sell(0, 0);
    let now = market.now;
    assert!(market.model.change_duration(now, deal, 60).is_err());
}

#[test]
fn the_index_lags_behind_the_chain() {
    let mut market = Market::new();
    market.model.settings.dwh_lag_ms = 30_000;
    let (_, deal) = market.sell(0, 0);
    market.later(29);
    let now = market.now;
    assert!(market.model.indexed(now, &supplied()).is_empty());
    market.later(1);
    let now = market.now;
    assert_eq!(market.model.indexed(now, &supplied()).len(), 1);
    market.close_as_consumer(deal);
    market.later(29);
    let now = market.now;
    assert_eq!(market.model.indexed(now, &supplied()).len(), 1, "it still shows the closed deal");
    market.later(1);
    let now = market.now;
    assert!(market.model.indexed(now, &supplied()).is_empty());
}

#[test]
fn the_index_does_not_forget_what_it_knew_when_it_begins_to_lag() {
    let mut market = Market::new();
    market.sell(0, 0);
    let now = market.now;
    assert_eq!(market.model.indexed(now, &supplied()).len(), 1);
    market.model.settings.dwh_lag_ms = 3_600_000;
    assert_eq!(market.model.indexed(now, &supplied()).len(), 1);
}

#[test]
fn the_index_gives_what_was_asked_for() {
    let mut market = Market::new();
    let (_, open) = market.sell(0, 0);
    let (_, closed) = market.sell(0, 0);
    market.close_as_consumer(closed);
    let (now, ask) = (market.now, market.deal(closed).ask);
    let none: [u64; 0] = [];
    let mut ids = |query: Query| -> Vec<u64> {
        market.model.indexed(now, &query).iter().map(|deal| deal.id).collect()
    };
    assert_eq!(ids(Query::default()), [open, closed]);
    assert_eq!(ids(supplied()), [open]);
    assert_eq!(ids(Query { status: 2, ..supplied() }), [closed]);
    assert_eq!(ids(Query { supplier: Some(consumer()), ..Query::default() }), none);
    assert_eq!(ids(Query { consumer: Some(consumer()), ..Query::default() }), [open, closed]);
    assert_eq!(ids(Query { master: Some(address('b')), ..Query::default() }), none);
    assert_eq!(ids(Query { anyone: Some(consumer()), ..Query::default() }), [open, closed]);
    assert_eq!(ids(Query { anyone: Some(address('b')), ..Query::default() }), none);
    assert_eq!(ids(Query { ask: Some(ask), ..Query::default() }), [closed]);
    assert_eq!(ids(Query { bid: Some(ask), ..Query::default() }), none);
}
