//! `dryRun`: what would be done, in words.

use jiff::SignedDuration;

use super::cast::Role;
use super::plan::{Draft, Next, Standing, few};
use super::steps::{Step, StepName};
use crate::api::schedule::DesiredState;
use crate::hold::lever::key_pointer;

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
        if !self.actions.is_empty() {
            self.next = Next::Again;
        } else if self.standing != Standing::Settled {
            self.next = Next::Wait(SignedDuration::from_secs(2));
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
