//! The market's part of one plan: records the server in the status before the first call, and restores
//! the market through the recorded server. [`super::clearance`] decides the calls.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::clearance::Clearance;
use super::market_state::{
    Action, DealsClear, MarketError, MarketObservation, MarketState, Rules, Verdict,
};
use super::{hosted, payloads};
use crate::api::condition::{Conditions, DEALS_CLEAR};
use crate::api::deals::{DealsStatus, ForwardDeals, SourceStatus};
use crate::api::reason::Reason;
use crate::hold::record::Holder;

/// A plan's calls to the market of one object.
#[derive(Debug)]
pub struct Session<'a> {
    holder: &'a Holder,
    rules: Option<&'a Rules>,
    observed: Option<&'a MarketObservation>,
    now: Timestamp,
    /// `status.deals`; `None` for an object without a market.
    pub status: Option<DealsStatus>,
    /// State for the next iteration.
    pub state: MarketState,
    /// The planned calls.
    pub actions: Vec<Action>,
    /// The condition; `None` leaves it unchanged.
    pub condition: Option<DealsClear>,
    /// Whether the market has to be observed before the plan can be made.
    pub needs_observation: bool,
}

/// Whether calls to the market may be planned.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Prepared {
    /// The status names the server.
    Yes,
    /// This plan puts the server into the status; calls follow once the status is written.
    Recorded,
    /// The market of the former server is not restored yet.
    Waiting,
}

/// The start of a maintenance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Start {
    /// The time of the start.
    pub at: Timestamp,
    /// The start does not happen if Forward deals last until then; `None` waits without a limit.
    pub until: Option<Timestamp>,
}

impl Start {
    /// Returns the time to announce: the start, or the end of the last Forward deal if that is later. Returns
    /// `None` for a start that will not happen.
    fn announced(self, forward: ForwardDeals, earliest: Option<Timestamp>) -> Option<Timestamp> {
        let Some(earliest) = earliest.filter(|earliest| *earliest > self.at) else {
            return Some(self.at);
        };
        let comes = match forward {
            ForwardDeals::Wait => self.until.is_none_or(|until| earliest < until),
            ForwardDeals::Postpone => true,
            ForwardDeals::Refuse => false,
        };
        comes.then_some(earliest)
    }
}

/// Message of the conditions while the market is being restored.
pub const RESTORING: &str = "withdrawing the announcement and offering the withdrawn orders again";

/// Returns whether two sources differ in nothing but the settings of the bridge.
fn same_server(known: &SourceStatus, wanted: &SourceStatus) -> bool {
    let SourceStatus { service, port, ca_config_map_ref, bridge } = wanted;
    known.service == *service
        && known.port == *port
        && known.ca_config_map_ref == *ca_config_map_ref
        && known.bridge.is_some() == bridge.is_some()
}

impl<'a> Session<'a> {
    /// Creates a session from the status and the observation.
    pub fn new(
        holder: &'a Holder,
        rules: Option<&'a Rules>,
        status: Option<DealsStatus>,
        observed: Option<&'a MarketObservation>,
        state: MarketState,
        now: Timestamp,
    ) -> Self {
        Self {
            holder,
            rules,
            observed,
            now,
            status,
            state,
            actions: Vec::new(),
            condition: None,
            needs_observation: false,
        }
    }

    /// Puts the server of the spec into the status, once the market of a former server is restored. Returns whether
    /// calls may be planned.
    pub fn prepared(&mut self) -> Prepared {
        let Some(rules) = self.rules else { return Prepared::Waiting };
        let wanted = hosted::source(self.holder, &rules.source);
        match self.status.as_ref().and_then(|deals| deals.source.clone()) {
            Some(known) if known == wanted => return Prepared::Yes,
            // Only the former server can withdraw its announcement and offer its orders again.
            Some(known) if !same_server(&known, &wanted) && !self.restore(true) => {
                return Prepared::Waiting;
            }
            _ => {}
        }
        let deals = self.status.get_or_insert_default();
        // A former object of this name may have left payloads. An observation finds out.
        deals.withdrawn |= deals.source.is_none();
        deals.source = Some(wanted);
        Prepared::Recorded
    }

    /// Returns whether this iteration has observed the market. Requests an observation otherwise.
    pub fn observed(&mut self) -> bool {
        self.needs_observation |= self.observed.is_none();
        self.observed.is_some()
    }

    /// Returns the end of the last Forward deal, as of the last observation.
    pub fn earliest(&self) -> Option<Time> {
        self.status.as_ref()?.forward.first().map(|deal| deal.ends_at.clone())
    }

    /// Plans the calls before the start: announces it and offers withdrawn orders again. `start` gets the end of
    /// the last Forward deal and returns the start. Returns the time until the next iteration.
    pub fn before_start(
        &mut self,
        planned: Timestamp,
        start: impl Fn(Option<Timestamp>) -> Start,
    ) -> SignedDuration {
        let left = planned.duration_since(self.now);
        let mut again = left;
        self.with_clearance(|clearance| {
            let announcement = clearance.status.announcement.as_ref();
            let unfinished = clearance.status.withdrawn
                || announcement.is_none_or(|announcement| !announcement.made);
            let due = clearance.observation_is_due(left);
            if clearance.observed.is_some() {
                let earliest = clearance.last_forward_end();
                let start = start(earliest);
                let announced = start.announced(clearance.rules.forward, earliest);
                let refused = clearance.would_be_refused(start.at);
                let announced = announced.filter(|_| !refused);
                clearance.announce(announced);
                if !announced.is_some_and(|at| clearance.is_near(at)) {
                    clearance.resume();
                }
            }
            let busy = !clearance.actions.is_empty() || clearance.error().is_some();
            if busy {
                again = again.min(clearance.retry_after());
            }
            if let Some(next) = clearance.state.next_observation {
                again = again.min(next.duration_since(clearance.now));
            }
            clearance.observed.is_none() && (due || unfinished)
        });
        again.max(SignedDuration::from_secs(1))
    }

