//! The world in which the planner is tested: a worker that sells compute, and the market that it is
//! on. What is written is so; time passes, and calls fail, only where a test says so.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::plan::{Action, Input, Plan, plan};
use super::validate::{Valid, validate};
use crate::api::deals::{AnnouncementStatus, DealsStatus};
use crate::api::maintenance_window::{MaintenanceWindowStatus, WindowPhase};
use crate::deals::client::Look;
use crate::deals::gate::{self, Seen, Trouble};
use crate::deals::types::{Commitments, Complete, Deal, Id, List, Order, Restore, Task, Term};
use crate::hibernation::observe::{Observed, Pods};
use crate::hibernation::plan::{self as hold, Contests, Looks, Next};
use crate::hibernation::plan_world::{deployment, settle, subject};
use crate::hold::plan::Wish;
use crate::hold::record::Holder;

/// Time, as the tests write it: seconds after the object was created.
pub(super) fn at(seconds: i64) -> Timestamp {
    "2026-12-01T00:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_secs(seconds)
}

/// Everything that is on the market, by what it was offered with. A plan is good for one deal.
#[derive(Clone, Debug, Default)]
pub(super) struct Market {
    /// Ids of orders, and what they are offered again with.
    pub(super) orders: BTreeMap<String, String>,
    /// Ids of deals, when their term runs out (none: an open one), and what they came from.
    pub(super) deals: BTreeMap<String, (Option<Timestamp>, String)>,
    pub(super) tasks: Vec<String>,
    /// No call is answered.
    pub(super) down: bool,
    pub(super) announced: Option<Timestamp>,
    /// What was taken off it, and was not offered again.
    pub(super) withdrawn: Vec<String>,
    /// How many resumes have offered something.
    pub(super) resumed: u32,
    counter: u32,
}

impl Market {
    pub(super) fn offer(&mut self, plan: &str) {
        self.counter += 1;
        self.orders.insert(format!("order-{}", self.counter), plan.to_owned());
    }

    /// Somebody accepts an order.
    pub(super) fn strike(&mut self, ends_at: Option<Timestamp>) -> bool {
        let Some((order, plan)) = self.orders.pop_first() else { return false };
        self.deals.insert(format!("deal-of-{order}"), (ends_at, plan));
        true
    }

    /// What runs out of itself does.
    fn pass(&mut self, now: Timestamp) {
        let ended = |ends_at: &Option<Timestamp>| ends_at.is_some_and(|ends_at| ends_at <= now);
        self.deals.retain(|_, (ends_at, _)| !ended(ends_at));
    }

    /// How often what was offered with that plan is on the market.
    pub(super) fn live(&self, plan: &str) -> usize {
        let deals = self.deals.values().filter(|(_, from)| from == plan);
        self.orders.values().filter(|from| *from == plan).count() + deals.count()
    }

    pub(super) fn binds(&self) -> bool {
        let forward = self.deals.values().any(|(ends_at, _)| ends_at.is_some());
        forward || !self.orders.is_empty() || !self.tasks.is_empty()
    }

    fn commitments(&self, now: Timestamp) -> Commitments {
        let id = |text: &str| Id::try_from(text.to_owned()).unwrap();
        let restore = |text: &str| Restore::try_from(text.to_owned()).unwrap();
        let deals = self.deals.iter().map(|(name, (ends_at, from))| Deal {
            id: id(name),
            term: ends_at.map_or(Term::Open, |ends_at| Term::Fixed { ends_at }),
            counterparty: None,
            restore: Some(restore(from)),
        });
        let orders =
            self.orders.iter().map(|(name, from)| Order { id: id(name), restore: restore(from) });
        Commitments {
            as_of: now,
            complete: Complete,
            deals: List::try_from(deals.collect::<Vec<_>>()).unwrap(),
            orders: List::try_from(orders.collect::<Vec<_>>()).unwrap(),
            tasks: List::try_from(
                self.tasks.iter().map(|task| Task { id: id(task) }).collect::<Vec<_>>(),
            )
            .unwrap(),
            next_maintenance: self.announced,
            failures: List::default(),
        }
    }
}

pub(super) struct World {
    pub(super) holder: Holder,
    pub(super) json: Value,
    pub(super) spec: Valid,
    pub(super) generation: i64,
    pub(super) status: MaintenanceWindowStatus,
    pub(super) finalizer: bool,
    pub(super) deleting_since: Option<Timestamp>,
    pub(super) gone: bool,
    pub(super) looks: Looks,
    pub(super) gate: gate::Memory,
    pub(super) now: Timestamp,
    pub(super) objects: Vec<Value>,
    pub(super) market: Market,
    /// What is kept of withdrawn orders.
    pub(super) kept: Vec<Order>,
    pub(super) bridge: bool,
    /// Phases that were entered, in order.
    pub(super) phases: Vec<WindowPhase>,
    plans: u32,
}

