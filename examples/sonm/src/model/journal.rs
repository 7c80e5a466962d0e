//! What has happened, in order, for a judge: events and calls. Nothing is ever taken out of it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Address;

/// What an entry tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// A call of the protocol was answered, or carried out without an answer.
    Call,
    PlanCreated,
    PlanPendingDeletion,
    PlanRemoved,
    PlanRemovalFailed,
    OrderPlaced,
    OrderRefused,
    OrderCancelled,
    OrderAccepted,
    DealRegistered,
    DealClosed,
    DealCloseRefused,
    DealDurationChanged,
    TaskStarted,
    TaskEnded,
    TaskCancelled,
    MaintenanceScheduled,
    SyncStalled,
    WorkerRestarted,
    WorkerStopped,
    WorkerStarted,
}

/// An entry of the journal.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// Its number, from 1.
    pub number: usize,
    pub at: Timestamp,
    pub what: What,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<Address>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deal: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// Who did it: `worker`, `client` (a call of the protocol), `consumer`, `optimus` or `control`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<By>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// The promise that this broke, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broken: Option<String>,
    /// The call, where the entry tells of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<Call>,
}

/// Who did something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// The worker itself, in a sync.
    Worker,
    /// A client of the protocol.
    Client,
    /// The consumer of a deal.
    Consumer,
    /// Optimus, which trades for the supplier by itself.
    Optimus,
    /// The control interface or the scenario, for whatever has no other cause.
    Control,
}

/// A call of the protocol.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Call {
    /// `Service/Method`, such as `WorkerManagementServer/Tasks`.
    pub method: String,
    /// The header that selects the worker, as it was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    pub began: Timestamp,
    pub request: serde_json::Value,
    /// The HTTP status of the answer.
    pub status: u16,
    pub answer: serde_json::Value,
}

impl Entry {
    /// An entry with nothing but its kind; the number is given when it is written.
    pub fn new(at: Timestamp, what: What) -> Self {
        Self {
            number: 0,
            at,
            what,
            worker: None,
            plan: None,
            order: None,
            deal: None,
            task: None,
            by: None,
            detail: String::new(),
            broken: None,
            call: None,
        }
    }

    pub fn worker(mut self, worker: &Address) -> Self {
        self.worker = Some(worker.clone());
        self
    }

    pub fn plan(mut self, plan: &str) -> Self {
        self.plan = Some(plan.to_owned());
        self
    }

    pub fn order(mut self, order: impl Into<Option<u64>>) -> Self {
        self.order = order.into();
        self
    }

    pub fn deal(mut self, deal: impl Into<Option<u64>>) -> Self {
        self.deal = deal.into();
        self
    }

    pub fn task(mut self, task: &str) -> Self {
        self.task = Some(task.to_owned());
        self
    }

    pub fn by(mut self, by: By) -> Self {
        self.by = Some(by);
        self
    }

    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    pub fn broken(mut self, promise: Option<String>) -> Self {
        self.broken = promise;
        self
    }
}

/// All entries so far.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Journal(Vec<Entry>);

impl Journal {
    /// Writes an entry.
    pub fn write(&mut self, mut entry: Entry) {
        entry.number = self.0.len() + 1;
        self.0.push(entry);
    }

    #[cfg(test)]
    pub fn entries(&self) -> &[Entry] {
        &self.0
    }

    /// The entries that tell of a broken promise.
    pub fn broken(&self) -> impl Iterator<Item = &Entry> {
        self.0.iter().filter(|entry| entry.broken.is_some())
    }
}
