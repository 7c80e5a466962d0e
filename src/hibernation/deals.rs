//! A Hibernation with `spec.deals`: it goes down once the market permits it, and the market knows the
//! next hibernation.

use jiff::{SignedDuration, Timestamp};

use super::plan::Draft;
use crate::api::deals::{DealsStatus, ForwardDeals};
use crate::api::hibernation::OnDelete;
use crate::api::reason::Reason;
use crate::api::schedule::DesiredState;
use crate::deals::market_state::{MarketError, Verdict};
use crate::deals::session::{Prepared, RESTORING, Session, Start};
use crate::transition;
use crate::transition::plan::{Action, Next, Place, Transition};
use crate::transition::standing::Standing;

/// The step at which the object waits for its market.
const STEP: &str = "Deals";
/// How soon an object looks again whether its workloads serve.
const AGAIN: SignedDuration = SignedDuration::from_secs(10);

impl<'a> Draft<'a> {
    /// Takes the workloads where the spec wants them, as far as the market permits.
    pub(super) fn with_market(&mut self) -> Transition {
        let Some(mut session) = self.session.take() else { return self.without_market() };
        let goes_down =
            self.input.spec.hold.deals.is_some() && self.desired.state == DesiredState::Hibernated;
        let transition =
            if goes_down { self.go_down(&mut session) } else { self.stay_up(&mut session) };
        self.session = Some(session);
        transition
    }

    /// Goes down once the market permits it; until then the object stays up, or comes back.
    fn go_down(&mut self, session: &mut Session<'a>) -> Transition {
        let down = self.down();
        let episode = self.input.status.hold.episode.as_ref();
        let under_way = episode.is_some_and(|episode| episode.waking_since.is_none());
        let prepared = session.prepared();
        let ready = prepared == Prepared::Yes && self.input.finalizer;
        // Torpor keeps down what is down without the market. Each new hold asks it.
        if ready && under_way && (down.next == Next::ObservePods || !down.holds()) {
            return down;
        }
        let mut up = transition::up(self.hold());
        up.keep_finalizer();
        if !ready {
            self.prepare(&mut up, session, prepared);
            return up;
        }
        if !session.observed() {
            return up;
        }
        if !under_way && !up.standing.is_reached() {
            // Nothing is withdrawn for workloads that could not be held then.
            session.only_observe();
            return up;
        }
        let until = self.desired.next.as_ref().map(|next| next.at);
        let (verdict, again) = session.clear_to_stop(Start { at: self.input.now, until });
        let rules = self.input.spec.hold.deals.as_ref();
        let (stalled, error) = match verdict {
            Verdict::Clear => return down,
            // From the first hold on, a stopped workload may be the one that serves the market.
            Verdict::Unknown(_) if down.finds_all_stopped(&self.hold()) => {
                session.keep_condition();
                return down;
            }
            Verdict::Forward(_, message) => {
                if rules.is_some_and(|rules| rules.forward == ForwardDeals::Refuse) {
                    (true, MarketError::forward_refused(&message))
                } else {
                    (false, MarketError { reason: Reason::ForwardDeals, message })
                }
            }
            Verdict::Refused(error) => (true, error),
            Verdict::Draining(message) => {
                (false, MarketError { reason: Reason::Draining, message })
            }
            Verdict::Unknown(error) => (error.needs_a_person(), error),
        };
        if stalled {
            // It stays awake, and the market is to be as if nobody had asked.
            if !self.waits_for_workloads(&mut up, session) {
                session.restore(false);
            }
            self.say(&mut up, true, &error);
        } else if let Some(error) = session.error() {
            self.say(&mut up, error.needs_a_person(), &error);
        } else {
            self.say(&mut up, false, &error);
        }
        up.next = match up.next {
            Next::AtRest if up.actions.is_empty() && session.actions.is_empty() => {
                Next::Wait(again)
            }
            Next::Wait(wait) => Next::Wait(wait.min(again)),
            other if up.place != Place::Up => other,
            _ => Next::Again,
        };
        up
    }

