//! The drain: plans come off the market one by one, orders before deals.
//!
//! Removing a plan marks it for deletion irrevocably before anything else is looked at. So each is
//! looked at again right before: one whose deal has a term that still runs is never touched, and
//! there is no purge.

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

/// How often it is looked whether something that was left open has been done.
const CONFIRM_EVERY: Duration = Duration::from_millis(500);

/// How long after its end a term still counts as running: the chain's clock is not this one's.
const CLOCK_MARGIN: SignedDuration = SignedDuration::from_secs(60);

/// Why something was not drained, for a person.
type Why = String;

/// What is on its way out.
#[derive(Clone, Copy)]
enum Target<'a> {
    Plan(&'a str),
    Deal(&'a Number),
}

/// Why a plan was not removed.
enum NotRemoved {
    /// The worker tried, and failed.
    Failed(Why),
    /// Anything else.
    Otherwise(Why),
}

impl From<NotRemoved> for Why {
    fn from(not: NotRemoved) -> Self {
        match not {
            NotRemoved::Failed(why) | NotRemoved::Otherwise(why) => why,
        }
    }
}

impl Sonm {
    /// Orders first, so that they don't become deals meanwhile (defect 1), then deals. Tasks end
    /// with their deals: a supplier has no other way.
    pub(super) async fn carry_out(&self, what: &Drain, progress: &Progress) {
        for id in what.orders.as_slice() {
            if !progress.may_continue() {
                return;
            }
            if let Err(why) = self.withdraw(id, progress).await {
                progress.failed(id, &why);
            }
        }
        for id in what.deals.as_slice() {
            if !progress.may_continue() {
                return;
            }
            if let Err(why) = self.close(id, progress).await {
                progress.failed(id, &why);
            }
        }
    }

    /// Takes an order off the market with its plan.
    async fn withdraw(&self, id: &Id, progress: &Progress) -> Result<(), Why> {
        let plans = self.plans().await.map_err(|problem| problem.to_string())?;
        let Some(plan) = plans.get(id.as_str()) else { return Ok(()) };
        if let Some(deal) = self.deal_of(plan).await.map_err(|error| error.to_string())? {
            // Removed before the worker has registered the deal, it would block itself (defect 5).
            // The next look shows the deal instead of the order, and what it is.
            let in_force = self.deal(&deal).await.map_err(|error| error.to_string())?.is_some();
            if in_force || plan.deal.is_none() {
                tracing::info!(order = %id, deal = deal.as_str(), "the order has become a deal");
                return Ok(());
            }
        }
        Ok(self.remove(id.as_str(), progress).await?)
    }

    /// Closes a deal with its plan.
    async fn close(&self, id: &Id, progress: &Progress) -> Result<(), Why> {
        let number = Number::try_from(id.as_str().to_owned()).ok().and_then(Number::given);
        let Some(number) = number else { return Err("there is no such deal".to_owned()) };
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
        // The last look before the irrevocable.
        let Some(deal) = self.deal(&number).await.map_err(|error| error.to_string())? else {
            return Ok(());
        };
        if let Some(end) = deal.ends_at()
            && end.checked_add(CLOCK_MARGIN).unwrap_or(Timestamp::MAX) > Timestamp::now()
        {
            return Err(format!("its term runs until {end}: it is not touched"));
        }
        match plan {
            None => self.finish(&number, progress).await,
            // Taken for an order, its removal would fail, or block the worker for good (defect 5).
            Some((_, plan)) if plan.deal.is_none() => {
                Err("the worker has not registered this deal yet; the next drain closes it"
                    .to_owned())
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

    /// Removes a plan. The worker waits for the chain meanwhile, longer than a client may.
    async fn remove(&self, id: &str, progress: &Progress) -> Result<(), NotRemoved> {
        let otherwise = |why: String| Err(NotRemoved::Otherwise(why));
        let request = Name { id: id.to_owned() };
        let call_timeout = self.removal_timeout;
        let removed = self.node.call("WorkerManagement", "RemoveAskPlan", &request, call_timeout).await;
        match removed {
            Ok(Empty {}) => Ok(()),
            Err(error) if error.leaves_open() => {
                // Asked again it would only wait behind the first (defect 8).
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
                    // Struck at this very moment (defect 2). The next look shows what it has become.
                    tracing::info!(plan = id, "the order has become a deal");
                    Ok(())
                } else if says("deal is forward") {
                    otherwise("the worker says that its term still runs".to_owned())
                } else {
                    Err(NotRemoved::Failed(format!("the worker refuses: {description}")))
                }
            }
            Err(error) => otherwise(error.to_string()),
        }
    }

    /// Closes a deal whose plan is no more. Nobody is blacklisted.
    async fn finish(&self, number: &Number, progress: &Progress) -> Result<(), Why> {
        let request = FinishRequest { deal_info: [FinishOne { id: number }] };
        let call_timeout = self.removal_timeout;
        let finished: Result<FinishReply, CallError> =
            self.node.call("DealManagement", "FinishDeals", &request, call_timeout).await;
        match finished {
            Ok(reply) => match reply.response.iter().find(|one| one.id == *number) {
                Some(one) if one.error.is_empty() => Ok(()),
                Some(one) => Err(format!("the node refuses: {}", cleaned(&one.error))),
                None => Err("the node does not say whether it has closed it".to_owned()),
            },
            Err(error) if error.leaves_open() => {
                if self.until_gone(Target::Deal(number), progress).await {
                    Ok(())
                } else {
                    Err(not_confirmed(&error))
                }
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// Looks until it is gone, for as long as a removal may take.
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

    /// The worker forgets containers before it kills them. If that failed, they may still run while
    /// it lists nothing (defect 4): what was open right before, and is gone after a removal that
    /// failed, stays in every look until a person has seen to it.
    async fn note_lost(&self, open: BTreeSet<Id>, progress: &Progress) {
        let Ok(listed) = self.listed_tasks().await else { return };
        for id in open.into_iter().filter(|id| !listed.contains_key(id)) {
            progress.failed(
                &id,
                "the worker failed to end this task and has lost sight of it, so that it may still \
                 run: see to its container on the worker's machine, then restart the bridge",
            );
            self.lost.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
        }
    }
}

fn not_confirmed(error: &CallError) -> Why {
    format!("not confirmed yet ({error}); the worker goes on with it")
}
