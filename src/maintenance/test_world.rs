//! The world in which the planner is tested: a worker that sells compute, and the market that it is
//! on. What is written is so; time passes, and calls fail, only where a test says so.

#![allow(clippy::needless_pass_by_value, reason = "JSON is written where it is handed over")]

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::plan::{Input, plan};
use super::validate::{Valid, validate};
use crate::api::deals::{AnnouncementStatus, DealsStatus};
use crate::api::maintenance_window::{MaintenanceWindowStatus, WindowPhase};
use crate::deals::market_state::{self, MarketObservation};
use crate::deals::test_market::{Market, at};
use crate::hold::plan::Desired;
use crate::hold::record::Holder;
use crate::transition::observe::{Observed, Pods};
use crate::transition::plan::{Action, Next, Plan, PlanState};
use crate::transition::test_world::{deployment, subject, write};

pub(super) struct World {
    pub(super) holder: Holder,
    pub(super) json: Value,
    pub(super) spec: Valid,
    pub(super) generation: i64,
    pub(super) status: MaintenanceWindowStatus,
    pub(super) finalizer: bool,
    pub(super) deleting_since: Option<Timestamp>,
    pub(super) gone: bool,
    pub(super) memory: PlanState,
    pub(super) now: Timestamp,
    pub(super) objects: Vec<Value>,
    pub(super) market: Market,
    /// Whether somebody else than the worker serves the market.
    pub(super) elsewhere: bool,
    /// Workloads that never become ready.
    pub(super) ill: Vec<&'static str>,
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
            memory: PlanState::default(),
            now: at(0),
            objects: vec![deployment("worker", 2), deployment("agent", 1)],
            market,
            elsewhere: false,
            ill: Vec::new(),
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

    /// Replaces a field of the spec by another one, in one change.
    pub(super) fn replace(&mut self, field: &str, other: &str, value: Value) {
        self.json.as_object_mut().unwrap().remove(field);
        self.change(other, value);
    }

    /// Another object holds a workload at zero, or releases it.
    pub(super) fn hold_by(&mut self, holder: &str, name: &str, holds: bool) {
        let holder: Holder = holder.parse().unwrap();
        let object = self.object(name);
        let subject = subject(object);
        let wants = if holds { subject.kind.stop_wants() } else { BTreeMap::default() };
        let desired =
            Desired { holder: &holder, episode: "another", wants: &wants, remembered: None };
        write(object, &subject, &desired);
    }

    pub(super) fn object(&mut self, name: &str) -> &mut Value {
        self.objects.iter_mut().find(|object| object["metadata"]["name"] == name).unwrap()
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
            let plan = self.iterate();
            let all = plan.calls.len() + plan.actions.len();
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

    /// The worker answers for itself, while it is up, unless the market is elsewhere.
    pub(super) fn reachable(&self) -> bool {
        !self.market.down && (self.elsewhere || self.up("worker"))
    }

    /// One plan, with its status written and none of its actions done: the operator may die here.
    pub(super) fn iterate(&mut self) -> Plan<MaintenanceWindowStatus> {
        self.plans += 1;
        self.market.pass(self.now);
        let mut observed = Observed {
            workloads: self.objects.iter().map(subject).map(Arc::new).collect(),
            ..Observed::default()
        };
        let mut market = None;
        let planned = loop {
            let planned = self.planned(&observed, market.as_ref());
            match planned.next {
                Next::ObservePods => {
                    assert!(observed.pods.is_none());
                    observed.pods =
                        Some(Pods { began: self.now, complete: self.now, ..Pods::default() });
                }
                Next::ObserveMarket => {
                    assert!(market.is_none());
                    assert!(self.finalizer, "a market is spoken to before that is recorded");
                    assert!(self.status.deals.is_some());
                    market = Some(self.market.observed(self.reachable(), self.now));
                }
                _ => break planned,
            }
        };
        if planned.status.phase != self.status.phase {
            self.phases.extend(planned.status.phase);
        }
        self.status = planned.status.clone();
        self.memory.confirmations = planned.confirmations.clone();
        self.memory.market = planned.market.clone();
        planned
    }

    fn planned(
        &self,
        observed: &Observed,
        market: Option<&MarketObservation>,
    ) -> Plan<MaintenanceWindowStatus> {
        plan(Input {
            holder: &self.holder,
            generation: Some(self.generation),
            created: at(0),
            deleting_since: self.deleting_since,
            finalizer: self.finalizer,
            spec: &self.spec,
            status: &self.status,
            observed,
            market,
            memory: &self.memory,
            now: self.now,
            fresh_id: &format!("episode{}", self.plans),
        })
    }

    /// Makes the calls and takes the actions of a plan, but no more than the first ones.
    pub(super) fn obey(&mut self, plan: &Plan<MaintenanceWindowStatus>, first: usize) {
        for call in plan.calls.iter().take(first) {
            if !self.call(call) {
                break;
            }
        }
        for action in plan.actions.iter().take(first.saturating_sub(plan.calls.len())) {
            match action {
                Action::AddFinalizer => self.finalizer = true,
                Action::RemoveFinalizer => {
                    self.finalizer = false;
                    self.gone = self.deleting_since.is_some();
                }
                Action::Hold { subject, wants, episode, recorded, .. } => {
                    let selling = self.spec.hold.deals.is_some();
                    if selling && !wants.is_empty() && self.up(&subject.name) {
                        self.judge_a_stop(&subject.name);
                    }
                    let desired = Desired {
                        holder: &self.holder,
                        episode,
                        wants,
                        remembered: recorded.as_ref(),
                    };
                    let name = &subject.name;
                    let mut objects = self.objects.iter_mut();
                    let object =
                        objects.find(|object| object["metadata"]["name"] == **name).unwrap();
                    write(object, subject, &desired);
                    if self.ill.contains(&name.as_str()) {
                        object["status"]["availableReplicas"] = json!(0);
                    }
                }
                other => panic!("not of a window: {other:?}"),
            }
        }
    }

    /// No deal is broken: nothing stops while a Forward deal, an order or a task is open.
    fn judge_a_stop(&self, name: &str) {
        assert!(!self.market.binds(), "{name} stops at {}: {:?}", self.now, self.market);
    }

    fn call(&mut self, action: &market_state::Action) -> bool {
        let reachable = self.reachable();
        self.market.call(action, reachable, &mut self.memory.market, self.now)
    }

    /// The operator dies, and what it remembered with it.
    pub(super) fn crash(&mut self) {
        self.memory = PlanState::default();
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
