//! What a worker does by itself, every few seconds. One round does one thing for each plan, and an
//! error is only logged: the next round tries again.

use jiff::Timestamp;

use super::chain::block_time;
use super::journal::{By, Entry, What};
use super::{Address, Model};

impl Model {
    /// A round of every worker.
    pub fn sync_all(&mut self, now: Timestamp) {
        for address in self.workers.keys().cloned().collect::<Vec<_>>() {
            self.sync(now, &address);
        }
    }

    /// A round of one worker: its plans in the order of their ids, then Optimus.
    fn sync(&mut self, now: Timestamp, address: &Address) {
        let Some(worker) = self.workers.get_mut(address) else {
            return;
        };
        if !worker.running || worker.defects.deadlocked {
            return;
        }
        if let Some(plan) = &worker.stalled_on {
            if worker.defects.stuck_plans.contains(plan) {
                return;
            }
            worker.stalled_on = None;
        }
        for id in worker.plans.keys().cloned().collect::<Vec<_>>() {
            if self.is_stuck(address, &id) {
                if let Some(worker) = self.workers.get_mut(address) {
                    worker.stalled_on = Some(id.clone());
                }
                let entry = Entry::new(now, What::SyncStalled).worker(address).plan(&id);
                self.journal.write(entry.by(By::Worker));
                return;
            }
            self.sync_plan(now, address, &id);
        }
        self.run_optimus(now, address);
    }

    fn is_stuck(&self, address: &Address, id: &str) -> bool {
        self.workers.get(address).is_some_and(|worker| {
            worker.defects.stuck_plans.contains(id)
                && worker.plans.get(id).is_some_and(|plan| plan.pending_deletion)
        })
    }

    fn sync_plan(&mut self, now: Timestamp, address: &Address, id: &str) {
        let Some(worker) = self.workers.get(address) else {
            return;
        };
        let Some(plan) = worker.plans.get(id) else {
            return;
        };
        // A call that is removing it ends what it has begun.
        let pending = plan.pending_deletion && !worker.removing.contains(id);
        match (plan.order, plan.deal) {
            (_, Some(deal)) => self.sync_deal(now, address, id, deal, pending),
            (Some(order), None) => self.sync_order(now, address, id, order, pending),
            (None, None) if pending => self.remove_plan(now, address, id),
            (None, None) if !plan.pending_deletion => self.sell(now, address, id),
            (None, None) => {}
        }
    }

    /// A plan with a deal: closed once the deal is; the deal closed once its time has come.
    fn sync_deal(&mut self, now: Timestamp, address: &Address, id: &str, deal: u64, pending: bool) {
        let (Some(worker), Some(facts)) = (self.workers.get(address), self.chain.deals.get(&deal))
        else {
            return;
        };
        if worker.removing.contains(id) {
            return;
        }
        let over = if facts.is_spot() {
            now >= worker.maintenance()
        } else {
            block_time(now) > facts.promised_until()
        };
        if facts.closed || pending {
            self.remove_plan(now, address, id);
        } else if over {
            // Refused, it is tried again with the next round.
            let _ = self.close_deal(now, deal, address, By::Worker);
        }
    }

    /// A plan with an order: whether somebody has accepted or cancelled it.
    fn sync_order(
        &mut self,
        now: Timestamp,
        address: &Address,
        id: &str,
        order: u64,
        pending: bool,
    ) {
        let Some(facts) = self.chain.orders.get(&order) else {
            return;
        };
        if let Some(deal) = facts.deal {
            if let Some(plan) =
                self.workers.get_mut(address).and_then(|worker| worker.plans.get_mut(id))
            {
                plan.deal = Some(deal);
            }
            let entry = Entry::new(now, What::DealRegistered).worker(address).plan(id);
            self.journal.write(entry.order(order).deal(deal).by(By::Worker));
        } else if pending || !facts.active {
            self.remove_plan(now, address, id);
        }
    }

    /// A plan with nothing on the market yet: an order, if there is time left before maintenance.
    fn sell(&mut self, now: Timestamp, address: &Address, id: &str) {
        let gap = self.settings.maintenance_gap_s;
        let Some(worker) = self.workers.get(address) else {
            return;
        };
        let Some(plan) = worker.plans.get(id) else {
            return;
        };
        let terms = plan.terms.clone();
        let Some(longest) = worker.time_to_sell(now, gap) else {
            let entry = Entry::new(now, What::OrderRefused).worker(address).plan(id);
            self.journal.write(entry.by(By::Worker).detail("maintenance is too near"));
            return;
        };
        let order = self.place_order(now, address, id, &terms, terms.duration().min(longest));
        if let Some(plan) =
            self.workers.get_mut(address).and_then(|worker| worker.plans.get_mut(id))
        {
            plan.order = Some(order);
            plan.last_order_placed = Some(now);
        }
    }

    /// Optimus offers whatever of its list isn't offered, and stops only once maintenance has begun.
    fn run_optimus(&mut self, now: Timestamp, address: &Address) {
        let Some(worker) = self.workers.get(address).filter(|worker| now < worker.maintenance())
        else {
            return;
        };
        let missing: Vec<_> = worker
            .defects
            .optimus
            .iter()
            .cloned()
            .enumerate()
            .filter(|(place, _)| {
                let plan = worker.optimus_plans.get(place);
                plan.is_none_or(|plan| !worker.plans.contains_key(plan))
            })
            .collect();
        for (place, terms) in missing {
            if let Ok(id) = self.create_plan(now, address, terms, By::Optimus)
                && let Some(worker) = self.workers.get_mut(address)
            {
                worker.optimus_plans.insert(place, id);
            }
        }
    }
}
