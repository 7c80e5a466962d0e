//! The steps of a wake.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::draft::Draft;
use super::plan::{Action, HoldInput, Next, Place, Transition};
use super::role::Written;
use super::step::{Step, StepName};
use super::truncation::DAILY;
use crate::api::reason::Reason;
use crate::api::text::few;
use crate::api::workload::MissedRuns;
use crate::hold::plan::{Decision, mark_kept};

/// Brings everything back that the object holds. Of an object whose deletion is overdue it removes the
/// finalizer all the same: the sweep for holders that are gone does the rest.
pub fn up(input: HoldInput) -> Transition {
    let mut draft = Draft::new(input);
    draft.call_off_truncation();
    let fence = draft.waking_fence();
    draft.come_up();
    let removes = draft.actions.iter().any(Action::removes_finalizer);
    if input.overdue && fence == Step::Done && !removes {
        draft.actions.push(Action::RemoveFinalizer);
    }
    draft.finish()
}

/// Changes nothing.
pub fn rest(input: HoldInput) -> Transition {
    Draft::new(input).finish()
}

/// Leaves everything down for the next object of this name: `onDelete: Keep`. Removes the finalizer when
/// every hold is marked as kept, or when the deletion is overdue.
pub fn keep(input: HoldInput) -> Transition {
    let mut draft = Draft::new(input);
    // An object that adopts the hold later knows nothing of a truncation that may still commit.
    draft.call_off_truncation();
    let fence = draft.waking_fence();
    if fence == Step::Done {
        let waits = draft.mark_kept();
        if input.overdue || (draft.actions.is_empty() && waits.is_empty()) {
            draft.actions.push(Action::RemoveFinalizer);
        } else if draft.actions.is_empty() {
            draft.at("Keep", Step::Wait(waits));
        } else {
            draft.next = Next::Again;
        }
    } else {
        draft.at("Fence", fence);
    }
    draft.finish()
}