impl World {
    pub(super) fn new(spec: Value) -> Self {
        let mut market = Market::default();
        market.offer("plan-a");
        market.offer("plan-b");
        Self {
            holder: "MaintenanceWindow/ns/worker".parse().unwrap(),
            spec: validate(&serde_json::from_value(spec.clone()).unwrap()).unwrap(),
            json: spec,
            generation: 1,
            status: MaintenanceWindowStatus::default(),
            finalizer: false,
            deleting_since: None,
            gone: false,
            looks: Looks::default(),
            gate: gate::Memory::default(),
            now: at(0),
            objects: vec![deployment("worker", 2), deployment("agent", 1)],
            market,
            kept: Vec::new(),
            bridge: false,
            phases: Vec::new(),
            plans: 0,
        }
    }

    /// With deals, two stages, and whatever else is given.
    pub(super) fn selling(more: Value, deals: Value) -> Self {
        let mut deals_block = json!({
            "source": {"service": {"name": "market", "port": 8080}}, "settle": "10s",
        });
        for (key, value) in deals.as_object().unwrap() {
            deals_block[key] = value.clone();
        }
        let mut spec = json!({
            "workloads": [
                {"kind": "Deployment", "name": "worker"},
                {"kind": "Deployment", "name": "agent", "stage": 1},
            ],
            "deals": deals_block,
        });
        for (key, value) in more.as_object().unwrap() {
            spec[key] = value.clone();
        }
        Self::new(spec)
    }

    /// Changes a field of the spec; null takes it out.
    pub(super) fn change(&mut self, field: &str, value: Value) {
        if value.is_null() {
            self.json.as_object_mut().unwrap().remove(field);
        } else {
            self.json[field] = value;
        }
        self.spec = validate(&serde_json::from_value(self.json.clone()).unwrap()).unwrap();
        self.generation += 1;
    }

    pub(super) fn after(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
        self.run();
    }

    /// Second after second, as an operator that is woken at every one.
    pub(super) fn until(&mut self, seconds: i64) {
        while self.now < at(seconds) {
            self.after(1);
        }
    }

    /// Pass after pass, until there is nothing to do but wait.
    pub(super) fn run(&mut self) {
        for _ in 0..60 {
            // The API server lets go of what has no finalizer.
            self.gone |= self.deleting_since.is_some() && !self.finalizer;
            if self.gone {
                return;
            }
            let plan = self.pass();
            let all = plan.actions.len();
            self.obey(&plan, all);
            if plan.next != Next::Again {
                return;
            }
        }
        panic!("it comes to no end: {:#?}", self.status);
    }

    pub(super) fn up(&self, name: &str) -> bool {
        let mut objects = self.objects.iter();
        let object = objects.find(|object| object["metadata"]["name"] == name).unwrap();
        object["spec"]["replicas"] != json!(0)
    }

    /// The worker answers for itself, while it is up.
    pub(super) fn reachable(&self) -> bool {
        !self.market.down && self.up("worker")
    }

    /// One plan, with its status written and none of its actions done: the operator may die here.
    pub(super) fn pass(&mut self) -> Plan {
        self.plans += 1;
        self.market.pass(self.now);
        let mut seen = Observed {
            workloads: self.objects.iter().map(subject).collect(),
            ..Observed::default()
        };
        let mut market = None;
        let planned = loop {
            let planned = self.planned(&seen, market.as_ref());
            match planned.next {
                Next::LookAtPods => {
                    assert!(seen.pods.is_none());
                    seen.pods =
                        Some(Pods { began: self.now, complete: self.now, ..Pods::default() });
                }
                Next::LookAtMarket => {
                    assert!(market.is_none());
                    assert!(self.finalizer, "a market is spoken to before that is recorded");
                    assert!(self.status.deals.is_some());
                    self.bridge = true;
                    let unreachable = Trouble {
                        reason: "MarketUnreachable".to_owned(),
                        message: "no answer".to_owned(),
                    };
                    let look = Look {
                        commitments: self.market.commitments(self.now),
                        began: self.now,
                        complete: self.now,
                    };
                    market = Some(Seen {
                        look: if self.reachable() { Ok(look) } else { Err(unreachable) },
                        kept: Ok(self.kept.clone()),
                    });
                }
                _ => break planned,
            }
        };
        if planned.status.phase != self.status.phase {
            self.phases.extend(planned.status.phase);
        }
        self.status = planned.status.clone();
        self.looks = planned.looks.clone();
        self.gate = planned.gate.clone();
        planned
    }

