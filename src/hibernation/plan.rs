//! What to do next: a pure function of the valid spec, what was seen, and the time.
//!
//! A plan is a status, written first, and then actions; after them the object is looked at again.
//! So what an action needs to be found again after a crash (an episode's id, a Job's name and its
//! fence) is recorded before the action is taken.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::Value;

use super::down::all_is_stopped;
use super::job::Purpose;
use super::observe::Observed;
use super::roles::{Role, Settled};
use super::steps::{Step, StepName};
use super::validate::Valid;
use crate::api::hibernation::{
    Attempt, Episode, EpisodeTruncation, HibernationStatus, HistoryEntry, NextTransition, Phase,
    StepStatus,
};
use crate::api::schedule::DesiredState;
use crate::api::workload::MissedRuns;
use crate::hold::record::{Found, Holder};
use crate::hold::status_record::StatusRecord;
use crate::hold::subject::Subject;
use crate::schedule::{Basis, Cause, DesiredCause, Resolved};

/// The finalizer that is there while something is held.
pub const FINALIZER: &str = "torpor.dev/hold";
/// Entries of the history.
const HISTORY: usize = 10;

/// Everything that a plan is made from.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// The object, as a holder.
    pub holder: &'a Holder,
    /// Its generation.
    pub generation: Option<i64>,
    /// Since when it is being deleted.
    pub deleting_since: Option<Timestamp>,
    /// Whether Torpor's finalizer is there.
    pub finalizer: bool,
    /// The spec.
    pub spec: &'a Valid,
    /// The status as it was.
    pub status: &'a HibernationStatus,
    /// What was seen.
    pub seen: &'a Observed,
    /// Clear looks so far.
    pub looks: &'a Looks,
    /// Who keeps on writing what is held.
    pub contests: &'a Contests,
    /// The time, in whole seconds.
    pub now: Timestamp,
    /// For a new hibernation.
    pub fresh_id: &'a str,
    /// A market does not permit that it sleeps: it stays awake, or comes back.
    pub held_off: bool,
}

/// What to do.
#[derive(Debug)]
pub struct Plan {
    /// To be written first, where it differs.
    pub status: HibernationStatus,
    /// Then to be done, in this order.
    pub actions: Vec<Action>,
    /// And then.
    pub next: Next,
    /// Clear looks, for the next plan. They are kept in memory only.
    pub looks: Looks,
    /// Whether a change in the namespace may change the plan.
    pub listens: bool,
}

impl Plan {
    /// Whether it takes hold of something.
    pub fn stops(&self) -> bool {
        self.actions.iter().any(Action::stops)
    }

    /// Whether workloads are held and none of them is up again, or all is stopped by others: what is stopped
    /// strikes no deals, so that a market need not be seen for the rest to stop.
    pub fn finds_it_stopped(&self, holder: &Holder, spec: &Valid, seen: &Observed) -> bool {
        let mut workloads = seen.workloads.iter();
        (workloads.any(|subject| subject.is_held_by(holder)) && !self.stops_again(holder))
            || all_is_stopped(spec, seen)
    }

    /// Whether it stops a workload that this holder holds already: that is up again.
    fn stops_again(&self, holder: &Holder) -> bool {
        self.actions.iter().any(|action| match action {
            Action::Settle { subject, .. } => {
                subject.kind.name != "ConfigMap" && action.stops() && subject.is_held_by(holder)
            }
            _ => false,
        })
    }
}

/// One thing to do.
#[derive(Debug)]
pub enum Action {
    /// Before the first hold.
    AddFinalizer,
    /// After the last one.
    RemoveFinalizer,
    /// Hold an object at what is wanted, and let go of the rest.
    Settle {
        /// The object.
        subject: Box<Subject>,
        /// Levers and values; none lets go of it.
        wants: BTreeMap<String, Value>,
        /// The hibernation.
        episode: String,
        /// What the status remembers of it.
        remembered: Option<StatusRecord>,
        /// Whether a CronJob's missed runs are skipped.
        skip_missed_runs: bool,
    },
    /// Mark the hold of an object as kept.
    Keep(Box<Subject>),
    /// Create a Job.
    CreateJob(Attempt, Purpose),
    /// Delete a Job.
    DeleteJob(String),
}

impl Action {
    /// Whether it takes hold of something.
    fn stops(&self) -> bool {
        matches!(self, Self::Settle { wants, .. } if !wants.is_empty())
    }
}

