//! Plans one Hibernation: a pure function of the valid spec, what was observed, and
//! the time. [`crate::transition`] plans the workloads; this decides which way they go.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::validate::Valid;
use crate::api::hibernation::{HibernationStatus, OnDelete, Phase};
use crate::api::history::NextTransition;
use crate::api::schedule::DesiredState;
use crate::deals::session::Session;
use crate::schedule::{Basis, Cause, DesiredCause, Resolved};
use crate::transition::plan::{Action, HoldInput, Place, Plan, Transition};
use crate::transition::{self, Begin, plan};

/// Everything that the plan is made from.
pub type Input<'a> = plan::Input<'a, Valid, HibernationStatus>;

/// Returns the plan.
pub fn plan(input: Input) -> Plan<HibernationStatus> {
    let mut draft = Draft::new(input);
    let transition = draft.decide();
    draft.finish(transition)
}

/// A plan in the making.
pub(super) struct Draft<'a> {
    pub(super) input: Input<'a>,
    pub(super) desired: Resolved,
    /// The market's part; none where the object has no market, or nothing is to be done there.
    pub(super) session: Option<Session<'a>>,
    /// Whether the market keeps the object from its spec.
    pub(super) held_back: bool,
    /// With `dryRun`: the lines of `status.plan`.
    pub(super) lines: Vec<String>,
}

impl<'a> Draft<'a> {
    fn new(input: Input<'a>) -> Self {
        let Input { spec, status, now, .. } = input;
        let rules = spec.hold.deals.as_ref();
        let has_market = rules.is_some() || status.deals.is_some();
        let dry_run = spec.dry_run && input.deleting_since.is_none();
        let session = (has_market && !input.observed.namespace_deleting && !dry_run).then(|| {
            let (deals, memory) = (status.deals.clone(), input.memory.market.clone());
            Session::new(input.holder, rules, deals, input.market, memory, now)
        });
        Self {
            input,
            desired: Resolved::at(&spec.basis, spec.override_.as_ref(), now),
            session,
            held_back: false,
            lines: Vec::new(),
        }
    }

    fn decide(&mut self) -> Transition {
        if self.input.deleting_since.is_some() {
            self.delete()
        } else if self.input.spec.dry_run {
            let hibernated = self.desired.state == DesiredState::Hibernated;
            let (transition, actions) = transition::dry_run(self.hold(), hibernated);
            self.lines = actions.into_lines();
            transition
        } else if self.session.is_some() {
            self.with_market()
        } else {
            self.without_market()
        }
    }

    /// Takes the workloads where the spec wants them.
    pub(super) fn without_market(&self) -> Transition {
        match self.desired.state {
            DesiredState::Hibernated => self.down(),
            DesiredState::Awake => transition::up(self.hold()),
        }
    }

    pub(super) fn down(&self) -> Transition {
        let by_person = self.desired.cause == DesiredCause::State
            && self.input.status.asked != self.input.spec.asked();
        let database = self.input.spec.hold.database.as_ref();
        let begin = Begin {
            cause: describe(&self.desired.cause, by_person),
            truncates: database
                .is_some_and(|database| by_person || database.spec.truncate.automatic),
            by_person,
        };
        transition::down(self.hold(), &begin)
    }

