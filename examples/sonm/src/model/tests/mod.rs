//! Transitions of the model, each at a time of the test's choice.

mod deals;
mod defects;
mod maintenance;
mod plans;
mod promises;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::chain::{Deal, Order};
use super::journal::{By, What};
use super::plans::{Removal, RemovalError};
use super::worker::{Plan, TaskStatus, Worker};
use super::{Address, Model, Terms};

const HOUR: u64 = 3600;

fn address(digit: char) -> Address {
    format!("0x{}", digit.to_string().repeat(40)).try_into().unwrap()
}

fn node() -> Address {
    address('a')
}

fn consumer() -> Address {
    address('c')
}

/// A market with one worker, the Node's own, and a clock.
struct Market {
    model: Model,
    now: Timestamp,
}

impl Market {
    fn new() -> Self {
        let now = "2026-12-01T00:00:00Z".parse().unwrap();
        Self { model: Model::empty(now, node()), now }
    }

    fn at(&self, seconds: u64) -> Timestamp {
        self.now + SignedDuration::from_secs(seconds.try_into().unwrap())
    }

    fn later(&mut self, seconds: u64) {
        self.now = self.at(seconds);
    }

    fn sync(&mut self) {
        self.model.sync_all(self.now);
    }

    fn terms(seconds: u64, price: &str) -> Terms {
        let plan = json!({
            "duration": {"nanoseconds": seconds * 1_000_000_000},
            "price": {"perSecond": price},
        });
        plan.try_into().unwrap()
    }

    fn create(&mut self, seconds: u64) -> String {
        let terms = Self::terms(seconds, "5");
        self.model.create_plan(self.now, &node(), terms, By::Client).unwrap()
    }

    /// A plan whose order is on the market.
    fn offer(&mut self, seconds: u64) -> String {
        let plan = self.create(seconds);
        self.sync();
        assert!(self.order(&plan).active);
        plan
    }

    fn accept(&mut self, plan: &str, seconds: u64) -> u64 {
        let order = self.plan(plan).unwrap().order.unwrap();
        self.model.accept_order(self.now, order, seconds, &consumer()).unwrap()
    }

    /// A plan with a deal that the worker knows of, and a task that runs in it.
    fn sell(&mut self, offered: u64, bought: u64) -> (String, u64) {
        let plan = self.offer(offered);
        let deal = self.accept(&plan, bought);
        self.sync();
        assert_eq!(self.plan(&plan).unwrap().deal, Some(deal));
        self.model.start_task(self.now, deal, "busybox", TaskStatus::Running).unwrap();
        (plan, deal)
    }

    fn announce(&mut self, at: Timestamp) {
        self.model.schedule_maintenance(self.now, &node(), at).unwrap();
    }

    fn begin(&mut self, plan: &str) -> Result<Removal, RemovalError> {
        self.model.begin_removal(self.now, &node(), plan, By::Client)
    }

    fn finish(&mut self, plan: &str, begun: &Removal) -> Result<(), RemovalError> {
        self.model.finish_removal(self.now, &node(), plan, begun, By::Client)
    }

    fn remove(&mut self, plan: &str) -> Result<(), RemovalError> {
        let begun = self.begin(plan)?;
        self.finish(plan, &begun)
    }

    fn close_as_consumer(&mut self, deal: u64) {
        self.model.close_deal(self.now, deal, &consumer(), By::Consumer).unwrap();
    }

    fn worker(&mut self) -> &mut Worker {
        self.model.worker_mut(&node()).unwrap()
    }

    fn plan(&self, id: &str) -> Option<&Plan> {
        self.model.worker(&node()).unwrap().plans.get(id)
    }

    fn order(&self, plan: &str) -> &Order {
        let mut orders = self.model.chain.orders.values();
        orders.rfind(|order| order.plan == plan).unwrap()
    }

    fn deal(&self, id: u64) -> &Deal {
        &self.model.chain.deals[&id]
    }

    fn listed_tasks(&self) -> usize {
        let tasks = self.model.worker(&node()).unwrap().tasks.values();
        tasks.filter(|task| task.listed).count()
    }

    fn containers(&self) -> usize {
        let tasks = self.model.worker(&node()).unwrap().tasks.values();
        tasks.filter(|task| task.container).count()
    }

    fn broken(&self) -> Vec<&str> {
        self.model.journal.broken().filter_map(|entry| entry.broken.as_deref()).collect()
    }

    fn count(&self, what: What) -> usize {
        self.model.journal.entries().iter().filter(|entry| entry.what == what).count()
    }
}

fn failed(plan: &str, why: &str) -> Result<(), RemovalError> {
    Err(RemovalError::Failed(format!("failed to remove ask plan {plan}: {why}")))
}