/// What follows the actions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Next {
    /// Look again at once.
    Again,
    /// The plan needs to see the pods: nothing of it is to be done before.
    LookAtPods,
    /// The plan needs to see the market: nothing of it is to be done before.
    LookAtMarket,
    /// Look again after this, or when something changes.
    Wait(SignedDuration),
    /// All is as it is to be: look again when something changes.
    Settled,
}

/// When each step was first seen clear, in this hibernation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Looks {
    /// The hibernation.
    pub episode: String,
    /// By name of the step.
    pub clear: BTreeMap<String, Timestamp>,
}

/// Workloads that somebody else writes again and again, by uid, and Jobs that were rejected, by name.
pub type Contests = BTreeMap<String, Contest>;

/// Who contests a hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Contest {
    /// How often, not long ago.
    pub count: u32,
    /// When last.
    pub last: Timestamp,
    /// Until when the next try waits.
    pub quiet_until: Timestamp,
    /// The field manager.
    pub manager: String,
    /// What it wrote, as a person is told.
    pub said: String,
    /// Not contested but rejected: what the API server answered to the last write.
    pub rejected: Option<String>,
}

/// How the object stands, for its conditions.
#[derive(Clone, Debug, PartialEq)]
pub enum Standing {
    /// What is asked for is so.
    Settled,
    /// On the way.
    Progressing {
        /// For the conditions.
        reason: &'static str,
        /// What it waits for.
        message: String,
    },
    /// A person is needed.
    Stalled {
        /// For the conditions.
        reason: String,
        /// What is in the way.
        message: String,
    },
}

/// A plan in the making.
pub struct Draft<'a> {
    pub(super) input: Input<'a>,
    pub(super) status: HibernationStatus,
    pub(super) actions: Vec<Action>,
    pub(super) looks: Looks,
    pub(super) next: Next,
    pub(super) standing: Standing,
    /// Objects with a role, ConfigMaps included.
    pub(super) cast: Vec<(&'a Subject, Role<'a>)>,
    /// Whether something runs that was to be down.
    pub(super) writer_seen: bool,
}

/// Makes the plan.
pub fn plan(input: Input) -> Plan {
    let mut draft = Draft::new(input);
    draft.decide();
    draft.finish()
}

impl<'a> Draft<'a> {
    fn new(input: Input<'a>) -> Self {
        let mut draft = Self {
            input,
            status: input.status.clone(),
            actions: Vec::new(),
            looks: input.looks.clone(),
            next: Next::Settled,
            standing: Standing::Settled,
            cast: Vec::new(),
            writer_seen: false,
        };
        let seen = input.seen;
        draft.cast = seen
            .workloads
            .iter()
            .chain(&seen.config_maps)
            .filter_map(|subject| Some((subject, draft.role(subject)?)))
            .collect();
        draft
    }

    fn decide(&mut self) {
        let Input { spec, now, .. } = self.input;
        let desired = Resolved::at(&spec.basis, spec.override_.as_ref(), now);
        self.status.observed_generation = self.input.generation;
        self.status.next_transition =
            desired.next.map(|next| NextTransition { state: next.state, at: Time(next.at) });
        self.status.plan = Vec::new();
        self.adopt();
        if let Some(since) = self.input.deleting_since {
            self.status.next_transition = None;
            return self.delete(since);
        }
        if spec.dry_run {
            return self.rehearse(desired.state);
        }
        let asked = match spec.basis {
            Basis::State(state) => Some(state),
            Basis::Schedule(_) => None,
        };
        let by_person = desired.cause == DesiredCause::State && self.status.asked != asked;
        if self.input.held_off {
            // That it was asked for is heard once it is permitted.
            return self.come_back();
        }
        if desired.state == DesiredState::Hibernated
            && let Some(episode) = &self.status.episode
            && !self.is_under_way(episode)
            && let Some(step) = self.clear_away_the_job()
        {
            // What was asked for is written down once it is heard.
            return self.at("Truncation", step);
        }
        self.status.asked = asked;
        match desired.state {
            DesiredState::Hibernated => {
                self.begin(&desired.cause, by_person);
                self.go_down();
            }
            DesiredState::Awake => self.come_back(),
        }
    }

