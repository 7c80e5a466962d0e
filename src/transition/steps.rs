//! The steps of a transition. Each says whether it is done, and else what it waits for.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::attempt;
use super::blockers::{blockers, not_ready, not_restarted, of_old_template, pod_trouble};
use super::draft::Draft;
use super::observe::Pods;
use super::role::{Role, Written};
use super::spec::{ConfigEntry, Target};
use super::step::{Step, StepName};
use super::truncation::FRESH;
use crate::api::database::Truncate;
use crate::api::hold_state::EpisodeTruncation;
use crate::api::reason::Reason;
use crate::api::text::{counted, few};
use crate::api::workload::MissedRuns;
use crate::hold::subject::Subject;

/// The time in which pods usually become ready.
const USUAL: SignedDuration = SignedDuration::from_secs(15);
/// Time between the two lists that show no pod.
const BETWEEN_LISTS: SignedDuration = SignedDuration::from_secs(5);

impl Draft<'_> {
    pub(super) fn steps_down(&self) -> Vec<StepName> {
        let mut steps = vec![StepName::Preflight, StepName::ConfigMaps, StepName::Release];
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

    pub(super) fn steps_up(&self) -> Vec<StepName> {
        let stages = self.input.spec.stages().into_iter().rev().map(StepName::Stage);
        [StepName::Fence, StepName::ConfigMaps, StepName::Release]
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
            StepName::ConfigMaps => {
                // The others are overridden all the same.
                let held = self.hold_all(|role| matches!(role, Role::Override(_)));
                match self.missing_config_map() {
                    Some(message) if held == Step::Done => {
                        Step::Blocked { reason: Reason::ConfigMapNotFound, message }
                    }
                    _ => held,
                }
            }
            StepName::Release => {
                let held = |(subject, role): &(&Arc<Subject>, Role)| {
                    matches!(role, Role::Release) && self.holds(subject)
                };
                // What is let go writes again: not while a truncation may still commit.
                match self.waking_fence() {
                    Step::Done => self.hold_all(|role| matches!(role, Role::Release)),
                    fence if self.roles.iter().any(held) => fence,
                    _ => Step::Done,
                }
            }
            StepName::Stage(stage) => self.stop_stage(*stage),
            StepName::Restart => self.restart(),
            StepName::Truncate => self.truncate_under_nobody(),
            StepName::Fence => Step::Done,
        }
    }

    pub(super) fn up(&mut self, step: &StepName) -> Step {
        match step {
            StepName::Fence => self.waking_fence(),
            StepName::ConfigMaps => self.release_all(|role| matches!(role, Role::Override(_))),
            StepName::Release => self.release_all(|role| matches!(role, Role::Release)),
            StepName::Stage(number) => {
                let number = *number;
                let of = move |role: &Role| matches!(role, Role::Stop(e) if e.stage == number);
                self.wake(step, of)
            }
            StepName::Restart => self.wake(step, |role| matches!(role, Role::Restart(_))),
            StepName::Preflight | StepName::Truncate => Step::Done,
        }
    }

    /// Truncates once nothing may write. A result that is there already is recorded at once.
    fn truncate_under_nobody(&mut self) -> Step {
        if !self.truncation_is_pending() {
            return Step::Done;
        }
        if !self.input.observed.truncation.as_ref().is_some_and(attempt::has_result) {
            // The rival may start pods at any time.
            if let Some((message, _)) = self.contested() {
                self.writer_observed = true;
                let message = format!("nothing is truncated: {message}");
                return Step::Blocked { reason: Reason::Contested, message };
            }
            match self.no_writers() {
                Step::Done => {}
                other => return other,
            }
        }
        self.truncate()
    }

    /// Finds every known obstacle before anything is stopped.
    fn before_the_first_hold(&mut self) -> Step {
        let pending = self.state.episode.as_ref().is_some_and(|episode| {
            episode.truncation == EpisodeTruncation::Pending && episode.attempt.is_none()
        });
        let holds = self.roles.iter().any(|(subject, _)| self.holds(subject));
        if pending {
            match self.preflight(if holds { SignedDuration::MAX } else { FRESH }) {
                Step::Done => {}
                other => return other,
            }
        }
        if holds {
            return Step::Done;
        }
        if let Some(step) = self.obstacle() {
            return step;
        }
        let rejected: Vec<_> =
            self.roles.iter().filter_map(|(subject, _)| self.unwritten(subject)).collect();
        blocked(&rejected).unwrap_or(Step::Done)
    }

    /// Returns the API server's answer where the first hold of an object failed a moment ago.
    fn unwritten(&self, subject: &Subject) -> Option<(Reason, String)> {
        let failed = self.input.memory.failures.get(&subject.uid)?;
        self.failed(&subject.uid).filter(|_| self.input.now < failed.retry_at)
    }

    /// Returns an obstacle to holding the objects of the namespace, also while awake.
    pub(super) fn obstacle(&self) -> Option<Step> {
        if let Some(message) = self.missing_config_map() {
            return Some(Step::Blocked { reason: Reason::ConfigMapNotFound, message });
        }
        let refused: Vec<_> = self
            .roles
            .iter()
            .filter(|(_, role)| !matches!(role, Role::Skip(_)))
            .filter_map(|(subject, role)| self.refusal(subject, role))
            .map(|refusal| (refusal.reason(), refusal.to_string()))
            .collect();
        blocked(&refused)
    }

    fn missing_config_map(&self) -> Option<String> {
        let matched = |entry: &ConfigEntry| {
            let all = &self.input.observed.config_maps;
            all.iter().any(|config_map| entry.target.precision(config_map).is_some())
        };
        let missing = self.input.spec.config_maps.iter().find(|entry| !matched(entry))?;
        Some(match &missing.target {
            Target::Name(name) => format!(
                "ConfigMap {name} does not exist: create it, or correct its name in spec.configMaps"
            ),
            Target::Labels(labels) => format!(
                "no ConfigMap has the labels {labels}: label one, or correct the selector in spec.configMaps"
            ),
            Target::All => return None,
        })
    }

    /// Holds every object of such a role that is not held as it should be.
    fn hold_all(&mut self, of: impl Fn(&Role) -> bool) -> Step {
        let roles = self.roles.clone();
        let mut outcome = Step::Done;
        let mut refused = Vec::new();
        let mut pauses = false;
        for (subject, role) in roles.iter().filter(|(_, role)| of(role)) {
            let wants = self.wants(subject, role);
            match self.write(subject, wants, missed_runs(role)) {
                Ok(Written::Already) => {}
                Ok(Written::Now) => outcome = Step::Act,
                Ok(Written::Contested) => pauses = true,
                Err(refusal) => refused.push(refusal),
            }
        }
        let contested = self.contested().filter(|_| pauses);
        refused.extend(contested.map(|(message, _)| (Reason::Contested, message)));
        // Refused objects are reported once all others are written.
        match outcome {
            Step::Done => blocked(&refused).unwrap_or(Step::Done),
            outcome => outcome,
        }
    }

    fn release_all(&mut self, of: impl Fn(&Role) -> bool) -> Step {
        self.release(of, usize::MAX)
    }

    /// Releases at most `room` of the objects of such a role, and finishes what is released in part.
    fn release(&mut self, of: impl Fn(&Role) -> bool, mut room: usize) -> Step {
        let roles = self.roles.clone();
        let mut outcome = Step::Done;
        let mut refused = Vec::new();
        for (subject, role) in roles.iter().filter(|(_, role)| of(role)) {
            let held = self.holds(subject);
            if (held && room == 0) || (!held && !subject.found.unfinished()) {
                continue;
            }
            match self.write(subject, BTreeMap::new(), missed_runs(role)) {
                Ok(Written::Already) => {}
                // A contest never delays a release.
                Ok(Written::Now | Written::Contested) => {
                    room -= usize::from(held);
                    outcome = Step::Act;
                }
                // An object that can't be written never keeps the others down.
                Err((_, message)) => refused.push(message),
            }
        }
        if outcome == Step::Done && !refused.is_empty() { Step::Wait(refused) } else { outcome }
    }

    fn wake(&mut self, step: &StepName, of: impl Fn(&Role) -> bool) -> Step {
        let held = |draft: &Self| {
            draft.roles.iter().filter(|(s, role)| of(role) && draft.holds(s)).count()
        };
        let (before, room) = (held(self), self.room(step, &of));
        match self.release(&of, room) {
            Step::Done => {}
            Step::Act if before > 0 && room > 0 && room < usize::MAX => {
                // Each batch has the time of a step.
                let name = step.to_string();
                if let Some(step) = self.state.step.as_mut().filter(|step| step.name == name) {
                    step.since = Time(self.input.now);
                }
                return Step::Act;
            }
            other => return other,
        }
        // Nothing was written, so that there was no room for them.
        let left = held(self);
        let turns = (left > 0).then(|| {
            format!("{} waiting for a turn (spec.wake.maxConcurrent)", counted(left, "workload"))
        });
        let released = self
            .roles
            .iter()
            .filter(|(subject, role)| of(role) && subject.found.record().is_none());
        let waits: Vec<(&Arc<Subject>, String)> = released
            .filter_map(|(subject, role)| {
                let why = not_ready(subject, matches!(role, Role::Restart(_)))?;
                Some((*subject, why))
            })
            .collect();
        if waits.is_empty() && turns.is_none() {
            return Step::Done;
        }
        // Pods that come up in the usual time have nothing to tell.
        if !self.has_waited(step) {
            let waits = waits.into_iter().map(|(_, why)| why);
            return Step::Wait(turns.into_iter().chain(waits).collect());
        }
        let Some(pods) = &self.input.observed.pods else { return Step::Observe };
        let in_full = waits.into_iter().map(|(subject, why)| match pod_trouble(subject, pods) {
            Some(trouble) => format!("{why}: {trouble}"),
            None => why,
        });
        Step::Wait(turns.into_iter().chain(in_full).collect())
    }

    /// Returns how many workloads of a step of the wake may be released now. One that does not get ready in the time
    /// of a step keeps no other one down.
    fn room(&self, step: &StepName, of: impl Fn(&Role) -> bool) -> usize {
        let Some(most) = self.input.spec.max_concurrent.filter(|_| !self.input.deleting) else {
            return usize::MAX;
        };
        if self.is_late(&step.to_string()) {
            return most;
        }
        let comes_up = |subject: &Subject, role: &Role| match subject.found.record() {
            // Another object may hold it.
            Some(record) => record.unfinished(),
            None => not_ready(subject, matches!(role, Role::Restart(_))).is_some(),
        };
        let coming_up = self
            .roles
            .iter()
            .filter(|(subject, role)| of(role) && !self.holds(subject) && comes_up(subject, role));
        most.saturating_sub(coming_up.count())
    }

    /// Returns whether the wake has waited at a step for longer than pods usually take.
    fn has_waited(&self, name: &StepName) -> bool {
        let name = name.to_string();
        self.state.step.as_ref().is_some_and(|step| {
            let long = self.input.now.duration_since(step.since.0) >= USUAL;
            step.overdue.contains(&name) || (step.name == name && long)
        })
    }

    fn stop_stage(&mut self, stage: i32) -> Step {
        let of = |role: &Role| matches!(role, Role::Stop(entry) if entry.stage == stage);
        match self.hold_all(of) {
            Step::Done => {}
            other => {
                self.forget_confirmation(&StepName::Stage(stage));
                return other;
            }
        }
        let Some(pods) = &self.input.observed.pods else { return Step::Observe };
        let running: Vec<String> = self
            .roles
            .iter()
            .filter_map(|(subject, role)| match role {
                Role::Stop(entry) if of(role) => Some((subject, self.kept(subject, entry))),
                _ => None,
            })
            .flat_map(|(subject, keeps)| blockers(subject, pods, keeps))
            .collect();
        self.writer_observed |= !running.is_empty();
        self.confirm(&StepName::Stage(stage), pods, running)
    }

    fn restart(&mut self) -> Step {
        let of = |role: &Role| matches!(role, Role::Restart(_));
        match self.hold_all(of) {
            Step::Done => {}
            other => {
                self.forget_confirmation(&StepName::Restart);
                return other;
            }
        }
        if !self.roles.iter().any(|(_, role)| of(role)) {
            return Step::Done;
        }
        let Some(pods) = &self.input.observed.pods else { return Step::Observe };
        let restarted = || self.roles.iter().filter(|(_, role)| of(role));
        let unread: Vec<String> =
            restarted().filter_map(|(subject, _)| self.reads_another(subject)).collect();
        let mut waits: Vec<String> = restarted()
            .flat_map(|(subject, _)| not_restarted(subject, pods, &self.restarted_as(subject)))
            .collect();
        self.writer_observed |= !unread.is_empty();
        waits.extend(unread);
        self.writer_observed |=
            self.roles.iter().filter(|(_, role)| of(role)).any(|(subject, _)| {
                !of_old_template(subject, pods, &self.restarted_as(subject)).is_empty()
            });
        self.confirm(&StepName::Restart, pods, waits)
    }

    /// Returns a sentence where a restarted workload reads a ConfigMap that has an overridden key, and that the
    /// spec does not name: its pods are not in hibernate mode.
    fn reads_another(&self, subject: &Subject) -> Option<String> {
        let keys = self.input.spec.config_pointers();
        let other = self.input.observed.config_maps.iter().find(|config_map| {
            subject.facts.config_maps.contains(&config_map.name)
                && self.input.spec.config_wants(config_map).is_empty()
                && keys.iter().any(|key| {
                    config_map.levers.get(key).is_some_and(|lever| lever.value.is_some())
                })
        })?;
        Some(format!(
            "{} reads {}, which has an overridden key: name it in spec.configMaps, or give it the labels of a selector there",
            subject.display(),
            other.display()
        ))
    }

    /// Pods may run again since a hold was written: the next list is the first.
    pub(super) fn forget_confirmation(&mut self, step: &StepName) {
        self.confirmations.clear.remove(&step.to_string());
    }

    /// Asks for two lists, some seconds apart, that show no pod. One is enough where everything has been
    /// down already and no truncation is pending.
    pub(super) fn confirm(&mut self, step: &StepName, pods: &Pods, running: Vec<String>) -> Step {
        let key = step.to_string();
        if !running.is_empty() {
            self.confirmations.clear.remove(&key);
            return Step::Wait(running);
        }
        let truncation = self.state.episode.as_ref().map(|episode| episode.truncation);
        if self.was_down() && truncation != Some(EpisodeTruncation::Pending) {
            return Step::Done;
        }
        let first = *self.confirmations.clear.entry(key).or_insert(pods.complete);
        let apart = pods.began.duration_since(first);
        if apart >= BETWEEN_LISTS {
            Step::Done
        } else if apart.is_negative() {
            Step::Confirm(BETWEEN_LISTS)
        } else {
            Step::Confirm(BETWEEN_LISTS - apart)
        }
    }
}

/// Returns a blocked step that names the refused objects; none where there are none.
fn blocked(refused: &[(Reason, String)]) -> Option<Step> {
    let (reason, _) = refused.first()?;
    let messages: Vec<String> = refused.iter().map(|(_, message)| message.clone()).collect();
    Some(Step::Blocked { reason: reason.clone(), message: few(&messages) })
}

fn missed_runs(role: &Role) -> MissedRuns {
    match role {
        Role::Stop(entry) | Role::Restart(entry) => entry.missed_runs,
        Role::Override(_) | Role::Release | Role::Skip(_) => MissedRuns::default(),
    }
}
