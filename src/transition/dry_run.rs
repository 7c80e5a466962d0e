//! `dryRun`: the actions that a transition would take, as text.

use serde_json::Value;

use super::draft::Draft;
use super::plan::{HoldInput, Next, Transition};
use super::role::Role;
use super::step::{Step, StepName};
use super::truncation::DAILY;
use crate::api::hold_state::EpisodeTruncation::{NotAsked, Pending};
use crate::api::reason::Reason;
use crate::api::text::{counted, few, size};
use crate::hold::describe::shortened;
use crate::hold::lever::{RESTART, WHEN_SCALED, annotation, path, segments};
use crate::hold::record::Held;
use crate::hold::subject::Subject;

/// The actions that Torpor would take.
#[derive(Debug, Default)]
pub struct PlannedActions {
    /// The time of the actions, in words.
    when: &'static str,
    /// The actions, in order.
    pub actions: Vec<String>,
}

impl PlannedActions {
    /// Returns the numbered lines of `status.plan`.
    pub fn into_lines(self) -> Vec<String> {
        let numbered = self.actions.into_iter().enumerate();
        numbered.map(|(index, action)| format!("{}. {}: {action}", index + 1, self.when)).collect()
    }
}

/// Changes nothing but the preflight. Returns the transition with that, and the actions that Torpor would take;
/// `asleep` is what the spec asks for now.
pub fn dry_run(input: HoldInput, asleep: bool) -> (Transition, PlannedActions) {
    let mut draft = Draft::new(input);
    if input.spec.database.is_some() && input.observed.pods.is_none() {
        draft.next = Next::ObservePods;
        return (draft.finish(), PlannedActions::default());
    }
    // Nothing is to change any more, and nobody would look for writers meanwhile.
    draft.call_off_truncation();
    draft.check();
    let actions = draft.planned_actions(asleep);
    (draft.finish(), actions)
}

impl Draft<'_> {
    /// Runs the preflight and looks for obstacles.
    fn check(&mut self) {
        match self.preflight(DAILY) {
            Step::Blocked { reason, message } => self.stall(reason, message),
            Step::Wait(objects) => self.progress(Reason::Preflight, few(&objects)),
            _ => {}
        }
        let clear = self.actions.is_empty() && self.standing.is_reached();
        let obstacle = self.obstacle().or_else(|| self.warning());
        if let Some(Step::Blocked { reason, message }) = obstacle.filter(|_| clear) {
            self.stall(reason, message);
        } else if !self.actions.is_empty() {
            self.next = Next::Again;
        } else if !self.standing.is_reached() {
            self.next = Next::Wait(jiff::SignedDuration::from_secs(2));
            self.wait_for_preflight();
        }
    }

    fn planned_actions(&self, asleep: bool) -> PlannedActions {
        let held = self.state.episode.is_some()
            || self.roles.iter().any(|(subject, _)| self.holds(subject));
        let (when, steps) = match (asleep, held) {
            (true, _) => ("now", self.steps_down()),
            (false, true) => ("now", self.steps_up()),
            (false, false) => ("when it goes to sleep", self.steps_down()),
        };
        let up = !asleep && held;
        let mut actions: Vec<String> =
            steps.iter().flat_map(|step| self.describe(step, up)).collect();
        let warnings = self.unavailable().into_iter().chain(self.scaled_by());
        actions.extend(warnings.map(|warning| format!("warning: {warning}")));
        let unmatched = self.unmatched().into_iter();
        actions.extend(unmatched.map(|entry| format!("no action: {entry} is not found")));
        PlannedActions { when, actions }
    }

    /// Returns a line for each action of a step.
    fn describe(&self, step: &StepName, up: bool) -> Vec<String> {
        let mut lines = Vec::new();
        for (subject, role) in &self.roles {
            match (step, role) {
                (StepName::Release, Role::Release) => lines.extend(self.releasing(subject, "")),
                (StepName::ConfigMaps, Role::Override(_))
                | (StepName::Restart, Role::Restart(_)) => {
                    lines.extend(self.change(subject, role, up, ""));
                }
                (StepName::Stage(stage), Role::Stop(entry)) if entry.stage == *stage => {
                    lines.extend(self.change(subject, role, up, &format!("stage {stage}: ")));
                }
                _ => {}
            }
        }
        match step {
            StepName::Fence => {
                if let Step::Wait(what) = self.waking_fence() {
                    lines.push(format!("wait: {}", few(&what)));
                }
            }
            StepName::Truncate => {
                if let Some(truncates) = self.emptying() {
                    lines.extend(self.waits().into_iter().map(|line| format!("wait: {line}")));
                    lines.push(truncates);
                }
            }
            _ => {}
        }
        lines
    }

    fn change(&self, subject: &Subject, role: &Role, up: bool, step: &str) -> Vec<String> {
        if up {
            return self.releasing(subject, step);
        }
        let name = subject.display();
        let held = subject.found.record().is_some_and(|r| r.held_by(self.input.holder));
        self.wants(subject, role)
            .iter()
            .filter_map(|(pointer, want)| {
                let now = subject.value(pointer);
                // What is held as it is to be stays so.
                (!held || now != Some(want))
                    .then(|| format!("{step}{name}{}", taken(subject, pointer, now, want)))
            })
            .collect()
    }

    fn releasing(&self, subject: &Subject, step: &str) -> Vec<String> {
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
                    None => format!("{step}{name}{}", released(subject, pointer, held)),
                }
            })
            .collect()
    }

    /// Returns the possible writers for which the truncation would wait.
    fn waits(&self) -> Vec<String> {
        let pods = self.input.observed.pods.as_ref();
        let pods = pods.map(|pods| self.writers(pods).into_lines()).unwrap_or_default();
        let preflight = self.database.preflight.iter();
        let sessions = preflight.flat_map(|preflight| preflight.sessions.iter().cloned());
        let missing = self.missing_workloads().into_iter();
        missing.chain(self.skipped()).chain(pods).chain(sessions).take(20).collect()
    }

    fn emptying(&self) -> Option<String> {
        let truncate = self.truncate_settings()?;
        let episode = self.state.episode.as_ref().map(|episode| episode.truncation);
        if !matches!(episode, None | Some(Pending | NotAsked)) {
            return None;
        }
        let preflight = self.database.preflight.as_ref();
        let what = match preflight.and_then(|p| Some((p.tables?, p.rows?, p.bytes?))) {
            Some((tables, rows, bytes)) => {
                let tables = counted(tables, "table");
                format!("{tables}, about {}, {}", counted(rows, "row"), size(bytes))
            }
            None => "the preflight has not reported yet".to_owned(),
        };
        let automatic =
            if truncate.automatic { "" } else { " (only after a person changes spec.state)" };
        Some(format!("the {:?} tables are truncated{automatic}: {what}", truncate.scope))
    }
}

