//! The input of a plan, and the plan: the same for both kinds of object.
//!
//! A plan is a status, written first, and then actions. After them Torpor observes again. So the
//! status records what an action needs to be found again after a crash (the id of an episode, the name
//! of a Job and its fence) before the action is taken.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::contest::Contests;
use super::job::{Purpose, Watch};
use super::observe::Observed;
use super::spec::Spec;
use super::standing::Standing;
use crate::api::hold_state::{Attempt, DatabaseState, HoldState};
use crate::deals::market_state;
use crate::hold::record::Holder;
use crate::hold::status_record::StatusRecord;
use crate::hold::subject::Subject;

/// The finalizer that an object has while it holds something.
pub const FINALIZER: &str = "torpor.dev/hold";

/// Everything that the plan of one object is made from.
#[derive(Debug)]
pub struct Input<'a, V, S> {
    /// The object, as a holder.
    pub holder: &'a Holder,
    /// Its generation.
    pub generation: Option<i64>,
    /// When it was created.
    pub created: Timestamp,
    /// Since when it is being deleted.
    pub deleting_since: Option<Timestamp>,
    /// Whether it has Torpor's finalizer.
    pub finalizer: bool,
    /// Its valid spec.
    pub spec: &'a V,
    /// Its status as it was.
    pub status: &'a S,
    /// The observed state of its namespace.
    pub observed: &'a Observed,
    /// The market as this iteration observed it; none where it has not.
    pub market: Option<&'a market_state::MarketObservation>,
    /// The memory of earlier iterations.
    pub memory: &'a PlanState,
    /// The time, in whole seconds.
    pub now: Timestamp,
    /// The id of an episode that this plan may begin.
    pub fresh_id: &'a str,
}

impl<V, S> Clone for Input<'_, V, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<V, S> Copy for Input<'_, V, S> {}

/// The memory that one iteration leaves to the next. After a restart Torpor finds it out again.
#[derive(Clone, Debug, Default)]
pub struct PlanState {
    /// Lists that showed no pod.
    pub confirmations: Confirmations,
    /// Foreign writes to held objects.
    pub contests: Contests,
    /// Failed writes.
    pub failures: Failures,
    /// The state of the market.
    pub market: market_state::MarketState,
}

/// The next actions for one object.
#[derive(Debug)]
pub struct Plan<S> {
    /// The status, written first, where it differs.
    pub status: S,
    /// Calls to the market, made next, in this order.
    pub calls: Vec<market_state::Action>,
    /// Actions in the cluster, taken last, in this order.
    pub actions: Vec<Action>,
    /// What follows the actions.
    pub next: Next,
    /// For the next plan.
    pub confirmations: Confirmations,
    /// For the next plan.
    pub market: market_state::MarketState,
    /// Whether a change in the namespace may change the plan.
    pub watches: bool,
}

/// One action in the cluster.
#[derive(Debug)]
pub enum Action {
    /// Add the finalizer, before the first hold.
    AddFinalizer,
    /// Remove the finalizer, after the last hold.
    RemoveFinalizer,
    /// Hold a workload or ConfigMap at `wants`, and release its other levers.
    Hold {
        /// The workload or ConfigMap.
        subject: Arc<Subject>,
        /// Levers and values. Empty: release all of it.
        wants: BTreeMap<String, Value>,
        /// The id of the episode.
        episode: String,
        /// The record of it in the status.
        recorded: Option<StatusRecord>,
        /// A CronJob skips the runs before this time; none where it makes up for them.
        skip_runs_before: Option<Timestamp>,
    },
    /// Mark the hold of a workload or ConfigMap as kept.
    MarkKept(Arc<Subject>),
    /// Create a Job that watches for these sessions.
    CreateJob(Attempt, Purpose, Watch),
    /// Suspend a Job: its pods end, it creates no others, and its name stays taken.
    SuspendJob(String),
    /// Delete a Job.
    DeleteJob(String),
}

impl Action {
    /// Returns whether it takes a hold.
    pub fn holds(&self) -> bool {
        matches!(self, Self::Hold { wants, .. } if !wants.is_empty())
    }

    /// Returns whether it writes a workload or ConfigMap.
    pub fn writes(&self, subject: &Subject) -> bool {
        matches!(self, Self::Hold { subject: written, .. } | Self::MarkKept(written) if written.uid == subject.uid)
    }

    /// Returns whether it may be taken although the status could not be written: it releases, or ends a Job.
    pub fn needs_no_status(&self) -> bool {
        match self {
            Self::Hold { wants, .. } => wants.is_empty(),
            Self::RemoveFinalizer
            | Self::MarkKept(_)
            | Self::SuspendJob(_)
            | Self::DeleteJob(_) => true,
            Self::AddFinalizer | Self::CreateJob(..) => false,
        }
    }

    /// Returns whether it removes the finalizer.
    pub fn removes_finalizer(&self) -> bool {
        matches!(self, Self::RemoveFinalizer)
    }
}

/// What follows the actions of a plan.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Next {
    /// Observe again at once.
    Again,
    /// Observe the pods and plan again. Nothing of this plan is done.
    ObservePods,
    /// Observe the market and plan again. Nothing of this plan is done.
    ObserveMarket,
    /// Observe again after this time, or when something changes.
    Wait(SignedDuration),
    /// Nothing to do until something changes.
    AtRest,
}

impl Next {
    /// Returns the earlier of this and a wait.
    #[must_use]
    pub fn or_wait(self, wait: SignedDuration) -> Self {
        match self {
            Self::AtRest => Self::Wait(wait),
            Self::Wait(other) => Self::Wait(other.min(wait)),
            other => other,
        }
    }
}

