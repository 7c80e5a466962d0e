//! Whether a market permits a stop, and the calls that get it there: the part of a plan that windows
//! and hibernations share. Pure: it takes an observation and returns actions.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::market_state::{
    Action, DealsClear, MarketError, MarketObservation, MarketState, Notified, Rules, Verdict,
};
use super::open::OpenItems;
use super::types::{Drain, Id, List, Order, cleaned};
use crate::api::deals::{
    AnnouncementStatus, DealStatus, DealsStatus, OpenCounts, OpenOrders, SpotDeals,
};
use crate::api::reason::Reason;

/// Number of deals in the status.
const SHOWN: usize = 20;
/// A start that would be refused is not announced, or no longer announced, this long before it: at
/// the announced time a market closes deals by itself.
const MARGIN: SignedDuration = SignedDuration::from_secs(60);
/// This long before the announced time the payloads of open deals are saved: a market that closes
/// them by itself takes their orders away before the next observation.
const SAVE_BEFORE: SignedDuration = MARGIN;
/// Largest accepted difference between the start that was announced and the start that the market
/// reports: markets count in whole seconds.
const TOLERANCE: SignedDuration = SignedDuration::from_secs(5);
/// An unfinished drain is requested again after this time.
const DRAIN_AGAIN: SignedDuration = SignedDuration::from_secs(15);

/// The market's part of one plan.
pub struct Clearance<'a> {
    /// The rules of the spec.
    pub rules: &'a Rules,
    /// `status.deals`, updated by the plan.
    pub status: DealsStatus,
    /// The observation of this iteration, if there was one.
    pub observed: Option<&'a MarketObservation>,
    /// State between iterations, updated by the plan.
    pub state: MarketState,
    /// The time of the plan.
    pub now: Timestamp,
    /// The planned calls.
    pub actions: Vec<Action>,
    /// The condition; `None` leaves it unchanged.
    pub condition: Option<DealsClear>,
}

impl<'a> Clearance<'a> {
    /// Creates the plan from the last announcement that the market accepted and from the observation.
    pub fn new(
        rules: &'a Rules,
        status: DealsStatus,
        observed: Option<&'a MarketObservation>,
        state: MarketState,
        now: Timestamp,
    ) -> Self {
        let actions = Vec::new();
        let mut clearance = Self { rules, status, observed, state, now, actions, condition: None };
        clearance.record_notification();
        clearance.record_observation();
        clearance
    }

    /// Puts an accepted announcement into the status.
    fn record_notification(&mut self) {
        match self.state.notified.take() {
            Some(Notified::Withdrawal) => self.status.announcement = None,
            Some(Notified::Start(at)) => {
                if let Some(announcement) = &mut self.status.announcement
                    && announcement.at.0 == at
                {
                    announcement.made = true;
                }
            }
            None => {}
        }
    }

    /// Puts the observation into the status and the condition.
    fn record_observation(&mut self) {
        let Some(observed) = self.observed else { return };
        if let Ok(withdrawn) = &observed.withdrawn {
            self.status.withdrawn = !withdrawn.is_empty();
            // Orders are withdrawn only after an announcement; its record in the status may be lost.
            if let Ok(observation) = &observed.commitments
                && self.status.withdrawn
                && self.status.announcement.is_none()
                && let Some(at) = observation.commitments.next_maintenance
            {
                self.status.announcement = Some(AnnouncementStatus { at: Time(at), made: true });
            }
        }
        match (&observed.commitments, self.open()) {
            (Ok(_), Some(open)) => self.record_open(&open),
            (Err(error), _) => {
                // Counts of an earlier observation are out of date, and so is a clean one.
                self.state.first_clean = None;
                self.status.open = None;
                self.set_condition(None, error.reason.clone(), error.message.clone());
            }
            (Ok(_), None) => {}
        }
    }

    fn record_open(&mut self, open: &OpenItems) {
        let count = |length: usize| i32::try_from(length).unwrap_or(i32::MAX);
        self.status.open = Some(OpenCounts {
            forward: count(open.forward.len()),
            spot: count(open.spot.len()),
            orders: count(open.orders.len()),
            tasks: count(open.tasks.len()),
        });
        let shown = open.forward.iter().take(SHOWN);
        self.status.forward = shown
            .map(|(deal, ends_at)| DealStatus {
                id: cleaned(deal.id.as_str()),
                ends_at: Time(*ends_at),
            })
            .collect();
        if !open.is_empty() {
            self.state.first_clean = None;
        }
        if !open.forward.is_empty() {
            self.set_condition(Some(false), Reason::ForwardDeals, open.forward_in_words());
        } else if open.is_empty() {
            let message = "no deal, order or task is open".to_owned();
            self.set_condition(Some(true), Reason::Clear, message);
        } else {
            self.set_condition(Some(false), Reason::Open, open.drainable_in_words());
        }
    }

