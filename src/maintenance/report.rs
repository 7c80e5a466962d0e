//! What the status says of a plan, and which events a change of it brings. Pure.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::plan::{Draft, Plan};
use crate::api::condition::{self, IN_MAINTENANCE, READY, RECONCILING, STALLED};
use crate::api::event::Event;
use crate::api::maintenance_window::{MaintenanceWindowStatus, WindowHistoryEntry, WindowPhase};
use crate::hibernation::plan::Standing;

/// Entries of the history.
const HISTORY: usize = 10;

/// Completes the status and hands the plan over.
pub(super) fn finish(mut draft: Draft) -> Plan {
    if !draft.looks_first() {
        draft.conditions();
        draft.history();
    }
    draft.into_plan()
}

impl Draft<'_> {
    fn conditions(&mut self) {
        let generation = self.status.observed_generation;
        let now = self.input.now;
        let phase = self.phase;
        let phase_name = format!("{phase:?}");
        let settled = self.standing == Standing::Settled;
        let stalled = matches!(self.standing, Standing::Stalled { .. });
        let (reason, message) = match &self.standing {
            Standing::Settled => (phase_name.clone(), self.at_rest_in_words()),
            Standing::Progressing { reason, message } => ((*reason).to_owned(), message.clone()),
            Standing::Stalled { reason, message } => (reason.clone(), message.clone()),
        };
        self.status.phase = Some(phase);
        self.status.message = Some(condition::shorten(&message));
        let in_maintenance = phase == WindowPhase::InMaintenance && settled;
        let conditions = &mut self.status.conditions;
        let mut set = |kind, status: bool, reason: &str, message: &str| {
            condition::set(conditions, kind, status, reason, message, generation, now);
        };
        set(READY, settled, &reason, &message);
        set(RECONCILING, !settled && !stalled, &reason, &message);
        set(STALLED, stalled, &reason, &message);
        set(IN_MAINTENANCE, in_maintenance, &phase_name, &message);
        self.dealings.set_condition(&mut self.status.conditions, generation);
    }

    fn at_rest_in_words(&self) -> String {
        let window = self.status.window.as_ref();
        match self.phase {
            WindowPhase::Scheduled => match window {
                Some(window) => format!("begins at {}", window.start.0),
                None => "no window is to come".to_owned(),
            },
            WindowPhase::InMaintenance => {
                let held = self.status.counts.unwrap_or_default().held;
                match window.and_then(|window| window.end.as_ref()) {
                    Some(end) => format!("in maintenance until {}, {held} objects held", end.0),
                    None => format!("in maintenance, {held} objects held"),
                }
            }
            WindowPhase::Completed => "over, and everything is back".to_owned(),
            WindowPhase::Cancelled => "called off".to_owned(),
            other => format!("{other:?}"),
        }
    }

    fn history(&mut self) {
        let before = self.input.status.phase;
        // That one is to come is no news.
        if before == Some(self.phase) || self.phase == WindowPhase::Scheduled {
            return;
        }
        let message = self.status.message.clone().unwrap_or_default();
        let at = Time(self.input.now);
        self.status.history.insert(0, WindowHistoryEntry { phase: self.phase, at, message });
        self.status.history.truncate(HISTORY);
    }
}

/// The status of an object whose spec can't be read.
pub fn invalid(
    before: &MaintenanceWindowStatus,
    generation: Option<i64>,
    reason: &str,
    message: &str,
    now: Timestamp,
) -> MaintenanceWindowStatus {
    let mut status = before.clone();
    status.observed_generation = generation;
    status.message = Some(condition::shorten(message));
    condition::stalled(&mut status.conditions, reason, message, generation, now);
    status
}

/// The status of an object whose reconcile fails. What is known of it stays.
pub fn failing(
    before: &MaintenanceWindowStatus,
    generation: Option<i64>,
    message: &str,
    now: Timestamp,
) -> MaintenanceWindowStatus {
    let mut status = before.clone();
    status.message = Some(condition::shorten(message));
    condition::failing(&mut status.conditions, message, generation, now);
    status
}

/// What has happened between two statuses.
pub fn events(before: &MaintenanceWindowStatus, after: &MaintenanceWindowStatus) -> Vec<Event> {
    let mut events = Vec::new();
    let mut event = |warning, reason: String, note: &str| {
        events.push(Event { warning, reason, note: note.to_owned() });
    };
    let message = after.message.as_deref().unwrap_or_default();
    // Missed and Refused are told as what stands in the way.
    let told = [WindowPhase::Missed, WindowPhase::Refused, WindowPhase::Scheduled];
    if after.phase != before.phase
        && let Some(phase) = after.phase
        && !told.contains(&phase)
    {
        event(false, format!("{phase:?}"), message);
    }
    let moved = |status: &MaintenanceWindowStatus| {
        status.window.as_ref().filter(|window| window.start != window.planned).cloned()
    };
    if let Some(window) = moved(after)
        && moved(before).is_none_or(|before| before.start != window.start)
    {
        let note = format!("moved to {}: a deal that can't be interrupted lasts", window.start.0);
        event(false, "Postponed".to_owned(), &note);
    }
    let announced = |status: &MaintenanceWindowStatus| {
        let deals = status.deals.as_ref()?;
        deals.announcement.as_ref().filter(|known| known.made).map(|known| known.at.clone())
    };
    if let Some(at) = announced(after)
        && announced(before).as_ref() != Some(&at)
    {
        event(false, "Announced".to_owned(), &format!("the market knows of {}", at.0));
    }
    if let Some((reason, message)) = condition::stall_of(&after.conditions)
        && condition::stall_of(&before.conditions).is_none_or(|(before, _)| before != reason)
    {
        event(true, reason.to_owned(), message);
    }
    events
}