    /// Plans the calls of a start that is due: announces it and drains the market. Returns whether the
    /// workloads may stop, and the time until the next iteration.
    pub fn clear_to_stop(&mut self, start: Start) -> (Verdict, SignedDuration) {
        let mut verdict = Verdict::Draining("observing the market".to_owned());
        let mut again = SignedDuration::ZERO;
        self.with_clearance(|clearance| {
            verdict = clearance.clear();
            again = clearance.until_next_observation().min(clearance.retry_after());
            match &verdict {
                Verdict::Draining(_) => {
                    let known = clearance.status.announcement.as_ref();
                    if known.is_none_or(|known| known.at.0 > clearance.now || !known.made) {
                        // The announcement comes before the drain, so that nobody offers withdrawn orders
                        // again; and after the payloads are saved, as the market may then close deals by itself.
                        let drain =
                            clearance.actions.pop_if(|action| matches!(action, Action::Drain(_)));
                        clearance.announce(Some(start.at));
                        clearance.actions.extend(drain);
                    }
                }
                Verdict::Forward(earliest, _) => {
                    let announced = start.announced(clearance.rules.forward, Some(*earliest));
                    // From the announced time on the market may close deals that the rules refuse to close.
                    let refused = clearance.would_be_refused(*earliest);
                    clearance.announce(announced.filter(|_| !refused));
                    let left = earliest.duration_since(clearance.now).as_secs() / 10;
                    again = SignedDuration::from_secs(left.clamp(1, 30));
                }
                Verdict::Unknown(_) => {
                    again = clearance.retry_after().max(SignedDuration::from_secs(2));
                }
                Verdict::Clear | Verdict::Refused(_) => {}
            }
            false
        });
        (verdict, again)
    }

    /// Leaves the condition as it is: an error of this iteration no longer matters.
    pub fn keep_condition(&mut self) {
        self.condition = None;
    }

    /// Puts the observation into the status, and plans no calls.
    pub fn only_observe(&mut self) {
        self.with_clearance(|_| false);
    }

    /// Plans to withdraw the announcement, to offer withdrawn orders again and, if `wholly`, to remove the
    /// bridge. Returns whether all of it is done.
    pub fn restore(&mut self, wholly: bool) -> bool {
        let Some(deals) = &self.status else { return true };
        let Some(source) = deals.source.clone() else {
            self.status = None;
            return true;
        };
        if self.observed.is_none() && (deals.withdrawn || deals.announcement.is_some()) {
            self.needs_observation = true;
            return false;
        }
        let mut restored = false;
        let mut gone = false;
        self.with_clearance(|clearance| {
            restored = clearance.restore();
            gone = clearance.state.bridge_gone || source.bridge.is_none();
            if restored && wholly && !gone {
                clearance.actions.push(Action::RemoveBridge);
            }
            false
        });
        if !restored || (wholly && !gone) {
            return false;
        }
        if wholly {
            self.status = None;
            self.condition = None;
            self.state = MarketState::default();
        }
        true
    }

    /// Plans to remove the bridge, even though the market is not restored.
    pub fn abandon(&mut self) {
        let hosted = |deals: &DealsStatus| {
            deals.source.as_ref().is_some_and(|source| source.bridge.is_some())
        };
        if self.status.as_ref().is_some_and(hosted) {
            self.actions.push(Action::RemoveBridge);
        }
    }

    /// Returns the message for an object that is deleted while withdrawn orders are not back on the market.
    pub fn left_behind(&self) -> Option<MarketError> {
        self.status.as_ref().filter(|deals| deals.withdrawn)?;
        let name = payloads::name(self.holder);
        Some(MarketError {
            reason: Reason::LeftBehind,
            message: format!(
                "the withdrawn orders are not back on the market: offer them again by hand, from key {} of \
                 ConfigMap {name}",
                payloads::KEY
            ),
        })
    }

    /// Returns the delay before the next iteration.
    pub fn retry_after(&self) -> SignedDuration {
        self.state.retry_after(self.now)
    }

    /// Sets the condition `DealsClear`, or removes it from an object without a market.
    pub fn set_condition(&self, conditions: &mut Vec<Condition>, generation: Option<i64>) {
        let mut conditions = Conditions::new(conditions, generation, self.now);
        match &self.condition {
            Some(DealsClear { status, reason, message }) => {
                conditions.set(DEALS_CLEAR, *status, reason, message);
            }
            None if self.status.is_none() => conditions.remove(DEALS_CLEAR),
            None => {}
        }
    }

    /// Returns the error of the last call, else that of the observation.
    pub fn error(&self) -> Option<MarketError> {
        let observation = self.observed.and_then(|observed| observed.commitments.as_ref().err());
        let call = self.state.error.as_ref().map(|(error, _)| error);
        call.or(observation).cloned()
    }

    /// Runs `decide` and takes its plan over. `decide` returns whether the market has to be observed first.
    fn with_clearance(&mut self, decide: impl FnOnce(&mut Clearance) -> bool) {
        let without_spec = Rules::without_spec();
        let rules = self.rules.unwrap_or(&without_spec);
        let status = self.status.clone().unwrap_or_default();
        let mut clearance =
            Clearance::new(rules, status, self.observed, self.state.clone(), self.now);
        self.needs_observation |= decide(&mut clearance);
        let Clearance { status, state, actions, condition, .. } = clearance;
        self.status = Some(status);
        self.state = state;
        self.actions.extend(actions);
        self.condition = condition.or(self.condition.take());
    }
}