    fn planned(&self, seen: &Observed, market: Option<&Seen>) -> Plan {
        plan(Input {
            holder: &self.holder,
            generation: Some(self.generation),
            created: at(0),
            deleting_since: self.deleting_since,
            finalizer: self.finalizer,
            spec: &self.spec,
            status: &self.status,
            seen,
            market,
            gate: &self.gate,
            looks: &self.looks,
            contests: &Contests::new(),
            now: self.now,
            fresh_id: &format!("episode{}", self.plans),
        })
    }

    /// Does the first of the actions.
    pub(super) fn obey(&mut self, plan: &Plan, first: usize) {
        for action in plan.actions.iter().take(first) {
            match action {
                Action::Hold(hold::Action::AddFinalizer) => self.finalizer = true,
                Action::Hold(hold::Action::RemoveFinalizer) => {
                    self.finalizer = false;
                    self.gone = self.deleting_since.is_some();
                }
                Action::Hold(hold::Action::Settle {
                    subject, wants, episode, remembered, ..
                }) => {
                    let selling = self.spec.deals.is_some();
                    if selling && !wants.is_empty() && self.up(&subject.name) {
                        self.judge_a_stop(&subject.name);
                    }
                    let wish = Wish {
                        holder: &self.holder,
                        episode,
                        wants,
                        remembered: remembered.as_ref(),
                    };
                    let name = &subject.name;
                    let mut objects = self.objects.iter_mut();
                    let object =
                        objects.find(|object| object["metadata"]["name"] == **name).unwrap();
                    settle(object, subject, &wish);
                }
                Action::Hold(other) => panic!("not of a window: {other:?}"),
                Action::Market(action) => {
                    if !self.call(action) {
                        return;
                    }
                }
            }
        }
    }

    /// No deal is broken: nothing stops while a Forward deal, an order or a task is open.
    fn judge_a_stop(&self, name: &str) {
        assert!(!self.market.binds(), "{name} stops at {}: {:?}", self.now, self.market);
    }

    fn call(&mut self, action: &gate::Action) -> bool {
        match action {
            gate::Action::Keep(orders) => {
                self.kept.clone_from(orders);
                return true;
            }
            gate::Action::Forget => {
                self.kept.clear();
                return true;
            }
            gate::Action::RemoveBridge => {
                self.bridge = false;
                self.gate.bridge_gone = true;
                return true;
            }
            _ => {}
        }
        if !self.reachable() {
            let trouble =
                Trouble { reason: "MarketUnreachable".to_owned(), message: "no answer".to_owned() };
            self.gate.failed(trouble, self.now);
            return false;
        }
        match action {
            gate::Action::Announce(start) => {
                self.market.announced = Some(*start);
                self.gate.told = Some(Some(*start));
            }
            gate::Action::TakeBack => {
                self.market.announced = None;
                self.gate.told = Some(None);
            }
            gate::Action::Drain(drain) => {
                let kept =
                    |plan: &str| self.kept.iter().any(|order| order.restore.as_str() == plan);
                for id in drain.orders.as_slice() {
                    if let Some(plan) = self.market.orders.remove(id.as_str()) {
                        assert!(kept(&plan), "{plan} is withdrawn and not kept");
                        self.market.withdrawn.push(plan);
                    }
                }
                for id in drain.deals.as_slice() {
                    if let Some((ends_at, plan)) = self.market.deals.remove(id.as_str()) {
                        assert!(ends_at.is_none(), "a Forward deal is closed");
                        assert!(kept(&plan), "{plan} is closed and not kept");
                        self.market.withdrawn.push(plan);
                    }
                }
                self.market
                    .tasks
                    .retain(|task| !drain.tasks.as_slice().iter().any(|id| id.as_str() == task));
                self.gate.drained = Some((drain.clone(), self.now));
            }
            gate::Action::Resume(orders) => {
                for order in orders {
                    self.market.withdrawn.retain(|plan| plan != order.restore.as_str());
                    if self.market.live(order.restore.as_str()) == 0 {
                        self.market.offer(order.restore.as_str());
                        self.market.resumed += 1;
                    }
                }
            }
            _ => {}
        }
        self.gate.succeeded();
        true
    }

    /// The operator dies, and what it remembered with it.
    pub(super) fn crash(&mut self) {
        self.looks = Looks::default();
        self.gate = gate::Memory::default();
    }

    pub(super) fn phase(&self) -> Option<WindowPhase> {
        self.status.phase
    }

    pub(super) fn deals(&self) -> DealsStatus {
        self.status.deals.clone().unwrap_or_default()
    }

    pub(super) fn announcement(&self) -> Option<AnnouncementStatus> {
        self.deals().announcement
    }

    /// Status and reason of a condition.
    pub(super) fn condition(&self, kind: &str) -> Option<(&str, &str)> {
        let mut conditions = self.status.conditions.iter();
        let found = conditions.find(|condition| condition.type_ == kind)?;
        Some((found.status.as_str(), found.reason.as_str()))
    }
}