    /// An object that finds its own holds and has no record of them takes them over: it was
    /// restored from a backup, or made again after `onDelete: Keep`.
    fn adopt(&mut self) {
        if self.status.episode.is_some() {
            return;
        }
        let holder = self.input.holder;
        let id = self.cast.iter().find_map(|(subject, _)| {
            let record = subject.found.record()?;
            record.holdings(holder).next().map(|(_, holding)| holding.episode.clone())
        });
        if let Some(id) = id {
            self.status.episode = Some(Episode {
                id,
                began: Time(self.input.now),
                cause: "taken over from the holds that were found".to_owned(),
                asleep_since: None,
                waking_since: None,
                truncation: EpisodeTruncation::Unknown,
                attempt: None,
                earlier_not_after: None,
            });
        }
    }

    /// Begins a hibernation where none is under way, or turns one around that was waking.
    fn begin(&mut self, cause: &DesiredCause, by_person: bool) {
        let Input { spec, now, .. } = self.input;
        let truncates = spec
            .database
            .as_ref()
            .is_some_and(|database| by_person || database.spec.truncate.automatic);
        let under_way = self.status.episode.as_ref().is_some_and(|e| self.is_under_way(e));
        if !under_way {
            self.forget_what_was_let_go();
        }
        match &mut self.status.episode {
            Some(episode) if under_way => {
                if episode.waking_since.take().is_some() {
                    self.status.step = None;
                }
                if episode.truncation == EpisodeTruncation::NotAsked && by_person && truncates {
                    episode.truncation = EpisodeTruncation::Pending;
                    // A look from when it went down tells nothing of what runs now.
                    self.looks.clear.clear();
                }
            }
            _ => {
                self.status.step = None;
                self.status.episode = Some(Episode {
                    id: self.input.fresh_id.to_owned(),
                    began: Time(now),
                    cause: in_words(cause, by_person),
                    asleep_since: None,
                    waking_since: None,
                    truncation: if truncates {
                        EpisodeTruncation::Pending
                    } else {
                        EpisodeTruncation::NotAsked
                    },
                    attempt: None,
                    earlier_not_after: None,
                });
            }
        }
        let id = self.episode_id();
        if self.looks.episode != id {
            self.looks = Looks { episode: id, clear: BTreeMap::new() };
        }
    }

    /// Before the fence of its wake nothing has come back yet: it is still the same hibernation.
    fn is_under_way(&self, episode: &Episode) -> bool {
        episode.waking_since.is_none() || self.waking_fence() != Step::Done
    }

    /// Deletes the truncation's Job, where it is there, before its hibernation is forgotten: nobody
    /// would know of it any more. A deletion is never taken back: what somebody's finalizer still keeps of
    /// it is theirs, and keeps nobody waiting.
    pub(super) fn clear_away_the_job(&mut self) -> Option<Step> {
        self.status.episode.as_ref()?.attempt.as_ref()?;
        let Some(job) = &self.input.seen.truncation else {
            // It is looked for once the status says that the wake has begun.
            return Some(Step::Act);
        };
        if !job.exists || job.deleting {
            return None;
        }
        self.actions.push(Action::DeleteJob(job.name.clone()));
        Some(Step::Wait(vec![format!("Job {} is deleted", job.name)]))
    }

    /// What was let go of in an earlier hibernation, and has not been looked at since.
    fn forget_what_was_let_go(&mut self) {
        for (subject, _) in self.cast.clone() {
            let remembered = self.remembered(subject).unwrap_or_default();
            if subject.found == Found::Nothing && remembered.still_held(subject).0.is_empty() {
                self.forget(subject);
            }
        }
    }

    fn go_down(&mut self) {
        self.status.phase = Some(if self.slept() { Phase::Hibernated } else { Phase::Hibernating });
        if !self.input.finalizer {
            self.actions.push(Action::AddFinalizer);
            self.progress("Beginning", "recording the hibernation".to_owned());
            self.next = Next::Again;
            return;
        }
        for step in self.steps_down() {
            match self.down(&step) {
                Step::Done => {}
                outcome => {
                    let looking = outcome == Step::Look;
                    // What was restarted writes no more, ready or not, but has to be seen so.
                    let unsure = !matches!(
                        (&step, &outcome),
                        (_, Step::Look | Step::SecondLook(_))
                            | (StepName::Truncate, _)
                            | (StepName::Restart, Step::Wait(_))
                    );
                    self.at(&step.to_string(), outcome);
                    if !looking {
                        self.keep_the_rest_held();
                    }
                    // What stands in the way of a look at the rest may hide a writer there.
                    if self.writer_seen || unsure {
                        self.stop_truncation();
                    }
                    return;
                }
            }
        }
        self.status.step = None;
        self.status.phase = Some(Phase::Hibernated);
        let now = self.input.now;
        if let Some(episode) = &mut self.status.episode
            && episode.asleep_since.is_none()
        {
            episode.asleep_since = Some(Time(now));
            let cause = episode.cause.clone();
            self.remember(Phase::Hibernated, cause);
        }
    }

