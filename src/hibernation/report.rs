//! What the status says of a plan: conditions, counts, workloads, and which events a change of it
//! brings. Pure.

use jiff::Timestamp;

use super::down::{blockers, not_ready, not_restarted};
use super::plan::{Draft, Input, Next, Plan, Standing, few};
use super::roles::{Role, memory_key};
use super::validate::Entry;
use crate::api::condition::{
    self, HIBERNATED, PREFLIGHT_PASSED, READY, RECONCILING, STALLED, TRUNCATED,
};
use crate::api::event::Event;
use crate::api::hibernation::{
    AttemptEnd, Counts, EpisodeTruncation, HibernationStatus, Phase, WorkloadStatus,
};
use crate::hold::plan::{Decision, Desired, decide, original_in_words};
use crate::hold::record::Found;
use crate::hold::refusal::Refusal;
use crate::hold::status_record::StatusRecord;
use crate::hold::subject::Subject;

/// Bytes of originals that the status keeps: a status that grew too large could not be written at
/// all, and each object has its own record.
const REMEMBERED: usize = 256 * 1024;
/// Workloads that the status shows in detail.
const DETAILED: usize = 100;

impl Draft<'_> {
    /// Completes the status and hands the plan over.
    pub(super) fn finish(mut self) -> Plan {
        if self.next != Next::LookAtPods {
            self.workloads();
            self.conditions();
        }
        if self.next == Next::Settled && !self.actions.is_empty() {
            self.next = Next::Again;
        }
        // Awake, nothing of the namespace matters but what it would take to go to sleep.
        let listens = self.status.phase != Some(Phase::Awake)
            || self.input.spec.dry_run
            || (self.next == Next::Settled && self.standing != Standing::Settled);
        Plan {
            status: self.status,
            actions: self.actions,
            next: self.next,
            looks: self.looks,
            listens,
        }
    }

    fn workloads(&mut self) {
        let holder = self.input.holder;
        let mut counts = Counts::default();
        let mut workloads = Vec::new();
        let mut originals = std::collections::BTreeMap::new();
        let mut remembered_bytes = 0;
        for (subject, role) in &self.cast {
            let status = self.workload(subject, role);
            counts.total += 1;
            counts.held += i32::from(self.holds(subject));
            counts.down +=
                i32::from(matches!(status.state.as_str(), "Down" | "Restarted" | "Overridden"));
            counts.refused += i32::from(status.state == "Refused");
            let key = memory_key(subject);
            match &subject.found {
                Found::Record(record) if record.held_by(holder) => {
                    let remembered = StatusRecord::of(record, holder);
                    if let Ok(text) = serde_json::to_string(&remembered)
                        && remembered_bytes + key.len() + text.len() <= REMEMBERED
                    {
                        remembered_bytes += key.len() + text.len();
                        originals.insert(key, text);
                    }
                }
                Found::Record(_) => {}
                // Its annotation is gone: what the status knows is all that is left.
                Found::Nothing | Found::RecordMissing => {
                    if let Some(text) = self.status.originals.get(&key) {
                        originals.insert(key, text.clone());
                    }
                }
            }
            workloads.push(status);
        }
        // What needs attention comes first where not all can be shown.
        workloads.sort_by_key(|workload| workload.message.is_none());
        workloads.truncate(DETAILED);
        workloads.sort_by(|a, b| (&a.kind, &a.name).cmp(&(&b.kind, &b.name)));
        self.status.workloads = workloads;
        // Nothing there is nothing to count, also where all that was held has been deleted since.
        self.status.counts = (!self.cast.is_empty()).then_some(counts);
        self.status.originals = originals;
    }

    fn workload(&self, subject: &Subject, role: &Role) -> WorkloadStatus {
        let held = self.holds(subject);
        let waking = self.status.phase == Some(Phase::Waking);
        let pods = self.input.seen.pods.as_ref();
        let before =
            self.input.status.workloads.iter().find(|workload| {
                workload.kind == subject.kind.name && workload.name == subject.name
            });
        let unseen = |doing: &str, done: &str| match before {
            Some(before) if before.state == done => (done.to_owned(), None),
            _ => (doing.to_owned(), None),
        };
        let seen = |waits: Vec<String>, doing: &str, done: &str| {
            if waits.is_empty() {
                (done.to_owned(), None)
            } else {
                (doing.to_owned(), Some(few(&waits)))
            }
        };
        let refusal = (!held && !waking).then(|| self.refusal(subject, role)).flatten();
        let refusal = refusal.map(|refusal| refusal.to_string());
        let (state, message) = match (role, pods) {
            _ if refusal.is_some() => ("Refused".to_owned(), refusal),
            (Role::Override(_), _) if held => ("Overridden".to_owned(), None),
            (Role::LetGo, _) if held => ("Waking".to_owned(), None),
            (Role::Stop(_), Some(pods)) if held => {
                seen(blockers(subject, pods), "Stopping", "Down")
            }
            (Role::Stop(_), None) if held => unseen("Stopping", "Down"),
            (Role::Restart(_), Some(pods)) if held => {
                let digest = self.input.spec.restart_digest(&self.episode_id());
                seen(not_restarted(subject, pods, &digest), "Restarting", "Restarted")
            }
            (Role::Restart(_), None) if held => unseen("Restarting", "Restarted"),
            _ if waking => match not_ready(subject, matches!(role, Role::Restart(_))) {
                Some(waits) => ("Waking".to_owned(), Some(waits)),
                None => ("Ready".to_owned(), None),
            },
            _ => ("Running".to_owned(), None),
        };
        // What others wrote into it is told where there is nothing more urgent.
        let message = message.or_else(|| {
            let contest = self.input.contests.get(&subject.uid).filter(|_| held)?;
            Some(contest.said.clone()).filter(|said| !said.is_empty())
        });
        let original =
            subject.found.record().and_then(|record| original_in_words(subject.kind, record));
        WorkloadStatus {
            kind: subject.kind.name.to_owned(),
            name: subject.name.clone(),
            state,
            original,
            message: message.map(|message| condition::shorten(&message)),
        }
    }

    /// Why an object can't be held as its role asks.
    pub(super) fn refusal(&self, subject: &Subject, role: &Role) -> Option<Refusal> {
        let wants = self.wants(subject, role);
        let remembered = self.remembered(subject);
        let wish = Desired {
            holder: self.input.holder,
            episode: &self.episode_id(),
            wants: &wants,
            remembered: remembered.as_ref(),
        };
        match decide(subject, &wish) {
            Decision::Refuse(refusal) => Some(refusal),
            Decision::Keep | Decision::Write(_) => None,
        }
    }

    fn conditions(&mut self) {
        let generation = self.status.observed_generation;
        let now = self.input.now;
        let phase = self.status.phase.unwrap_or_default();
        let settled = self.standing == Standing::Settled;
        let at_rest = matches!(phase, Phase::Awake | Phase::Hibernated);
        let phase_name = format!("{phase:?}");
        let dry_run = self.input.spec.dry_run && self.input.deleting_since.is_none();
        let (reason, message) = match &self.standing {
            Standing::Settled if dry_run => (
                "DryRun".to_owned(),
                "nothing is changed; status.plan says what would be".to_owned(),
            ),
            Standing::Settled => (phase_name.clone(), self.at_rest_in_words(phase)),
            Standing::Progressing { reason, message } => ((*reason).to_owned(), message.clone()),
            Standing::Stalled { reason, message } => (reason.clone(), message.clone()),
        };
        // Awake is awake, whatever a preflight says about a sleep to come.
        let ready = (settled && at_rest && !dry_run)
            || (phase == Phase::Awake && !dry_run && self.status.episode.is_none());
        let stalled = matches!(self.standing, Standing::Stalled { .. });
        let hibernated = phase == Phase::Hibernated && settled;
        self.status.message = Some(condition::shorten(&message));
        let conditions = &mut self.status.conditions;
        let mut set = |kind, status, reason: &str, message: &str| {
            condition::set(conditions, kind, status, reason, message, generation, now);
        };
        let (ready_reason, ready_message) = if ready && !settled {
            (phase_name.as_str(), "awake")
        } else {
            (reason.as_str(), message.as_str())
        };
        set(READY, ready, ready_reason, ready_message);
        set(RECONCILING, !settled && !stalled, &reason, &message);
        set(STALLED, stalled, &reason, &message);
        set(HIBERNATED, hibernated, if hibernated { "Hibernated" } else { &phase_name }, &message);
        self.database_conditions();
    }

    fn database_conditions(&mut self) {
        let generation = self.status.observed_generation;
        let now = self.input.now;
        let conditions = &mut self.status.conditions;
        let database = self.input.spec.database.as_ref();
        match self.status.preflight.as_ref().zip(database) {
            None => condition::remove(conditions, PREFLIGHT_PASSED),
            Some((preflight, database)) => {
                let stalled = match &self.standing {
                    Standing::Stalled { reason, message } => {
                        Some((reason.clone(), message.clone()))
                    }
                    _ => None,
                };
                let (passed, reason, message) = match (preflight.attempt.ended, stalled) {
                    _ if preflight.attempt.settings != database.digest => {
                        let message = "spec.database has changed; its dry run is made when awake";
                        (None, "Changed".to_owned(), message.to_owned())
                    }
                    (Some(AttemptEnd::Succeeded), _) => {
                        (Some(true), "Passed".to_owned(), String::new())
                    }
                    (Some(end), _) => (
                        Some(false),
                        format!("{end:?}"),
                        preflight.attempt.message.clone().unwrap_or_default(),
                    ),
                    (None, Some((reason, message))) => (Some(false), reason, message),
                    (None, None) => (None, "Running".to_owned(), String::new()),
                };
                condition::set(
                    conditions,
                    PREFLIGHT_PASSED,
                    passed,
                    &reason,
                    &message,
                    generation,
                    now,
                );
            }
        }
        // Where no database is named there is nothing to say of one, but of what was begun before.
        let episode = self.status.episode.as_ref();
        match episode.filter(|e| database.is_some() || e.attempt.is_some()).map(|e| e.truncation) {
            None => condition::remove(conditions, TRUNCATED),
            Some(truncation) => {
                let message = match (truncation, &self.status.truncation) {
                    (EpisodeTruncation::Done, Some(done)) => format!(
                        "{} tables emptied, about {} rows, {} bytes freed",
                        done.tables, done.rows, done.bytes_freed
                    ),
                    (EpisodeTruncation::NotAsked, _) => {
                        "only a person's change of state truncates, or `automatic: true`".to_owned()
                    }
                    (EpisodeTruncation::Unknown, _) => {
                        "taken over from holds; whether it was done is not recorded".to_owned()
                    }
                    _ => String::new(),
                };
                condition::set(
                    conditions,
                    TRUNCATED,
                    truncation == EpisodeTruncation::Done,
                    &format!("{truncation:?}"),
                    &message,
                    generation,
                    now,
                );
            }
        }
    }

    fn at_rest_in_words(&self, phase: Phase) -> String {
        let state = match (phase, self.status.counts) {
            (Phase::Hibernated, Some(counts)) => format!("asleep, {} objects held", counts.held),
            (Phase::Hibernated, None) => "asleep, nothing held".to_owned(),
            _ => return "awake".to_owned(),
        };
        match self.unmatched().as_slice() {
            [] => state,
            unmatched => format!("{state}; there is no {}", few(unmatched)),
        }
    }

    /// Entries that name what is not there: it may never be, or the name is mistyped.
    pub(super) fn unmatched(&self) -> Vec<String> {
        let Input { spec, seen, .. } = self.input;
        let there = |entry: &Entry| {
            seen.workloads.iter().any(|subject| {
                entry.kind == subject.kind && entry.target.precision(subject).is_some()
            })
        };
        spec.workloads.iter().filter(|entry| !there(entry)).filter_map(Entry::in_words).collect()
    }
}

