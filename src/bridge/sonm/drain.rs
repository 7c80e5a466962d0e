//! The drain: it removes ask plans one by one, orders before deals.
//!
//! The worker marks a plan for deletion before it checks anything, and cannot undo the mark. So the drain
//! checks each plan right before the removal and never touches a deal whose term still runs. It never
//! purges.

use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::{Instant, sleep};

use super::Sonm;
use super::node::CallError;
use super::wire::{Empty, FinishOne, FinishReply, FinishRequest, Name, Number};
use crate::bridge::changes::Progress;
use crate::deals::types::{Drain, Id, cleaned};

/// Interval between two checks whether an unanswered call has taken effect.
const CONFIRM_EVERY: Duration = Duration::from_millis(500);

/// A term counts as running for this time after its end, because the chain's clock may be behind.
const CLOCK_MARGIN: SignedDuration = SignedDuration::from_secs(60);

/// The reason why an order or a deal was not drained, for a person.
type Cause = String;

/// The object that a call closes.
#[derive(Clone, Copy)]
enum Target<'a> {
    Plan(&'a str),
    Deal(&'a Number),
}

/// A removal of a plan that failed.
enum NotRemoved {
    /// The worker reports a failure, maybe halfway through.
    Failed(Cause),
    /// Any other reason: no answer, or a refusal before the worker did anything.
    Otherwise(Cause),
}

impl From<NotRemoved> for Cause {
    fn from(not_removed: NotRemoved) -> Self {
        match not_removed {
            NotRemoved::Failed(cause) | NotRemoved::Otherwise(cause) => cause,
        }
    }
}

impl Sonm {
    /// Withdraws orders first, so that they do not become deals meanwhile (defect 1), then closes
    /// deals. Tasks end with their deals: a supplier has no call that ends a task.
    pub(super) async fn carry_out(&self, drain: &Drain, progress: &Progress) {
        for id in drain.orders.as_slice() {
            if !progress.may_continue() {
                return;
            }
            if let Err(cause) = self.withdraw(id, progress).await {
                progress.failed(id, &cause);
            }
        }
        for id in drain.deals.as_slice() {
            if !progress.may_continue() {
                return;
            }
            if let Err(cause) = self.close(id, progress).await {
                progress.failed(id, &cause);
            }
        }
    }

    /// Withdraws an order by removing its plan.
    async fn withdraw(&self, id: &Id, progress: &Progress) -> Result<(), Cause> {
        let plans = self.plans().await.map_err(|problem| problem.to_string())?;
        let Some(plan) = plans.get(id.as_str()) else { return Ok(()) };
        if let Some(deal) = self.deal_of(plan).await.map_err(|error| error.to_string())? {
            // Removing the plan before the worker registers the deal would block the worker (defect 5).
            // The next observation lists the deal instead of the order.
            let in_force = self.deal(&deal).await.map_err(|error| error.to_string())?.is_some();
            if in_force || plan.deal.is_none() {
                tracing::info!(order = %id, deal = deal.as_str(), "the order has become a deal");
                return Ok(());
            }
        }
        Ok(self.remove(id.as_str(), progress).await?)
    }

    /// Closes a deal by removing its plan, or by itself if it has no plan any more.
    async fn close(&self, id: &Id, progress: &Progress) -> Result<(), Cause> {
        let number = Number::try_from(id.as_str().to_owned()).ok().and_then(Number::given);
        let Some(number) = number else { return Err("this is not the id of a deal".to_owned()) };
        let plans = self.plans().await.map_err(|problem| problem.to_string())?;
        let mut plan = None;
        for (id, candidate) in &plans {
            if self.deal_of(candidate).await.map_err(|error| error.to_string())?.as_ref()
                == Some(&number)
            {
                plan = Some((id, candidate));
                break;
            }
        }
        let before = self.listed_tasks().await.map_err(|problem| problem.to_string())?;
        // The last check before the call that cannot be undone.
        let Some(deal) = self.deal(&number).await.map_err(|error| error.to_string())? else {
            return Ok(());
        };
        if let Some(end) = deal.ends_at()
            && end.checked_add(CLOCK_MARGIN).unwrap_or(Timestamp::MAX) > Timestamp::now()
        {
            return Err(format!("its term runs until {end}: drain it after that"));
        }
        match plan {
            None => self.finish(&number, progress).await,
            // The worker still takes the deal for an order. Removing the plan would fail, or block
            // the worker for good (defect 5).
            Some((_, plan)) if plan.deal.is_none() => {
                Err("the worker has not registered this deal yet: drain it again".to_owned())
            }
            Some((id, _)) => {
                let removed = self.remove(id, progress).await;
                if matches!(removed, Err(NotRemoved::Failed(_))) {
                    let open = before.into_iter().filter(|(_, ended)| !ended).map(|(id, _)| id);
                    self.note_lost(open.collect(), progress).await;
                }
                Ok(removed?)
            }
        }
    }

    /// Removes a plan. The worker waits for the chain, maybe longer than `removal_timeout`.
    async fn remove(&self, id: &str, progress: &Progress) -> Result<(), NotRemoved> {
        let otherwise = |cause: Cause| Err(NotRemoved::Otherwise(cause));
        let request = Name { id: id.to_owned() };
        let timeout = self.removal_timeout;
        let removed = self.node.call("WorkerManagement", "RemoveAskPlan", &request, timeout).await;
        match removed {
            Ok(Empty {}) => Ok(()),
            Err(error) if error.may_take_effect() => {
                // A second call would only wait behind the first (defect 8).
                if self.until_gone(Target::Plan(id), progress).await {
                    Ok(())
                } else {
                    otherwise(not_confirmed(&error))
                }
            }
            Err(CallError::Refused { description, .. }) => {
                let says = |text: &str| description.contains(text);
                if says("specified ask-plan does not exist") {
                    Ok(())
                } else if says("order already have deal")
                    || says("concurrent order or deal was placed")
                {
                    // A deal was struck during the removal (defect 2). The next observation lists it.
                    tracing::info!(plan = id, "the order has become a deal");
                    Ok(())
                } else if says("deal is forward") {
                    otherwise(
                        "the worker reports that its term still runs: drain it after its end"
                            .to_owned(),
                    )
                } else {
                    Err(NotRemoved::Failed(format!(
                        "the worker refuses to remove the plan: {description}"
                    )))
                }
            }
            Err(error) => otherwise(error.to_string()),
        }
    }

    /// Closes a deal whose plan is gone, without blacklisting the consumer.
    async fn finish(&self, number: &Number, progress: &Progress) -> Result<(), Cause> {
        let request = FinishRequest { deal_info: [FinishOne { id: number }] };
        let timeout = self.removal_timeout;
        let finished: Result<FinishReply, CallError> =
            self.node.call("DealManagement", "FinishDeals", &request, timeout).await;
        match finished {
            Ok(reply) => match reply.response.iter().find(|one| one.id == *number) {
                Some(one) if one.error.is_empty() => Ok(()),
                Some(one) => {
                    Err(format!("the node refuses to close the deal: {}", cleaned(&one.error)))
                }
                None => Err("the node does not say whether it has closed the deal: drain it again"
                    .to_owned()),
            },
            Err(error) if error.may_take_effect() => {
                if self.until_gone(Target::Deal(number), progress).await {
                    Ok(())
                } else {
                    Err(not_confirmed(&error))
                }
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// Polls until the plan or deal is gone, at most for `removal_timeout`.
    async fn until_gone(&self, target: Target<'_>, progress: &Progress) -> bool {
        let end = Instant::now() + self.removal_timeout;
        loop {
            let gone = match target {
                Target::Plan(id) => self.plans().await.is_ok_and(|plans| !plans.contains_key(id)),
                Target::Deal(number) => matches!(self.deal(number).await, Ok(None)),
            };
            if gone || Instant::now() >= end || !progress.may_continue() {
                return gone;
            }
            sleep(CONFIRM_EVERY).await;
        }
    }

    /// Remembers the tasks of `open` that the worker no longer lists after a failed removal. The worker
    /// forgets a container before it kills the container, so these may still run (defect 4). Every
    /// observation lists them until a person has ended them and restarts the bridge.
    async fn note_lost(&self, open: BTreeSet<Id>, progress: &Progress) {
        let Ok(listed) = self.listed_tasks().await else { return };
        for id in open.into_iter().filter(|id| !listed.contains_key(id)) {
            progress.failed(
                &id,
                "the worker failed to end this task and lists it no longer, so its container may still \
                 run: stop the container on the worker's machine, then restart the bridge",
            );
            self.lost.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
        }
    }
}

fn not_confirmed(error: &CallError) -> Cause {
    format!("not confirmed yet ({error}): the worker may still complete the call, observe again")
}
