//! Who plays a part in a Hibernation, which one, and what is to be written of each.

use std::collections::BTreeMap;

use serde_json::Value;

use super::plan::{Action, Draft};
use super::validate::{Entry, Target};
use crate::api::labels::{APP, MANAGED_BY, TORPOR};
use crate::api::workload::{Action as Treatment, MissedRuns};
use crate::hold::lever::{WORKLOADS, restart_wants};
use crate::hold::plan::{Decision, Desired, decide};
use crate::hold::status_record::StatusRecord;
use crate::hold::subject::Subject;

/// What an object is to the Hibernation.
#[derive(Clone, Debug)]
pub enum Role<'a> {
    /// It is to be stopped.
    Stop(&'a Entry),
    /// It is to be restarted.
    Restart(&'a Entry),
    /// Its keys are to be overridden.
    Override(BTreeMap<String, Value>),
    /// It is held, and the spec does not ask for that any more.
    LetGo,
}

impl<'a> Draft<'a> {
    /// What an object is to this Hibernation.
    pub(super) fn role(&self, subject: &'a Subject) -> Option<Role<'a>> {
        let spec = self.input.spec;
        // What is let go of and not yet given back is finished by whoever looks.
        let held = self.holds(subject) || subject.found.unfinished();
        if subject.kind.name == "ConfigMap" {
            let wants = spec.config_wants(subject);
            return match (wants.is_empty(), held) {
                (false, _) if !subject.deleting && (held || !is_own(subject)) => {
                    Some(Role::Override(wants))
                }
                (_, true) => Some(Role::LetGo),
                _ => None,
            };
        }
        match spec.entry_for(subject).filter(|entry| held || may_take(subject, entry)) {
            Some(entry) => Some(match entry.action {
                Treatment::Stop => Role::Stop(entry),
                Treatment::Restart => Role::Restart(entry),
            }),
            None => held.then_some(Role::LetGo),
        }
    }

    /// Whether this object holds it, by its annotation or else by the status.
    pub(super) fn holds(&self, subject: &Subject) -> bool {
        let holder = self.input.holder;
        match subject.found.record() {
            Some(record) => record.held_by(holder),
            None => self.remembered(subject).is_some(),
        }
    }

    /// What the status remembers of an object.
    pub(super) fn remembered(&self, subject: &Subject) -> Option<StatusRecord> {
        let text = self.status.originals.get(&memory_key(subject))?;
        serde_json::from_str(text).ok()
    }

    /// Forgets an object that has been let go: what others write into it from now on is theirs.
    pub(super) fn forget(&mut self, subject: &Subject) {
        self.status.originals.remove(&memory_key(subject));
    }

    /// Pushes the write, where one is needed, that makes the object hold `wants`. None where it
    /// can't be held.
    pub(super) fn settle(
        &mut self,
        subject: &Subject,
        wants: BTreeMap<String, Value>,
        missed_runs: MissedRuns,
    ) -> Result<Settled, (String, String)> {
        let episode = self.episode_id();
        let remembered = self.remembered(subject);
        let lets_go = wants.is_empty();
        let wish = Desired {
            holder: self.input.holder,
            episode: &episode,
            wants: &wants,
            remembered: remembered.as_ref(),
        };
        match decide(subject, &wish) {
            Decision::Keep => {
                if lets_go {
                    self.forget(subject);
                }
                Ok(Settled::Already)
            }
            Decision::Refuse(refusal) => Err((refusal.reason().to_owned(), refusal.to_string())),
            Decision::Write(_) if let Some(rejected) = self.rejected(&subject.uid) => Err(rejected),
            // Letting go ends a contest, so that it never waits for one.
            Decision::Write(_) if !lets_go && self.quiet(subject) => Ok(Settled::Contested),
            Decision::Write(_) => {
                self.actions.push(Action::Settle {
                    subject: Box::new(subject.clone()),
                    wants,
                    episode,
                    remembered,
                    skip_missed_runs: missed_runs == MissedRuns::Skip,
                });
                Ok(Settled::Writing)
            }
        }
    }

    /// What the API server has answered to the last write of an object (by its uid) or to the
    /// creation of a Job (by its name), where that was a no.
    pub(super) fn rejected(&self, written: &str) -> Option<(String, String)> {
        let contest = self.input.contests.get(written)?;
        let answer = contest.rejected.clone().filter(|_| self.input.now < contest.quiet_until)?;
        Some(("WriteRejected".to_owned(), answer))
    }

    fn quiet(&self, subject: &Subject) -> bool {
        let contest = self.input.contests.get(&subject.uid);
        contest.is_some_and(|contest| self.input.now < contest.quiet_until)
    }

    /// What is wanted of an object with this role, while asleep.
    pub(super) fn wants(&self, subject: &Subject, role: &Role) -> BTreeMap<String, Value> {
        match role {
            Role::Stop(_) => subject.kind.stop_wants(),
            Role::Restart(_) => restart_wants(&self.input.spec.restart_digest(&self.episode_id())),
            Role::Override(wants) => wants.clone(),
            Role::LetGo => BTreeMap::new(),
        }
    }
}

/// How a write stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Settled {
    /// Nothing to write.
    Already,
    /// To be written.
    Writing,
    /// To be written later: somebody else keeps on writing it.
    Contested,
}

/// The key of an object in `status.originals`.
pub fn memory_key(subject: &Subject) -> String {
    format!("{}/{}/{}", subject.kind.name, subject.name, subject.uid)
}

/// Whether an object that is not held yet may be. What another controller owns is refused where it
/// was meant by name, or where its owner is of a kind that nothing here can hold; otherwise it is
/// its owner's matter.
fn may_take(subject: &Subject, entry: &Entry) -> bool {
    let owned_by_known = subject
        .controller
        .as_ref()
        .is_some_and(|owner| WORKLOADS.iter().any(|kind| kind.name == owner.kind));
    let by_name = matches!(entry.target, Target::Name(_));
    !subject.deleting && !is_own(subject) && !subject.facts.finished && (by_name || !owned_by_known)
}

/// Whether it is Torpor's own: a Job, a bridge and what belongs to that, or the operator itself.
fn is_own(subject: &Subject) -> bool {
    subject.labels.get(MANAGED_BY).is_some_and(|by| by == TORPOR)
        || subject.labels.get(APP).is_some_and(|name| name == TORPOR)
}
