//! The role of each workload and ConfigMap in a transition, and the write that it needs.

use std::collections::BTreeMap;

use serde_json::Value;

use super::draft::Draft;
use super::plan::Action;
use super::role::{Role, Written};
use super::spec::{Entry, Target};
use crate::api::labels::{APP, MANAGED_BY, TORPOR};
use crate::api::reason::Reason;
use crate::api::workload::{Action as Treatment, MissedRuns};
use crate::hold::lever::{RESTART, WORKLOADS, restart_wants};
use crate::hold::plan::{Decision, Desired, decide};
use crate::hold::record::{Found, Held};
use crate::hold::status_record::StatusRecord;
use crate::hold::subject::Subject;

impl<'a> Draft<'a> {
    /// Returns the role of a workload or ConfigMap.
    pub(super) fn role(&self, subject: &'a Subject) -> Option<Role<'a>> {
        let spec = self.input.spec;
        // Any observer finishes a release whose ownership is not handed back yet.
        let held = self.holds(subject) || subject.found.unfinished();
        if subject.kind.name == "ConfigMap" {
            let wants = spec.config_wants(subject);
            return match (wants.is_empty(), held) {
                (false, _) if !subject.deleting && (held || !is_own(subject)) => {
                    Some(Role::Override(wants))
                }
                (_, true) => Some(Role::Release),
                _ => None,
            };
        }
        match spec.entry_for(subject).filter(|entry| held || may_take(subject, entry)) {
            Some(entry) => Some(match entry.action {
                Treatment::Stop => Role::Stop(entry),
                Treatment::Restart => Role::Restart(entry),
            }),
            None => held.then_some(Role::Release),
        }
    }

    /// Returns whether this object holds it, by the annotation or else by the status.
    pub(super) fn holds(&self, subject: &Subject) -> bool {
        let holder = self.input.holder;
        match &subject.found {
            Found::Record(record) => record.held_by(holder),
            Found::RecordMissing => self.recorded(subject).is_some(),
            Found::Copy(_) => false,
            // The status may tell of a hold that was not taken, or of one that was released.
            Found::Nothing => self
                .recorded(subject)
                .is_some_and(|recorded| !recorded.still_held(subject).levers.is_empty()),
        }
    }

    /// Returns the status's own record of a held object.
    pub(super) fn recorded(&self, subject: &Subject) -> Option<StatusRecord> {
        let text = self.state.originals.get(&record_key(subject))?;
        serde_json::from_str(text).ok()
    }

    /// Drops the record of a released object: from now on others own its fields.
    pub(super) fn forget(&mut self, subject: &Subject) {
        self.state.originals.remove(&record_key(subject));
    }

    /// Returns what it takes to hold the object at `wants`.
    pub(super) fn decision(&self, subject: &Subject, wants: &BTreeMap<String, Value>) -> Decision {
        let recorded = self.recorded(subject);
        let desired = Desired {
            holder: self.input.holder,
            episode: &self.episode_id(),
            wants,
            remembered: recorded.as_ref(),
        };
        decide(subject, &desired)
    }

    /// Plans the write that holds the object at `wants`, where it needs one. Fails with reason and
    /// message where the object can't be held.
    pub(super) fn write(
        &mut self,
        subject: &Subject,
        wants: BTreeMap<String, Value>,
        missed_runs: MissedRuns,
    ) -> Result<Written, (Reason, String)> {
        let releases = wants.is_empty();
        match self.decision(subject, &wants) {
            Decision::Unchanged => {
                if releases {
                    self.forget(subject);
                }
                Ok(Written::Already)
            }
            Decision::Refuse(refusal) => Err((refusal.reason(), refusal.to_string())),
            Decision::Write(_) if let Some(rejected) = self.rejected(&subject.uid) => Err(rejected),
            // A release ends a contest, so that it never waits for one.
            Decision::Write(_) if !releases && self.quiet(subject) => Ok(Written::Contested),
            Decision::Write(write) => {
                if !releases {
                    // Before the object: admission may strip the marks from the write.
                    let mut intended = StatusRecord::of(subject, &write.record, self.input.holder);
                    intended.generation = None;
                    self.intended.insert(record_key(subject), intended);
                }
                self.actions.push(Action::Hold {
                    subject: Box::new(subject.clone()),
                    wants,
                    episode: self.episode_id(),
                    recorded: self.recorded(subject),
                    skip_missed_runs: missed_runs == MissedRuns::Skip,
                });
                Ok(Written::Now)
            }
        }
    }

    /// Returns the API server's answer where it rejected the last write of an object (by its uid) or the
    /// creation of a Job (by its name).
    pub(super) fn rejected(&self, written: &str) -> Option<(Reason, String)> {
        let contest = self.input.memory.contests.get(written)?;
        let answer = contest.rejected.clone().filter(|_| self.input.now < contest.quiet_until)?;
        Some((Reason::WriteRejected, answer))
    }

    fn quiet(&self, subject: &Subject) -> bool {
        let contest = self.input.memory.contests.get(&subject.uid);
        contest.is_some_and(|contest| self.input.now < contest.quiet_until)
    }

    /// Returns the digest that the pods of a restarted workload have, whoever else restarts it.
    pub(super) fn restarted_as(&self, subject: &Subject) -> String {
        let held = subject.found.record().and_then(|record| record.levers.get(RESTART));
        let value = held.and_then(Held::held_value).and_then(|v| v.as_str().map(str::to_owned));
        value.unwrap_or_else(|| self.input.spec.restart_digest(&self.episode_id()))
    }

    /// Returns the values that an object of this role has while down.
    pub(super) fn wants(&self, subject: &Subject, role: &Role) -> BTreeMap<String, Value> {
        match role {
            Role::Stop(_) => subject.stop_wants(),
            Role::Restart(_) => restart_wants(&self.input.spec.restart_digest(&self.episode_id())),
            Role::Override(wants) => wants.clone(),
            Role::Release => BTreeMap::new(),
        }
    }
}

/// Returns the key of an object in `status.originals`.
pub fn record_key(subject: &Subject) -> String {
    format!("{}/{}/{}", subject.kind.name, subject.name, subject.uid)
}

/// Returns whether Torpor may take a new hold of an object. A workload that another controller owns is
/// refused later where the spec names it, or where Torpor can't hold its owner; else the owner's hold
/// covers it.
fn may_take(subject: &Subject, entry: &Entry) -> bool {
    let owned_by_known = subject
        .controller
        .as_ref()
        .is_some_and(|owner| WORKLOADS.iter().any(|kind| kind.name == owner.kind));
    let by_name = matches!(entry.target, Target::Name(_));
    !subject.deleting && !is_own(subject) && !subject.facts.finished && (by_name || !owned_by_known)
}

/// Returns whether an object is Torpor's own: a Job, a part of a bridge, or the operator itself.
fn is_own(subject: &Subject) -> bool {
    subject.labels.get(MANAGED_BY).is_some_and(|by| by == TORPOR)
        || subject.labels.get(APP).is_some_and(|name| name == TORPOR)
}

#[cfg(test)]
#[path = "roles_tests.rs"]
mod tests;
