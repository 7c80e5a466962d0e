//! The way down.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::blockers::{blockers, of_old_template};
use super::draft::Draft;
use super::plan::{Action, Confirmations, HoldInput, Next, Place, Transition};
use super::role::{Role, Written};
use super::step::{Step, StepName};
use crate::api::hold_state::EpisodeTruncation;
use crate::api::workload::MissedRuns;

/// The episode to begin, where none is under way.
#[derive(Clone, Debug)]
pub struct Begin {
    /// Its cause, for people.
    pub cause: String,
    /// Whether it truncates.
    pub truncates: bool,
    /// Whether a person asked for it just now.
    pub by_person: bool,
}

/// Takes everything down that the spec names, and keeps it there.
pub fn down(input: HoldInput, begin: &Begin) -> Transition {
    let mut draft = Draft::new(input);
    if let Some(episode) = &draft.state.episode
        && !draft.is_under_way(episode)
        && let Some(step) = draft.delete_truncation_job()
    {
        draft.at("Truncation", step);
    } else {
        draft.begin(begin);
        draft.go_down();
    }
    draft.finish()
}

impl Draft<'_> {
    /// Begins an episode where none is under way, or turns one around that was waking.
    fn begin(&mut self, begin: &Begin) {
        self.begun = true;
        let under_way = self.state.episode.as_ref().is_some_and(|e| self.is_under_way(e));
        if !under_way {
            self.forget_released();
        }
        match &mut self.state.episode {
            Some(episode) if under_way => {
                if episode.waking_since.take().is_some() {
                    self.state.step = None;
                }
                let asked = begin.by_person && begin.truncates;
                if episode.truncation == EpisodeTruncation::NotAsked && asked {
                    episode.truncation = EpisodeTruncation::Pending;
                    // A list from the way down tells nothing of the pods that run now.
                    self.confirmations.clear.clear();
                }
            }
            _ => {
                self.state.step = None;
                let truncation = if begin.truncates {
                    EpisodeTruncation::Pending
                } else {
                    EpisodeTruncation::NotAsked
                };
                let id = self.input.fresh_id.to_owned();
                self.state.episode = Some(self.episode(id, begin.cause.clone(), truncation));
            }
        }
        let id = self.episode_id();
        if self.confirmations.episode != id {
            self.confirmations = Confirmations { episode: id, clear: BTreeMap::new() };
        }
    }

    fn go_down(&mut self) {
        self.place = if self.was_down() { Place::Down } else { Place::GoingDown };
        if !self.input.finalizer {
            // It is written before the first hold; where that fails, nothing is held.
            self.actions.push(Action::AddFinalizer);
        }
        self.note_writers();
        for step in self.steps_down() {
            match self.down(&step) {
                Step::Done => {}
                outcome => return self.wait_at(&step, outcome),
            }
        }
        self.state.step = None;
        self.place = Place::Down;
        let now = self.input.now;
        if let Some(episode) = &mut self.state.episode
            && episode.asleep_since.is_none()
        {
            episode.asleep_since = Some(Time(now));
            self.completed = Some(episode.cause.clone());
        }
    }

    fn wait_at(&mut self, step: &StepName, outcome: Step) {
        let observing = outcome == Step::Observe;
        // A restarted workload writes no more, ready or not, but Torpor has to observe that.
        let unsure = !matches!(
            (step, &outcome),
            (_, Step::Observe | Step::Confirm(_))
                | (StepName::Truncate, _)
                | (StepName::Restart, Step::Wait(_))
        );
        self.at(&step.to_string(), outcome);
        if !observing {
            self.keep_rest_held(step);
        }
        if self.place == Place::Down && self.anything_runs() {
            self.place = Place::GoingDown;
        }
        // An obstacle to observing the rest may hide a writer there.
        if self.writer_observed || unsure {
            self.stop_truncation();
        }
    }

    /// Returns whether an object is not as the spec asks, though everything has been down already: a newcomer,
    /// or one that another client has changed.
    fn anything_runs(&self) -> bool {
        let pods = self.input.observed.pods.as_ref();
        self.roles.iter().any(|(subject, role)| match role {
            Role::Stop(entry) => {
                let keeps = self.kept(subject, entry);
                subject.is_changed()
                    || !self.holds(subject)
                    || pods.is_some_and(|pods| !blockers(subject, pods, keeps).is_empty())
            }
            Role::Restart(_) => {
                let digest = self.restarted_as(subject);
                !self.holds(subject)
                    || pods.is_some_and(|pods| !of_old_template(subject, pods, &digest).is_empty())
            }
            Role::Override(_) => subject.is_changed() || !self.holds(subject),
            Role::Release | Role::Skip(_) => false,
        })
    }

    /// Keeps every held object held, at whatever step the others wait, and holds newcomers: those of a stage
    /// that has begun, and everything once all of it was down.
    fn keep_rest_held(&mut self, step: &StepName) {
        // Pods that restart now would not read the ConfigMaps as they are to be.
        let early = matches!(step, StepName::Preflight | StepName::ConfigMaps);
        let before = self.actions.len();
        let begun: Vec<i32> = self
            .roles
            .iter()
            .filter(|(subject, _)| self.holds(subject))
            .filter_map(|(_, role)| role.stage())
            .collect();
        for (subject, role) in self.roles.clone() {
            if self.actions.iter().any(|action| action.writes(subject)) {
                continue;
            }
            let keeps = match role {
                Role::Stop(entry) => self.was_down() || begun.contains(&entry.stage),
                Role::Override(_) => self.was_down() || self.holds(subject),
                Role::Restart(_) => !early && self.holds(subject),
                Role::Release | Role::Skip(_) => false,
            };
            if keeps {
                let wants = self.wants(subject, &role);
                // A failure is reported at the object's own step.
                let writing = self.write(subject, wants, MissedRuns::Skip) == Ok(Written::Now);
                match role {
                    Role::Stop(entry) if writing => {
                        self.forget_confirmation(&StepName::Stage(entry.stage));
                    }
                    Role::Restart(_) if writing => self.forget_confirmation(&StepName::Restart),
                    _ => {}
                }
            }
        }
        if self.actions.len() > before {
            self.next = Next::Again;
        }
    }
}
