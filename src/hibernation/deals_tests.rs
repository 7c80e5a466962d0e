//! The planner between a project and its market.

#![allow(clippy::needless_pass_by_value, reason = "JSON is written where it is handed over")]

use serde_json::{Value, json};

use super::*;
use crate::api::condition::DEALS_CLEAR;
use crate::api::condition::{READY, RECONCILING, STALLED};
use crate::api::hibernation::{HibernationStatus, Phase};
use crate::deals::test_market::{Market, at};
use crate::hibernation::plan::{Input, plan};
use crate::hibernation::validate::{Valid, validate};
use crate::hold::plan::Desired;
use crate::hold::record::Holder;
use crate::transition::observe::{Observed, Pods};
use crate::transition::plan::PlanState;
use crate::transition::test_world::{deployment, subject, write};

struct World {
    holder: Holder,
    json: Value,
    spec: Valid,
    status: HibernationStatus,
    finalizer: bool,
    deleting_since: Option<Timestamp>,
    memory: PlanState,
    now: Timestamp,
    worker: Value,
    market: Market,
}

impl World {
    fn new(more: Value) -> Self {
        let mut spec = json!({
            "workloads": [{"kind": "Deployment", "name": "worker"}],
            "deals": {
                "source": {"service": {"name": "market", "port": 8080}}, "settle": "10s",
            },
        });
        for (key, value) in more.as_object().unwrap() {
            spec[key] = value.clone();
        }
        let mut market = Market::default();
        market.offer("plan-a");
        market.offer("plan-b");
        Self {
            holder: "Hibernation/ns/project".parse().unwrap(),
            spec: validate(&serde_json::from_value(spec.clone()).unwrap()).unwrap(),
            json: spec,
            status: HibernationStatus::default(),
            finalizer: false,
            deleting_since: None,
            memory: PlanState::default(),
            now: at(0),
            worker: deployment("worker", 2),
            market,
        }
    }

    fn change(&mut self, field: &str, value: Value) {
        self.json[field] = value;
        self.spec = validate(&serde_json::from_value(self.json.clone()).unwrap()).unwrap();
    }

    fn up(&self) -> bool {
        self.worker["spec"]["replicas"] != json!(0)
    }

    /// Second after second, as an operator that is woken at every one.
    fn until(&mut self, seconds: i64) {
        self.run();
        while self.now < at(seconds) {
            self.now += SignedDuration::from_secs(1);
            self.run();
        }
    }

    fn run(&mut self) {
        for _ in 0..50 {
            if self.deleting_since.is_some() && !self.finalizer {
                return;
            }
            if self.iterate() != Next::Again {
                return;
            }
        }
        panic!("it comes to no end: {:#?}", self.status);
    }

    fn iterate(&mut self) -> Next {
        self.market.pass(self.now);
        let reachable = !self.market.down && self.up();
        let mut observed =
            Observed { workloads: vec![subject(&self.worker).into()], ..Observed::default() };
        let mut market = None;
        let planned = loop {
            let input = Input {
                holder: &self.holder,
                generation: Some(1),
                created: at(0),
                deleting_since: self.deleting_since,
                finalizer: self.finalizer,
                spec: &self.spec,
                status: &self.status,
                observed: &observed,
                market: market.as_ref(),
                memory: &self.memory,
                now: self.now,
                fresh_id: "episode",
            };
            let planned = plan(input);
            match planned.next {
                Next::ObservePods => {
                    observed.pods =
                        Some(Pods { began: self.now, complete: self.now, ..Pods::default() });
                }
                Next::ObserveMarket => {
                    assert!(self.finalizer && self.status.deals.is_some());
                    market = Some(self.market.observed(reachable, self.now));
                }
                _ => break planned,
            }
        };
        self.status = planned.status;
        self.memory.confirmations = planned.confirmations;
        self.memory.market = planned.market;
        for call in &planned.calls {
            if !self.market.call(call, reachable, &mut self.memory.market, self.now) {
                break;
            }
        }
        for action in planned.actions {
            match action {
                Action::AddFinalizer => self.finalizer = true,
                Action::RemoveFinalizer => self.finalizer = false,
                Action::Hold { subject, wants, episode, recorded, .. } => {
                    assert!(wants.is_empty() || !self.market.binds(), "{:?}", self.market);
                    let remembered = recorded.as_ref();
                    let holder = &self.holder;
                    let wish = Desired { holder, episode: &episode, wants: &wants, remembered };
                    write(&mut self.worker, &subject, &wish);
                }
                other => panic!("{other:?}"),
            }
        }
        planned.next
    }

