//! What to do next: a pure function of the valid spec, what was seen, and the time.
//!
//! As with a Hibernation, a plan is a status, written first, and then actions. What is held is planned
//! by [`crate::hibernation::plan`], asked to sleep or to be awake; what a market is asked and told, by
//! [`crate::deals::gate`]. Here is only which of the two comes when.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::occurrence::{Occurrence, counted_from, moved, occurrence};
use super::validate::{Begins, Valid};
use crate::api::condition::{READY, STALLED};
use crate::api::deals::{DealsSource, DealsStatus, ForwardDeals, SourceStatus};
use crate::api::hibernation::{HibernationStatus, Phase, StepStatus};
use crate::api::maintenance_window::{
    LastWindow, MaintenanceWindowStatus, NextWindowTransition, WindowPhase, WindowState,
    WindowStatus,
};
use crate::deals::gate::{self, Clear, Gate, Rules, Trouble, Verdict};
use crate::deals::hosted;
use crate::hibernation::observe::Observed;
use crate::hibernation::plan::{self as hold, Contests, Looks, Next, Standing};
use crate::hibernation::validate as hold_spec;
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
    pub market: Option<&'a gate::Seen>,
    /// What is remembered of the market.
    pub gate: &'a gate::Memory,
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
    pub gate: gate::Memory,
    /// Whether a change in the namespace may change the plan.
    pub listens: bool,
}

/// One thing to do.
#[derive(Debug)]
pub enum Action {
    /// In the cluster.
    Hold(hold::Action),
    /// At the market.
    Market(gate::Action),
}

/// A plan in the making.
pub(super) struct Draft<'a> {
    pub(super) input: Input<'a>,
    pub(super) status: MaintenanceWindowStatus,
    pub(super) phase: WindowPhase,
    pub(super) standing: Standing,
    pub(super) clear: Option<Clear>,
    actions: Vec<Action>,
    looks: Looks,
    gate: gate::Memory,
    next: Next,
}

/// How the hold stands.
struct Held {
    /// Whether it is as it was asked to be.
    settled: bool,
    standing: Standing,
}

/// For what was begun under a spec that no longer says anything of deals.
fn without_rules() -> Rules {
    Rules {
        source: DealsSource::default(),
        forward: ForwardDeals::default(),
        spot: Default::default(),
        orders: Default::default(),
        restore_orders: true,
        settle: SignedDuration::ZERO,
    }
}

