//! How a market begins: a JSON file of workers, plans, orders, deals and tasks.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use crate::faults::Faults;
use crate::model::chain::block_time;
use crate::model::journal::By;
use crate::model::worker::{Defects, TaskStatus, Worker};
use crate::model::{Address, Model, Refused, Settings, Terms};

/// The file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// The account whose key the Node has.
    node: Address,
    #[serde(default)]
    settings: Settings,
    #[serde(default)]
    workers: Vec<WorkerAtFirst>,
    #[serde(default)]
    pub faults: Faults,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WorkerAtFirst {
    address: Address,
    /// Default: the Node's account.
    master: Option<Address>,
    admin: Option<Address>,
    next_maintenance: Option<Timestamp>,
    #[serde(default)]
    defects: Defects,
    #[serde(default)]
    plans: Vec<PlanAtFirst>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlanAtFirst {
    /// Default: a UUID.
    id: Option<String>,
    /// The `AskPlan` of the protocol.
    ask: Terms,
    /// Whether its order is on the market already. Default: it is.
    #[serde(default = "yes")]
    ordered: bool,
    deal: Option<DealAtFirst>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DealAtFirst {
    consumer: Address,
    /// The seconds from now until its term runs out; absent: Spot.
    ends_in_s: Option<u64>,
    /// Since when it has run, in seconds before now.
    #[serde(default)]
    began_s_ago: u64,
    /// Whether the worker knows of it already. Default: it does.
    #[serde(default = "yes")]
    registered: bool,
    #[serde(default)]
    tasks: Vec<TaskAtFirst>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TaskAtFirst {
    image: String,
    #[serde(default = "running")]
    status: TaskStatus,
}

fn yes() -> bool {
    true
}

fn running() -> TaskStatus {
    TaskStatus::Running
}

impl Scenario {
    /// The market of the scenario, as of now.
    pub fn begin(self, now: Timestamp) -> Result<Model, Refused> {
        let mut model = Model::empty(now, self.node);
        model.settings = self.settings;
        if !self.workers.is_empty() {
            model.workers.clear();
        }
        for first in self.workers {
            let master = first.master.unwrap_or_else(|| model.node.clone());
            let mut worker = Worker::new(now, first.address.clone(), master, first.admin);
            worker.next_maintenance = first.next_maintenance;
            worker.defects = first.defects;
            if model.workers.insert(first.address.clone(), worker).is_some() {
                return Err(Refused::Conflict(format!("worker {} is there twice", first.address)));
            }
            for plan in first.plans {
                plan.begin(now, &mut model, &first.address)?;
            }
        }
        Ok(model)
    }
}

impl PlanAtFirst {
    fn begin(self, now: Timestamp, model: &mut Model, worker: &Address) -> Result<(), Refused> {
        let terms = self.ask;
        let id = match self.id {
            Some(id) => {
                model.insert_plan(now, worker, &id, terms.clone(), By::Control)?;
                id
            }
            None => model.create_plan(now, worker, terms.clone(), By::Control)?,
        };
        if !self.ordered && self.deal.is_none() {
            return Ok(());
        }
        let began_ago = self.deal.as_ref().map_or(0, |deal| deal.began_s_ago);
        let began = now
            .checked_sub(SignedDuration::from_secs(i64::try_from(began_ago).unwrap_or(i64::MAX)))
            .map_err(|error| Refused::Conflict(error.to_string()))?;
        let order = model.place_order(began, worker, &id, &terms, terms.duration());
        let deal = match &self.deal {
            Some(deal) => {
                // The chain counts from the block's time, in whole seconds.
                let started = now.duration_since(block_time(began)).as_secs();
                let duration = deal.ends_in_s.map_or(0, |seconds| seconds + started.unsigned_abs());
                Some(model.accept_order(began, order, duration, &deal.consumer)?)
            }
            None => None,
        };
        let registered = deal.filter(|_| self.deal.as_ref().is_some_and(|deal| deal.registered));
        if let Some(plan) = model.worker_mut(worker)?.plans.get_mut(&id) {
            plan.order = Some(order);
            plan.last_order_placed = Some(began);
            plan.deal = registered;
        }
        for task in self.deal.into_iter().flat_map(|deal| deal.tasks) {
            if let Some(deal) = deal {
                model.start_task(now, deal, &task.image, task.status)?;
            }
        }
        Ok(())
    }
}
