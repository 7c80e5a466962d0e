//! What to do next: a pure function of the valid spec, what was seen, and the time.
//!
//! As with a Hibernation, a plan is a status, written first, and then actions. What is held is planned
//! by [`crate::hibernation::plan`], asked to sleep or to be awake; what a market is asked and told, by
//! [`crate::deals::clearance`]. Here is only which of the two comes when.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::occurrence::{Occurrence, counted_from, moved, occurrence};
use super::validate::{Begins, Valid};
use crate::api::deals::ForwardDeals;
use crate::api::hibernation::StepStatus;
use crate::api::maintenance_window::{
    MaintenanceWindowStatus, NextWindowTransition, WindowPhase, WindowState, WindowStatus,
};
use crate::deals::clearance::{self, MarketError, Verdict};
use crate::deals::session::{Prepared, Session, Start, TAKING_BACK};
use crate::hibernation::observe::Observed;
use crate::hibernation::plan::{self as hold, Contests, Looks, Next, Standing};
use crate::hold::record::Holder;

/// Everything that a plan is made from.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// The object, as a holder.
    pub holder: &'a Holder,
    /// Its generation.
    pub generation: Option<i64>,
    /// When it was created.
    pub created: Timestamp,
    /// Since when it is being deleted.
    pub deleting_since: Option<Timestamp>,
    /// Whether Torpor's finalizer is there.
    pub finalizer: bool,
    /// The spec.
    pub spec: &'a Valid,
    /// The status as it was.
    pub status: &'a MaintenanceWindowStatus,
    /// What was seen of the namespace.
    pub seen: &'a Observed,
    /// What was seen of the market in this pass.
    pub market: Option<&'a clearance::Seen>,
    /// What is remembered of the market.
    pub gate: &'a clearance::Memory,
    /// Clear looks at pods so far.
    pub looks: &'a Looks,
    /// Who keeps on writing what is held.
    pub contests: &'a Contests,
    /// The time, in whole seconds.
    pub now: Timestamp,
    /// For a new hold.
    pub fresh_id: &'a str,
}

/// What to do.
#[derive(Debug)]
pub struct Plan {
    /// To be written first, where it differs.
    pub status: MaintenanceWindowStatus,
    /// Then to be done, in this order.
    pub actions: Vec<Action>,
    /// And then.
    pub next: Next,
    /// Clear looks, for the next plan.
    pub looks: Looks,
    /// What is remembered of the market, for the next plan.
    pub gate: clearance::Memory,
    /// Whether a change in the namespace may change the plan.
    pub listens: bool,
}

/// One thing to do.
#[derive(Debug)]
pub enum Action {
    /// In the cluster.
    Hold(hold::Action),
    /// At the market.
    Market(clearance::Action),
}

/// A plan in the making.
pub(super) struct Draft<'a> {
    pub(super) input: Input<'a>,
    pub(super) status: MaintenanceWindowStatus,
    pub(super) phase: WindowPhase,
    pub(super) standing: Standing,
    pub(super) dealings: Session<'a>,
    pub(super) actions: Vec<Action>,
    pub(super) looks: Looks,
    pub(super) next: Next,
}

/// Makes the plan.
pub fn plan(input: Input) -> Plan {
    let mut draft = Draft {
        input,
        status: input.status.clone(),
        phase: input.status.phase.unwrap_or_default(),
        standing: Standing::Settled,
        dealings: Session::new(
            input.holder,
            input.spec.deals.as_ref(),
            input.status.deals.clone(),
            input.market,
            input.gate.clone(),
            input.now,
        ),
        actions: Vec::new(),
        looks: input.looks.clone(),
        next: Next::Settled,
    };
    draft.decide();
    draft.finish()
}

