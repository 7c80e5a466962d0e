//! `dryRun`: what would be done, in words.

use serde_json::Value;

use super::plan::{Draft, Next, Standing, few};
use super::roles::Role;
use super::steps::{Step, StepName};
use crate::api::schedule::DesiredState;
use crate::hold::lever::{RESTART, segments};
use crate::hold::record::Held;
use crate::hold::subject::Subject;

impl Draft<'_> {
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
        let clear = self.actions.is_empty() && self.standing == Standing::Settled;
        if let Some(Step::Blocked { reason, message }) = self.in_the_way().filter(|_| clear) {
            self.stall(&reason, message);
        } else if !self.actions.is_empty() {
            self.next = Next::Again;
        } else if self.standing != Standing::Settled {
            self.next = Next::Wait(jiff::SignedDuration::from_secs(2));
            self.wait_for_the_preflight();
        }
        let asleep = self.status.episode.is_some()
            || self.cast.iter().any(|(subject, _)| self.holds(subject));
        let (when, steps) = match desired {
            DesiredState::Hibernated => ("now", self.steps_down()),
            DesiredState::Awake if asleep => ("now", self.steps_back()),
            DesiredState::Awake => ("when it goes to sleep", self.steps_down()),
        };
        let back = desired == DesiredState::Awake && asleep;
        let mut lines: Vec<String> =
            steps.iter().flat_map(|step| self.describe(step, back)).collect();
        lines.extend(self.unmatched().iter().map(|what| format!("nothing, as there is no {what}")));
        self.status.plan = lines
            .into_iter()
            .enumerate()
            .map(|(index, line)| format!("{}. {when}: {line}", index + 1))
            .collect();
    }

    /// What a step would do.
    fn describe(&self, step: &StepName, back: bool) -> Vec<String> {
        let mut lines = Vec::new();
        for (subject, role) in &self.cast {
            match (step, role) {
                (StepName::LetGo, Role::LetGo) => lines.extend(self.letting_go(subject, "")),
                (StepName::ConfigMaps, Role::Override(_))
                | (StepName::Restart, Role::Restart(_)) => {
                    lines.extend(self.change(subject, role, back, ""));
                }
                (StepName::Stage(stage), Role::Stop(entry)) if entry.stage == *stage => {
                    lines.extend(self.change(subject, role, back, &format!("stage {stage}: ")));
                }
                _ => {}
            }
        }
        match step {
            StepName::Fence => {
                if let Step::Wait(what) = self.waking_fence() {
                    lines.push(format!("waits for its end: {}", few(&what)));
                }
            }
            StepName::Truncate => lines.extend(self.emptying()),
            _ => {}
        }
        lines
    }

    fn change(&self, subject: &Subject, role: &Role, back: bool, step: &str) -> Vec<String> {
        if back {
            return self.letting_go(subject, step);
        }
        let name = subject.display();
        let held = subject.found.record().is_some_and(|r| r.held_by(self.input.holder));
        self.wants(subject, role)
            .iter()
            .filter_map(|(pointer, want)| {
                let now = subject.levers.get(pointer).and_then(|view| view.value.as_ref());
                // What is held as it is to be stays so.
                (!held || now != Some(want))
                    .then(|| format!("{step}{name}{}", taken(subject, pointer, now, want)))
            })
            .collect()
    }

    fn letting_go(&self, subject: &Subject, step: &str) -> Vec<String> {
        let Some(record) = subject.found.record() else { return Vec::new() };
        let holder = self.input.holder;
        let name = subject.display();
        record
            .levers
            .iter()
            .filter(|(_, held)| held.holders.iter().any(|holding| holding.holder == *holder))
            .map(|(pointer, held)| {
                let other = held.holders.iter().find(|holding| holding.holder != *holder);
                match other {
                    Some(other) => format!("{step}{name} stays held by {}", other.holder),
                    None => format!("{step}{name}{}", given_back(subject, pointer, held)),
                }
            })
            .collect()
    }

    fn emptying(&self) -> Option<String> {
        use crate::api::hibernation::EpisodeTruncation::{NotAsked, Pending};
        let truncate = self.truncate_settings()?;
        let episode = self.status.episode.as_ref().map(|episode| episode.truncation);
        if !matches!(episode, None | Some(Pending | NotAsked)) {
            return None;
        }
        let preflight = self.status.preflight.as_ref();
        let what = match preflight.and_then(|p| Some((p.tables?, p.rows?, p.bytes?))) {
            Some((tables, rows, bytes)) => {
                format!("{tables} tables, about {rows} rows, {bytes} bytes")
            }
            None => "the dry run has not told yet what".to_owned(),
        };
        let automatic =
            if truncate.automatic { "" } else { " (only after a person's change of state)" };
        Some(format!("the {:?} tables are emptied{automatic}: {what}", truncate.scope))
    }
}

/// What taking a lever does: follows the object's name.
fn taken(subject: &Subject, pointer: &str, now: Option<&Value>, want: &Value) -> String {
    let now_in_words = now.map_or("not set".to_owned(), ToString::to_string);
    match subject.kind.name {
        "ConfigMap" => format!(": {} from {now_in_words} to {want}", key(pointer)),
        _ if pointer == RESTART => " is restarted, and stays up".to_owned(),
        "CronJob" | "Job" if now == Some(want) => " stays suspended".to_owned(),
        "CronJob" | "Job" => " is suspended".to_owned(),
        "DaemonSet" => " leaves all nodes".to_owned(),
        _ if now == Some(want) => " stays at 0 replicas".to_owned(),
        _ => format!(" goes from {} to 0 replicas", now.unwrap_or(&Value::from(1))),
    }
}

/// What letting go of a lever does: follows the object's name.
fn given_back(subject: &Subject, pointer: &str, held: &Held) -> String {
    let suspended = held.original.as_ref().and_then(Value::as_bool) == Some(true);
    match (subject.kind.name, &held.original) {
        ("ConfigMap", Some(original)) => format!(": {} back to {original}", key(pointer)),
        ("ConfigMap", None) => format!(": {} is removed, as it was not there before", key(pointer)),
        _ if pointer == RESTART => " is restarted".to_owned(),
        ("CronJob" | "Job", _) if suspended => " stays suspended, as it was".to_owned(),
        ("CronJob" | "Job", _) => " goes on".to_owned(),
        ("DaemonSet", _) => " returns to its nodes".to_owned(),
        (_, original) => {
            format!(" goes back to {} replicas", original.as_ref().unwrap_or(&Value::from(1)))
        }
    }
}

fn key(pointer: &str) -> String {
    segments(pointer).nth(1).unwrap_or_default()
}