    fn open(&self) -> Option<OpenItems<'a>> {
        let observation = self.observed?.commitments.as_ref().ok()?;
        Some(OpenItems::of(&observation.commitments, self.now))
    }

    fn set_condition(&mut self, status: Option<bool>, reason: Reason, message: String) {
        self.condition = Some(DealsClear { status, reason, message });
    }

    /// Returns the end of the last Forward deal, as of the last observation.
    pub fn last_forward_end(&self) -> Option<Timestamp> {
        self.status.forward.first().map(|deal| deal.ends_at.0)
    }

    /// Returns whether the market has to be observed now. The interval is a tenth of the time that is left
    /// until the start, at most 60 s.
    pub fn observation_is_due(&mut self, until_start: SignedDuration) -> bool {
        if self.observed.is_some() {
            let left = until_start.as_secs() / 10;
            let interval = SignedDuration::from_secs(left.clamp(1, 60));
            self.state.next_observation = Some(self.now + interval);
            return false;
        }
        self.state.next_observation.is_none_or(|next| next <= self.now)
    }

    /// Returns whether a start at `start` is near and would be refused, or the market could not be observed.
    /// An announcement of such a start would be false.
    pub fn would_be_refused(&self, start: Timestamp) -> bool {
        if start.duration_since(self.now) > MARGIN || self.observed.is_none() {
            return false;
        }
        self.open().is_none_or(|open| self.refusal(&open).is_some())
    }

    fn refusal(&self, open: &OpenItems) -> Option<MarketError> {
        let them = |number: usize| if number == 1 { "it" } else { "them" };
        let (reason, message) = if !open.spot.is_empty() && self.rules.spot == SpotDeals::Refuse {
            let message = format!(
                "`spec.deals.spot` is Refuse and {}: close {}, or set `spot: Close`",
                open.spot_in_words(),
                them(open.spot.len())
            );
            (Reason::SpotDealsRefused, message)
        } else if !open.orders.is_empty() && self.rules.orders == OpenOrders::Refuse {
            let message = format!(
                "`spec.deals.orders` is Refuse and {}: withdraw {}, or set `orders: Withdraw`",
                open.orders_in_words(),
                them(open.orders.len())
            );
            (Reason::OrdersRefused, message)
        } else {
            return None;
        };
        Some(MarketError { reason, message })
    }

    /// Plans the announcement of a start, or its withdrawal for `None`. Returns whether the market knows already.
    pub fn announce(&mut self, start: Option<Timestamp>) -> bool {
        let known = self.status.announcement.clone();
        let Some(at) = start else {
            if known.is_none() {
                return true;
            }
            if self.may_call() {
                self.actions.push(Action::WithdrawAnnouncement);
            }
            return false;
        };
        // The market acts on the old announcement until it has accepted the new one.
        let next = known.as_ref().map_or(at, |known| known.at.0.min(at));
        if self.is_near(next) {
            self.save_orders_behind_spot_deals();
        }
        if known.is_some_and(|known| known.at.0 == at && known.made) && !self.was_changed(at) {
            return true;
        }
        self.status.announcement = Some(AnnouncementStatus { at: Time(at), made: false });
        if self.may_call() {
            self.actions.push(Action::Announce(at));
        }
        false
    }

    /// Returns whether the market reports another start than the announced one: another client has
    /// announced it.
    fn was_changed(&self, announced: Timestamp) -> bool {
        let Some(MarketObservation { commitments: Ok(observation), .. }) = self.observed else {
            return false;
        };
        let reported = observation.commitments.next_maintenance;
        let differs = |at: Timestamp| at.duration_since(announced).abs() > TOLERANCE;
        announced > self.now && reported.is_some_and(differs)
    }

    /// Plans to offer withdrawn orders again. Returns whether none is withdrawn any more.
    pub fn resume(&mut self) -> bool {
        if !self.status.withdrawn {
            return true;
        }
        if let Some(MarketObservation { withdrawn: Ok(withdrawn), .. }) = self.observed
            && self.may_call()
        {
            if self.rules.restore_orders {
                self.actions.push(Action::Resume(withdrawn.clone()));
            }
            self.actions.push(Action::DeletePayloads);
        }
        false
    }

    /// Plans to withdraw the announcement and to offer withdrawn orders again. Returns whether both
    /// are done.
    pub fn restore(&mut self) -> bool {
        self.state.first_clean = None;
        self.state.drained = None;
        let unannounced = self.announce(None);
        let resumed = self.resume();
        unannounced && resumed
    }

    /// Returns whether a workload may stop. Plans a drain of everything that the rules permit to end: first orders,
    /// then deals, then tasks.
    pub fn clear(&mut self) -> Verdict {
        let Some(observed) = self.observed else {
            return Verdict::Draining("observing the market".to_owned());
        };
        let (observation, open) = match &observed.commitments {
            Err(error) => return Verdict::Unknown(error.clone()),
            Ok(observation) => (observation, OpenItems::of(&observation.commitments, self.now)),
        };
        let withdrawn = match &observed.withdrawn {
            Err(error) => return Verdict::Unknown(error.clone()),
            Ok(withdrawn) => withdrawn,
        };
        if let Some((_, last)) = open.forward.first() {
            return Verdict::Forward(*last, open.forward_in_words());
        }
        if let Some(refusal) = self.refusal(&open) {
            self.set_condition(Some(false), refusal.reason.clone(), refusal.message.clone());
            return Verdict::Refused(refusal);
        }
        if !open.is_empty() {
            let words = self.drain(&open, withdrawn);
            let failures = observation.commitments.failures.as_slice();
            let failed = failures.first().map(|failure| {
                let id = cleaned(failure.id.as_str());
                format!("; the market reports of {id}: {}", cleaned(&failure.detail))
            });
            let message = format!("{words}{}", failed.unwrap_or_default());
            self.set_condition(Some(false), Reason::Draining, message.clone());
            return Verdict::Draining(message);
        }
        let drained = self.state.drained.as_ref();
        if drained.is_some_and(|(_, answered)| observation.began <= *answered) {
            let message = "the market has accepted the drain; observing the market again";
            return Verdict::Draining(message.to_owned());
        }
        let first = *self.state.first_clean.get_or_insert(observation.complete);
        let apart = observation.began.duration_since(first);
        if apart >= self.rules.settle {
            return Verdict::Clear;
        }
        let settle = self.rules.settle;
        let message = format!(
            "no deal, order or task is open; confirming {settle:#} after the first observation"
        );
        self.set_condition(Some(false), Reason::Settling, message.clone());
        Verdict::Draining(message)
    }

    /// Plans the next drain, after saving the payloads of everything that it takes off the market.
    /// Returns the message.
    fn drain(&mut self, open: &OpenItems, withdrawn: &[Order]) -> String {
        let mut drain =
            Drain { orders: List::default(), deals: List::default(), tasks: List::default() };
        let ids = |ids: Vec<Id>| List::try_from(ids).unwrap_or_default();
        let step = if !open.orders.is_empty() {
            drain.orders = ids(open.orders.iter().map(|order| order.id.clone()).collect());
            "withdrawing the orders"
        } else if !open.spot.is_empty() {
            drain.deals = ids(open.spot.iter().map(|deal| deal.id.clone()).collect());
            "closing the deals"
        } else {
            drain.tasks = ids(open.tasks.iter().map(|id| (*id).clone()).collect());
            "ending the tasks"
        };
        let message = format!("{}; {step}", open.drainable_in_words());
        if !self.may_call() {
            return message;
        }
        let orders = open.orders.iter().map(|order| (*order).clone());
        self.save_payloads(orders.chain(open.orders_behind_spot_deals()).collect(), withdrawn);
        let requested = self.state.drained.as_ref().is_some_and(|(before, answered)| {
            *before == drain && self.now.duration_since(*answered) < DRAIN_AGAIN
        });
        if requested {
            return message;
        }
        self.actions.push(Action::Drain(drain));
        message
    }

    /// Returns whether the market may soon close deals by itself for an announced start.
    pub fn is_near(&self, start: Timestamp) -> bool {
        start.duration_since(self.now) <= SAVE_BEFORE
    }

    /// Plans to save the payloads of the deals that the market may close by itself at the announced start.
    fn save_orders_behind_spot_deals(&mut self) {
        if let (Some(MarketObservation { withdrawn: Ok(withdrawn), .. }), Some(open)) =
            (self.observed, self.open())
            && self.may_call()
        {
            self.save_payloads(open.orders_behind_spot_deals(), withdrawn);
        }
    }

    /// Plans to save payloads in addition to the saved ones.
    fn save_payloads(&mut self, orders: Vec<Order>, saved: &[Order]) {
        // The drain of this plan saves all of them.
        if self.actions.iter().any(|action| matches!(action, Action::SavePayloads(_))) {
            return;
        }
        let known: BTreeSet<&Id> = saved.iter().map(|order| &order.id).collect();
        if orders.iter().all(|order| known.contains(&order.id)) {
            return;
        }
        let new: BTreeSet<Id> = orders.iter().map(|order| order.id.clone()).collect();
        let old = saved.iter().filter(|order| !new.contains(&order.id)).cloned();
        self.actions.push(Action::SavePayloads(old.chain(orders).collect()));
        self.status.withdrawn = true;
    }

    fn may_call(&self) -> bool {
        self.state.may_call(self.now)
    }

    /// Returns the error of the last call, if no call has succeeded since.
    pub fn error(&self) -> Option<&MarketError> {
        self.state.error.as_ref().map(|(error, _)| error)
    }

    /// Returns the delay before the next iteration.
    pub fn retry_after(&self) -> SignedDuration {
        self.state.retry_after(self.now)
    }

    /// Returns the time until the next observation of a drain: after a clean observation the rest of
    /// `deals.settle`.
    pub fn until_next_observation(&self) -> SignedDuration {
        if let Some(first) = self.state.first_clean {
            let due = (first + self.rules.settle).duration_since(self.now);
            return due.clamp(SignedDuration::from_millis(100), self.rules.settle);
        }
        let third = SignedDuration::from_secs(self.rules.settle.as_secs() / 3);
        third.clamp(SignedDuration::from_secs(1), SignedDuration::from_secs(5))
    }
}