impl Draft<'_> {
    fn decide(&mut self) {
        let Input { spec, now, created, generation, .. } = self.input;
        self.status.observed_generation = generation;
        self.status.next_transition = None;
        self.status.step = None;
        if let Some(since) = self.input.deleting_since {
            return self.delete(since);
        }
        self.status.after = match &spec.begins {
            Begins::After { text, .. } => {
                Some(counted_from(text, self.status.after.as_ref(), created, now))
            }
            _ => None,
        };
        if spec.suspend {
            return self.depart(WindowPhase::Cancelled);
        }
        match occurrence(spec, &self.status, generation, created, now) {
            Occurrence::Window(window) if window.start.0 <= now => self.on(&window),
            Occurrence::Window(window) => self.ahead(window),
            Occurrence::Over(window) if window.begun => {
                self.status.window = Some(window);
                self.depart(WindowPhase::Completed);
            }
            Occurrence::Over(window) => {
                let message = "its time has passed, and nothing was stopped".to_owned();
                self.is_not_to_be(&window, WindowPhase::Missed, "Missed", message);
            }
            Occurrence::Past(outcome) => self.depart(outcome),
            Occurrence::None => self.depart(WindowPhase::Scheduled),
        }
    }

    /// Before its start: everything is up, and the market knows when it comes.
    fn ahead(&mut self, window: WindowStatus) {
        let Input { spec, now, .. } = self.input;
        self.come(WindowState::InMaintenance, window.start.0);
        // Another start, while something was down already: that comes back first.
        let awake = self.hold(&spec.up);
        let window = if awake.settled { WindowStatus { begun: false, ..window } } else { window };
        self.status.window = Some(window.clone());
        self.standing = awake.standing;
        self.phase = if awake.settled { WindowPhase::Scheduled } else { WindowPhase::Restoring };
        let Some(rules) = &spec.deals else {
            if self.forget_the_market(true) && awake.settled {
                self.without_finalizer();
            }
            return;
        };
        if !self.prepared() {
            return;
        }
        let postpones = rules.forward == ForwardDeals::Postpone;
        let start = |earliest: Option<Timestamp>| {
            let at = match earliest {
                Some(earliest) if postpones => window.planned.0.max(earliest),
                None if postpones => window.planned.0,
                _ => window.start.0,
            };
            Start { at, until: window.end.as_ref().map(|end| end.0) }
        };
        let again = self.dealings.ahead(window.start.0, start, awake.settled);
        if self.input.market.is_some() {
            self.status.earliest_start = self.dealings.earliest();
            self.move_to(start(self.status.earliest_start.as_ref().map(|time| time.0)).at);
        }
        self.trouble_in_words("Market");
        self.wait(again.min(window.start.0.duration_since(now)));
    }

    /// Its time has come.
    fn on(&mut self, window: &WindowStatus) {
        let Input { spec, .. } = self.input;
        if let Some(end) = &window.end {
            self.come(WindowState::Operating, end.0);
        }
        self.status.window = Some(window.clone());
        if spec.deals.is_none() {
            if self.with_finalizer() {
                self.forget_the_market(false);
                self.go_down();
            }
            return;
        }
        if !self.prepared() {
            return;
        }
        let planned = self.planned(&spec.down);
        if planned.next == Next::LookAtPods {
            self.next = Next::LookAtPods;
            return;
        }
        // What is down is looked after without the market; each stop asks it.
        let under_way = self.status.episode.as_ref().is_some_and(|e| e.waking_since.is_none());
        if under_way && !planned.stops() {
            return self.go_down();
        }
        if !self.dealings.looked() {
            return;
        }
        if self.status.episode.is_none() {
            let awake = self.hold(&spec.up);
            if let Standing::Stalled { .. } = awake.standing {
                // Nothing is withdrawn for what could not be stopped then.
                self.dealings.only_look();
                self.phase = WindowPhase::Blocked;
                self.standing = awake.standing;
                return self.wait(SignedDuration::from_secs(15));
            }
        }
        let start = Start { at: window.start.0, until: window.end.as_ref().map(|end| end.0) };
        let (verdict, again) = self.dealings.permits(start);
        self.status.earliest_start = self.dealings.earliest();
        match verdict {
            Verdict::Clear => self.go_down(),
            // From the first stop on, what is stopped may be what tells of the market.
            Verdict::Unknown(_)
                if planned.finds_it_stopped(self.input.holder, &spec.down, self.input.seen) =>
            {
                self.dealings.as_before();
                self.go_down();
            }
            Verdict::Forward(earliest, message) => {
                self.blocked_by_deals(window, earliest, message, again);
            }
            Verdict::Refused(MarketError { reason, message }) => {
                self.is_not_to_be(window, WindowPhase::Refused, &reason, message);
            }
            Verdict::Draining(message) => {
                self.phase = WindowPhase::Draining;
                let awake = self.hold(&spec.up);
                self.at("Deals", "Draining", message);
                if !awake.settled {
                    self.standing = awake.standing;
                }
                self.trouble_in_words("Market");
                self.wait(again);
            }
            Verdict::Unknown(trouble) => {
                self.phase = WindowPhase::Blocked;
                let awake = self.hold(&spec.up);
                if trouble.needs_a_person() {
                    self.stall(&trouble.reason, trouble.message);
                } else {
                    self.at("Deals", &trouble.reason, trouble.message);
                }
                if !awake.settled {
                    self.standing = awake.standing;
                }
                self.wait(again);
            }
        }
    }

    fn blocked_by_deals(
        &mut self,
        window: &WindowStatus,
        earliest: Timestamp,
        message: String,
        again: SignedDuration,
    ) {
        let Input { spec, .. } = self.input;
        match spec.deals.as_ref().map(|rules| rules.forward).unwrap_or_default() {
            ForwardDeals::Wait => {
                self.phase = WindowPhase::Blocked;
                // What was stopped before the deal was struck comes back.
                let awake = self.hold(&spec.up);
                self.standing = Standing::Progressing { reason: "ForwardDeals", message };
                if !awake.settled {
                    self.standing = awake.standing;
                }
                self.trouble_in_words("Market");
                self.wait(again);
            }
            ForwardDeals::Postpone => {
                self.move_to(earliest);
                self.phase = WindowPhase::Scheduled;
                self.standing = Standing::Progressing { reason: "Postponed", message };
                self.next = Next::Again;
            }
            ForwardDeals::Refuse => {
                let reason = "ForwardDealsRefused";
                self.is_not_to_be(window, WindowPhase::Refused, reason, message);
            }
        }
    }

    /// Everything that the window names goes down, and is kept there.
    fn go_down(&mut self) {
        if let Some(window) = &mut self.status.window {
            window.begun = true;
        }
        self.phase = WindowPhase::InMaintenance;
        let new = self.status.episode.is_none();
        let down = self.hold(&self.input.spec.down);
        if new
            && let (Some(episode), Some(window)) = (&mut self.status.episode, &self.status.window)
        {
            episode.cause = in_words(window);
        }
        self.standing = down.standing;
    }

    /// Whether the market is as it was before; `wholly`: and nobody asks it any more.
    pub(super) fn forget_the_market(&mut self, wholly: bool) -> bool {
        if self.dealings.forgotten(wholly) {
            if wholly {
                self.status.earliest_start = None;
            }
            return true;
        }
        self.at("Market", "Restoring", TAKING_BACK.to_owned());
        self.trouble_in_words("Market");
        self.wait(self.dealings.again());
        false
    }

    /// Finalizer and source are recorded before anything is told to a market.
    fn prepared(&mut self) -> bool {
        let prepared = self.dealings.prepared();
        let finalizer = self.with_finalizer();
        match prepared {
            Prepared::Yes => {}
            Prepared::Recorded => self.next = Next::Again,
            Prepared::Waiting => {
                self.trouble_in_words("Market");
                self.wait(self.dealings.again());
            }
        }
        prepared == Prepared::Yes && finalizer
    }

    fn with_finalizer(&mut self) -> bool {
        if !self.input.finalizer {
            self.actions.push(Action::Hold(hold::Action::AddFinalizer));
            self.standing = Standing::Progressing {
                reason: "Beginning",
                message: "recording the window".to_owned(),
            };
            self.next = Next::Again;
        }
        self.input.finalizer
    }

    pub(super) fn without_finalizer(&mut self) {
        if self.input.finalizer {
            self.actions.push(Action::Hold(hold::Action::RemoveFinalizer));
        }
    }

    /// Moves the window, where it is to begin at another time.
    fn move_to(&mut self, start: Timestamp) {
        if let Some(window) = &mut self.status.window
            && window.start.0 != start
        {
            *window = moved(self.input.spec, window.planned.0, start, window.begun);
            self.come(WindowState::InMaintenance, start);
        }
    }

    fn come(&mut self, state: WindowState, at: Timestamp) {
        self.status.next_transition = Some(NextWindowTransition { state, at: Time(at) });
    }

    fn wait(&mut self, wait: SignedDuration) {
        self.next = match self.next {
            Next::Settled if self.actions.is_empty() && self.dealings.actions.is_empty() => {
                Next::Wait(wait)
            }
            Next::Settled => Next::Again,
            Next::Wait(other) => Next::Wait(other.min(wait)),
            other => other,
        };
    }

    pub(super) fn stall(&mut self, reason: &str, message: String) {
        self.standing = Standing::Stalled { reason: reason.to_owned(), message };
    }

    /// Waits at a step of the market; past the deadline a person is needed.
    pub(super) fn at(&mut self, step: &str, reason: &str, message: String) {
        let now = self.input.now;
        let since = match &self.input.status.step {
            Some(before) if before.name == step => before.since.clone(),
            _ => Time(now),
        };
        let late = now.duration_since(since.0) > self.input.spec.deadline;
        self.status.step = Some(StepStatus { name: step.to_owned(), since, overdue: Vec::new() });
        self.standing = if late {
            Standing::Stalled { reason: "ProgressDeadlineExceeded".to_owned(), message }
        } else {
            Standing::Progressing { reason: known_reason(reason), message }
        };
    }

    /// Says what the market has answered, where the last call or look failed.
    fn trouble_in_words(&mut self, step: &str) {
        let Some(trouble) = self.dealings.trouble() else { return };
        if trouble.needs_a_person() {
            self.stall(&trouble.reason, trouble.message);
        } else {
            self.at(step, &trouble.reason, trouble.message);
        }
    }

    fn finish(mut self) -> Plan {
        self.status.deals.clone_from(&self.dealings.status);
        super::report::finish(self)
    }

    /// The parts that the report hands over.
    pub(super) fn into_plan(mut self) -> Plan {
        let calls = std::mem::take(&mut self.dealings.actions);
        // A market is told before anything is done about it in the cluster.
        let actions: Vec<_> = calls.into_iter().map(Action::Market).chain(self.actions).collect();
        let mut next = self.next;
        if next == Next::Settled && !actions.is_empty() {
            next = Next::Again;
        }
        if self.dealings.needs_look {
            next = Next::LookAtMarket;
        }
        let listens = self.status.episode.is_some() || self.standing != Standing::Settled;
        Plan {
            status: self.status,
            actions,
            next,
            looks: self.looks,
            gate: self.dealings.memory,
            listens,
        }
    }

    pub(super) fn looks_first(&self) -> bool {
        self.next == Next::LookAtPods || self.dealings.needs_look
    }
}

fn in_words(window: &WindowStatus) -> String {
    match &window.end {
        Some(end) => format!("the window from {} to {}", window.start.0, end.0),
        None => format!("the window from {}", window.start.0),
    }
}

/// The reasons of [`Standing::Progressing`] are known ones.
fn known_reason(reason: &str) -> &'static str {
    match reason {
        "Draining" => "Draining",
        "Restoring" => "Restoring",
        _ => "MarketUnavailable",
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
