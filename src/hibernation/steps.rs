//! The steps of a transition, each a pure look at whether it is done and what it still needs. They
//! are walked from the first at every plan, so that what falls behind is mended in order.

use std::collections::BTreeMap;
use std::fmt;

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::core::SelectorExt;

use super::database::{self, Progress, fenced, retry_at};
use super::down::{blockers, not_ready, not_restarted, of_old_template};
use super::job::{self, Purpose};
use super::observe::{JobView, Pods};
use super::plan::{Action, Draft, Role, Settled, few};
use super::validate::{ConfigEntry, DatabaseEntry, Target};
use crate::api::database::Truncate;
use crate::api::hibernation::{
    Attempt, AttemptEnd, EmptiedTable, EpisodeTruncation, Preflight, Truncation,
};
use crate::api::schedule::DesiredState;
use crate::api::workload::MissedRuns;
use crate::hold::lever::key_pointer;
use crate::hold::subject::Subject;
use crate::truncate::report::Report;

/// Between the two looks that find nothing running.
const BETWEEN_LOOKS: SignedDuration = SignedDuration::from_secs(5);
/// Tables that the status names.
const LARGEST: usize = 10;

/// A step on the way down or back.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum StepName {
    /// The truncation's dry run has passed, and nothing is refused.
    Preflight,
    /// ConfigMaps are overridden, or restored.
    ConfigMaps,
    /// Workloads of one stage.
    Stage(i32),
    /// Restarted workloads.
    Restart,
    /// The truncation Job.
    Truncate,
    /// No truncation can run any more.
    Fence,
    /// What the spec does not name any more is let go.
    LetGo,
}

impl fmt::Display for StepName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stage(stage) => write!(f, "Stage {stage}"),
            other => write!(f, "{other:?}"),
        }
    }
}

/// How a step stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Step {
    /// Confirmed.
    Done,
    /// There is something to be done, and then to be looked at.
    Act,
    /// The pods have to be seen.
    Look,
    /// Nothing runs; a second look is due after this.
    SecondLook(SignedDuration),
    /// It waits for these.
    Wait(Vec<String>),
    /// A person is needed.
    Blocked {
        /// For the conditions.
        reason: String,
        /// What is in the way.
        message: String,
    },
}

