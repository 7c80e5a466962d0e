//! Plans one MaintenanceWindow: a pure function of the valid spec, what was observed,
//! and the time. [`crate::transition`] plans the workloads, [`crate::deals::session`] the market; this
//! decides which of the two comes when.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::occurrence::{Occurrence, counted_from, moved, occurrence};
use super::validate::{Begins, Valid};
use crate::api::deals::ForwardDeals;
use crate::api::history::NextTransition;
use crate::api::hold_state::DatabaseState;
use crate::api::maintenance_window::{
    MaintenanceWindowStatus, WindowPhase, WindowState, WindowStatus,
};
use crate::api::reason::Reason;
use crate::deals::market_state::{MarketError, Verdict};
use crate::deals::session::{Prepared, RESTORING, Session, Start};
use crate::transition::plan::{Action, Confirmations, HoldInput, Next, Place, Plan, Transition};
use crate::transition::standing::Standing;
use crate::transition::{self, Begin, plan};

/// A window has no database.
static NO_DATABASE: DatabaseState = DatabaseState { preflight: None, truncation: None };

/// Everything that the plan is made from.
pub type Input<'a> = plan::Input<'a, Valid, MaintenanceWindowStatus>;

/// A plan in the making.
pub(super) struct Draft<'a> {
    pub(super) input: Input<'a>,
    pub(super) status: MaintenanceWindowStatus,
    pub(super) phase: WindowPhase,
    pub(super) standing: Standing,
    pub(super) session: Session<'a>,
    pub(super) actions: Vec<Action>,
    pub(super) confirmations: Confirmations,
    pub(super) next: Next,
    /// Whether everything that the window names is down.
    pub(super) is_down: bool,
}

/// How the hold stands.
pub(super) struct Held {
    /// Whether the workloads are where they should be.
    pub(super) reached: bool,
    pub(super) standing: Standing,
}

/// Returns the plan.
pub fn plan(input: Input) -> Plan<MaintenanceWindowStatus> {
    let (status, memory) = (input.status, input.memory);
    let mut draft = Draft {
        input,
        status: status.clone(),
        phase: status.phase.unwrap_or_default(),
        standing: Standing::Reached,
        session: Session::new(
            input.holder,
            input.spec.hold.deals.as_ref(),
            status.deals.clone(),
            input.market,
            memory.market.clone(),
            input.now,
        ),
        actions: Vec::new(),
        confirmations: memory.confirmations.clone(),
        next: Next::AtRest,
        is_down: false,
    };
    draft.decide();
    draft.finish()
}

impl<'a> Draft<'a> {
    fn decide(&mut self) {
        let Input { spec, now, created, generation, .. } = self.input;
        self.status.observed_generation = generation;
        self.status.next_transition = None;
        self.status.hold.step = None;
        if self.input.deleting_since.is_some() {
            return self.delete();
        }
        // A value counts from the creation where the object has never been observed with another one.
        let observed_before = self.input.status.observed_generation.is_some();
        let first = if observed_before { now } else { created };
        let (after, schedule) = match &spec.begins {
            Begins::After { text, .. } => (Some(text), None),
            Begins::Every(recurrence) if !spec.suspend => (None, Some(&recurrence.text)),
            _ => (None, None),
        };
        let status = &mut self.status;
        status.after = after.map(|text| counted_from(text, status.after.as_ref(), first));
        status.schedule = schedule.map(|text| counted_from(text, status.schedule.as_ref(), first));
        if spec.suspend {
            return self.end(WindowPhase::Cancelled);
        }
        match occurrence(spec, &self.status, generation, now) {
            Occurrence::Window(window) if window.start.0 <= now => self.during(&window),
            Occurrence::Window(window) => self.before(window),
            Occurrence::Over(window) if window.begun => {
                self.status.window = Some(window);
                self.end(WindowPhase::Completed);
            }
            Occurrence::Over(window) => {
                let message = format!(
                    "the window from {} has passed and Torpor stopped nothing: status.history has the obstacle, unless no \
                     operator ran. Set a later start, or wait for the next window of the schedule",
                    window.start.0
                );
                self.call_off(&window, WindowPhase::Missed, Reason::Missed, message);
            }
            Occurrence::Past(outcome) => self.end(outcome),
            Occurrence::None => self.end(WindowPhase::Scheduled),
        }
    }