/// When each step of an episode was first observed without pods.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Confirmations {
    /// The id of the episode.
    pub episode: String,
    /// By name of the step.
    pub clear: BTreeMap<String, Timestamp>,
}

/// Failed writes, by the uid of the object, or by the name of a Job of Torpor's own.
pub type Failures = BTreeMap<String, FailedWrite>;

/// A write that the API server rejected, or that did not go through.
#[derive(Clone, Debug, PartialEq)]
pub struct FailedWrite {
    /// How often it has failed in a row.
    pub tries: u32,
    /// When Torpor sends it again.
    pub retry_at: Timestamp,
    /// The answer of the API server.
    pub answer: String,
    /// Whether admission changed the write: a dry run comes before the next.
    pub altered: bool,
}

/// Where the workloads of an object are.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Place {
    /// Nothing is held.
    #[default]
    Up,
    /// Going down.
    GoingDown,
    /// Everything that the spec asks for is down.
    Down,
    /// Waking.
    ComingUp,
}

/// The input of a transition.
#[derive(Clone, Copy, Debug)]
pub struct HoldInput<'a> {
    /// The object, as a holder.
    pub holder: &'a Holder,
    /// Whether the object is being deleted.
    pub deleting: bool,
    /// Whether it has been deleted for longer than `progressDeadline`: then its finalizer goes.
    pub overdue: bool,
    /// Whether it has Torpor's finalizer.
    pub finalizer: bool,
    /// The workloads and ConfigMaps to take down.
    pub spec: &'a Spec,
    /// The hold as it was.
    pub state: &'a HoldState,
    /// The preflight and the last truncation as they were.
    pub database: &'a DatabaseState,
    /// Where the workloads were.
    pub place: Place,
    /// The time at which the wake was due; none where a person asks for it.
    pub due: Option<Timestamp>,
    /// The observed state of the namespace.
    pub observed: &'a Observed,
    /// The memory of earlier iterations.
    pub memory: &'a PlanState,
    /// The time, in whole seconds.
    pub now: Timestamp,
    /// The id of an episode that this may begin.
    pub fresh_id: &'a str,
}

impl<'a, V, S> Input<'a, V, S> {
    /// Returns whether the object has been deleted for longer than its deadline.
    pub fn is_overdue(&self, deadline: SignedDuration) -> bool {
        self.deleting_since.is_some_and(|since| self.now > since + deadline)
    }

    /// Returns the part of the input that a transition takes.
    pub fn hold(
        &self,
        spec: &'a Spec,
        state: &'a HoldState,
        database: &'a DatabaseState,
        place: Place,
    ) -> HoldInput<'a> {
        HoldInput {
            holder: self.holder,
            deleting: self.deleting_since.is_some(),
            overdue: self.is_overdue(spec.deadline),
            finalizer: self.finalizer,
            spec,
            state,
            database,
            place,
            due: None,
            observed: self.observed,
            memory: self.memory,
            now: self.now,
            fresh_id: self.fresh_id,
        }
    }
}

/// The next part of a transition.
#[derive(Debug)]
pub struct Transition {
    /// The hold as it is to be recorded.
    pub state: HoldState,
    /// The preflight and the last truncation as they are to be recorded.
    pub database: DatabaseState,
    /// Where the workloads are.
    pub place: Place,
    /// How it stands.
    pub standing: Standing,
    /// The cause of the episode, where the workloads have just got to [`Place::Down`] or [`Place::Up`].
    pub completed: Option<String>,
    /// Whether the episode that was asked for has begun. Not so while the Job of the one before is deleted.
    pub begun: bool,
    /// Where everything is down, or up: whether the spec selects no object at all.
    pub selects_nothing: bool,
    /// Where everything is down, or up: entries of the spec that match nothing.
    pub unmatched: Vec<String>,
    /// What the spec misses while everything else is down.
    pub warning: Option<String>,
    /// Actions in the cluster.
    pub actions: Vec<Action>,
    /// What follows the actions.
    pub next: Next,
    /// For the next transition.
    pub confirmations: Confirmations,
}

impl Transition {
    /// Returns whether it takes a hold.
    pub fn holds(&self) -> bool {
        self.actions.iter().any(Action::holds)
    }

    /// Keeps the finalizer, where the object still has something to do at a market.
    pub fn keep_finalizer(&mut self) {
        self.actions.retain(|action| !action.removes_finalizer());
        if self.next == Next::Again && self.actions.is_empty() {
            self.next = Next::AtRest;
        }
    }

    /// Returns whether it removes the finalizer.
    pub fn removes_finalizer(&self) -> bool {
        self.actions.iter().any(Action::removes_finalizer)
    }

    /// Returns whether workloads are held and none of them is up again, or others hold all of them.
    /// Stopped workloads strike no deals, so that the rest may stop without an observation of the market.
    pub fn finds_all_stopped(&self, input: &HoldInput) -> bool {
        let holder = input.holder;
        let mut workloads = input.observed.workloads.iter();
        (workloads.any(|subject| subject.is_held_by(holder)) && !self.holds_again(holder))
            || super::all_is_stopped(input.spec, input.observed)
    }

    /// Returns whether it takes a hold of a workload that this holder holds already: that is up again.
    fn holds_again(&self, holder: &Holder) -> bool {
        self.actions.iter().any(|action| match action {
            Action::Hold { subject, .. } => {
                subject.kind.name != "ConfigMap" && action.holds() && subject.is_held_by(holder)
            }
            _ => false,
        })
    }
}
