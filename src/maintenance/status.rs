//! The status of a MaintenanceWindow, and the Events that a change of it brings. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::plan::Draft;
use crate::api::condition::{self, Conditions, IN_MAINTENANCE, READY, RECONCILING, STALLED};
use crate::api::event::Event;
use crate::api::history::{self, HistoryEntry};
use crate::api::maintenance_window::{MaintenanceWindowStatus, WindowPhase};
use crate::api::reason::Reason;
use crate::api::text::counted;
use crate::transition::plan::{Next, Plan};

impl Draft<'_> {
    /// Completes the status and returns the plan.
    pub(super) fn finish(mut self) -> Plan<MaintenanceWindowStatus> {
        self.status.deals.clone_from(&self.session.status);
        if self.next != Next::ObservePods && !self.session.needs_observation {
            self.report();
            self.record_history();
        }
        let calls = std::mem::take(&mut self.session.actions);
        let mut next = self.next;
        if next == Next::AtRest && !(calls.is_empty() && self.actions.is_empty()) {
            next = Next::Again;
        }
        if self.session.needs_observation {
            next = Next::ObserveMarket;
        }
        let watches = self.status.hold.episode.is_some() || !self.standing.is_reached();
        Plan {
            status: self.status,
            calls,
            actions: self.actions,
            next,
            confirmations: self.confirmations,
            market: self.session.state,
            watches,
        }
    }

    fn report(&mut self) {
        let phase = self.phase;
        let reached = self.standing.is_reached();
        let stalled = self.standing.is_stalled();
        let (reason, message) = match self.standing.explanation() {
            Some((reason, message)) => (reason.clone(), message.to_owned()),
            None => (phase.into(), self.describe()),
        };
        self.status.phase = Some(phase);
        self.status.message = Some(condition::shorten(&message));
        let down = reached || (reason == Reason::Contested && self.is_down);
        let in_maintenance = phase == WindowPhase::InMaintenance && down;
        let (generation, now) = (self.status.observed_generation, self.input.now);
        let mut conditions = Conditions::new(&mut self.status.conditions, generation, now);
        conditions.set(READY, reached, &reason, &message);
        conditions.set(RECONCILING, !reached && !stalled, &reason, &message);
        conditions.set(STALLED, stalled, &reason, &message);
        let is_as_its_phase = in_maintenance == (phase == WindowPhase::InMaintenance);
        let why = if is_as_its_phase { phase.into() } else { reason };
        conditions.set(IN_MAINTENANCE, in_maintenance, &why, &message);
        self.session.set_condition(&mut self.status.conditions, generation);
    }

    /// Returns what there is to say of a window that is as its spec asks.
    fn describe(&self) -> String {
        let window = self.status.window.as_ref();
        match self.phase {
            WindowPhase::Scheduled => match window {
                Some(window) => format!("starts at {}", window.start.0),
                None => "no window is planned".to_owned(),
            },
            WindowPhase::InMaintenance => {
                let held = self.status.hold.counts.unwrap_or_default().held;
                let held = counted(held, "object");
                match window.and_then(|window| window.end.as_ref()) {
                    Some(end) => format!("in maintenance until {}, {held} held", end.0),
                    None => format!("in maintenance, {held} held"),
                }
            }
            WindowPhase::Completed => "completed, all workloads are restored".to_owned(),
            WindowPhase::Cancelled => "cancelled, nothing is held".to_owned(),
            other => format!("{other:?}"),
        }
    }

    fn record_history(&mut self) {
        let before = self.input.status.phase;
        // A window that is to come is no transition.
        if before == Some(self.phase) || self.phase == WindowPhase::Scheduled {
            return;
        }
        let message = self.status.message.clone().unwrap_or_default();
        let at = Time(self.input.now);
        history::add(&mut self.status.history, HistoryEntry { phase: self.phase, at, message });
    }
}

impl From<WindowPhase> for Reason {
    fn from(phase: WindowPhase) -> Self {
        match phase {
            WindowPhase::Scheduled => Self::Scheduled,
            WindowPhase::Blocked => Self::Blocked,
            WindowPhase::Draining => Self::Draining,
            WindowPhase::InMaintenance => Self::InMaintenance,
            WindowPhase::Restoring => Self::Restoring,
            WindowPhase::Completed => Self::Completed,
            WindowPhase::Missed => Self::Missed,
            WindowPhase::Cancelled => Self::Cancelled,
            WindowPhase::Refused => Self::Refused,
        }
    }
}

/// Returns the Events of a change of the status.
pub fn events(before: &MaintenanceWindowStatus, after: &MaintenanceWindowStatus) -> Vec<Event> {
    let mut events = Vec::new();
    // A Warning with the obstacle stands for Missed and Refused.
    let silent = [WindowPhase::Missed, WindowPhase::Refused, WindowPhase::Scheduled];
    if after.phase != before.phase
        && let Some(phase) = after.phase
        && !silent.contains(&phase)
    {
        let message = after.message.as_deref().unwrap_or_default();
        events.push(Event::normal(&phase.into(), message));
    }
    let moved = |status: &MaintenanceWindowStatus| {
        status.window.as_ref().filter(|window| window.start != window.planned).cloned()
    };
    if let Some(window) = moved(after)
        && moved(before).is_none_or(|before| before.start != window.start)
    {
        let note = format!(
            "the window moves to {}: a deal of a fixed term lasts until then",
            window.start.0
        );
        events.push(Event::normal(&Reason::Postponed, note));
    }
    let announced = |status: &MaintenanceWindowStatus| {
        let deals = status.deals.as_ref()?;
        deals.announcement.as_ref().filter(|known| known.made).map(|known| known.at.clone())
    };
    if let Some(at) = announced(after)
        && announced(before).as_ref() != Some(&at)
    {
        let note = format!("Torpor told the market that the maintenance starts at {}", at.0);
        events.push(Event::normal(&Reason::Announced, note));
    }
    events.extend(Event::of_stall(&before.conditions, &after.conditions));
    events
}
