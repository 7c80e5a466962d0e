//! Ask plans: made, and removed in two steps as the worker does it: marked first, which stays, then
//! closed or cancelled on the chain, which takes time and can fail.

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::journal::{By, Entry, What};
use super::worker::Plan;
use super::{Address, Model, Refused, Terms};

/// What a plan had when its removal began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    order: Option<u64>,
    deal: Option<u64>,
}

/// Why a plan was not removed.
#[derive(Debug, PartialEq, Eq)]
pub enum RemovalError {
    /// What the worker answers.
    Failed(String),
    /// The worker went away in the middle of it.
    Interrupted,
}

impl Model {
    /// Makes a plan. Its order follows with a later sync.
    pub fn create_plan(
        &mut self,
        now: Timestamp,
        address: &Address,
        terms: Terms,
        by: By,
    ) -> Result<String, Refused> {
        let worker = self.worker_mut(address)?;
        worker.plans_made += 1;
        let id = plan_id(address, worker.plans_made, now);
        self.insert_plan(now, address, &id, terms, by)?;
        Ok(id)
    }

    /// Makes a plan with an id that was chosen elsewhere.
    pub fn insert_plan(
        &mut self,
        now: Timestamp,
        address: &Address,
        id: &str,
        terms: Terms,
        by: By,
    ) -> Result<(), Refused> {
        let worker = self.worker_mut(address)?;
        if worker.plans.contains_key(id) {
            return Err(Refused::Conflict(format!("there is a plan {id} already")));
        }
        let plan = Plan {
            id: id.to_owned(),
            terms,
            order: None,
            deal: None,
            pending_deletion: false,
            created: now,
            last_order_placed: None,
        };
        worker.plans.insert(id.to_owned(), plan);
        self.journal.write(Entry::new(now, What::PlanCreated).worker(address).plan(id).by(by));
        Ok(())
    }

    /// The first step: the plan is marked, for good.
    pub fn begin_removal(
        &mut self,
        now: Timestamp,
        address: &Address,
        id: &str,
        by: By,
    ) -> Result<Removal, RemovalError> {
        let worker = self.workers.get_mut(address).ok_or(RemovalError::Interrupted)?;
        let Some(plan) = worker.plans.get_mut(id) else {
            return Err(RemovalError::Failed("specified ask-plan does not exist".to_owned()));
        };
        if !plan.pending_deletion {
            plan.pending_deletion = true;
            let entry = Entry::new(now, What::PlanPendingDeletion).worker(address).plan(id);
            self.journal.write(entry.order(plan.order).deal(plan.deal).by(by));
        }
        worker.removing.insert(id.to_owned());
        Ok(Removal { order: plan.order, deal: plan.deal })
    }

    /// The second step: the deal is closed and its tasks are cancelled, or the order is cancelled,
    /// and the plan is gone. If that fails, the plan stays marked.
    pub fn finish_removal(
        &mut self,
        now: Timestamp,
        address: &Address,
        id: &str,
        begun: &Removal,
        by: By,
    ) -> Result<(), RemovalError> {
        let worker = self.workers.get_mut(address).ok_or(RemovalError::Interrupted)?;
        if !worker.removing.remove(id) {
            return Err(RemovalError::Interrupted);
        }
        let Some(plan) = worker.plans.get(id) else {
            return Ok(());
        };
        let changed = plan.order != begun.order || plan.deal != begun.deal;
        let result = if changed {
            Err("concurrent order or deal was placed".to_owned())
        } else {
            self.close_plan(now, address, id, begun, by)
        };
        result.map_err(|why| {
            let why = format!("failed to remove ask plan {id}: {why}");
            let entry = Entry::new(now, What::PlanRemovalFailed).worker(address).plan(id);
            self.journal.write(entry.order(begun.order).deal(begun.deal).by(by).detail(&why));
            RemovalError::Failed(why)
        })
    }

    /// Ends what a plan has on the market, and takes it away.
    fn close_plan(
        &mut self,
        now: Timestamp,
        address: &Address,
        id: &str,
        has: &Removal,
        by: By,
    ) -> Result<(), String> {
        if let Some(deal) = has.deal {
            if self.chain.deals.get(&deal).is_some_and(|deal| !deal.closed) {
                self.close_deal(now, deal, address, by)
                    .map_err(|why| format!("failed to close deal: {why}"))?;
            }
            self.cancel_deal_tasks(now, address, deal)?;
        } else if let Some(order) = has.order {
            self.cancel_order(now, order, by)
                .map_err(|why| format!("failed to cancel order: {why}"))?;
        }
        if let Some(worker) = self.workers.get_mut(address) {
            worker.plans.remove(id);
        }
        let entry = Entry::new(now, What::PlanRemoved).worker(address).plan(id);
        self.journal.write(entry.order(has.order).deal(has.deal).by(by));
        Ok(())
    }

    /// Both steps at once, as a sync does them; what fails is tried again by the next one.
    pub(super) fn remove_plan(&mut self, now: Timestamp, address: &Address, id: &str) {
        if let Ok(begun) = self.begin_removal(now, address, id, By::Worker) {
            // The journal has the reason, as the worker's log would.
            let _ = self.finish_removal(now, address, id, &begun, By::Worker);
        }
    }
}

/// An id that nobody has had: a UUID (version 4 by its looks) that depends on what is given alone.
fn plan_id(address: &Address, number: u64, now: Timestamp) -> String {
    let digest = Sha256::digest(format!("{address} {number} {}", now.as_nanosecond()));
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    [&digits[..4], &digits[4..6], &digits[6..8], &digits[8..10], &digits[10..]]
        .map(<[String]>::concat)
        .join("-")
}