    /// Status and reason of a condition.
    fn condition(&self, kind: &str) -> Option<(&str, &str)> {
        let mut conditions = self.status.conditions.iter();
        let found = conditions.find(|condition| condition.type_ == kind)?;
        Some((found.status.as_str(), found.reason.as_str()))
    }

    fn is_as_before(&self) {
        assert!(self.up());
        assert_eq!((self.market.live("plan-a"), self.market.live("plan-b")), (1, 1));
        assert_eq!(self.market.announced, None);
        assert!(self.market.kept.is_empty());
    }
}

#[test]
fn it_sleeps_once_nothing_binds_and_everything_is_offered_again_at_wake() {
    let mut world = World::new(json!({"state": "Hibernated"}));
    world.market.strike(None);
    world.until(8);
    assert!(world.up());
    assert!(world.market.orders.is_empty() && world.market.deals.is_empty());
    assert_eq!(world.condition(READY).unwrap().0, "False");
    world.until(40);
    assert!(!world.up());
    assert_eq!(world.status.phase, Some(Phase::Hibernated));
    world.change("state", json!("Awake"));
    world.until(45);
    assert_eq!(world.status.phase, Some(Phase::Awake));
    world.is_as_before();
    assert!(!world.finalizer);
    assert_eq!(world.condition(READY), Some(("True", "Awake")));
    assert_eq!(world.condition(DEALS_CLEAR), None);
}

#[test]
fn a_forward_deal_keeps_it_awake_and_it_gives_up_when_it_is_to_wake() {
    let mut world = World::new(json!({"state": "Hibernated"}));
    world.market.strike(Some(at(60)));
    world.until(50);
    assert!(world.up());
    assert_eq!(world.condition(DEALS_CLEAR), Some(("False", "ForwardDeals")));
    assert_eq!(world.condition(RECONCILING), Some(("True", "ForwardDeals")));
    assert_eq!(world.status.earliest_start.as_ref().map(|time| time.0), Some(at(60)));
    assert_eq!(world.market.announced, Some(at(60)));
    world.change("state", json!("Awake"));
    world.until(55);
    world.is_as_before();
    world.change("state", json!("Hibernated"));
    world.until(90);
    assert!(!world.up());
}

#[test]
fn what_is_refused_leaves_it_awake_and_everything_on_the_market() {
    for (deals, ends_at, reason) in [
        (json!({"forward": "Refuse"}), Some(at(500)), "ForwardDealsRefused"),
        (json!({"spot": "Refuse"}), None, "SpotDealsRefused"),
        (json!({"orders": "Refuse"}), None, "OrdersRefused"),
    ] {
        let mut world = World::new(json!({"state": "Hibernated"}));
        let mut block = world.json["deals"].clone();
        for (key, value) in deals.as_object().unwrap() {
            block[key] = value.clone();
        }
        world.change("deals", block);
        world.market.strike(ends_at);
        world.until(30);
        assert_eq!(world.condition(STALLED), Some(("True", reason)));
        world.is_as_before();
    }
}

