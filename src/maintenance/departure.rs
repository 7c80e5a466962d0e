//! The ways out of a window, and what is said of one that is over.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::plan::{Action, Draft, Input};
use super::validate::Begins;
use crate::api::maintenance_window::{LastWindow, WindowPhase, WindowStatus};
use crate::deals::clearance::MarketError;
use crate::hibernation::plan::{self as hold, Next, Standing};

impl Draft<'_> {
    /// Nothing was stopped in this window, and nothing will be. What was told and withdrawn for it
    /// is taken back by the plans that follow.
    pub(super) fn is_not_to_be(
        &mut self,
        window: &WindowStatus,
        outcome: WindowPhase,
        reason: &str,
        message: String,
    ) {
        self.over(window, outcome, reason, &message);
        self.phase = outcome;
        self.stall(reason, message);
        self.next = Next::Again;
    }

    /// Out of a window, for whatever reason: everything comes back, what was announced is taken back,
    /// and what was withdrawn is offered again.
    pub(super) fn depart(&mut self, outcome: WindowPhase) {
        let Input { spec, deleting_since, .. } = self.input;
        let goes_on = matches!(spec.begins, Begins::Every(_))
            && !spec.suspend
            && deleting_since.is_none()
            && spec.deals.is_some();
        let awake = self.hold(&spec.up);
        if self.next == Next::LookAtPods {
            return;
        }
        let began = self.status.window.as_ref().is_some_and(|window| window.begun);
        if !awake.settled {
            self.phase = WindowPhase::Restoring;
            self.standing = awake.standing.clone();
            // One that is ill never keeps the orders off the market.
            if !matches!(awake.standing, Standing::Stalled { .. }) {
                return;
            }
        }
        if !self.forget_the_market(!goes_on) {
            if began || self.status.phase == Some(WindowPhase::Restoring) {
                self.phase = WindowPhase::Restoring;
            }
            return;
        }
        if !awake.settled {
            return;
        }
        if !goes_on {
            self.without_finalizer();
        }
        if let Some(window) = self.status.window.clone() {
            let message = if window.begun { "everything is back" } else { "nothing was stopped" };
            self.over(&window, outcome, "Over", message);
            // What comes next, if anything does, is for the next plan.
            self.next = Next::Again;
        }
        self.phase = outcome;
        self.standing = match &self.status.last {
            Some(last) if matches!(outcome, WindowPhase::Missed | WindowPhase::Refused) => {
                Standing::Stalled { reason: last.reason.clone(), message: last.message.clone() }
            }
            _ => Standing::Settled,
        };
    }

    fn over(&mut self, window: &WindowStatus, outcome: WindowPhase, reason: &str, message: &str) {
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
            reason: reason.to_owned(),
            message: crate::api::condition::shorten(message),
            generation: self.input.generation,
        });
    }

    pub(super) fn delete(&mut self, since: Timestamp) {
        let Input { spec, now, seen, finalizer, .. } = self.input;
        if !finalizer {
            return;
        }
        if seen.namespace_deleting {
            self.actions.push(Action::Hold(hold::Action::RemoveFinalizer));
            return;
        }
        self.depart(WindowPhase::Cancelled);
        let removing = self
            .actions
            .iter()
            .any(|action| matches!(action, Action::Hold(hold::Action::RemoveFinalizer)));
        if now > since + spec.deadline && !removing && self.next != Next::LookAtPods {
            // What is still held is left to the sweep for holders that are gone.
            if let Some(MarketError { reason, message }) = self.dealings.left_behind() {
                self.stall(&reason, message);
            }
            self.dealings.needs_look = false;
            self.dealings.abandon();
            self.actions.push(Action::Hold(hold::Action::RemoveFinalizer));
        }
    }
}