/// The status of an object whose spec can't be read.
pub fn invalid(
    before: &HibernationStatus,
    generation: Option<i64>,
    reason: &str,
    message: &str,
    now: Timestamp,
) -> HibernationStatus {
    let mut status = before.clone();
    status.observed_generation = generation;
    status.message = Some(condition::shorten(message));
    condition::stalled(&mut status.conditions, reason, message, generation, now);
    status
}

/// What has happened between two statuses.
pub fn events(before: &HibernationStatus, after: &HibernationStatus) -> Vec<Event> {
    let mut events = Vec::new();
    let mut event = |warning, reason: String, note: &str| {
        events.push(Event { warning, reason, note: note.to_owned() });
    };
    let message = after.message.as_deref().unwrap_or_default();
    if after.phase != before.phase
        && let Some(phase) = after.phase
        && !(phase == Phase::Awake && before.phase.is_none())
    {
        let cause = after.episode.as_ref().map(|episode| episode.cause.as_str());
        let note = if phase == Phase::Hibernating { cause.unwrap_or(message) } else { message };
        event(false, format!("{phase:?}"), note);
    }
    if let Some(done) = &after.truncation
        && before.truncation.as_ref() != Some(done)
    {
        let note = format!(
            "{} tables emptied, about {} rows, {} bytes freed",
            done.tables, done.rows, done.bytes_freed
        );
        event(false, TRUNCATED.to_owned(), &note);
    }
    if let Some((reason, message)) = condition::stall_of(&after.conditions)
        && condition::stall_of(&before.conditions).is_none_or(|(before, _)| before != reason)
    {
        event(true, reason.to_owned(), message);
    }
    events
}

/// The status of an object whose reconcile fails. What is known of it stays.
pub fn failing(
    before: &HibernationStatus,
    generation: Option<i64>,
    message: &str,
    now: Timestamp,
) -> HibernationStatus {
    let mut status = before.clone();
    status.message = Some(condition::shorten(message));
    condition::failing(&mut status.conditions, message, generation, now);
    status
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
