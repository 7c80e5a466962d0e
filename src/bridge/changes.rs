//! Changes to the market, one at a time: [`Changes`] checks the epoch, runs the drain in the background
//! and keeps the failures of the last drain.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::Market;
use super::epoch::Epochs;
use super::signature::Signer;
use crate::deals::problem::{Problem, ProblemType};
use crate::deals::types::{
    Announcement, Commitments, Drain, Failure, Id, List, Order, Resume, cleaned,
};

/// Maximum number of failures that an observation reports.
const MOST_FAILURES: usize = 100;

/// The handle of a running drain: the market asks it before each step and reports failures to it.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    epoch: u64,
    epochs: Arc<Epochs>,
    stopped: Arc<AtomicBool>,
    failures: Arc<Mutex<Vec<Failure>>>,
}

impl Progress {
    /// Returns whether the drain may begin another step: no newer change or leader has stopped it.
    pub(super) fn may_continue(&self) -> bool {
        !self.stopped.load(Ordering::SeqCst) && self.epochs.check(self.epoch).is_ok()
    }

    /// Records that the order, deal or task was not drained, and the cause.
    pub(super) fn failed(&self, id: &Id, cause: &str) {
        let detail = cleaned(cause);
        tracing::warn!(%id, %detail, "the bridge could not drain this order, deal or task");
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() < MOST_FAILURES {
            failures.push(Failure { id: id.clone(), detail });
        }
    }
}

#[derive(Debug)]
struct Draining {
    stopped: Arc<AtomicBool>,
    /// Closes when the drain ends, also by a panic.
    ended: watch::Receiver<()>,
}

impl Draining {
    /// Asks the drain to stop after its current step, because the result of a step that is cut off is
    /// unknown. Returns a receiver that closes when the drain has ended, or `None` if it has already.
    fn stop(&self) -> Option<watch::Receiver<()>> {
        self.stopped.store(true, Ordering::SeqCst);
        self.ended.has_changed().is_ok().then(|| self.ended.clone())
    }
}

/// Waits until the drain has ended.
async fn end_of(mut drain: watch::Receiver<()>) {
    while drain.changed().await.is_ok() {}
}

/// Carries out all changes of one market.
#[derive(Debug)]
pub(super) struct Changes<M> {
    market: Arc<M>,
    epochs: Arc<Epochs>,
    signer: Signer,
    /// Locked until a change is answered. A drain is answered at once and works on after that.
    turn: tokio::sync::Mutex<Option<Draining>>,
    /// The failures of the last drain, which a running drain still adds to.
    failures: Mutex<Arc<Mutex<Vec<Failure>>>>,
}

impl<M: Market> Changes<M> {
    pub(super) fn new(market: Arc<M>, epochs: Epochs, signer: Signer) -> Self {
        Self {
            market,
            epochs: Arc::new(epochs),
            signer,
            turn: tokio::sync::Mutex::default(),
            failures: Mutex::default(),
        }
    }

    /// Returns the commitments of the market with signed payloads, and the failures of the last drain.
    pub(super) async fn observe(&self) -> Result<Commitments, Problem> {
        let mut observed = self.signer.signed(self.market.observe().await?)?;
        observed.failures = self.failures();
        Ok(observed)
    }

    fn failures(&self) -> List<Failure> {
        let last = self.failures.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let failures = last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // MOST_FAILURES is far below the limit of a list.
        List::try_from(failures).unwrap_or_default()
    }

    /// Announces the maintenance to the market; `None` withdraws the announcement.
    pub(super) async fn announce(
        &self,
        epoch: u64,
        announcement: Option<Announcement>,
    ) -> Result<(), Problem> {
        self.epochs.admit(epoch)?;
        let _turn = self.turn.lock().await;
        self.epochs.check(epoch)?;
        self.market.announce(announcement.map(|announcement| announcement.at)).await
    }

    /// Begins a drain in the background and returns at once. The drain waits until a running drain
    /// has ended.
    pub(super) async fn drain(&self, epoch: u64, drain: Drain) -> Result<(), Problem> {
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
            market.drain(drain, progress).await;
            drop(running);
        });
        Ok(())
    }

    /// Ends the running drain, then offers the orders again. An empty list only ends the drain. Fails, before
    /// anything is done, for a payload that this bridge has not signed.
    pub(super) async fn resume(&self, epoch: u64, resume: Resume) -> Result<(), Problem> {
        self.epochs.admit(epoch)?;
        let orders = self.signer.verified(once_each(resume.orders)?)?;
        loop {
            let turn = self.turn.lock().await;
            self.epochs.check(epoch)?;
            if let Some(drain) = turn.as_ref().and_then(Draining::stop) {
                // A step can take minutes, and an announcement must not wait for it.
                drop(turn);
                end_of(drain).await;
            } else if orders.is_empty() {
                return Ok(());
            } else {
                return self.market.resume(orders).await;
            }
        }
    }

    /// Stops the running drain and waits until it has ended.
    pub(super) async fn end(&self) {
        let drain = self.turn.lock().await.as_ref().and_then(Draining::stop);
        if let Some(drain) = drain {
            end_of(drain).await;
        }
    }
}

/// Returns each order once. Fails if one order is listed with two different payloads.
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
                return Err(ProblemType::InvalidRequest.because(format!(
                    "order {} is listed twice with different `restore`: send each order once",
                    order.id
                )));
            }
        }
    }
    Ok(once)
}

#[cfg(test)]
#[path = "changes_tests.rs"]
mod tests;