/// Returns what a hold of a lever does; it follows the object's name.
fn taken(subject: &Subject, pointer: &str, now: Option<&Value>, want: &Value) -> String {
    let in_words = |value: &Value| shortened(&value.to_string());
    let now_in_words = now.map_or("not set".to_owned(), in_words);
    match subject.kind.name {
        _ if subject.kind.entry.is_some() && now == Some(want) => {
            format!(": {} stays {}", field(pointer), in_words(want))
        }
        _ if subject.kind.entry.is_some() => {
            format!(": {} from {now_in_words} to {}", field(pointer), in_words(want))
        }
        "ConfigMap" => format!(": {} from {now_in_words} to {}", key(pointer), in_words(want)),
        _ if pointer == RESTART => " is restarted, and stays up".to_owned(),
        _ if pointer == WHEN_SCALED => {
            " keeps its claims: whenScaled from Delete to Retain".to_owned()
        }
        "CronJob" | "Job" if now == Some(want) => " stays suspended".to_owned(),
        "Job" if subject.facts.active > 0 => {
            let pods = counted(subject.facts.active, "pod");
            format!(" is suspended and its {pods} deleted; it starts from the beginning at wake")
        }
        "CronJob" | "Job" => " is suspended".to_owned(),
        "DaemonSet" => " is removed from all nodes".to_owned(),
        _ if now == Some(want) => format!(" stays at {}", replicas(Some(want))),
        _ => format!(" goes from {} to {}", now.unwrap_or(&Value::from(1)), replicas(Some(want))),
    }
}

/// Returns what the release of a lever does; it follows the object's name.
fn released(subject: &Subject, pointer: &str, held: &Held) -> String {
    let suspended = held.original.as_ref().and_then(Value::as_bool) == Some(true);
    match (subject.kind.name, &held.original) {
        (_, Some(original)) if subject.kind.entry.is_some() => {
            format!(": {} back to {}", field(pointer), shortened(&original.to_string()))
        }
        (_, None) if subject.kind.entry.is_some() => {
            format!(": {} is removed, as it did not exist before", field(pointer))
        }
        ("ConfigMap", Some(original)) => {
            format!(": {} back to {}", key(pointer), shortened(&original.to_string()))
        }
        ("ConfigMap", None) => format!(": {} is removed, as it did not exist before", key(pointer)),
        _ if pointer == RESTART => " is restarted".to_owned(),
        _ if pointer == WHEN_SCALED => ": whenScaled back to Delete".to_owned(),
        ("CronJob" | "Job", _) if suspended => " stays suspended, as it was".to_owned(),
        ("CronJob" | "Job", _) => " is resumed".to_owned(),
        ("DaemonSet", _) => " returns to its nodes".to_owned(),
        (_, original) => format!(" goes back to {}", replicas(original.as_ref())),
    }
}

/// Returns a number of replicas in words. Absent means the API server's default.
fn replicas(value: Option<&Value>) -> String {
    counted(value.and_then(Value::as_i64).unwrap_or(1), "replica")
}

/// Returns the lever of a kind of the table as people write it: an annotation, or a field.
fn field(pointer: &str) -> String {
    annotation(pointer).map_or_else(|| path(pointer), |name| format!("the annotation {name}"))
}

fn key(pointer: &str) -> String {
    segments(pointer).nth(1).unwrap_or_default()
}