/// Makes the plan.
pub fn plan(input: Input) -> Plan {
    let mut draft = Draft {
        input,
        status: input.status.clone(),
        phase: input.status.phase.unwrap_or_default(),
        standing: Standing::Settled,
        clear: None,
        actions: Vec::new(),
        looks: input.looks.clone(),
        gate: input.gate.clone(),
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
            Occurrence::Window(window) if window.start.0 <= now => self.on(window),
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
        let Some(rules) = self.rules() else {
            if self.forget_the_market(true) && awake.settled {
                self.without_finalizer();
            }
            return;
        };
        if !self.prepared(&rules) {
            return;
        }
        let mut gate = self.gate(&rules);
        let left = window.start.0.duration_since(now);
        let unfinished = gate.status.withdrawn
            || gate.status.announcement.as_ref().is_none_or(|announced| !announced.made);
        let due = gate.look_is_due(Some(left));
        if gate.seen.is_none() && (due || unfinished) {
            self.next = Next::LookAtMarket;
            return;
        }
        let mut start = window.start.0;
        if gate.seen.is_some() {
            let earliest = gate.earliest();
            if rules.forward == ForwardDeals::Postpone {
                start = window.planned.0.max(earliest.unwrap_or(Timestamp::MIN));
            }
            let announced = announced(&rules, &window, start, earliest);
            let refused = gate.would_be_refused(start);
            gate.announce(announced.filter(|_| !refused));
            if awake.settled {
                gate.offer_again();
            }
        }
        let next_look = gate.memory.next_look;
        let again = gate.again();
        let busy = !gate.actions.is_empty() || gate.trouble().is_some();
        self.take(gate);
        self.move_to(start);
        self.trouble_in_words("Market");
        let soon = if busy { again } else { left };
        let look = next_look.map_or(left, |next| next.duration_since(now));
        self.wait(soon.min(look).min(left).max(SignedDuration::from_secs(1)));
    }

    /// Its time has come.
    fn on(&mut self, window: WindowStatus) {
        let Input { spec, .. } = self.input;
        if let Some(end) = &window.end {
            self.come(WindowState::Operating, end.0);
        }
        self.status.window = Some(window.clone());
        let Some(rules) = self.rules() else {
            if !self.with_finalizer() {
                return;
            }
            self.forget_the_market(false);
            return self.go_down();
        };
        if !self.prepared(&rules) {
            return;
        }
        if self.slept() {
            return self.go_down();
        }
        if self.input.market.is_none() {
            self.next = Next::LookAtMarket;
            return;
        }
        if self.status.episode.is_none() {
            let awake = self.hold(&spec.up);
            if let Standing::Stalled { .. } = awake.standing {
                // Nothing is withdrawn for what could not be stopped then.
                let gate = self.gate(&rules);
                self.take(gate);
                self.phase = WindowPhase::Blocked;
                self.standing = awake.standing;
                return self.wait(SignedDuration::from_secs(15));
            }
        }
        let mut gate = self.gate(&rules);
        let verdict = gate.clear();
        let stopped = self.something_is_stopped();
        match verdict {
            Verdict::Clear => {
                self.take(gate);
                self.go_down();
            }
            // From the first stop on, what is stopped may be what tells of the market.
            Verdict::Unknown(_) if stopped => {
                self.take(gate);
                self.go_down();
            }
            Verdict::Forward(earliest, message) => {
                self.blocked_by_deals(gate, &window, earliest, message);
            }
            Verdict::Refused(trouble) => {
                self.take(gate);
                let Trouble { reason, message } = trouble;
                self.is_not_to_be(&window, WindowPhase::Refused, &reason, message);
            }
            Verdict::Draining(message) => {
                let known = gate.status.announcement.as_ref();
                if known.is_none_or(|known| known.at.0 > self.input.now || !known.made) {
                    // Told first, so that nobody offers again what is withdrawn.
                    let before = std::mem::take(&mut gate.actions);
                    gate.announce(Some(window.start.0));
                    gate.actions.extend(before);
                }
                let wait = gate.between_looks().min(gate.again());
                self.take(gate);
                self.phase = WindowPhase::Draining;
                let awake = self.hold(&spec.up);
                self.at("Deals", "Draining", message);
                if !awake.settled {
                    self.standing = awake.standing;
                }
                self.trouble_in_words("Market");
                self.wait(wait);
            }
            Verdict::Unknown(trouble) => {
                let wait = gate.again().max(SignedDuration::from_secs(2));
                self.take(gate);
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
                self.wait(wait);
            }
        }
    }

    fn blocked_by_deals(
        &mut self,
        mut gate: Gate,
        window: &WindowStatus,
        earliest: Timestamp,
        message: String,
    ) {
        let Input { spec, now, .. } = self.input;
        match gate.rules.forward {
            ForwardDeals::Wait => {
                // From the announced time on a market may close by itself what is not to be touched.
                let announced = announced(gate.rules, window, window.start.0, Some(earliest));
                let refused = gate.would_be_refused(earliest);
                gate.announce(announced.filter(|_| !refused));
                let left = earliest.duration_since(now).as_secs() / 10;
                let wait = SignedDuration::from_secs(left.clamp(1, 30));
                self.take(gate);
                self.phase = WindowPhase::Blocked;
                // What was stopped before the deal was struck comes back.
                let awake = self.hold(&spec.up);
                self.standing = Standing::Progressing { reason: "ForwardDeals", message };
                if !awake.settled {
                    self.standing = awake.standing;
                }
                self.trouble_in_words("Market");
                self.wait(wait);
            }
            ForwardDeals::Postpone => {
                self.take(gate);
                self.move_to(earliest);
                self.phase = WindowPhase::Scheduled;
                self.standing = Standing::Progressing { reason: "Postponed", message };
                self.next = Next::Again;
            }
            ForwardDeals::Refuse => {
                self.take(gate);
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

    /// Nothing was stopped in this window, and nothing will be. What was told and withdrawn for it
    /// is taken back by the plans that follow.
    fn is_not_to_be(
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
    fn depart(&mut self, outcome: WindowPhase) {
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

    fn delete(&mut self, since: Timestamp) {
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
            if self.status.deals.as_ref().is_some_and(|deals| deals.withdrawn) {
                let kept = crate::deals::payloads::name(self.input.holder);
                self.stall(
                    "LeftBehind",
                    format!("what was withdrawn is not back on the market: ConfigMap {kept} has what it takes"),
                );
            }
            let hosted = |deals: &DealsStatus| {
                deals.source.as_ref().is_some_and(|source| source.bridge.is_some())
            };
            if self.status.deals.as_ref().is_some_and(hosted) {
                self.actions.push(Action::Market(gate::Action::RemoveBridge));
            }
            self.actions.push(Action::Hold(hold::Action::RemoveFinalizer));
        }
    }

    /// Nothing is withdrawn and nothing announced any more; `wholly`: nor is there a bridge.
    fn forget_the_market(&mut self, wholly: bool) -> bool {
        let Some(deals) = &self.status.deals else { return true };
        let Some(source) = deals.source.clone() else {
            self.status.deals = None;
            return true;
        };
        if self.input.market.is_none() && (deals.withdrawn || deals.announcement.is_some()) {
            self.next = Next::LookAtMarket;
            return false;
        }
        let rules = self.rules().unwrap_or_else(without_rules);
        let mut gate = self.gate(&rules);
        let left = gate.leave();
        let wait = gate.again();
        let gone = gate.memory.bridge_gone || source.bridge.is_none();
        if left && wholly && !gone {
            gate.actions.push(gate::Action::RemoveBridge);
        }
        self.take(gate);
        if left && (gone || !wholly) {
            if wholly {
                self.status.deals = None;
                self.status.earliest_start = None;
                self.clear = None;
                self.gate = gate::Memory::default();
            }
            return true;
        }
        let message = if left {
            "the bridge is removed".to_owned()
        } else {
            "taking back what was announced, offering again what was withdrawn".to_owned()
        };
        self.at("Market", "Restoring", message);
        self.trouble_in_words("Market");
        self.wait(wait);
        false
    }

    fn rules(&self) -> Option<Rules> {
        self.input.spec.deals.clone()
    }

    /// Finalizer and source are recorded before anything is told to a market.
    fn prepared(&mut self, rules: &Rules) -> bool {
        let wanted = hosted::source(self.input.holder, &rules.source);
        match self.status.deals.as_ref().and_then(|deals| deals.source.clone()) {
            Some(known) if known == wanted => return self.with_finalizer(),
            // What was told by another has to be taken back by it.
            Some(known) if !same_server(&known, &wanted) && !self.forget_the_market(true) => {
                return false;
            }
            _ => {}
        }
        // The status is written first: the source stands there before it is used.
        self.status.deals.get_or_insert_default().source = Some(wanted);
        self.with_finalizer();
        self.next = Next::Again;
        false
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

    fn without_finalizer(&mut self) {
        if self.input.finalizer {
            self.actions.push(Action::Hold(hold::Action::RemoveFinalizer));
        }
    }

    fn gate<'r>(&self, rules: &'r Rules) -> Gate<'r>
    where
        Self: 'r,
    {
        let status = self.status.deals.clone().unwrap_or_default();
        Gate::new(rules, status, self.input.market, self.gate.clone(), self.input.now)
    }

    /// Takes over what the gate has made of the market's part.
    fn take(&mut self, gate: Gate) {
        self.actions.extend(gate.actions.into_iter().map(Action::Market));
        if self.input.market.is_some() {
            self.status.earliest_start =
                gate.status.forward.first().map(|deal| deal.ends_at.clone());
        }
        self.status.deals = Some(gate.status);
        self.gate = gate.memory;
        self.clear = gate.clear.or(self.clear.take());
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

    /// Plans what is held, as of a Hibernation with that spec.
    fn hold(&mut self, spec: &hold_spec::Valid) -> Held {
        let before = HibernationStatus {
            phase: self.status.episode.as_ref().map(|_| Phase::Hibernating),
            episode: self.status.episode.clone(),
            step: self.input.status.step.clone(),
            workloads: self.status.workloads.clone(),
            counts: self.status.counts,
            originals: self.status.originals.clone(),
            ..HibernationStatus::default()
        };
        let planned = hold::plan(hold::Input {
            holder: self.input.holder,
            generation: self.input.generation,
            deleting_since: None,
            // When it comes and goes is decided here.
            finalizer: true,
            spec,
            status: &before,
            seen: self.input.seen,
            looks: &self.looks,
            contests: self.input.contests,
            now: self.input.now,
            fresh_id: self.input.fresh_id,
        });
        let finalizer = |action: &hold::Action| {
            matches!(action, hold::Action::AddFinalizer | hold::Action::RemoveFinalizer)
        };
        let acts: Vec<_> = planned
            .actions
            .into_iter()
            .filter(|action| !finalizer(action))
            .map(Action::Hold)
            .collect();
        let nothing = planned.next == Next::Again && acts.is_empty();
        self.actions.extend(acts);
        self.next = if nothing { Next::Settled } else { planned.next };
        self.looks = planned.looks;
        let HibernationStatus {
            episode,
            step,
            workloads,
            counts,
            originals,
            conditions,
            phase,
            ..
        } = planned.status;
        self.status.episode = episode;
        self.status.step = step;
        self.status.workloads = workloads;
        self.status.counts = counts;
        self.status.originals = originals;
        let truth = |kind: &str| {
            conditions
                .iter()
                .find(|condition| condition.type_ == kind && condition.status == "True")
        };
        let at_rest = matches!(phase, Some(Phase::Awake | Phase::Hibernated));
        let standing = if let Some(stalled) = truth(STALLED) {
            Standing::Stalled { reason: stalled.reason.clone(), message: stalled.message.clone() }
        } else if at_rest && truth(READY).is_some() {
            Standing::Settled
        } else {
            let message = planned.status.message.unwrap_or_default();
            Standing::Progressing { reason: "Waiting", message }
        };
        let settled = match phase {
            // Awake is awake, whatever would be in the way of going down.
            Some(Phase::Awake) => true,
            Some(Phase::Hibernated) => standing == Standing::Settled,
            _ => false,
        };
        Held { settled, standing }
    }

    /// Whether all has been down in this window.
    fn slept(&self) -> bool {
        self.status
            .episode
            .as_ref()
            .is_some_and(|episode| episode.asleep_since.is_some() && episode.waking_since.is_none())
    }

    /// Whether a workload is held: what was told of the market may have been told by it.
    fn something_is_stopped(&self) -> bool {
        let holder = self.input.holder;
        self.input
            .seen
            .workloads
            .iter()
            .any(|subject| subject.found.record().is_some_and(|record| record.held_by(holder)))
    }

    fn come(&mut self, state: WindowState, at: Timestamp) {
        self.status.next_transition = Some(NextWindowTransition { state, at: Time(at) });
    }

    fn wait(&mut self, wait: SignedDuration) {
        self.next = match self.next {
            Next::Settled if self.actions.is_empty() => Next::Wait(wait),
            Next::Settled => Next::Again,
            Next::Wait(other) => Next::Wait(other.min(wait)),
            other => other,
        };
    }

    fn stall(&mut self, reason: &str, message: String) {
        self.standing = Standing::Stalled { reason: reason.to_owned(), message };
    }

    /// Waits at a step of the market; past the deadline a person is needed.
    fn at(&mut self, step: &str, reason: &str, message: String) {
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
        let look = self.input.market.and_then(|seen| seen.look.as_ref().err());
        let call = self.gate.trouble.as_ref().map(|(trouble, _)| trouble);
        let Some(trouble) = call.or(look).cloned() else { return };
        if trouble.needs_a_person() {
            self.stall(&trouble.reason, trouble.message);
        } else {
            self.at(step, &trouble.reason, trouble.message);
        }
    }

    fn finish(self) -> Plan {
        super::report::finish(self)
    }

    /// The parts that the report hands over.
    pub(super) fn into_plan(mut self) -> Plan {
        if self.next == Next::Settled && !self.actions.is_empty() {
            self.next = Next::Again;
        }
        let listens = self.status.episode.is_some() || self.standing != Standing::Settled;
        Plan {
            status: self.status,
            actions: self.actions,
            next: self.next,
            looks: self.looks,
            gate: self.gate,
            listens,
        }
    }

    pub(super) fn looks_first(&self) -> bool {
        matches!(self.next, Next::LookAtPods | Next::LookAtMarket)
    }
}

/// What to announce: never earlier than the last Forward deal's end, and nothing where that start
/// will not come.
fn announced(
    rules: &Rules,
    window: &WindowStatus,
    start: Timestamp,
    earliest: Option<Timestamp>,
) -> Option<Timestamp> {
    let Some(earliest) = earliest.filter(|earliest| *earliest > start) else { return Some(start) };
    let comes = match rules.forward {
        ForwardDeals::Wait => window.end.as_ref().is_none_or(|end| earliest < end.0),
        ForwardDeals::Postpone => true,
        ForwardDeals::Refuse => false,
    };
    comes.then_some(earliest)
}

/// Whether another set of settings is served at the same place.
fn same_server(known: &SourceStatus, wanted: &SourceStatus) -> bool {
    let SourceStatus { service, port, ca_config_map_ref, bridge } = wanted;
    known.service == *service
        && known.port == *port
        && known.ca_config_map_ref == *ca_config_map_ref
        && known.bridge.is_some() == bridge.is_some()
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
