use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Semaphore;

use super::*;
use crate::bridge::folder::Folder;
use crate::bridge::signature::Secret;
use crate::deals::types::{Complete, Restore};

/// Records each call. A step of a drain waits for a permit.
#[derive(Debug)]
struct Recorder {
    done: Mutex<Vec<String>>,
    steps: Semaphore,
}

impl Recorder {
    fn note(&self, what: impl Into<String>) {
        self.done.lock().unwrap().push(what.into());
    }

    fn done(&self) -> Vec<String> {
        self.done.lock().unwrap().clone()
    }

    /// Waits until the market has recorded `what`.
    async fn until(&self, what: &str) {
        let seen = async {
            while !self.done().iter().any(|done| done == what) {
                tokio::task::yield_now().await;
            }
        };
        let seen = tokio::time::timeout(Duration::from_secs(20), seen).await;
        seen.unwrap_or_else(|_| panic!("{what} did not come: {:?}", self.done()));
    }
}

impl Market for Recorder {
    async fn observe(&self) -> Result<Commitments, Problem> {
        Ok(Commitments {
            as_of: Timestamp::UNIX_EPOCH,
            complete: Complete,
            deals: List::default(),
            orders: List::default(),
            tasks: List::default(),
            next_maintenance: None,
            failures: List::default(),
        })
    }

    async fn announce(&self, at: Option<Timestamp>) -> Result<(), Problem> {
        self.note(at.map_or("withdrawn".to_owned(), |at| format!("announced {at}")));
        Ok(())
    }

    async fn drain(&self, what: Drain, progress: Progress) {
        for id in what.orders.as_slice() {
            if !progress.may_continue() {
                self.note(format!("stopped before {id}"));
                return;
            }
            self.note(format!("begins {id}"));
            self.steps.acquire().await.unwrap().forget();
            self.note(format!("ended {id}"));
            if id.as_str().starts_with('!') {
                progress.failed(id, "it\u{7} resists");
            }
        }
    }

    fn secret(&self) -> Option<&Secret> {
        None
    }

    async fn resume(&self, orders: Vec<Order>) -> Result<(), Problem> {
        for order in orders {
            self.note(format!("resumed {}", order.id));
        }
        Ok(())
    }
}

fn changes(folder: Option<&Folder>) -> (Arc<Changes<Recorder>>, Arc<Recorder>) {
    let recorder = Arc::new(Recorder { done: Mutex::default(), steps: Semaphore::new(0) });
    let epochs = Epochs::new(folder.map(Folder::path));
    let signer = Signer::new(None, "");
    (Arc::new(Changes::new(recorder.clone(), epochs, signer)), recorder)
}

fn id(text: &str) -> Id {
    Id::try_from(text.to_owned()).unwrap()
}

fn drain(orders: &[&str]) -> Drain {
    let orders = List::try_from(orders.iter().map(|text| id(text)).collect::<Vec<_>>()).unwrap();
    Drain { orders, deals: List::default(), tasks: List::default() }
}

fn resume(orders: &[(&str, &str)]) -> Resume {
    let restore = |text: &str| Restore::try_from(text.to_owned()).unwrap();
    let order = |&(name, text): &(&str, &str)| Order { id: id(name), restore: restore(text) };
    Resume { orders: List::try_from(orders.iter().map(order).collect::<Vec<_>>()).unwrap() }
}

#[tokio::test]
async fn a_drain_is_answered_at_once_and_may_continue() {
    let (changes, market) = changes(None);
    changes.drain(1, drain(&["a", "b"])).await.unwrap();
    market.until("begins a").await;
    market.steps.add_permits(2);
    market.until("ended b").await;
    assert_eq!(market.done(), ["begins a", "ended a", "begins b", "ended b"]);
}

#[tokio::test]
async fn observations_report_the_failures_of_the_last_drain() {
    let (changes, market) = changes(None);
    market.steps.add_permits(3);
    changes.drain(1, drain(&["!a", "b"])).await.unwrap();
    market.until("ended b").await;
    changes.end().await;
    let failure = Failure { id: id("!a"), detail: "it  resists".to_owned() };
    assert_eq!(changes.observe().await.unwrap().failures.as_slice(), [failure]);
    changes.drain(1, drain(&["c"])).await.unwrap();
    assert_eq!(changes.observe().await.unwrap().failures.as_slice(), []);
}

