//! The ways out of a window, and the record of a window that is over.

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::occurrence::following;
use super::plan::{Draft, Input};
use super::validate::Begins;
use crate::api::condition::shorten;
use crate::api::maintenance_window::{LastWindow, WindowPhase, WindowState, WindowStatus};
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

    /// Ends a window: brings everything back, then withdraws its announcement and offers its orders again.
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
        if !up.reached || !self.serves() {
            self.phase = WindowPhase::Restoring;
            if !up.reached {
                self.standing = up.standing;
            }
            if outcome == WindowPhase::Completed {
                self.give_way();
            }
            return;
        }
        // An operator that died may have recorded the market without the finalizer.
        if self.session.status.is_some() && !self.has_finalizer() {
            return;
        }
        if !self.forget_market(!goes_on) {
            if began || self.status.phase == Some(WindowPhase::Restoring) {
                self.phase = WindowPhase::Restoring;
            }
            return;
        }
        if !goes_on {
            self.remove_finalizer();
        }
        if let Some(window) = self.status.window.clone() {
            let message =
                if window.begun { "all workloads are restored" } else { "nothing was stopped" };
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

    /// Returns whether the workloads serve what the market is to sell again. Until then the orders of a
    /// window stay withdrawn, and its announcement stays, whoever keeps a workload down.
    pub(super) fn serves(&mut self) -> bool {
        let Some(deals) = &self.session.status else { return true };
        let window = self.status.window.as_ref();
        if !deals.withdrawn && !window.is_some_and(|window| window.begun) {
            return true;
        }
        let Some(message) = self.not_serving() else { return true };
        self.at("Ready", Reason::NotReady, message);
        // A change in the namespace ends the wait. Time only makes it a matter for a person.
        if let Some(step) = &self.status.hold.step
            && !self.standing.is_stalled()
        {
            let left = step.since.0 + self.input.spec.hold.deadline;
            let left = left.duration_since(self.input.now) + SignedDuration::from_secs(1);
            self.wait(left);
        }
        false
    }

    /// Lets the next window of a schedule come, although a workload is not ready: past the deadline,
    /// and at the latest at its start.
    fn give_way(&mut self) {
        let Some(window) = self.status.window.clone() else { return };
        let Some(next) = following(self.input.spec, &window) else { return };
        self.come(WindowState::InMaintenance, next);
        if !self.standing.is_stalled() && next > self.input.now {
            return;
        }
        let ill = self.standing.explanation().map(|(_, message)| message).unwrap_or_default();
        let message = format!("all workloads are released, but {ill}");
        self.record_last(&window, WindowPhase::Completed, &Reason::NotReady, &message);
        if self.session.status.is_none() {
            self.phase = WindowPhase::Completed;
        }
        self.next = Next::Again;
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
        // What is known of an earlier window is worth more than that nothing came of this one.
        if outcome == WindowPhase::Cancelled && !window.begun && self.status.last.is_some() {
            return;
        }
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