impl Draft<'_> {
    fn come_up(&mut self) {
        let held = self.roles.iter().any(|(subject, _)| self.holds(subject));
        if self.state.episode.is_none() && !held {
            if !self.waits_for_originals() {
                self.stay_up();
            }
            return;
        }
        if held && !self.input.finalizer && !self.input.deleting {
            self.actions.push(Action::AddFinalizer);
        }
        let now = self.input.now;
        if let Some(episode) = &mut self.state.episode
            && episode.waking_since.is_none()
        {
            // A run that is due from this time on is not missed, however late the operator is.
            episode.waking_since = Some(Time(self.input.due.unwrap_or(now)));
            self.state.step = None;
        }
        self.place = Place::ComingUp;
        let mut waits = Vec::new();
        for step in self.steps_up() {
            let name = step.to_string();
            match self.up(&step) {
                Step::Done => {}
                // A fence is never passed before its time.
                Step::Wait(objects) if step != StepName::Fence && self.may_pass(&name) => {
                    waits.extend(objects);
                }
                outcome => {
                    self.at(&name, outcome);
                    // The others come up all the same, and the message still names the ill one.
                    if !waits.is_empty() {
                        let on_the_way = self.standing.explanation();
                        let on_the_way = on_the_way.map(|(_, message)| format!("; {message}"));
                        let on_the_way = on_the_way.unwrap_or_default();
                        self.stall(Reason::NotReady, format!("{}{on_the_way}", few(&waits)));
                    }
                    return;
                }
            }
        }
        if waits.is_empty() {
            self.is_up();
        } else {
            // An ill workload, perhaps ill since before, never keeps the others down.
            self.at("Ready", Step::Wait(waits.clone()));
            self.stall(Reason::NotReady, few(&waits));
        }
    }

    /// Returns whether a step of the wake has had its time: the next one begins all the same.
    fn may_pass(&mut self, name: &str) -> bool {
        let late = self.is_late(name);
        let Some(step) = &mut self.state.step else { return false };
        if step.overdue.iter().any(|passed| passed == name) {
            return true;
        }
        if late {
            step.overdue.push(name.to_owned());
        }
        late
    }

    /// Returns whether the object has waited at a step for longer than a step may take.
    pub(super) fn is_late(&self, name: &str) -> bool {
        let step = self.state.step.as_ref().filter(|step| step.name == name);
        step.is_some_and(|step| self.input.now > step.since.0 + self.input.spec.deadline)
    }

    /// Ends the episode: all objects are restored.
    fn is_up(&mut self) {
        if self.waits_for_originals() {
            return;
        }
        if let Some(step) = self.delete_truncation_job() {
            return self.at("Truncation", step);
        }
        let cause = self.state.episode.take().map(|episode| episode.cause);
        self.completed = Some(cause.unwrap_or_default());
        self.stay_up();
    }

    /// Stops the wake at objects that Torpor has left at the held value without a record of the original: they
    /// are not awake, and a person has to say what they were. A deletion waits for nobody. Returns whether
    /// there are any.
    fn waits_for_originals(&mut self) -> bool {
        let lost: Vec<String> = self
            .roles
            .iter()
            .filter_map(|(subject, role)| subject.original_lost(&self.wants(subject, role)))
            .map(|refusal| refusal.to_string())
            .collect();
        if self.input.deleting {
            return false;
        }
        if let Some(step) = self.held_out_of_reach() {
            self.place = Place::ComingUp;
            self.at("Ready", step);
            return true;
        }
        if lost.is_empty() {
            return false;
        }
        self.place = Place::ComingUp;
        self.at("Ready", Step::Blocked { reason: Reason::OriginalUnknown, message: few(&lost) });
        true
    }

    /// Removes the finalizer, as no object is held, and reports what would prevent a hold.
    fn stay_up(&mut self) {
        self.place = Place::Up;
        self.state.workloads = Vec::new();
        self.state.counts = None;
        self.state.originals = BTreeMap::new();
        if self.input.finalizer {
            self.actions.push(Action::RemoveFinalizer);
        }
        if !self.input.deleting {
            match self.preflight(DAILY) {
                Step::Done => {
                    if let Some(outcome) =
                        self.obstacle().or_else(|| self.unaccounted()).or_else(|| self.warning())
                    {
                        self.at("Preflight", outcome);
                        // A change in the namespace removes the obstacle, and Torpor watches it.
                        self.next = Next::AtRest;
                    }
                }
                outcome => {
                    self.at("Preflight", outcome);
                    self.wait_for_preflight();
                }
            }
        }
        // No step is under way; but a preflight that never passes needs a person after the deadline.
        if !matches!(self.next, Next::Wait(_)) {
            self.state.step = None;
        }
        self.roles = Vec::new();
    }

    /// Marks every hold as kept. A record that somebody removed is written anew first: the status goes
    /// with the object, and the next object finds the annotations only. Returns the objects that can't
    /// be written now, and perhaps soon.
    fn mark_kept(&mut self) -> Vec<String> {
        let mut unwritten = Vec::new();
        for (subject, role) in self.roles.clone() {
            if self.holds(subject) && subject.found.record().is_none() {
                let wants = self.wants(subject, &role);
                match self.write(subject, wants, MissedRuns::Skip) {
                    Ok(Written::Contested) => {
                        unwritten.push(format!(
                            "Torpor pauses before it writes {} again",
                            subject.display()
                        ));
                    }
                    Err((_, answer)) if self.failed(&subject.uid).is_some() => {
                        unwritten.push(answer);
                    }
                    // A refusal can't be mended here: the next object reports it.
                    Ok(Written::Already | Written::Now) | Err(_) => {}
                }
            } else if matches!(mark_kept(subject, self.input.holder), Decision::Write(_)) {
                let (sends, failed) = self.sends(&subject.uid);
                if sends {
                    self.actions.push(Action::MarkKept(Arc::clone(subject)));
                }
                unwritten.extend(failed.map(|(_, answer)| answer));
            }
        }
        unwritten
    }
}
