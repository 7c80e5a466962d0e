//! The workloads in the status of an object.

use std::fmt;

use super::blockers::{blockers, not_ready, not_restarted};
use super::draft::Draft;
use super::plan::{HoldInput, Place};
use super::role::Role;
use super::roles::{kind_of, record_key};
use super::spec::Entry;
use super::writers::skip_message;
use crate::api::condition;
use crate::api::hold_state::{Counts, WorkloadStatus};
use crate::api::text::few;
use crate::hold::describe::describe_originals;
use crate::hold::lever::Kind;
use crate::hold::plan::Decision;
use crate::hold::record::Found;
use crate::hold::refusal::Refusal;
use crate::hold::status_record::StatusRecord;
use crate::hold::subject::Subject;

/// Bytes of originals that the status keeps.
const LONGEST_ORIGINALS: usize = 256 * 1024;
/// Workloads that the status shows in detail.
const DETAILED: usize = 100;

/// `status.workloads[].state`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Changed,
    Down,
    Overridden,
    Ready,
    Reduced,
    Refused,
    Restarted,
    Restarting,
    Running,
    Skipped,
    Stopping,
    Waking,
}

impl State {
    /// Returns whether the object is as a hibernation leaves it.
    fn is_down(self) -> bool {
        matches!(self, Self::Down | Self::Reduced | Self::Restarted | Self::Overridden)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl Draft<'_> {
    /// Writes workloads, counts and originals into the state.
    pub(super) fn report_workloads(&mut self) {
        let holder = self.input.holder;
        let mut counts = Counts::default();
        let mut workloads = Vec::new();
        let mut originals = std::collections::BTreeMap::new();
        let mut recorded_bytes = 0;
        for (subject, role) in &self.roles {
            let (state, status) = self.workload(subject, role);
            if matches!(role, Role::Skip(_)) {
                workloads.push(status);
                continue;
            }
            counts.total += 1;
            counts.held += i32::from(self.holds(subject));
            counts.down += i32::from(state.is_down());
            counts.refused += i32::from(state == State::Refused);
            let key = record_key(subject);
            let recorded = match &subject.found {
                _ if let Some(intended) = self.intended.get(&key) => Some(intended.clone()),
                Found::Record(record) => {
                    record.held_by(holder).then(|| StatusRecord::of(subject, record, holder))
                }
                Found::Nothing | Found::RecordMissing | Found::Copy(_) => None,
            };
            let text = match recorded {
                Some(recorded) => serde_json::to_string(&recorded).ok(),
                // Its annotation is gone: the status is the only record.
                None if subject.found.record().is_none() => self.state.originals.get(&key).cloned(),
                None => None,
            };
            if let Some(text) = text
                && recorded_bytes + key.len() + text.len() <= LONGEST_ORIGINALS
            {
                recorded_bytes += key.len() + text.len();
                originals.insert(key, text);
            }
            workloads.push(status);
        }
        // Objects that cannot be observed now are still held.
        for (key, text) in &self.state.originals {
            let kind = kind_of(key);
            if self.input.observed.unavailable.contains_key(kind) || Kind::any(kind).is_none() {
                originals.insert(key.clone(), text.clone());
            }
        }
        // What needs attention comes first where not all can be shown.
        workloads.sort_by_key(|workload| workload.message.is_none());
        workloads.truncate(DETAILED);
        workloads.sort_by(|a, b| (&a.kind, &a.name).cmp(&(&b.kind, &b.name)));
        self.state.workloads = workloads;
        // Nothing there is nothing to count, also where all that was held has been deleted since.
        self.state.counts = (!self.roles.is_empty()).then_some(counts);
        self.state.originals = originals;
    }

    fn workload(&self, subject: &Subject, role: &Role) -> (State, WorkloadStatus) {
        let held = self.holds(subject);
        let waking = self.place == Place::ComingUp;
        let pods = self.input.observed.pods.as_ref();
        let before =
            self.input.state.workloads.iter().find(|workload| {
                workload.kind == subject.kind.name && workload.name == subject.name
            });
        let unseen = |doing: State, done: State| match before {
            Some(before) if before.state == done.to_string() => (done, None),
            _ => (doing, None),
        };
        let seen = |waits: Vec<String>, doing: State, done: State| {
            if waits.is_empty() { (done, None) } else { (doing, Some(few(&waits))) }
        };
        let refused = !held && !waking && !matches!(role, Role::Skip(_));
        let refusal = refused.then(|| self.refusal(subject, role)).flatten();
        let refusal = refusal.map(|refusal| refusal.to_string());
        let (state, message) = match (role, pods) {
            _ if refusal.is_some() => (State::Refused, refusal),
            _ if held && !waking && subject.is_changed() => (State::Changed, None),
            (Role::Skip(owner), _) => (State::Skipped, Some(skip_message(subject, owner))),
            (Role::Override(_), _) if held => (State::Overridden, None),
            (Role::Release, _) if held => (State::Waking, None),
            (Role::Stop(entry), pods) if held => {
                let keeps = self.kept(subject, entry);
                let done = if keeps > 0 { State::Reduced } else { State::Down };
                match pods {
                    Some(pods) => seen(blockers(subject, pods, keeps), State::Stopping, done),
                    None => unseen(State::Stopping, done),
                }
            }
            (Role::Restart(_), Some(pods)) if held => {
                let digest = self.restarted_as(subject);
                seen(not_restarted(subject, pods, &digest), State::Restarting, State::Restarted)
            }
            (Role::Restart(_), None) if held => unseen(State::Restarting, State::Restarted),
            _ if waking => match not_ready(subject, matches!(role, Role::Restart(_))) {
                Some(waits) => (State::Waking, Some(waits)),
                None => (State::Ready, None),
            },
            _ => (State::Running, None),
        };
        // A foreign write is the message where there is nothing more urgent.
        let contest = self.input.memory.contests.get(&subject.display()).filter(|_| held);
        let foreign_writes = contest.map(|contest| contest.writes.clone());
        let message =
            message.or_else(|| foreign_writes.as_ref().map(|writes| writes.change.clone()));
        let original =
            subject.found.record().and_then(|record| describe_originals(subject.kind, record));
        let status = WorkloadStatus {
            kind: subject.kind.name.to_owned(),
            name: subject.name.clone(),
            state: state.to_string(),
            original,
            message: message.map(|message| condition::shorten(&message)),
            foreign_writes,
        };
        (state, status)
    }

    /// Returns why an object can't be held as its role asks.
    pub(super) fn refusal(&self, subject: &Subject, role: &Role) -> Option<Refusal> {
        match self.decision(subject, &self.wants(subject, role)) {
            Decision::Refuse(refusal) => Some(refusal),
            Decision::Unchanged | Decision::Write(_) => None,
        }
    }

    /// Returns whether the spec selects no workload and no ConfigMap at all.
    pub(super) fn selects_nothing(&self) -> bool {
        let HoldInput { spec, observed, .. } = self.input;
        !observed.workloads.iter().any(|subject| spec.entry_for(subject).is_some())
            && !observed
                .config_maps
                .iter()
                .any(|config_map| !spec.config_wants(config_map).is_empty())
    }

    /// Returns the entries that match nothing, as text: the object may come later, or the name is mistyped.
    pub(super) fn unmatched(&self) -> Vec<String> {
        self.unmatched_entries().filter_map(Entry::in_words).collect()
    }

    /// Returns the entries that match nothing.
    pub(super) fn unmatched_entries(&self) -> impl Iterator<Item = &Entry> {
        let HoldInput { spec, observed, .. } = self.input;
        let listed = |entry: &&Entry| !observed.unavailable.contains_key(entry.kind.name);
        spec.workloads.iter().filter(listed).filter(|entry| {
            !observed.workloads.iter().any(|subject| {
                entry.kind == subject.kind && entry.target.precision(subject).is_some()
            })
        })
    }
}
