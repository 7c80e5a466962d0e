//! The status of a Hibernation, and the Events that a change of it brings. Pure.

use super::plan::{Draft, phase};
use crate::api::condition::{
    self, Conditions, HIBERNATED, PREFLIGHT_PASSED, READY, RECONCILING, STALLED, TRUNCATED,
};
use crate::api::event::Event;
use crate::api::hibernation::{HibernationStatus, Phase};
use crate::api::history::{self, HistoryEntry};
use crate::api::hold_state::{AttemptEnd, EpisodeTruncation, Preflight, Truncation};
use crate::api::reason::Reason;
use crate::api::text::{counted, few, size};
use crate::transition::plan::{Next, Place, Plan, Transition};
use crate::transition::standing::Standing;
use crate::truncate::session::hidden_in_words;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

impl Draft<'_> {
    /// Completes the status and returns the plan.
    pub(super) fn finish(mut self, transition: Transition) -> Plan<HibernationStatus> {
        let mut status = self.status(&transition);
        // The preflight of an object that only observes its pods is not over: nothing is said yet.
        if transition.next != Next::ObservePods {
            self.report(&mut status, &transition);
        }
        let memory = self.input.memory;
        let (mut calls, mut market, mut next) =
            (Vec::new(), memory.market.clone(), transition.next);
        if let Some(session) = self.session.take() {
            session.set_condition(&mut status.conditions, status.observed_generation);
            if session.needs_observation {
                next = Next::ObserveMarket;
            }
            status.earliest_start = session.earliest();
            (status.deals, calls, market) = (session.status, session.actions, session.state);
        }
        if next == Next::AtRest && !(calls.is_empty() && transition.actions.is_empty()) {
            next = Next::Again;
        }
        // While the object is awake, only an obstacle to its next hibernation matters.
        let watches = transition.place != Place::Up
            || self.input.spec.dry_run
            || (next == Next::AtRest && !transition.standing.is_reached())
            || transition.selects_nothing
            || !transition.unmatched.is_empty();
        Plan {
            status,
            calls,
            actions: transition.actions,
            next,
            confirmations: transition.confirmations,
            market,
            watches,
        }
    }

    fn report(&self, status: &mut HibernationStatus, transition: &Transition) {
        let phase = phase(transition.place);
        status.phase = Some(phase);
        if let Some(cause) = &transition.completed {
            let message = match phase {
                Phase::Awake => format!("woken, as it was before ({cause})"),
                _ => cause.clone(),
            };
            let at = Time(self.input.now);
            history::add(&mut status.history, HistoryEntry { phase, at, message });
        }
        let dry_run = self.input.spec.dry_run && self.input.deleting_since.is_none();
        let (reason, message) = match transition.standing.explanation() {
            Some((reason, message)) => (reason.clone(), message.to_owned()),
            None if dry_run => {
                let message = "spec.dryRun is set: nothing changes; read status.plan";
                (Reason::DryRun, message.to_owned())
            }
            None => (phase.into(), describe(transition)),
        };
        let reached = transition.standing.is_reached();
        let at_rest = matches!(phase, Phase::Awake | Phase::Hibernated);
        // An awake object is ready, whatever would prevent its next hibernation; but not while a
        // market keeps it from its spec.
        let awake = phase == Phase::Awake && status.hold.episode.is_none() && !self.held_back;
        let ready = ((reached && at_rest) || awake) && !dry_run;
        let stalled = transition.standing.is_stalled();
        // A rival that starts pods now and then is a person's business, and all is down in between.
        let hibernated = phase == Phase::Hibernated && (reached || reason == Reason::Contested);
        status.message = Some(condition::shorten(&message));
        let now = self.input.now;
        let mut conditions =
            Conditions::new(&mut status.conditions, status.observed_generation, now);
        if ready && !reached {
            conditions.set(READY, ready, &phase.into(), "awake");
        } else {
            conditions.set(READY, ready, &reason, &message);
        }
        conditions.set(RECONCILING, !reached && !stalled, &reason, &message);
        conditions.set(STALLED, stalled, &reason, &message);
        let is_as_its_phase = hibernated == (phase == Phase::Hibernated);
        let why = if is_as_its_phase { phase.into() } else { reason };
        conditions.set(HIBERNATED, hibernated, &why, &message);
        self.report_preflight(status, &transition.standing);
        self.report_truncation(status);
    }

    fn report_preflight(&self, status: &mut HibernationStatus, standing: &Standing) {
        let database = self.input.spec.hold.database.as_ref();
        let now = self.input.now;
        let mut conditions =
            Conditions::new(&mut status.conditions, status.observed_generation, now);
        let Some((preflight, database)) = status.database.preflight.as_ref().zip(database) else {
            return conditions.remove(PREFLIGHT_PASSED);
        };
        let attempt = &preflight.attempt;
        let said = attempt.message.as_deref().unwrap_or_default();
        let passed =
            preflight.tables.zip(preflight.rows).map_or(String::new(), |(tables, rows)| {
                format!(
                    "a truncation would empty {} with about {}{}",
                    counted(tables, "table"),
                    counted(rows, "row"),
                    connected(preflight)
                )
            });
        let (is_passed, reason, message) = match (attempt.ended, standing) {
            _ if attempt.settings != database.digest => {
                let message = "spec.database has changed; the preflight runs after the wake";
                (None, Reason::Changed, message)
            }
            (Some(AttemptEnd::Succeeded), _) => (Some(true), Reason::Passed, passed.as_str()),
            (Some(AttemptEnd::Refused), _) => (Some(false), Reason::Refused, said),
            (Some(AttemptEnd::Failed), _) => (Some(false), Reason::Failed, said),
            // The last result stays readable while the next attempt runs.
            (None, _) if !said.is_empty() || preflight.passed_at.is_some() => return,
            (None, Standing::Stalled { reason, message }) => {
                (Some(false), reason.clone(), message.as_str())
            }
            (None, _) => (None, Reason::Running, "the Job of the preflight runs"),
        };
        conditions.set(PREFLIGHT_PASSED, is_passed, &reason, message);
    }

    /// Reports the truncation. Without a database in the spec, only a truncation that was begun before is reported.
    fn report_truncation(&self, status: &mut HibernationStatus) {
        let database = self.input.spec.hold.database.as_ref();
        let now = self.input.now;
        let episode = status.hold.episode.as_ref();
        let truncation = episode
            .filter(|episode| database.is_some() || episode.attempt.is_some())
            .map(|episode| episode.truncation);
        let mut conditions =
            Conditions::new(&mut status.conditions, status.observed_generation, now);
        let (reason, message) = match (truncation, &status.database.truncation) {
            (None, _) => return conditions.remove(TRUNCATED),
            (Some(EpisodeTruncation::Done), done) => {
                (Reason::Done, done.as_ref().map(freed).unwrap_or_default())
            }
            (Some(EpisodeTruncation::Pending), _) => {
                (Reason::Pending, "the tables are truncated once everything is down".to_owned())
            }
            (Some(EpisodeTruncation::NotAsked), _) => {
                let message = "only a person's change of spec.state truncates, unless \
                               spec.database.truncate.automatic is true";
                (Reason::NotAsked, message.to_owned())
            }
            (Some(EpisodeTruncation::Unknown), _) => {
                let message = "the hibernation was adopted from its holds; nothing records whether \
                               its tables were truncated";
                (Reason::Unknown, message.to_owned())
            }
        };
        conditions.set(TRUNCATED, reason == Reason::Done, &reason, &message);
    }
}