    /// What is held already is kept there, whatever step the others wait at.
    fn keep_the_rest_held(&mut self) {
        let before = self.actions.len();
        for (subject, role) in self.cast.clone() {
            if self.holds(subject) && !matches!(role, Role::LetGo) {
                let wants = self.wants(subject, &role);
                // What can't be written is said at its own step.
                let writing = self.settle(subject, wants, MissedRuns::Skip) == Ok(Settled::Writing);
                match role {
                    Role::Stop(entry) if writing => {
                        self.forget_the_look(&StepName::Stage(entry.stage));
                    }
                    Role::Restart(_) if writing => self.forget_the_look(&StepName::Restart),
                    _ => {}
                }
            }
        }
        if self.actions.len() > before {
            self.next = Next::Again;
        }
    }

    pub(super) fn episode_id(&self) -> String {
        self.status.episode.as_ref().map(|episode| episode.id.clone()).unwrap_or_default()
    }

    /// Whether all has been down in this hibernation.
    pub(super) fn slept(&self) -> bool {
        self.status.episode.as_ref().is_some_and(|episode| episode.asleep_since.is_some())
    }

    /// Records where the transition stands.
    pub(super) fn at(&mut self, name: &str, outcome: Step) {
        let now = self.input.now;
        let step = self.status.step.get_or_insert_with(|| StepStatus {
            name: name.to_owned(),
            since: Time(now),
            overdue: Vec::new(),
        });
        if step.name != name {
            name.clone_into(&mut step.name);
            step.since = Time(now);
        }
        let waited = now.duration_since(step.since.0);
        match outcome {
            Step::Done => {}
            Step::Act => {
                self.progress("Writing", format!("{name}: writing"));
                self.next = Next::Again;
            }
            Step::Look => self.next = Next::LookAtPods,
            Step::SecondLook(left) => {
                self.progress("Settling", format!("{name}: down, looking a second time"));
                self.next = Next::Wait(left);
            }
            Step::Wait(what) => {
                let message = format!("{name}: {}", few(&what));
                if waited > self.input.spec.deadline {
                    self.stall("ProgressDeadlineExceeded", message);
                } else {
                    self.progress("Waiting", message);
                }
                self.next = Next::Wait(patience(waited));
            }
            Step::Blocked { reason, message } => {
                self.stall(&reason, message);
                self.next = Next::Wait(SignedDuration::from_secs(15));
            }
        }
    }

    pub(super) fn progress(&mut self, reason: &'static str, message: String) {
        self.standing = Standing::Progressing { reason, message };
    }

    pub(super) fn stall(&mut self, reason: &str, message: String) {
        self.standing = Standing::Stalled { reason: reason.to_owned(), message };
    }

    pub(super) fn remember(&mut self, phase: Phase, message: String) {
        let at = Time(self.input.now);
        self.status.history.insert(0, HistoryEntry { phase, at, message });
        self.status.history.truncate(HISTORY);
    }
}

fn in_words(cause: &DesiredCause, by_person: bool) -> String {
    match cause {
        DesiredCause::State if by_person => "state: Hibernated was asked for".to_owned(),
        DesiredCause::State => "state is Hibernated, and the override has expired".to_owned(),
        DesiredCause::Override { until } => format!("an override asks for it until {until}"),
        DesiredCause::Schedule(Cause::Exception { reason: Some(reason), .. }) => {
            format!("an exception of the schedule: {reason}")
        }
        DesiredCause::Schedule(Cause::Exception { .. }) => {
            "an exception of the schedule".to_owned()
        }
        DesiredCause::Schedule(_) => "the schedule".to_owned(),
    }
}

/// The first few of a list, and how many more.
pub fn few(what: &[String]) -> String {
    const SHOWN: usize = 5;
    let mut text = what.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if what.len() > SHOWN {
        text = format!("{text} and {} more", what.len() - SHOWN);
    }
    text
}

/// How soon to look again: often at first, seldom when it takes long.
fn patience(waited: SignedDuration) -> SignedDuration {
    SignedDuration::from_secs(match waited.as_secs() {
        ..30 => 1,
        30..300 => 3,
        _ => 10,
    })
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