    /// Plans an object that is awake or wakes; the market knows when it sleeps next.
    fn stay_up(&mut self, session: &mut Session<'a>) -> Transition {
        let mut transition = self.without_market();
        let has_rules = self.input.spec.hold.deals.is_some();
        if transition.place != Place::Up {
            // An object that finds itself asleep may follow one that withdrew orders.
            let recorded = has_rules && session.prepared() == Prepared::Recorded;
            if recorded && transition.actions.is_empty() {
                transition.next = Next::Again;
            }
            return transition;
        }
        if self.waits_for_workloads(&mut transition, session) {
            return transition;
        }
        let next = self.desired.next.as_ref().filter(|_| has_rules);
        let Some(next) = next.filter(|next| next.state == DesiredState::Hibernated) else {
            self.leave(&mut transition, session);
            return transition;
        };
        transition.keep_finalizer();
        let (prepared, edge) = (session.prepared(), next.at);
        if prepared != Prepared::Yes || !self.input.finalizer {
            self.prepare(&mut transition, session, prepared);
            return transition;
        }
        let start = |_: Option<Timestamp>| Start { at: edge, until: None };
        let again = session.before_start(edge, start);
        if let Some(error) = session.error() {
            self.say(&mut transition, error.needs_a_person(), &error);
        }
        let acts = !(session.actions.is_empty() && transition.actions.is_empty());
        if transition.next == Next::AtRest && !acts {
            transition.next = Next::Wait(again);
        }
        transition
    }

    /// Plans an object that is being deleted.
    pub(super) fn leave_market(&mut self, transition: &mut Transition, overdue: bool) {
        let Some(mut session) = self.session.take() else { return };
        let removes = transition.removes_finalizer();
        if self.input.spec.on_delete == OnDelete::Keep {
            // The next object of this name offers withdrawn orders again.
            if removes {
                session.abandon();
            }
        } else {
            if transition.place == Place::Up && !self.waits_for_workloads(transition, &session) {
                self.leave(transition, &mut session);
            }
            if overdue && removes {
                if let Some(left) = session.left_behind() {
                    self.say(transition, true, &left);
                }
                session.needs_observation = false;
                session.abandon();
                transition.keep_finalizer();
                transition.actions.push(Action::RemoveFinalizer);
            }
        }
        self.session = Some(session);
    }

    /// Returns whether withdrawn orders, and an announcement whose time has come, wait for the workloads:
    /// somebody else keeps one down, or one is not ready.
    fn waits_for_workloads(&mut self, transition: &mut Transition, session: &Session) -> bool {
        let begun = |deals: &DealsStatus| {
            let announcement = deals.announcement.as_ref();
            deals.withdrawn || announcement.is_some_and(|known| known.at.0 <= self.input.now)
        };
        if !session.status.as_ref().is_some_and(begun) {
            return false;
        }
        let Some(message) = transition::not_serving(self.hold()) else { return false };
        transition.keep_finalizer();
        self.say(transition, false, &MarketError { reason: Reason::NotReady, message });
        // Past the deadline only a change in the namespace matters.
        if !transition.standing.is_stalled() {
            transition.next = transition.next.or_wait(AGAIN);
        }
        true
    }

    /// Withdraws the announcement and offers orders again; until then the finalizer stays.
    fn leave(&mut self, transition: &mut Transition, session: &mut Session) {
        if session.restore(true) {
            return;
        }
        transition.keep_finalizer();
        let error = session.error().unwrap_or_else(|| MarketError {
            reason: Reason::Restoring,
            message: RESTORING.to_owned(),
        });
        self.say(transition, error.needs_a_person(), &error);
        if transition.next == Next::AtRest {
            transition.next = Next::Wait(session.retry_after());
        }
    }

    /// Records finalizer and source before anything is told to a market.
    fn prepare(&mut self, transition: &mut Transition, session: &Session, prepared: Prepared) {
        if !self.input.finalizer {
            transition.actions.push(Action::AddFinalizer);
        }
        if prepared == Prepared::Waiting {
            if let Some(error) = session.error() {
                self.say(transition, error.needs_a_person(), &error);
            }
            if transition.next == Next::AtRest {
                transition.next = Next::Wait(session.retry_after());
            }
        } else if prepared == Prepared::Recorded || !self.input.finalizer {
            transition.next = Next::Again;
        }
    }

    /// Says what the object waits for at its market. Past the deadline a person is needed.
    fn say(&mut self, transition: &mut Transition, stalled: bool, error: &MarketError) {
        let now = self.input.now;
        let step = transition::waiting_at(STEP, self.input.status.hold.step.as_ref(), now);
        let waits_for_deal = error.reason == Reason::ForwardDeals;
        let late =
            now.duration_since(step.since.0) > self.input.spec.hold.deadline && !waits_for_deal;
        transition.state.step = Some(step);
        let message = format!("{STEP}: {}", error.message);
        let reason =
            if late && !stalled { Reason::ProgressDeadlineExceeded } else { error.reason.clone() };
        self.held_back = true;
        transition.standing = if stalled || late {
            Standing::Stalled { reason, message }
        } else {
            Standing::Progressing { reason, message }
        };
    }
}

#[cfg(test)]
#[path = "deals_tests.rs"]
mod tests;
