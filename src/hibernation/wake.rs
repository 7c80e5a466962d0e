//! The way back, and what a deletion does. Part of the plan: pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::plan::{Action, Draft, Input, Next, Standing, few};
use super::roles::Settled;
use super::steps::{Step, StepName};
use crate::api::hibernation::{OnDelete, Phase};
use crate::api::workload::MissedRuns;
use crate::hold::plan::{Decision, keep};

impl Draft<'_> {
    pub(super) fn come_back(&mut self) {
        let held = self.cast.iter().any(|(subject, _)| self.holds(subject));
        if self.status.episode.is_none() && !held {
            self.idle();
            return;
        }
        if held && !self.input.finalizer && self.input.deleting_since.is_none() {
            self.actions.push(Action::AddFinalizer);
        }
        let now = self.input.now;
        if let Some(episode) = &mut self.status.episode
            && episode.waking_since.is_none()
        {
            episode.waking_since = Some(Time(now));
            self.status.step = None;
        }
        self.status.phase = Some(Phase::Waking);
        let mut waits = Vec::new();
        for step in self.steps_back() {
            let name = step.to_string();
            match self.back(&step) {
                Step::Done => {}
                // A fence is never passed before its time.
                Step::Wait(what) if step != StepName::Fence && self.may_pass(&name) => {
                    waits.extend(what);
                }
                outcome => {
                    self.at(&name, outcome);
                    // The others come up all the same; that one is ill stays said.
                    if !waits.is_empty() {
                        let on_the_way = match &self.standing {
                            Standing::Progressing { message, .. }
                            | Standing::Stalled { message, .. } => format!("; {message}"),
                            Standing::Settled => String::new(),
                        };
                        self.stall("NotReady", format!("{}{on_the_way}", few(&waits)));
                    }
                    return;
                }
            }
        }
        if waits.is_empty() {
            self.woken();
        } else {
            // One that is ill, perhaps since before, never keeps the others asleep.
            self.at("Ready", Step::Wait(waits.clone()));
            self.stall("NotReady", few(&waits));
        }
    }

    /// Whether a step of the wake has had its time: the next one comes all the same.
    fn may_pass(&mut self, name: &str) -> bool {
        let Some(step) = &mut self.status.step else { return false };
        if step.overdue.iter().any(|passed| passed == name) {
            return true;
        }
        let late = step.name == name && self.input.now > step.since.0 + self.input.spec.deadline;
        if late {
            step.overdue.push(name.to_owned());
        }
        late
    }

    fn woken(&mut self) {
        if let Some(step) = self.clear_away_the_job() {
            return self.at("Truncation", step);
        }
        let cause = self.status.episode.take().map(|episode| episode.cause);
        let message = cause.unwrap_or_default();
        self.remember(Phase::Awake, format!("woken, as it was before ({message})"));
        self.idle();
    }

    pub(super) fn idle(&mut self) {
        self.status.phase = Some(Phase::Awake);
        self.status.step = None;
        self.status.workloads = Vec::new();
        self.status.counts = None;
        self.status.originals = BTreeMap::new();
        if self.input.finalizer {
            self.actions.push(Action::RemoveFinalizer);
        }
        if self.input.deleting_since.is_none() {
            match self.preflight() {
                Step::Done => {
                    if let Some(outcome) = self.in_the_way() {
                        self.at("Preflight", outcome);
                        // It goes away by a change in the namespace, and that is heard of.
                        self.next = Next::Settled;
                    }
                }
                outcome => {
                    self.at("Preflight", outcome);
                    self.wait_for_the_preflight();
                }
            }
            // Asleep or not does not hang on it: it is only that a person should know in time.
            self.status.step = None;
        }
        self.cast = Vec::new();
    }

    pub(super) fn delete(&mut self, since: Timestamp) {
        let Input { spec, now, seen, finalizer, .. } = self.input;
        self.status.asked = None;
        if !finalizer {
            return;
        }
        if seen.namespace_deleting {
            self.actions.push(Action::RemoveFinalizer);
            return;
        }
        // What is adopted or swept later knows nothing of a truncation that may still commit.
        let fence = self.waking_fence();
        match spec.on_delete {
            OnDelete::Keep if fence != Step::Done => {
                self.stop_truncation();
                self.at("Fence", fence);
            }
            OnDelete::Keep => {
                let waits = self.leave_behind();
                if now > since + spec.deadline || (self.actions.is_empty() && waits.is_empty()) {
                    self.actions.push(Action::RemoveFinalizer);
                } else if self.actions.is_empty() {
                    self.at("Keep", Step::Wait(waits));
                } else {
                    self.next = Next::Again;
                }
            }
            OnDelete::Wake => {
                self.come_back();
                // The sweep for holders that are gone does the rest.
                let late = now > since + spec.deadline;
                let removing =
                    self.actions.iter().any(|action| matches!(action, Action::RemoveFinalizer));
                if late && fence == Step::Done && !removing {
                    self.actions.push(Action::RemoveFinalizer);
                }
            }
        }
    }

    /// Marks what is held as kept. What was torn off is written anew first: with the object its
    /// status goes, and the annotations are all that the next one finds. Returns what can't be
    /// written now, and perhaps soon.
    fn leave_behind(&mut self) -> Vec<String> {
        let mut unwritten = Vec::new();
        for (subject, role) in self.cast.clone() {
            if self.holds(subject) && subject.found.record().is_none() {
                let wants = self.wants(subject, &role);
                match self.settle(subject, wants, MissedRuns::Skip) {
                    Ok(Settled::Contested) => unwritten.push(self.contested(subject)),
                    Err((_, answer)) if self.rejected(&subject.uid).is_some() => {
                        unwritten.push(answer);
                    }
                    // What is refused here can't be mended: it is the next object's to say so.
                    Ok(Settled::Already | Settled::Writing) | Err(_) => {}
                }
            } else if matches!(keep(subject, self.input.holder), Decision::Write(_)) {
                match self.rejected(&subject.uid) {
                    Some((_, answer)) => unwritten.push(answer),
                    None => self.actions.push(Action::Keep(Box::new(subject.clone()))),
                }
            }
        }
        unwritten
    }
}
