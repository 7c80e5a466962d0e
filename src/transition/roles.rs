//! The role of each workload and ConfigMap in a transition, and the write that it needs.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::draft::Draft;
use super::missed::skips_before;
use super::plan::Action;
use super::role::{Role, Written};
use super::spec::Entry;
use crate::api::labels::{APP, MANAGED_BY, TORPOR};
use crate::api::reason::Reason;
use crate::api::workload::{Action as Treatment, MissedRuns};
use crate::hold::lever::{REPLICAS, RESTART, restart_wants};
use crate::hold::plan::{Decision, Desired, decide, originals};
use crate::hold::record::{Found, Held};
use crate::hold::status_record::StatusRecord;
use crate::hold::subject::{Controller, Subject};

impl<'a> Draft<'a> {
    /// Returns the role of a workload or ConfigMap.
    pub(super) fn role(&self, subject: &'a Subject) -> Option<Role<'a>> {
        let spec = self.input.spec;
        // Any observer finishes a release whose ownership is not handed back yet.
        let held = self.holds(subject) || subject.found.unfinished();
        if subject.kind.name == "ConfigMap" {
            let wants = spec.config_wants(subject);
            return match (wants.is_empty(), held) {
                (false, _) if !subject.deleting && (held || !is_torpors(&subject.labels)) => {
                    Some(Role::Override(wants))
                }
                (_, true) => Some(Role::Release),
                _ => None,
            };
        }
        let Some(entry) = spec.entry_for(subject).filter(|_| held || may_take(subject)) else {
            return held.then_some(Role::Release);
        };
        match &subject.controller {
            Some(owner) if !held && !entry.target.is_name() => {
                (!self.goes_down(owner)).then_some(Role::Skip(owner))
            }
            _ => Some(match entry.action {
                Treatment::Stop => Role::Stop(entry),
                Treatment::Restart => Role::Restart(entry),
            }),
        }
    }

    /// Returns whether the spec stops an owner: its own hold covers the workload.
    fn goes_down(&self, owner: &Controller) -> bool {
        let mut workloads = self.input.observed.workloads.iter();
        workloads.any(|subject| {
            let entry = self.input.spec.entry_for(subject);
            subject.uid == owner.uid && entry.is_some_and(|entry| entry.action == Treatment::Stop)
        })
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
        subject: &Arc<Subject>,
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
            // A release ends a contest, so that it never waits for one.
            Decision::Write(_) if !releases && self.pauses(subject) => Ok(Written::Contested),
            Decision::Write(write) => {
                let (sends, failed) = self.sends(&subject.uid);
                if let Some(failed) = failed.clone().filter(|_| !sends) {
                    return Err(failed);
                }
                if !releases {
                    // Before the object: admission may strip the marks from the write.
                    let mut intended = StatusRecord::of(subject, &write.record, self.input.holder);
                    intended.generation = None;
                    self.intended.insert(record_key(subject), intended);
                }
                self.actions.push(Action::Hold {
                    subject: Arc::clone(subject),
                    wants,
                    episode: self.episode_id(),
                    recorded: self.recorded(subject),
                    skip_runs_before: (missed_runs == MissedRuns::Skip)
                        .then(|| skips_before(subject, self.woken_at()))
                        .flatten(),
                });
                failed.map_or(Ok(Written::Now), Err)
            }
        }
    }

    /// Returns the API server's answer where the last write of an object (by its uid) or of a Job (by its name)
    /// failed. The object says so until a write succeeds, also while Torpor tries again.
    pub(super) fn failed(&self, written: &str) -> Option<(Reason, String)> {
        let failed = self.input.memory.failures.get(written)?;
        Some((Reason::WriteRejected, failed.answer.clone()))
    }

    /// Returns whether a write is to be sent now, and the answer to the last one where that failed. The next
    /// plan follows soon where a failed write is sent again.
    pub(super) fn sends(&mut self, written: &str) -> (bool, Option<(Reason, String)>) {
        let failed = self.input.memory.failures.get(written);
        let due = failed.is_none_or(|failed| self.input.now >= failed.retry_at);
        let retries = failed.is_some() && due;
        self.plan_again_in(retries.then_some(SignedDuration::from_secs(1)));
        (due, self.failed(written))
    }

    /// Returns whether Torpor waits before it reverts the next write of a fast rival.
    fn pauses(&mut self, subject: &Subject) -> bool {
        let contest = self.input.memory.contests.get(&subject.display());
        let pause = contest.and_then(|contest| contest.pause(self.input.now));
        self.plan_again_in(pause);
        pause.is_some()
    }