#[tokio::test]
async fn a_resume_waits_for_the_step_under_way_and_ends_the_drain() {
    let (changes, market) = changes(None);
    changes.drain(1, drain(&["a", "b"])).await.unwrap();
    market.until("begins a").await;
    let resumed = tokio::spawn({
        let changes = changes.clone();
        async move { changes.resume(1, resume(&[("x", ""), ("x", "")])).await }
    });
    // The announcement does not wait for the drain.
    changes.announce(1, None).await.unwrap();
    tokio::task::yield_now().await;
    assert_eq!(market.done(), ["begins a", "withdrawn"]);
    market.steps.add_permits(9);
    resumed.await.unwrap().unwrap();
    assert_eq!(market.done()[2..], ["ended a", "stopped before b", "resumed x"]);
}

#[tokio::test]
async fn a_newer_drain_replaces_the_running_drain() {
    let (changes, market) = changes(None);
    changes.drain(1, drain(&["a", "b"])).await.unwrap();
    market.until("begins a").await;
    changes.drain(1, drain(&["c"])).await.unwrap();
    market.steps.add_permits(9);
    market.until("ended c").await;
    assert_eq!(market.done(), ["begins a", "ended a", "stopped before b", "begins c", "ended c"]);
}

#[tokio::test]
async fn a_drain_stops_at_a_newer_epoch() {
    let (changes, market) = changes(None);
    changes.drain(1, drain(&["a", "b"])).await.unwrap();
    market.until("begins a").await;
    let at = Timestamp::UNIX_EPOCH;
    changes.announce(2, Some(Announcement { at })).await.unwrap();
    market.steps.add_permits(9);
    market.until("stopped before b").await;
}

#[tokio::test]
async fn a_drain_stops_when_the_floor_rises() {
    let folder = Folder::new();
    let (changes, market) = changes(Some(&folder));
    changes.drain(1, drain(&["a", "b"])).await.unwrap();
    market.until("begins a").await;
    folder.write(crate::deals::files::EPOCH, "2");
    market.steps.add_permits(9);
    market.until("stopped before b").await;
}

#[tokio::test]
async fn a_change_whose_epoch_turned_stale_while_it_waited_is_refused() {
    let (changes, market) = changes(None);
    changes.drain(1, drain(&["a"])).await.unwrap();
    market.until("begins a").await;
    let old = tokio::spawn({
        let changes = changes.clone();
        async move { changes.resume(1, resume(&[("x", "")])).await }
    });
    // The resume is admitted, and waits for the drain.
    tokio::task::yield_now().await;
    changes.announce(2, None).await.unwrap();
    market.steps.add_permits(9);
    assert_eq!(old.await.unwrap().unwrap_err().kind, ProblemType::StaleEpoch);
    assert_eq!(changes.drain(1, drain(&[])).await.unwrap_err().kind, ProblemType::StaleEpoch);
    assert!(!market.done().contains(&"resumed x".to_owned()));
}

#[tokio::test]
async fn one_order_with_two_payloads_is_refused() {
    let (changes, market) = changes(None);
    let twice = resume(&[("x", "one"), ("x", "other")]);
    assert_eq!(changes.resume(1, twice).await.unwrap_err().kind, ProblemType::InvalidRequest);
    assert!(market.done().is_empty());
}

#[tokio::test]
async fn failures_are_bounded() {
    let (changes, market) = changes(None);
    let many: Vec<String> = (0..=MOST_FAILURES).map(|number| format!("!{number}")).collect();
    market.steps.add_permits(many.len());
    changes.drain(1, drain(&many.iter().map(String::as_str).collect::<Vec<_>>())).await.unwrap();
    market.until(&format!("ended !{MOST_FAILURES}")).await;
    changes.end().await;
    assert_eq!(changes.observe().await.unwrap().failures.as_slice().len(), MOST_FAILURES);
}
