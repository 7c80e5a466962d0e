//! What the stand-in knows: the market, its index, and the workers with their plans and tasks.
//!
//! Nothing here reads a clock or does any IO: `now` is an argument, and the layer above holds the
//! one lock. Each transition writes into the journal what happened.

pub mod address;
pub mod chain;
pub mod index;
pub mod journal;
pub mod plans;
mod sync;
mod tasks;
pub mod terms;
pub mod worker;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use address::Address;
use chain::Chain;
use index::Index;
use journal::{By, Entry, Journal, What};
pub use terms::Terms;
use worker::Worker;

/// How fast things go.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The milliseconds between two syncs of a worker; 0: only when the control interface asks for one.
    pub sync_ms: u64,
    /// No order is placed in the last seconds before maintenance.
    pub maintenance_gap_s: u64,
    /// The milliseconds by which the DWH lags behind the chain.
    pub dwh_lag_ms: u64,
    /// The milliseconds that the removal of a plan takes, which waits for the chain.
    pub removal_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { sync_ms: 10_000, maintenance_gap_s: 600, dwh_lag_ms: 0, removal_ms: 0 }
    }
}

/// Everything.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Model {
    /// The account whose key the Node was given.
    pub node: Address,
    pub settings: Settings,
    pub chain: Chain,
    pub index: Index,
    pub workers: BTreeMap<Address, Worker>,
    pub journal: Journal,
}

/// Why the control interface did not do what it was asked.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    /// There is no such thing.
    Missing(String),
    /// Not in this state.
    Conflict(String),
}

impl Refused {
    fn missing(kind: &str, name: impl fmt::Display) -> Self {
        Self::Missing(format!("there is no {kind} {name}"))
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(why) | Self::Conflict(why) => formatter.write_str(why),
        }
    }
}

impl Model {
    /// A market with nothing in it but one worker, the Node's own.
    pub fn empty(now: Timestamp, node: Address) -> Self {
        let worker = Worker::new(now, node.clone(), node.clone(), None);
        Self {
            workers: BTreeMap::from([(node.clone(), worker)]),
            node,
            settings: Settings::default(),
            chain: Chain::default(),
            index: Index::default(),
            journal: Journal::default(),
        }
    }

    pub fn worker(&self, address: &Address) -> Result<&Worker, Refused> {
        self.workers.get(address).ok_or_else(|| Refused::missing("worker", address))
    }

    pub fn worker_mut(&mut self, address: &Address) -> Result<&mut Worker, Refused> {
        self.workers.get_mut(address).ok_or_else(|| Refused::missing("worker", address))
    }

    /// Every worker's process has been started again: what was in memory only is gone.
    pub fn restart_all(&mut self, now: Timestamp) {
        for address in self.workers.keys().cloned().collect::<Vec<_>>() {
            // The address comes from the map itself.
            let _ = self.restart_worker(now, &address);
        }
    }

    /// A worker's process is started again. It no longer knows which of its orders have a deal.
    pub fn restart_worker(&mut self, now: Timestamp, address: &Address) -> Result<(), Refused> {
        self.worker_mut(address)?.restart(now);
        let entry = Entry::new(now, What::WorkerRestarted).worker(address);
        self.journal.write(entry.by(By::Control));
        Ok(())
    }

    /// The next maintenance of a worker is announced. Any time is accepted, past ones too.
    pub fn schedule_maintenance(
        &mut self,
        now: Timestamp,
        address: &Address,
        at: Timestamp,
    ) -> Result<(), Refused> {
        self.worker_mut(address)?.next_maintenance = Some(at);
        let entry = Entry::new(now, What::MaintenanceScheduled).worker(address);
        self.journal.write(entry.by(By::Client).detail(at.to_string()));
        Ok(())
    }
}