#[test]
fn the_next_time_that_it_sleeps_is_announced() {
    let mut world = World::new(json!({
        "schedule": {"rules": [{"hibernate": "10 * * * *", "wake": "40 * * * *"}]},
    }));
    // As it is awake already: the last edge was that of 23:40.
    world.until(5);
    assert_eq!(world.market.announced, Some(at(600)));
    assert_eq!(world.condition(READY), Some(("True", "Awake")));
    world.until(640);
    assert!(!world.up());
    world.until(2410);
    assert!(world.up());
    assert_eq!(world.market.live("plan-a"), 1);
    assert_eq!(world.market.announced, Some(at(4200)));
    assert!(world.finalizer, "the market has been told");
}

#[test]
fn a_market_that_can_not_be_seen_keeps_it_awake() {
    let mut world = World::new(json!({"state": "Hibernated", "progressDeadline": "1m"}));
    world.market.down = true;
    world.until(50);
    assert!(world.up());
    assert_eq!(world.condition(DEALS_CLEAR), Some(("Unknown", "MarketUnreachable")));
    world.until(80);
    assert_eq!(world.condition(STALLED), Some(("True", "ProgressDeadlineExceeded")));
    world.market.down = false;
    world.until(150);
    assert!(!world.up());
}

#[test]
fn deleted_at_any_time_everything_is_as_it_was() {
    for when in [0, 3, 12, 30] {
        let mut world = World::new(json!({"state": "Hibernated"}));
        world.until(when);
        world.deleting_since = Some(world.now);
        world.until(when + 10);
        assert!(!world.finalizer, "deleted at {when}");
        world.is_as_before();
    }
}

#[test]
fn what_another_object_of_the_name_withdrew_is_offered_again_at_wake() {
    let mut world = World::new(json!({"state": "Hibernated"}));
    world.until(30);
    assert!(!world.up());
    assert_eq!(world.market.kept.len(), 2);
    let mut next = World::new(json!({"state": "Awake"}));
    next.market = world.market;
    next.worker = world.worker;
    next.until(5);
    next.is_as_before();
}

#[test]
fn another_server_is_waited_for_until_it_has_taken_back_what_it_was_told() {
    let mut world = World::new(json!({"state": "Hibernated"}));
    world.market.strike(Some(at(500)));
    world.until(5);
    assert_eq!(world.market.announced, Some(at(500)));
    world.market.down = true;
    let mut block = world.json["deals"].clone();
    block["source"]["service"]["name"] = json!("another");
    world.change("deals", block);
    world.until(20);
    let service = |world: &World| world.status.deals.clone().unwrap().source.unwrap().service;
    assert_eq!(service(&world), "market");
    world.market.down = false;
    world.until(80);
    assert_eq!(service(&world), "another");
    assert_eq!(world.market.announced, Some(at(500)), "the other one is told");
}

#[test]
fn orders_stay_withdrawn_while_another_object_holds_the_worker() {
    let mut world = World::new(json!({"state": "Hibernated"}));
    world.until(30);
    assert!(!world.up());
    let holder: Holder = "MaintenanceWindow/ns/other".parse().unwrap();
    let hold = |world: &mut World, holds: bool| {
        let observed = subject(&world.worker);
        let wants = if holds { observed.kind.stop_wants() } else { [].into() };
        let desired =
            Desired { holder: &holder, episode: "another", wants: &wants, remembered: None };
        write(&mut world.worker, &observed, &desired);
    };
    hold(&mut world, true);
    world.change("state", json!("Awake"));
    world.until(60);
    assert!(!world.up());
    assert_eq!(world.market.live("plan-a"), 0);
    assert!(world.finalizer);
    let message = world.status.message.clone().unwrap();
    assert!(message.contains("Deployment worker is held by MaintenanceWindow other"), "{message}");
    hold(&mut world, false);
    world.until(80);
    assert!(world.up());
    assert_eq!((world.market.live("plan-a"), world.market.live("plan-b")), (1, 1));
    assert_eq!(world.market.announced, None);
    assert!(!world.finalizer);
}