    /// Returns the input of a transition.
    pub(super) fn hold(&self) -> HoldInput<'a> {
        let status = self.input.status;
        let place = status.phase.map_or(Place::Up, place);
        let hold = self.input.hold(&self.input.spec.hold, &status.hold, &status.database, place);
        let next = status.next_transition.as_ref();
        let due = next.filter(|next| next.state == DesiredState::Awake).map(|next| next.at.0);
        HoldInput { due: due.filter(|due| *due <= self.input.now), ..hold }
    }

    fn delete(&mut self) -> Transition {
        let hold = self.hold();
        if !self.input.finalizer {
            return transition::rest(hold);
        }
        if self.input.observed.namespace_deleting {
            // Nothing is restored in a namespace that goes, and nothing blocks its deletion.
            let mut transition = transition::rest(hold);
            transition.actions.push(Action::RemoveFinalizer);
            return transition;
        }
        let mut transition = match self.input.spec.on_delete {
            OnDelete::Keep => transition::keep(hold),
            OnDelete::Wake => transition::up(hold),
        };
        self.leave_market(&mut transition, hold.overdue);
        transition
    }

    /// Returns the status as it is to be, without its conditions.
    pub(super) fn status(&self, transition: &Transition) -> HibernationStatus {
        let Input { status, generation, deleting_since, .. } = self.input;
        let deleting = deleting_since.is_some();
        let mut status = status.clone();
        status.observed_generation = generation;
        let next = self.desired.next.as_ref().filter(|_| !deleting);
        status.next_transition =
            next.map(|next| NextTransition { state: next.state, at: Time(next.at) });
        status.plan.clone_from(&self.lines);
        if deleting {
            status.asked = None;
        } else if !self.input.spec.dry_run && !self.held_back_from_down(transition) {
            status.asked = self.input.spec.asked();
        }
        status.hold = transition.state.clone();
        status.database = transition.database.clone();
        status
    }

    /// Returns whether the object was asked to sleep and has not begun to: it will be asked again.
    fn held_back_from_down(&self, transition: &Transition) -> bool {
        self.desired.state == DesiredState::Hibernated && !transition.begun
    }
}

impl Valid {
    /// Returns `spec.state`; none where a schedule rules.
    pub(super) fn asked(&self) -> Option<DesiredState> {
        match self.basis {
            Basis::State(state) => Some(state),
            Basis::Schedule(_) => None,
        }
    }
}

/// Returns where the workloads are in a phase.
fn place(phase: Phase) -> Place {
    match phase {
        Phase::Awake => Place::Up,
        Phase::Hibernating => Place::GoingDown,
        Phase::Hibernated => Place::Down,
        Phase::Waking => Place::ComingUp,
    }
}

/// Returns the phase that stands for a place.
pub(super) fn phase(place: Place) -> Phase {
    match place {
        Place::Up => Phase::Awake,
        Place::GoingDown => Phase::Hibernating,
        Place::Down => Phase::Hibernated,
        Place::ComingUp => Phase::Waking,
    }
}

fn describe(cause: &DesiredCause, by_person: bool) -> String {
    match cause {
        DesiredCause::State if by_person => "spec.state was set to Hibernated".to_owned(),
        DesiredCause::State => "spec.state is Hibernated, and the override has expired".to_owned(),
        DesiredCause::Override { until } => format!("spec.override is Hibernated until {until}"),
        DesiredCause::Schedule(Cause::Exception { reason: Some(reason), .. }) => {
            format!("spec.schedule has an exception: {reason}")
        }
        DesiredCause::Schedule(Cause::Exception { .. }) => {
            "spec.schedule has an exception".to_owned()
        }
        DesiredCause::Schedule(_) => "spec.schedule asks for Hibernated".to_owned(),
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "wake_tests.rs"]
mod wake_tests;

#[cfg(test)]
#[path = "writers_tests.rs"]
mod writers_tests;

#[cfg(test)]
#[path = "truncation_tests.rs"]
mod truncation_tests;

#[cfg(test)]
#[path = "contest_tests.rs"]
mod contest_tests;

#[cfg(test)]
#[path = "failure_tests.rs"]
mod failure_tests;

#[cfg(test)]
#[path = "restart_tests.rs"]
mod restart_tests;

#[cfg(test)]
#[path = "pace_tests.rs"]
mod pace_tests;

#[cfg(test)]
#[path = "reduced_tests.rs"]
mod reduced_tests;

#[cfg(test)]
#[path = "kinds_tests.rs"]
mod kinds_tests;

#[cfg(test)]
#[path = "scalers_tests.rs"]
mod scalers_tests;
