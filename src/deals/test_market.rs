//! The market in which the planners are tested. Time passes, and calls fail, only where a test says so.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::client::Observation;
use super::market_state::{Action, MarketError, MarketObservation, MarketState, Notified};
use super::types::{Commitments, Complete, Deal, Drain, Id, List, Order, Restore, Task, Term};

/// Time, as the tests write it: seconds after the object was created.
pub(crate) fn at(seconds: i64) -> Timestamp {
    "2026-12-01T00:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_secs(seconds)
}

/// Everything on the market, by the plan with which it was offered. A plan is good for one deal.
#[derive(Clone, Debug, Default)]
pub(crate) struct Market {
    /// Ids of orders, each with its plan.
    pub(crate) orders: BTreeMap<String, String>,
    /// Ids of deals, each with the end of its term (`None` for a Spot deal) and the plan of its order.
    pub(crate) deals: BTreeMap<String, (Option<Timestamp>, String)>,
    pub(crate) tasks: Vec<String>,
    /// No call is answered.
    pub(crate) down: bool,
    pub(crate) announced: Option<Timestamp>,
    /// Plans that were taken off the market, and not offered again.
    pub(crate) withdrawn: Vec<String>,
    /// Saved payloads.
    pub(crate) kept: Vec<Order>,
    /// Number of resumes that offered something.
    pub(crate) resumed: u32,
    counter: u32,
}

impl Market {
    pub(crate) fn offer(&mut self, plan: &str) {
        self.counter += 1;
        self.orders.insert(format!("order-{}", self.counter), plan.to_owned());
    }

    /// Somebody accepts an order.
    pub(crate) fn strike(&mut self, ends_at: Option<Timestamp>) -> bool {
        let Some((order, plan)) = self.orders.pop_first() else { return false };
        self.deals.insert(format!("deal-of-{order}"), (ends_at, plan));
        true
    }

    /// Ends the deals whose term is over, and those that the worker closes for its maintenance.
    pub(crate) fn pass(&mut self, now: Timestamp) {
        let ended = |ends_at: &Option<Timestamp>| ends_at.is_some_and(|ends_at| ends_at <= now);
        self.deals.retain(|_, (ends_at, _)| !ended(ends_at));
        // Payloads of deals that no iteration has observed in time cannot be saved.
        self.close_for_maintenance(now);
    }

    /// Closes the open deals from the announced time on, as a worker does by itself. Returns the plans that
    /// came off the market with them and whose payloads are not saved.
    fn close_for_maintenance(&mut self, now: Timestamp) -> Vec<String> {
        if self.announced.is_none_or(|at| at > now) {
            return Vec::new();
        }
        let open = self.deals.extract_if(.., |_, (ends_at, _)| ends_at.is_none());
        let closed: Vec<String> = open.map(|(_, (_, plan))| plan).collect();
        let is_kept = |plan: &String| self.kept.iter().any(|order| order.restore.as_str() == plan);
        let (kept, lost): (Vec<_>, Vec<_>) = closed.into_iter().partition(is_kept);
        self.withdrawn.extend(kept);
        lost
    }

    /// Returns how often a plan is on the market.
    pub(crate) fn live(&self, plan: &str) -> usize {
        let deals = self.deals.values().filter(|(_, from)| from == plan);
        self.orders.values().filter(|from| *from == plan).count() + deals.count()
    }

    pub(crate) fn binds(&self) -> bool {
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

    /// Returns the operator's observation.
    pub(crate) fn observed(&self, reachable: bool, now: Timestamp) -> MarketObservation {
        let observation =
            Observation { commitments: self.commitments(now), began: now, complete: now };
        let observation = if reachable { Ok(observation) } else { Err(unreachable()) };
        MarketObservation { commitments: observation, withdrawn: Ok(self.kept.clone()) }
    }

    /// Answers a call of the operator. Returns false for a failure.
    pub(crate) fn call(
        &mut self,
        action: &Action,
        reachable: bool,
        state: &mut MarketState,
        now: Timestamp,
    ) -> bool {
        match action {
            Action::SavePayloads(orders) => self.kept.clone_from(orders),
            Action::DeletePayloads => self.kept.clear(),
            Action::RemoveBridge => state.bridge_gone = true,
            _ if !reachable => {
                state.failed(unreachable(), now);
                return false;
            }
            Action::Announce(start) => {
                self.announced = Some(*start);
                let lost = self.close_for_maintenance(now);
                assert!(lost.is_empty(), "{lost:?} are closed as it is announced, and not kept");
                state.notified = Some(Notified::Start(*start));
            }
            Action::WithdrawAnnouncement => {
                self.announced = None;
                state.notified = Some(Notified::Withdrawal);
            }
            Action::Drain(drain) => {
                self.drain(drain);
                state.drained = Some((drain.clone(), now));
            }
            Action::Resume(orders) => {
                for order in orders {
                    let plan = order.restore.as_str();
                    self.withdrawn.retain(|withdrawn| withdrawn != plan);
                    if self.live(plan) == 0 {
                        self.offer(plan);
                        self.resumed += 1;
                    }
                }
            }
        }
        state.succeeded();
        true
    }

    fn drain(&mut self, drain: &Drain) {
        let kept: Vec<_> = self.kept.iter().map(|order| order.restore.as_str()).collect();
        for id in drain.orders.as_slice() {
            if let Some(plan) = self.orders.remove(id.as_str()) {
                assert!(kept.contains(&plan.as_str()), "{plan} is withdrawn and not kept");
                self.withdrawn.push(plan);
            }
        }
        for id in drain.deals.as_slice() {
            if let Some((ends_at, plan)) = self.deals.remove(id.as_str()) {
                assert!(ends_at.is_none(), "a Forward deal is closed");
                assert!(kept.contains(&plan.as_str()), "{plan} is closed and not kept");
                self.withdrawn.push(plan);
            }
        }
        let ended = |task: &String| drain.tasks.as_slice().iter().any(|id| id.as_str() == task);
        self.tasks.retain(|task| !ended(task));
    }
}

fn unreachable() -> MarketError {
    MarketError {
        reason: crate::api::reason::Reason::MarketUnreachable,
        message: "no answer".to_owned(),
    }
}
