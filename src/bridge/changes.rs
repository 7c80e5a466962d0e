//! Changes, one after the other: epochs, the drain that runs in the background, and what it could
//! not do.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::Market;
use super::epoch::Epochs;
use crate::deals::problem::{Problem, ProblemType};
use crate::deals::types::{
    Announcement, Commitments, Drain, Failure, Id, List, Order, Resume, cleaned,
};

/// Most failures of a drain that are told.
const MOST_FAILURES: usize = 100;

/// A drain under way, as the market's side sees it: what it asks before each step and tells after.
#[derive(Clone, Debug)]
pub struct Progress {
    epoch: u64,
    epochs: Arc<Epochs>,
    stopped: Arc<AtomicBool>,
    failures: Arc<Mutex<Vec<Failure>>>,
}

impl Progress {
    /// Whether another step may be begun. False once a newer change or leader has come.
    pub fn goes_on(&self) -> bool {
        !self.stopped.load(Ordering::SeqCst) && self.epochs.check(self.epoch).is_ok()
    }

    /// Tells what could not be done, and why.
    pub fn failed(&self, id: &Id, why: &str) {
        let detail = cleaned(why);
        tracing::warn!(%id, %detail, "not drained");
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() < MOST_FAILURES {
            failures.push(Failure { id: id.clone(), detail });
        }
    }
}

#[derive(Debug)]
struct Draining {
    stopped: Arc<AtomicBool>,
    /// Closed when it has ended, however it did.
    ended: watch::Receiver<()>,
}

impl Draining {
    /// Asks it to stop. The step under way ends first, since nobody could tell otherwise what has
    /// become of it. Returns what to wait for, if it runs at all.
    fn stop(&self) -> Option<watch::Receiver<()>> {
        self.stopped.store(true, Ordering::SeqCst);
        self.ended.has_changed().is_ok().then(|| self.ended.clone())
    }
}

/// Returns when that drain has ended.
async fn end_of(mut drain: watch::Receiver<()>) {
    while drain.changed().await.is_ok() {}
}

/// Where all changes go through.
#[derive(Debug)]
pub struct Changes<M> {
    market: Arc<M>,
    epochs: Arc<Epochs>,
    /// Held for as long as a change is answered; the drain's own work goes on after that.
    turn: tokio::sync::Mutex<Option<Draining>>,
    /// Of the last drain.
    failures: Mutex<Arc<Mutex<Vec<Failure>>>>,
}

impl<M: Market> Changes<M> {
    /// Changes of this market.
    pub fn new(market: Arc<M>, epochs: Epochs) -> Self {
        Self {
            market,
            epochs: Arc::new(epochs),
            turn: tokio::sync::Mutex::default(),
            failures: Mutex::default(),
        }
    }

    /// All that binds at the moment.
    pub async fn look(&self) -> Result<Commitments, Problem> {
        let mut seen = self.market.look().await?;
        seen.failures = self.failures();
        Ok(seen)
    }

    /// What the last drain could not do.
    fn failures(&self) -> List<Failure> {
        let last = self.failures.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let failures = last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // They are far fewer than a list may have.
        List::try_from(failures).unwrap_or_default()
    }

    /// Announces the maintenance, or takes it back.
    pub async fn announce(&self, epoch: u64, what: Option<Announcement>) -> Result<(), Problem> {
        self.epochs.admit(epoch)?;
        let _turn = self.turn.lock().await;
        self.epochs.check(epoch)?;
        self.market.announce(what.map(|announcement| announcement.at)).await
    }

    /// Begins a drain and returns at once. One that runs already is ended first.
    pub async fn drain(&self, epoch: u64, what: Drain) -> Result<(), Problem> {
        self.epochs.admit(epoch)?;
        let mut turn = self.turn.lock().await;
        self.epochs.check(epoch)?;
        let before = turn.as_ref().and_then(Draining::stop);
        let progress = Progress {
            epoch,
            epochs: self.epochs.clone(),
            stopped: Arc::default(),
            failures: Arc::default(),
        };
        *self.failures.lock().unwrap_or_else(PoisonError::into_inner) = progress.failures.clone();
        let (running, ended) = watch::channel(());
        *turn = Some(Draining { stopped: progress.stopped.clone(), ended });
        let market = self.market.clone();
        tokio::spawn(async move {
            if let Some(before) = before {
                end_of(before).await;
            }
            market.drain(what, progress).await;
            drop(running);
        });
        Ok(())
    }

    /// Offers orders again, after the drain that runs has ended. Without orders it does only that.
    pub async fn resume(&self, epoch: u64, what: Resume) -> Result<(), Problem> {
        self.epochs.admit(epoch)?;
        let orders = once_each(what.orders)?;
        loop {
            let turn = self.turn.lock().await;
            self.epochs.check(epoch)?;
            if let Some(drain) = turn.as_ref().and_then(Draining::stop) {
                // A step can take minutes. An announcement need not wait for it.
                drop(turn);
                end_of(drain).await;
            } else if orders.is_empty() {
                return Ok(());
            } else {
                return self.market.resume(orders).await;
            }
        }
    }

    /// Ends the drain that runs.
    pub async fn end(&self) {
        let drain = self.turn.lock().await.as_ref().and_then(Draining::stop);
        if let Some(drain) = drain {
            end_of(drain).await;
        }
    }
}

/// An order that is in the list twice is offered once.
fn once_each(orders: List<Order>) -> Result<Vec<Order>, Problem> {
    let mut once: Vec<Order> = Vec::new();
    let mut places = std::collections::HashMap::new();
    for order in orders.into_vec() {
        match places.get(&order.id) {
            None => {
                places.insert(order.id.clone(), once.len());
                once.push(order);
            }
            Some(&place) if once[place] == order => {}
            Some(_) => {
                return Err(ProblemType::InvalidRequest
                    .because(format!("the order {} is there twice, and differs", order.id)));
            }
        }
    }
    Ok(once)
}

#[cfg(test)]
#[path = "changes_tests.rs"]
mod tests;