impl Draft<'_> {
    pub(super) fn steps_down(&self) -> Vec<StepName> {
        // The deals are asked between the preflight and the first hold.
        let mut steps = vec![StepName::Preflight, StepName::ConfigMaps, StepName::LetGo];
        let before = self.truncate_settings().and_then(|truncate| truncate.before_stage);
        let (early, late): (Vec<_>, Vec<_>) = self
            .input
            .spec
            .stages()
            .into_iter()
            .partition(|stage| before.is_none_or(|before| *stage < before));
        steps.extend(early.into_iter().map(StepName::Stage));
        steps.extend([StepName::Restart, StepName::Truncate]);
        steps.extend(late.into_iter().map(StepName::Stage));
        steps
    }

    pub(super) fn steps_back(&self) -> Vec<StepName> {
        let stages = self.input.spec.stages().into_iter().rev().map(StepName::Stage);
        [StepName::Fence, StepName::ConfigMaps, StepName::LetGo]
            .into_iter()
            .chain(stages)
            .chain([StepName::Restart])
            .collect()
    }

    fn truncate_settings(&self) -> Option<&Truncate> {
        self.input.spec.database.as_ref().map(|database| &database.spec.truncate)
    }

    pub(super) fn down(&mut self, step: &StepName) -> Step {
        match step {
            StepName::Preflight => self.before_the_first_hold(),
            StepName::ConfigMaps => match self.missing_config_map() {
                Some(message) => Step::Blocked { reason: "ConfigMapNotFound".to_owned(), message },
                None => self.hold_all(|role| matches!(role, Role::Override(_))),
            },
            StepName::LetGo => {
                let held = |(subject, role): &(&Subject, Role)| {
                    matches!(role, Role::LetGo) && self.holds(subject)
                };
                // What is let go writes again: not while a truncation may still commit.
                match self.waking_fence() {
                    Step::Done => self.hold_all(|role| matches!(role, Role::LetGo)),
                    fence if self.cast.iter().any(held) => fence,
                    _ => Step::Done,
                }
            }
            StepName::Stage(stage) => self.stop_stage(*stage),
            StepName::Restart => self.restart(),
            StepName::Truncate => self.truncate(),
            StepName::Fence => Step::Done,
        }
    }

    pub(super) fn back(&mut self, step: &StepName) -> Step {
        match step {
            StepName::Fence => self.waking_fence(),
            StepName::ConfigMaps => self.let_go_of(|role| matches!(role, Role::Override(_))),
            StepName::LetGo => self.let_go_of(|role| matches!(role, Role::LetGo)),
            StepName::Stage(stage) => {
                let stage = *stage;
                self.wake(move |role| matches!(role, Role::Stop(entry) if entry.stage == stage))
            }
            StepName::Restart => self.wake(|role| matches!(role, Role::Restart(_))),
            StepName::Preflight | StepName::Truncate => Step::Done,
        }
    }

    /// Everything that can be known to stand in the way is known before anything is stopped.
    fn before_the_first_hold(&mut self) -> Step {
        let pending = self.status.episode.as_ref().is_some_and(|episode| {
            episode.truncation == EpisodeTruncation::Pending && episode.attempt.is_none()
        });
        if pending {
            match self.preflight() {
                Step::Done => {}
                other => return other,
            }
        }
        if self.cast.iter().any(|(subject, _)| self.holds(subject)) {
            return Step::Done;
        }
        if let Some(message) = self.missing_config_map() {
            return Step::Blocked { reason: "ConfigMapNotFound".to_owned(), message };
        }
        let taken = self.actions.len();
        let mut refused = Vec::new();
        for (subject, role) in self.cast.clone() {
            let wants = self.wants(subject, &role);
            refused.extend(self.settle(subject, wants, missed_runs(&role)).err());
        }
        self.actions.truncate(taken);
        blocked(&refused).unwrap_or(Step::Done)
    }

    fn missing_config_map(&self) -> Option<String> {
        let matched = |entry: &ConfigEntry| {
            self.input.seen.config_maps.iter().any(|config_map| match &entry.target {
                Target::Name(name) => *name == config_map.name,
                Target::Labels(labels) => labels.matches(&config_map.labels),
                Target::All => true,
            })
        };
        let missing = self.input.spec.config_maps.iter().find(|entry| !matched(entry))?;
        Some(match &missing.target {
            Target::Name(name) => format!("there is no ConfigMap {name} in this namespace"),
            Target::Labels(labels) => format!("no ConfigMap has the labels {labels}"),
            Target::All => return None,
        })
    }

    /// Holds whatever has such a role and is not held as it should be.
    fn hold_all(&mut self, of: impl Fn(&Role) -> bool) -> Step {
        let cast = self.cast.clone();
        let mut outcome = Step::Done;
        let mut refused = Vec::new();
        for (subject, role) in cast.iter().filter(|(_, role)| of(role)) {
            let wants = self.wants(subject, role);
            match self.settle(subject, wants, missed_runs(role)) {
                Ok(Settled::Already) => {}
                Ok(Settled::Writing) => outcome = Step::Act,
                Ok(Settled::Contested) => {
                    refused.push(("Contested".to_owned(), self.contested(subject)));
                }
                Err(refusal) => refused.push(refusal),
            }
        }
        // What can be written is written first; what can't be is said once that is done.
        match outcome {
            Step::Done => blocked(&refused).unwrap_or(Step::Done),
            outcome => outcome,
        }
    }

    fn contested(&self, subject: &Subject) -> String {
        let manager = self
            .input
            .contests
            .get(&subject.uid)
            .map_or("another controller", |contest| contest.manager.as_str());
        let field = subject.kind.stop.unwrap_or("/data");
        format!(
            "{} is written again and again by {manager}: have it leave {field} alone (Argo CD: ignoreDifferences; Flux: leave the field out of the manifest; KEDA and HPA: pause them)",
            subject.display()
        )
    }

    fn let_go_of(&mut self, of: impl Fn(&Role) -> bool) -> Step {
        let cast = self.cast.clone();
        let mut outcome = Step::Done;
        let mut refused = Vec::new();
        for (subject, role) in cast.iter().filter(|(_, role)| of(role)) {
            if !self.holds(subject) {
                continue;
            }
            match self.settle(subject, BTreeMap::new(), missed_runs(role)) {
                Ok(Settled::Already) => {}
                // A contest keeps nothing from being let go.
                Ok(Settled::Writing | Settled::Contested) => outcome = Step::Act,
                // One that can't be written never keeps the others asleep.
                Err((_, message)) => refused.push(message),
            }
        }
        if outcome == Step::Done && !refused.is_empty() { Step::Wait(refused) } else { outcome }
    }

    fn wake(&mut self, of: impl Fn(&Role) -> bool) -> Step {
        match self.let_go_of(&of) {
            Step::Done => {}
            other => return other,
        }
        let waits: Vec<String> = self
            .cast
            .iter()
            .filter(|(subject, role)| of(role) && subject.found.record().is_none())
            .filter_map(|(subject, _)| not_ready(subject))
            .collect();
        if waits.is_empty() { Step::Done } else { Step::Wait(waits) }
    }

    fn stop_stage(&mut self, stage: i32) -> Step {
        let of = |role: &Role| matches!(role, Role::Stop(entry) if entry.stage == stage);
        match self.hold_all(of) {
            Step::Done => {}
            other => return other,
        }
        let Some(pods) = &self.input.seen.pods else { return Step::Look };
        let running: Vec<String> = self
            .cast
            .iter()
            .filter(|(_, role)| of(role))
            .flat_map(|(subject, _)| blockers(subject, pods))
            .collect();
        self.writer_seen |= !running.is_empty();
        self.look(&StepName::Stage(stage), pods, running)
    }

    fn restart(&mut self) -> Step {
        let of = |role: &Role| matches!(role, Role::Restart(_));
        match self.hold_all(of) {
            Step::Done => {}
            other => return other,
        }
        if !self.cast.iter().any(|(_, role)| of(role)) {
            return Step::Done;
        }
        let Some(pods) = &self.input.seen.pods else { return Step::Look };
        let digest = self.input.spec.restart_digest(&self.episode_id());
        let waits: Vec<String> = self
            .cast
            .iter()
            .filter(|(_, role)| of(role))
            .flat_map(|(subject, _)| not_restarted(subject, pods, &digest))
            .collect();
        self.writer_seen |= self
            .cast
            .iter()
            .any(|(subject, role)| of(role) && !of_old_template(subject, pods, &digest).is_empty());
        self.look(&StepName::Restart, pods, waits)
    }

    /// Two looks, some seconds apart, that show nothing. Where all has been down already and
    /// nothing is to be emptied, one is enough.
    fn look(&mut self, step: &StepName, pods: &Pods, running: Vec<String>) -> Step {
        let key = step.to_string();
        if !running.is_empty() {
            self.looks.clear.remove(&key);
            return Step::Wait(running);
        }
        let truncation = self.status.episode.as_ref().map(|episode| episode.truncation);
        if self.slept() && truncation != Some(EpisodeTruncation::Pending) {
            return Step::Done;
        }
        let first = *self.looks.clear.entry(key).or_insert(pods.complete);
        let apart = pods.began.duration_since(first);
        if apart >= BETWEEN_LOOKS {
            Step::Done
        } else if apart.is_negative() {
            Step::SecondLook(BETWEEN_LOOKS)
        } else {
            Step::SecondLook(BETWEEN_LOOKS - apart)
        }
    }

    /// The truncation's dry run, which runs whenever the database's settings change.
    pub(super) fn preflight(&mut self) -> Step {
        let Some(database) = &self.input.spec.database else {
            let earlier = self.status.preflight.take();
            self.actions.extend(earlier.map(|p| Action::DeleteJob(p.attempt.job)));
            return Step::Done;
        };
        let mut preflight = match self.status.preflight.take() {
            Some(preflight) if preflight.attempt.settings == database.digest => preflight,
            earlier => {
                let earlier = earlier.map(|preflight| preflight.attempt);
                let number = earlier.as_ref().map_or(0, |attempt| attempt.number);
                self.actions.extend(earlier.map(|attempt| Action::DeleteJob(attempt.job)));
                Preflight {
                    attempt: self.attempt(database, Purpose::Preflight, number),
                    tables: None,
                    rows: None,
                    bytes: None,
                }
            }
        };
        let seen = self.input.seen.preflight.as_ref();
        let (step, report) =
            self.pursue(database, Purpose::Preflight, &mut preflight.attempt, seen);
        if let Some(report) = report {
            preflight.tables = Some(clamp(report.totals.tables));
            preflight.rows = Some(clamp(report.totals.rows));
            preflight.bytes = Some(clamp(report.totals.bytes));
        }
        self.status.preflight = Some(preflight);
        step
    }

    fn truncate(&mut self) -> Step {
        let Some(database) = &self.input.spec.database else {
            self.stop_truncation();
            return Step::Done;
        };
        let Some(episode) = &self.status.episode else { return Step::Done };
        if episode.truncation != EpisodeTruncation::Pending {
            return Step::Done;
        }
        let id = episode.id.clone();
        let mut attempt = episode
            .attempt
            .clone()
            .unwrap_or_else(|| self.attempt(database, Purpose::Truncation, 0));
        let seen = self.input.seen.truncation.as_ref();
        let (step, report) = self.pursue(database, Purpose::Truncation, &mut attempt, seen);
        if step == Step::Done {
            let report = report.unwrap_or_default();
            self.status.truncation = Some(Truncation {
                episode: id,
                at: Time(self.input.now),
                tables: clamp(report.totals.tables),
                rows: clamp(report.totals.rows),
                bytes_freed: clamp(report.totals.bytes),
                largest: report
                    .tables
                    .into_iter()
                    .take(LARGEST)
                    .map(|table| EmptiedTable {
                        name: table.name,
                        rows: clamp(table.rows),
                        bytes: clamp(table.bytes),
                    })
                    .collect(),
            });
        }
        if let Some(episode) = &mut self.status.episode {
            episode.attempt = Some(attempt);
            if step == Step::Done {
                episode.truncation = EpisodeTruncation::Done;
            }
        }
        step
    }

    /// A new attempt, the one after `number`. It counts from the moment that it is recorded.
    fn attempt(&self, database: &DatabaseEntry, purpose: Purpose, number: i32) -> Attempt {
        let number = number + 1;
        let id = match purpose {
            Purpose::Preflight => database.digest[..8].to_owned(),
            Purpose::Truncation => self.episode_id(),
        };
        Attempt {
            number,
            job: job::name(&self.input.holder.name, purpose, &id, number),
            not_after: Time(self.input.now + database::TIME_LIMIT),
            settings: database.digest.clone(),
            ended: None,
            message: None,
            retry_at: None,
        }
    }

    /// Takes an attempt one step on: creates its Job, waits for it, records how it ended, begins
    /// another. Returns the report where it has just ended.
    fn pursue(
        &mut self,
        database: &DatabaseEntry,
        purpose: Purpose,
        attempt: &mut Attempt,
        seen: Option<&JobView>,
    ) -> (Step, Option<Report>) {
        let now = self.input.now;
        // What was seen may be the Job of an attempt before.
        let seen = seen.filter(|job| job.name == attempt.job);
        if attempt.ended.is_none() {
            match database::progress(attempt, seen, now) {
                Progress::Missing => {
                    self.actions.push(Action::CreateJob(attempt.clone(), purpose));
                    return (Step::Act, None);
                }
                Progress::Running(None) if seen.is_none() => {
                    // It was just recorded: the Job is created, and then looked at.
                    self.actions.push(Action::CreateJob(attempt.clone(), purpose));
                    return (Step::Act, None);
                }
                Progress::Running(waiting) => return (running(attempt, waiting), None),
                Progress::Ended { end, message, report } => {
                    attempt.ended = Some(end);
                    if end != AttemptEnd::Succeeded {
                        attempt.message = Some(message);
                        attempt.retry_at = Some(Time(retry_at(end, attempt.number, now)));
                    }
                    if end != AttemptEnd::Succeeded || purpose == Purpose::Preflight {
                        self.actions.push(Action::DeleteJob(attempt.job.clone()));
                    }
                    if end == AttemptEnd::Succeeded {
                        return (Step::Done, report);
                    }
                }
            }
        }
        if attempt.ended == Some(AttemptEnd::Succeeded) {
            return (Step::Done, None);
        }
        let due = attempt.retry_at.as_ref().is_none_or(|at| now >= at.0);
        // One that was taken back may still commit: not before its fence, whatever has changed.
        let over = attempt.ended == Some(AttemptEnd::Refused) || fenced(attempt, now);
        if due || (over && attempt.settings != database.digest) {
            *attempt = self.attempt(database, purpose, attempt.number);
            self.actions.push(Action::CreateJob(attempt.clone(), purpose));
            return (Step::Act, None);
        }
        let message = attempt.message.clone().unwrap_or_default();
        if attempt.ended == Some(AttemptEnd::Refused) {
            let reason = match purpose {
                Purpose::Preflight => "PreflightRefused",
                Purpose::Truncation => "TruncationRefused",
            };
            return (Step::Blocked { reason: reason.to_owned(), message }, None);
        }
        (Step::Wait(vec![format!("Job {} failed: {message}", attempt.job)]), None)
    }

    /// A writer turned up while the truncation may be running: its Job is deleted, and another
    /// begins only once this one can commit nothing any more.
    pub(super) fn stop_truncation(&mut self) {
        let Some(attempt) =
            self.status.episode.as_mut().and_then(|episode| episode.attempt.as_mut())
        else {
            return;
        };
        let finished = self.input.seen.truncation.as_ref().is_some_and(|job| job.finished);
        match attempt.ended {
            None if !finished => {
                attempt.ended = Some(AttemptEnd::Failed);
                attempt.message =
                    Some("it was taken back: something that was down runs again".to_owned());
                attempt.retry_at = Some(Time(attempt.not_after.0 + database::CLOCK_MARGIN));
            }
            // Taken back before a crash, perhaps, and the Job is still to be deleted.
            Some(AttemptEnd::Failed) if !fenced(attempt, self.input.now) => {}
            _ => return,
        }
        let job = attempt.job.clone();
        self.actions.push(Action::DeleteJob(job));
    }

    /// Nothing is woken while a truncation could still commit.
    pub(super) fn waking_fence(&self) -> Step {
        let Some(attempt) = self.status.episode.as_ref().and_then(|e| e.attempt.as_ref()) else {
            return Step::Done;
        };
        let finished =
            self.input.seen.truncation.as_ref().is_some_and(|job| job.exists && job.finished);
        if finished
            || attempt.ended == Some(AttemptEnd::Succeeded)
            || fenced(attempt, self.input.now)
        {
            return Step::Done;
        }
        Step::Wait(vec![format!("Job {} may still be running", attempt.job)])
    }

    /// `dryRun`: says what would be done, and changes nothing.
    pub(super) fn rehearse(&mut self, desired: DesiredState) {
        match self.preflight() {
            Step::Done | Step::Act => {}
            Step::Blocked { reason, message } => self.stall(&reason, message),
            other => {
                if let Step::Wait(what) = other {
                    self.progress("Preflight", few(&what));
                }
            }
        }
        if !self.actions.is_empty() {
            self.next = super::plan::Next::Again;
        } else if self.standing != super::plan::Standing::Settled {
            self.next = super::plan::Next::Wait(SignedDuration::from_secs(2));
            self.wait_for_the_preflight();
        }
        let mut lines = Vec::new();
        for step in self.steps_down() {
            self.describe(&step, &mut lines);
        }
        let when = match desired {
            DesiredState::Hibernated => "now",
            DesiredState::Awake => "when it goes to sleep",
        };
        self.status.plan = lines
            .into_iter()
            .enumerate()
            .map(|(index, line)| format!("{}. {when}: {line}", index + 1))
            .collect();
    }

    fn describe(&self, step: &StepName, lines: &mut Vec<String>) {
        for (subject, role) in &self.cast {
            let value = |pointer: &str| {
                subject
                    .levers
                    .get(pointer)
                    .and_then(|view| view.value.as_ref())
                    .map_or("not set".to_owned(), ToString::to_string)
            };
            let subject_name = subject.display();
            match (step, role) {
                (StepName::ConfigMaps, Role::Override(wants)) => {
                    lines.extend(wants.iter().map(|(pointer, want)| {
                        let key = pointer.trim_start_matches("/data/");
                        format!("{subject_name}: {key} from {} to {want}", value(&key_pointer(key)))
                    }));
                }
                (StepName::Stage(stage), Role::Stop(entry)) if entry.stage == *stage => {
                    lines.extend(subject.kind.stop_wants().iter().map(|(pointer, want)| {
                        format!("stage {stage}: {subject_name} from {} to {want}", value(pointer))
                    }));
                }
                (StepName::Restart, Role::Restart(_)) => {
                    lines.push(format!("{subject_name}: restarted, stays up"));
                }
                _ => {}
            }
        }
        if let (StepName::Truncate, Some(truncate)) = (step, self.truncate_settings()) {
            let preflight = self.status.preflight.as_ref();
            let what = match preflight.and_then(|p| Some((p.tables?, p.rows?, p.bytes?))) {
                Some((tables, rows, bytes)) => {
                    format!("{tables} tables, about {rows} rows, {bytes} bytes")
                }
                None => "the dry run has not told yet what".to_owned(),
            };
            let automatic =
                if truncate.automatic { "" } else { " (only after a person's change of state)" };
            lines.push(format!("empty the {:?} tables{automatic}: {what}", truncate.scope));
        }
    }
}