    /// Plans the time before a window: all workloads are up, and the market knows the start.
    fn before(&mut self, window: WindowStatus) {
        let Input { spec, now, .. } = self.input;
        self.come(WindowState::InMaintenance, window.start.0);
        self.status.window = Some(window.clone());
        // Another start, after workloads were stopped, or one that is ill since an earlier window: they
        // come back first, and the market hears of the start afterwards.
        let up = self.take_up();
        // Without a market nothing waits for a workload that stays ill.
        let waits = self.session.status.is_some() || !up.standing.is_stalled();
        self.standing = up.standing;
        let back = up.reached && self.serves();
        self.phase = if back || !waits { WindowPhase::Scheduled } else { WindowPhase::Restoring };
        if !back {
            return self.wait(window.start.0.duration_since(now));
        }
        let window = WindowStatus { begun: false, ..window };
        self.status.window = Some(window.clone());
        let Some(rules) = &spec.hold.deals else {
            if self.forget_market(true) {
                self.remove_finalizer();
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
        let again = self.session.before_start(window.start.0, start);
        if self.input.market.is_some() {
            self.status.earliest_start = self.session.earliest();
            self.move_to(start(self.status.earliest_start.as_ref().map(|time| time.0)).at);
        }
        self.report_market("Market");
        self.wait(again.min(window.start.0.duration_since(now)));
    }

    /// Its time has come.
    fn during(&mut self, window: &WindowStatus) {
        let Input { spec, .. } = self.input;
        if let Some(end) = &window.end {
            self.come(WindowState::Operating, end.0);
        }
        self.status.window = Some(window.clone());
        if spec.hold.deals.is_none() {
            if self.has_finalizer() {
                self.forget_market(false);
                self.go_down();
            }
            return;
        }
        if !self.prepared() {
            return;
        }
        let down = self.down();
        if down.next == Next::ObservePods {
            self.next = Next::ObservePods;
            return;
        }
        // Torpor keeps down what is down without the market. Each new hold asks it.
        let episode = self.status.hold.episode.as_ref();
        if episode.is_some_and(|episode| episode.waking_since.is_none()) && !down.holds() {
            return self.go_down();
        }
        if !self.session.observed() {
            return;
        }
        if episode.is_none() {
            let up = transition::up(self.hold());
            if up.standing.is_stalled() {
                // Nothing is withdrawn for workloads that could not be held then.
                self.session.only_observe();
                self.phase = WindowPhase::Blocked;
                self.standing = self.apply(up).standing;
                return self.wait(SignedDuration::from_secs(15));
            }
        }
        let start = Start { at: window.start.0, until: window.end.as_ref().map(|end| end.0) };
        let (verdict, again) = self.session.clear_to_stop(start);
        self.status.earliest_start = self.session.earliest();
        match verdict {
            Verdict::Clear => self.go_down(),
            // From the first hold on, a stopped workload may be the one that serves the market.
            Verdict::Unknown(_) if down.finds_all_stopped(&self.hold()) => {
                self.session.keep_condition();
                self.go_down();
            }
            Verdict::Forward(earliest, message) => {
                self.blocked_by_deals(window, earliest, message, again);
            }
            Verdict::Refused(MarketError { reason, message }) => {
                self.call_off(window, WindowPhase::Refused, reason, message);
            }
            Verdict::Draining(message) => {
                self.phase = WindowPhase::Draining;
                let up = self.take_up();
                self.at("Deals", Reason::Draining, message);
                if !up.reached {
                    self.standing = up.standing;
                }
                self.report_market("Market");
                self.wait(again);
            }
            Verdict::Unknown(error) => {
                self.phase = WindowPhase::Blocked;
                let up = self.take_up();
                self.report_error("Deals", error);
                if !up.reached {
                    self.standing = up.standing;
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
        let rules = self.input.spec.hold.deals.as_ref();
        match rules.map(|rules| rules.forward).unwrap_or_default() {
            ForwardDeals::Wait => {
                self.phase = WindowPhase::Blocked;
                // Workloads that were stopped before the deal was struck come back.
                let up = self.take_up();
                self.standing = Standing::Progressing { reason: Reason::ForwardDeals, message };
                if !up.reached {
                    self.standing = up.standing;
                }
                self.report_market("Market");
                self.wait(again);
            }
            ForwardDeals::Postpone => {
                self.move_to(earliest);
                self.phase = WindowPhase::Scheduled;
                self.standing = Standing::Progressing { reason: Reason::Postponed, message };
                self.next = Next::Again;
            }
            ForwardDeals::Refuse => {
                let MarketError { reason, message } = MarketError::forward_refused(&message);
                self.call_off(window, WindowPhase::Refused, reason, message);
            }
        }
    }

    /// Takes everything down that the window names, and keeps it there.
    fn go_down(&mut self) {
        let down = self.down();
        let holds = down.state.counts.is_some_and(|counts| counts.held > 0);
        let observing = down.next == Next::ObservePods;
        self.is_down = down.place == Place::Down;
        let down = self.apply(down);
        self.standing = down.standing;
        let Some(window) = &mut self.status.window else { return };
        window.begun |= (holds || down.reached) && !observing;
        self.phase = match self.input.status.phase {
            _ if window.begun => WindowPhase::InMaintenance,
            _ if self.standing.is_stalled() => WindowPhase::Blocked,
            Some(phase @ (WindowPhase::Blocked | WindowPhase::Draining)) => phase,
            _ => WindowPhase::Scheduled,
        };
    }

    fn down(&self) -> Transition {
        let window = self.status.window.as_ref();
        let cause = window.map(describe).unwrap_or_default();
        transition::down(self.hold(), &Begin { cause, truncates: false, by_person: true })
    }

    /// Brings everything back that the window holds.
    pub(super) fn take_up(&mut self) -> Held {
        let up = transition::up(self.hold());
        self.apply(up)
    }

    /// Returns why the workloads do not serve what the market is to sell again, by name.
    pub(super) fn not_serving(&self) -> Option<String> {
        transition::not_serving(self.hold())
    }

    fn hold(&self) -> HoldInput<'a> {
        let Input { spec, status, .. } = self.input;
        let place = if status.hold.episode.is_some() { Place::GoingDown } else { Place::Up };
        let hold = self.input.hold(&spec.hold, &status.hold, &NO_DATABASE, place);
        // The window decides when its finalizer comes and goes.
        let end = status.window.as_ref().and_then(|window| window.end.as_ref());
        let due = end.map(|end| end.0).filter(|end| *end <= self.input.now);
        HoldInput { finalizer: true, deleting: false, overdue: false, due, ..hold }
    }

    fn apply(&mut self, transition: Transition) -> Held {
        let held = held(&transition);
        let Transition { state, actions, next, confirmations, .. } = transition;
        let finalizer =
            |action: &Action| matches!(action, Action::AddFinalizer | Action::RemoveFinalizer);
        let actions: Vec<_> = actions.into_iter().filter(|action| !finalizer(action)).collect();
        self.next = if next == Next::Again && actions.is_empty() { Next::AtRest } else { next };
        self.actions.extend(actions);
        self.confirmations = confirmations;
        self.status.hold = state;
        held
    }

    /// Restores the market to how it was before. `wholly`: and removes its bridge. Returns whether it is so.
    pub(super) fn forget_market(&mut self, wholly: bool) -> bool {
        if self.session.restore(wholly) {
            if wholly {
                self.status.earliest_start = None;
            }
            return true;
        }
        self.at("Market", Reason::Restoring, RESTORING.to_owned());
        self.report_market("Market");
        self.wait(self.session.retry_after());
        false
    }

    /// Records finalizer and source before anything is told to a market. Returns whether they are.
    fn prepared(&mut self) -> bool {
        let prepared = self.session.prepared();
        let finalizer = self.has_finalizer();
        match prepared {
            Prepared::Yes => {}
            Prepared::Recorded => self.next = Next::Again,
            Prepared::Waiting => {
                self.report_market("Market");
                self.wait(self.session.retry_after());
            }
        }
        prepared == Prepared::Yes && finalizer
    }

    /// Adds the finalizer where it is missing. Returns whether it was there.
    pub(super) fn has_finalizer(&mut self) -> bool {
        if !self.input.finalizer {
            self.actions.push(Action::AddFinalizer);
            let message = "recording the window".to_owned();
            self.standing = Standing::Progressing { reason: Reason::Beginning, message };
            self.next = Next::Again;
        }
        self.input.finalizer
    }

    pub(super) fn remove_finalizer(&mut self) {
        if self.input.finalizer {
            self.actions.push(Action::RemoveFinalizer);
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

    pub(super) fn come(&mut self, state: WindowState, at: Timestamp) {
        self.status.next_transition = Some(NextTransition { state, at: Time(at) });
    }

    pub(super) fn wait(&mut self, wait: SignedDuration) {
        let acts = !(self.actions.is_empty() && self.session.actions.is_empty());
        self.next = match self.next {
            Next::AtRest if acts => Next::Again,
            next => next.or_wait(wait),
        };
    }

    pub(super) fn stall(&mut self, reason: Reason, message: String) {
        self.standing = Standing::Stalled { reason, message };
    }

    /// Waits at a step of the market. Past the deadline a person is needed.
    pub(super) fn at(&mut self, step: &str, reason: Reason, message: String) {
        let now = self.input.now;
        let step = transition::waiting_at(step, self.input.status.hold.step.as_ref(), now);
        let late = now.duration_since(step.since.0) > self.input.spec.hold.deadline;
        self.status.hold.step = Some(step);
        self.standing = if late {
            Standing::Stalled { reason: Reason::ProgressDeadlineExceeded, message }
        } else {
            Standing::Progressing { reason, message }
        };
    }

    /// Reports the error of the market, where its last call or observation failed.
    fn report_market(&mut self, step: &str) {
        if let Some(error) = self.session.error() {
            self.report_error(step, error);
        }
    }

    /// Says why the market does not answer; `DealsClear` has the error's own reason.
    fn report_error(&mut self, step: &str, error: MarketError) {
        if error.needs_a_person() {
            self.stall(error.reason, error.message);
        } else {
            self.at(step, Reason::MarketUnavailable, error.message);
        }
    }
}

/// Returns how a transition of a window stands.
fn held(transition: &Transition) -> Held {
    let up = transition.place == Place::Up;
    let standing = match &transition.standing {
        // A window that is up has reached its place, whatever goes on besides.
        Standing::Progressing { .. } if up => Standing::Reached,
        standing => standing.clone(),
    };
    let reached = up || (transition.place == Place::Down && standing.is_reached());
    Held { reached, standing }
}

fn describe(window: &WindowStatus) -> String {
    match &window.end {
        Some(end) => format!("the window from {} to {}", window.start.0, end.0),
        None => format!("the window from {}", window.start.0),
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "restoring_tests.rs"]
mod restoring_tests;

#[cfg(test)]
#[path = "when_tests.rs"]
mod when_tests;