impl From<Phase> for Reason {
    fn from(phase: Phase) -> Self {
        match phase {
            Phase::Awake => Self::Awake,
            Phase::Hibernating => Self::Hibernating,
            Phase::Hibernated => Self::Hibernated,
            Phase::Waking => Self::Waking,
        }
    }
}

/// Returns what there is to say of an object that is as its spec asks.
fn describe(transition: &Transition) -> String {
    let state = match (transition.place, transition.state.counts) {
        (Place::Down, Some(counts)) => {
            format!("hibernated, {} held", counted(counts.held, "object"))
        }
        (Place::Down, None) => "hibernated, no objects held".to_owned(),
        _ => "awake".to_owned(),
    };
    let state = match &transition.warning {
        Some(warning) => format!("{state}; {warning}"),
        None => state,
    };
    match transition.unmatched.as_slice() {
        [] if transition.selects_nothing => {
            format!(
                "{state}; the spec selects no object: correct spec.workloads and spec.configMaps"
            )
        }
        [] => state,
        [one] => format!("{state}; {one} is not found"),
        several => format!("{state}; {} are not found", few(several)),
    }
}

/// Returns what a preflight has found out about sessions that would keep the truncation back.
fn connected(preflight: &Preflight) -> String {
    let hidden = preflight.hidden_sessions.and_then(|hidden| u64::try_from(hidden).ok());
    let hidden = hidden.and_then(hidden_in_words).map(|words| format!("; {words}"));
    let sessions = match preflight.sessions.as_slice() {
        [] => String::new(),
        sessions => format!(", but not while {}", few(sessions)),
    };
    format!("{sessions}{}", hidden.unwrap_or_default())
}

fn freed(done: &Truncation) -> String {
    let tables = counted(done.tables, "table");
    let rows = counted(done.rows, "row");
    let bytes = size(done.bytes_freed);
    format!("{tables} truncated, about {rows}, {bytes} freed")
}

/// Returns the Events of a change of the status.
pub fn events(before: &HibernationStatus, after: &HibernationStatus) -> Vec<Event> {
    let mut events = Vec::new();
    let message = after.message.as_deref().unwrap_or_default();
    if after.phase != before.phase
        && let Some(phase) = after.phase
        && !(phase == Phase::Awake && before.phase.is_none())
        && !is_held_again(before, after)
    {
        let cause = after.hold.episode.as_ref().map(|episode| episode.cause.as_str());
        let note = if phase == Phase::Hibernating { cause.unwrap_or(message) } else { message };
        events.push(Event::normal(&phase.into(), note));
    }
    if let Some(done) = &after.database.truncation
        && before.database.truncation.as_ref() != Some(done)
    {
        events.push(Event::normal(&Reason::Truncated, freed(done)));
    }
    events.extend(Event::of_stall(&before.conditions, &after.conditions));
    events
}

/// Returns whether an object that has been asleep is only held again: a newcomer, or what others have changed.
fn is_held_again(before: &HibernationStatus, after: &HibernationStatus) -> bool {
    let asleep = |status: &HibernationStatus| {
        matches!(status.phase, Some(Phase::Hibernating | Phase::Hibernated))
    };
    let was_down = before.hold.episode.as_ref().is_some_and(|e| e.asleep_since.is_some());
    was_down && asleep(before) && asleep(after)
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
