//! Tasks of consumers, and the power of the host that they run on.

use jiff::Timestamp;

use super::journal::{By, Entry, What};
use super::worker::{Task, TaskStatus};
use super::{Address, Model, Refused};

impl Model {
    /// The consumer starts a task in a deal.
    pub fn start_task(
        &mut self,
        now: Timestamp,
        deal: u64,
        image: &str,
        status: TaskStatus,
    ) -> Result<String, Refused> {
        let facts = self.chain.deals.get(&deal).ok_or_else(|| Refused::missing("deal", deal))?;
        if facts.closed {
            return Err(Refused::Conflict(format!("deal {deal} is closed")));
        }
        let address = facts.supplier.clone();
        let worker = self.worker_mut(&address)?;
        if !worker.running {
            return Err(Refused::Conflict(format!("worker {address} is not running")));
        }
        let id = format!("task-{deal}-{}", worker.tasks.len() + 1);
        let task = Task {
            id: id.clone(),
            deal,
            image: image.to_owned(),
            status,
            since: now,
            listed: true,
            container: status.is_alive(),
        };
        worker.tasks.insert(id.clone(), task);
        let entry = Entry::new(now, What::TaskStarted).worker(&address).deal(deal).task(&id);
        self.journal.write(entry.by(By::Consumer));
        Ok(id)
    }

    /// A task ends, by itself or by its consumer's will. A container that was lost is found and ended too.
    pub fn end_task(&mut self, now: Timestamp, id: &str) -> Result<(), Refused> {
        let mut tasks = self
            .workers
            .values_mut()
            .filter_map(|worker| worker.tasks.get_mut(id).map(|task| (&worker.address, task)));
        let (address, task) = tasks.next().ok_or_else(|| Refused::missing("task", id))?;
        if !task.container {
            return Err(Refused::Conflict(format!("task {id} has ended")));
        }
        task.container = false;
        task.status = TaskStatus::Finished;
        let entry = Entry::new(now, What::TaskEnded).worker(address).deal(task.deal).task(id);
        self.journal.write(entry.by(By::Consumer));
        Ok(())
    }

    /// The worker ends what runs in a deal. With `lose_containers` it takes the tasks from its list
    /// before it fails, so that the next try finds nothing to do.
    pub(super) fn cancel_deal_tasks(
        &mut self,
        now: Timestamp,
        address: &Address,
        deal: u64,
    ) -> Result<(), String> {
        let Some(worker) = self.workers.get_mut(address) else {
            return Ok(());
        };
        let keep = worker.defects.lose_containers;
        let mut lost = false;
        for task in worker.tasks.values_mut().filter(|task| task.deal == deal && task.listed) {
            task.listed = false;
            if !task.container {
                continue;
            }
            lost |= keep;
            task.container = keep;
            let entry = Entry::new(now, What::TaskCancelled).worker(address).deal(deal);
            let detail = if keep { "its container runs on" } else { "" };
            self.journal.write(entry.task(&task.id).by(By::Worker).detail(detail));
        }
        if lost { Err(format!("failed to cancel tasks of deal {deal}")) } else { Ok(()) }
    }

    /// The worker's process stops, with all containers on its host. Whatever was open is a broken promise.
    pub fn stop_worker(&mut self, now: Timestamp, address: &Address) -> Result<(), Refused> {
        let worker =
            self.workers.get_mut(address).ok_or_else(|| Refused::missing("worker", address))?;
        if !worker.running {
            return Ok(());
        }
        worker.running = false;
        worker.removing.clear();
        let mut broken: Vec<_> = Vec::new();
        for deal in self.chain.deals.values() {
            if deal.supplier == *address && !deal.closed {
                let kind = match (deal.is_spot(), deal.is_promised(now)) {
                    (true, _) => "Spot deal",
                    (false, true) => "Forward deal",
                    (false, false) => "Forward deal that had run out",
                };
                broken.push(format!("{kind} {} was open", deal.id));
            }
        }
        for order in self.chain.orders.values() {
            if order.author == *address && order.active {
                broken.push(format!("order {} was on the market", order.id));
            }
        }
        for task in worker.tasks.values_mut().filter(|task| task.container) {
            task.container = false;
            task.status = TaskStatus::Broken;
            broken.push(format!("task {} was running", task.id));
        }
        let broken =
            (!broken.is_empty()).then(|| format!("when it stopped, {}", broken.join(", ")));
        let entry = Entry::new(now, What::WorkerStopped).worker(address).by(By::Control);
        self.journal.write(entry.broken(broken));
        Ok(())
    }

    /// The worker's process starts, if it doesn't run.
    pub fn start_worker(&mut self, now: Timestamp, address: &Address) -> Result<(), Refused> {
        let worker = self.worker_mut(address)?;
        if worker.running {
            return Ok(());
        }
        worker.running = true;
        worker.restart(now);
        let entry = Entry::new(now, What::WorkerStarted).worker(address);
        self.journal.write(entry.by(By::Control));
        Ok(())
    }
}
