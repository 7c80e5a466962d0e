//! The ways out of a window, and the record of a window that is over.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::plan::{Draft, Input};
use super::validate::Begins;
use crate::api::condition::shorten;
use crate::api::maintenance_window::{LastWindow, WindowPhase, WindowStatus};
use crate::api::reason::Reason;
use crate::deals::market_state::MarketError;
use crate::transition::plan::{Action, Next};
use crate::transition::standing::Standing;

impl Draft<'_> {
    /// Calls off a window in which nothing was stopped. The plans that follow withdraw its announcement
    /// and offer its orders again.
    pub(super) fn call_off(
        &mut self,
        window: &WindowStatus,
        outcome: WindowPhase,
        reason: Reason,
        message: String,
    ) {
        self.record_last(window, outcome, &reason, &message);
        self.phase = outcome;
        self.stall(reason, message);
        self.next = Next::Again;
    }

    /// Ends a window: brings everything back, withdraws its announcement, offers its orders again.
    pub(super) fn end(&mut self, outcome: WindowPhase) {
        let Input { spec, deleting_since, .. } = self.input;
        let goes_on = matches!(spec.begins, Begins::Every(_))
            && !spec.suspend
            && deleting_since.is_none()
            && spec.hold.deals.is_some();
        let up = self.take_up();
        if self.next == Next::ObservePods {
            return;
        }
        let began = self.status.window.as_ref().is_some_and(|window| window.begun);
        if !up.reached {
            self.phase = WindowPhase::Restoring;
            self.standing = up.standing.clone();
            // An ill workload never keeps the orders off the market.
            if !up.standing.is_stalled() {
                return;
            }
        }
        if !self.forget_market(!goes_on) {
            if began || self.status.phase == Some(WindowPhase::Restoring) {
                self.phase = WindowPhase::Restoring;
            }
            return;
        }
        if !up.reached {
            return;
        }
        if !goes_on {
            self.remove_finalizer();
        }
        if let Some(window) = self.status.window.clone() {
            let message = if window.begun { "everything is back" } else { "nothing was stopped" };
            self.record_last(&window, outcome, &Reason::Over, message);
            // The next plan begins with the next window, if there is one.
            self.next = Next::Again;
        }
        self.phase = outcome;
        self.standing = match &self.status.last {
            Some(last) if matches!(outcome, WindowPhase::Missed | WindowPhase::Refused) => {
                Standing::Stalled {
                    reason: Reason::named(&last.reason).unwrap_or_else(|| outcome.into()),
                    message: last.message.clone(),
                }
            }
            _ => Standing::Reached,
        };
    }

    fn record_last(
        &mut self,
        window: &WindowStatus,
        outcome: WindowPhase,
        reason: &Reason,
        message: &str,
    ) {
        let now = self.input.now;
        let over = match (outcome, &window.end) {
            (WindowPhase::Completed | WindowPhase::Missed, Some(end)) => end.clone(),
            (WindowPhase::Refused, _) => window.planned.clone(),
            _ => Time(now),
        };
        self.status.window = None;
        self.status.last = Some(LastWindow {
            planned: window.planned.clone(),
            over,
            outcome,
            reason: reason.to_string(),
            message: shorten(message),
            generation: self.input.generation,
        });
    }

    pub(super) fn delete(&mut self) {
        let Input { spec, observed, finalizer, .. } = self.input;
        if !finalizer {
            return;
        }
        if observed.namespace_deleting {
            self.actions.push(Action::RemoveFinalizer);
            return;
        }
        self.end(WindowPhase::Cancelled);
        let overdue = self.input.is_overdue(spec.hold.deadline);
        let removes = self.actions.iter().any(Action::removes_finalizer);
        if overdue && !removes && self.next != Next::ObservePods {
            // The sweep for holders that are gone releases the remaining holds.
            if let Some(MarketError { reason, message }) = self.session.left_behind() {
                self.stall(reason, message);
            }
            self.session.needs_observation = false;
            self.session.abandon();
            self.actions.push(Action::RemoveFinalizer);
        }
    }
}
