//! The steps of a transition, each a pure look at whether it is done and what it still needs. They
//! are walked from the first at every plan, so that what falls behind is mended in order.

use std::collections::BTreeMap;
use std::fmt;

use jiff::SignedDuration;

use super::down::{blockers, not_ready, not_restarted, of_old_template};
use super::observe::Pods;
use super::plan::{Draft, few};
use super::roles::{Role, Settled};
use super::validate::{ConfigEntry, Target};
use crate::api::database::Truncate;
use crate::api::hibernation::EpisodeTruncation;
use crate::api::workload::MissedRuns;
use crate::hold::subject::Subject;

/// Between the two looks that find nothing running.
const BETWEEN_LOOKS: SignedDuration = SignedDuration::from_secs(5);

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

    pub(super) fn truncate_settings(&self) -> Option<&Truncate> {
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
        if let Some(step) = self.in_the_way() {
            return step;
        }
        let rejected: Vec<_> =
            self.cast.iter().filter_map(|(subject, _)| self.rejected(&subject.uid)).collect();
        blocked(&rejected).unwrap_or(Step::Done)
    }

    /// What can't be held as the namespace is: known as soon as it is looked at, also while awake.
    pub(super) fn in_the_way(&self) -> Option<Step> {
        if let Some(message) = self.missing_config_map() {
            return Some(Step::Blocked { reason: "ConfigMapNotFound".to_owned(), message });
        }
        let refused: Vec<_> = self
            .cast
            .iter()
            .filter_map(|(subject, role)| self.refusal(subject, role))
            .map(|refusal| (refusal.reason().to_owned(), refusal.to_string()))
            .collect();
        blocked(&refused)
    }

    fn missing_config_map(&self) -> Option<String> {
        let matched = |entry: &ConfigEntry| {
            let all = &self.input.seen.config_maps;
            all.iter().any(|config_map| entry.target.precision(config_map).is_some())
        };
        let missing = self.input.spec.config_maps.iter().find(|entry| !matched(entry))?;
        Some(match &missing.target {
            Target::Name(name) => format!(
                "there is no ConfigMap {name} here: create it, or correct the name in `configMaps`"
            ),
            Target::Labels(labels) => format!(
                "no ConfigMap here has the labels {labels}: label one, or correct the selector in `configMaps`"
            ),
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

    pub(super) fn contested(&self, subject: &Subject) -> String {
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
            if !self.holds(subject) && !subject.found.unfinished() {
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
            .filter_map(|(subject, role)| not_ready(subject, matches!(role, Role::Restart(_))))
            .collect();
        if waits.is_empty() { Step::Done } else { Step::Wait(waits) }
    }

    fn stop_stage(&mut self, stage: i32) -> Step {
        let of = |role: &Role| matches!(role, Role::Stop(entry) if entry.stage == stage);
        match self.hold_all(of) {
            Step::Done => {}
            other => {
                self.forget_the_look(&StepName::Stage(stage));
                return other;
            }
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
            other => {
                self.forget_the_look(&StepName::Restart);
                return other;
            }
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

    /// What was seen clear before a hold was written may run again: the next look is the first.
    pub(super) fn forget_the_look(&mut self, step: &StepName) {
        self.looks.clear.remove(&step.to_string());
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