/// What is refused, and why; none where nothing is.
fn blocked(refused: &[(String, String)]) -> Option<Step> {
    let (reason, _) = refused.first()?;
    let messages: Vec<String> = refused.iter().map(|(_, message)| message.clone()).collect();
    Some(Step::Blocked { reason: reason.clone(), message: few(&messages) })
}

fn missed_runs(role: &Role) -> MissedRuns {
    match role {
        Role::Stop(entry) | Role::Restart(entry) => entry.missed_runs,
        Role::Override(_) | Role::LetGo => MissedRuns::default(),
    }
}

/// How a Job that has not finished stands: a container that can't start needs a person.
fn running(attempt: &Attempt, waiting: Option<(String, String)>) -> Step {
    match waiting {
        Some((reason, message)) if reason != "ContainerCreating" && reason != "PodInitializing" => {
            let message = format!("Job {} can't start: {message}", attempt.job);
            Step::Blocked { reason, message }
        }
        _ => Step::Wait(vec![format!("Job {} runs", attempt.job)]),
    }
}

/// A count as the API writes it.
fn clamp<T: TryFrom<u64> + Bounded>(number: u64) -> T {
    T::try_from(number).unwrap_or(T::LARGEST)
}

/// The largest value of a number type that the API uses.
trait Bounded {
    const LARGEST: Self;
}

impl Bounded for i32 {
    const LARGEST: Self = Self::MAX;
}

impl Bounded for i64 {
    const LARGEST: Self = Self::MAX;
}