    /// Asks for the next plan after this time at the latest.
    pub(super) fn plan_again_in(&mut self, wait: Option<SignedDuration>) {
        self.again_in = self.again_in.into_iter().chain(wait).min();
    }

    fn restart_digest(&self, subject: &Subject) -> String {
        let overridden = self.roles.iter().filter(|(config_map, role)| {
            matches!(role, Role::Override(_))
                && subject.facts.config_maps.contains(&config_map.name)
        });
        let mut uids: Vec<&str> =
            overridden.map(|(config_map, _)| config_map.uid.as_str()).collect();
        uids.sort_unstable();
        self.input.spec.restart_digest(&self.episode_id(), &uids)
    }

    /// Returns the digest that the pods of a restarted workload have, whoever else restarts it.
    pub(super) fn restarted_as(&self, subject: &Subject) -> String {
        let held = subject.found.record().and_then(|record| record.levers.get(RESTART));
        let value = held.and_then(Held::held_value).and_then(|v| v.as_str().map(str::to_owned));
        value.unwrap_or_else(|| self.restart_digest(subject))
    }

    /// Returns the time from which a CronJob misses no run.
    fn woken_at(&self) -> Timestamp {
        let waking = self.state.episode.as_ref().and_then(|episode| episode.waking_since.as_ref());
        waking.map_or(self.input.now, |since| since.0)
    }

    /// Returns the replicas that a workload keeps while down: as many as its entry says, and never more than the
    /// wake restores.
    pub(super) fn kept(&self, subject: &Subject, entry: &Entry) -> i64 {
        let Some(most) = entry.replicas else { return 0 };
        let recorded = || self.recorded(subject)?.levers.remove(REPLICAS).map(|lever| lever.0);
        let now = || subject.value(REPLICAS).cloned();
        let original = originals(subject).remove(REPLICAS).or_else(recorded).unwrap_or_else(now);
        // The API server's default.
        let had = original.as_ref().and_then(Value::as_i64).unwrap_or(1);
        had.min(most.into())
    }

    /// Returns the lever and value of the replicas that a workload keeps; none where its entry does not say it.
    fn replicas(&self, subject: &Subject, entry: &Entry) -> Option<(String, Value)> {
        entry.replicas.map(|_| (REPLICAS.to_owned(), Value::from(self.kept(subject, entry))))
    }

    /// Returns the values that an object of this role has while down.
    pub(super) fn wants(&self, subject: &Subject, role: &Role) -> BTreeMap<String, Value> {
        match role {
            Role::Stop(entry) => {
                let mut wants = subject.stop_wants();
                wants.extend(self.replicas(subject, entry));
                wants
            }
            Role::Restart(entry) => {
                let mut wants = restart_wants(&self.restart_digest(subject));
                if let Some(replicas) = self.replicas(subject, entry) {
                    wants.extend(subject.stop_wants());
                    wants.extend([replicas]);
                }
                wants
            }
            Role::Override(wants) => wants.clone(),
            Role::Release | Role::Skip(_) => BTreeMap::new(),
        }
    }
}

/// Returns the key of an object in `status.originals`.
pub fn record_key(subject: &Subject) -> String {
    format!("{}/{}/{}", subject.kind.name, subject.name, subject.uid)
}

/// Returns the kind in a key of `status.originals`.
pub(super) fn kind_of(key: &str) -> &str {
    key.split('/').next().unwrap_or_default()
}

/// Returns whether Torpor may take a new hold of an object. An old ReplicaSet of a Deployment is not worth a
/// word.
fn may_take(subject: &Subject) -> bool {
    let left_over = subject.kind.name == "ReplicaSet"
        && subject.controller.is_some()
        && subject.facts.replicas == 0
        && subject.facts.status_replicas == 0;
    !subject.deleting && !is_torpors(&subject.labels) && !subject.facts.finished && !left_over
}

/// Returns whether an object with these labels is Torpor's own: a Job, a part of a bridge, or the operator
/// itself.
pub(super) fn is_torpors(labels: &BTreeMap<String, String>) -> bool {
    labels.get(MANAGED_BY).is_some_and(|by| by == TORPOR)
        || labels.get(APP).is_some_and(|name| name == TORPOR)
}

#[cfg(test)]
#[path = "roles_tests.rs"]
mod tests;
