//! Which window comes next, or is on: a pure function of the spec, what is recorded, and the time.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::validate::{Begins, Recurrence, Valid};
use crate::api::deals::ForwardDeals;
use crate::api::maintenance_window::{
    CountedFrom, LastWindow, MaintenanceWindowStatus, WindowPhase, WindowStatus,
};

const SECOND: SignedDuration = SignedDuration::from_secs(1);

/// The window that the time asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Occurrence {
    /// This window is to come, or is on.
    Window(WindowStatus),
    /// This one is over, and that has not been recorded.
    Over(WindowStatus),
    /// The only one there was is over, and has ended so.
    Past(WindowPhase),
    /// No window.
    None,
}

/// Returns since when a value of the spec counts. A value that is new or changed counts from `first`.
pub fn counted_from(value: &str, recorded: Option<&CountedFrom>, first: Timestamp) -> CountedFrom {
    match recorded {
        Some(recorded) if recorded.value == value => recorded.clone(),
        _ => CountedFrom { value: value.to_owned(), since: Time(first) },
    }
}

/// Returns the window for the time `now`. `status.after` and `status.schedule` must be up to date.
pub fn occurrence(
    spec: &Valid,
    status: &MaintenanceWindowStatus,
    generation: Option<i64>,
    now: Timestamp,
) -> Occurrence {
    let planned = match &spec.begins {
        Begins::At(start) => Some(*start),
        Begins::After { duration, .. } => status
            .after
            .as_ref()
            .map(|after| after.since.0.saturating_add(*duration).unwrap_or(Timestamp::MAX)),
        Begins::Every(recurrence) => {
            return recurring(spec, recurrence, status, generation, now);
        }
        Begins::Never => None,
    };
    let Some(planned) = planned else { return Occurrence::None };
    if let Some(last) = &status.last
        && last.planned.0 == planned
        && stays_over(last, generation)
    {
        return Occurrence::Past(last.outcome);
    }
    on_or_over(window(spec, status, planned), now)
}

/// Returns whether a window that is over stays over. A cancelled window is planned again when it is no longer
/// suspended; another spec may permit a refused one.
fn stays_over(last: &LastWindow, generation: Option<i64>) -> bool {
    match last.outcome {
        WindowPhase::Cancelled => false,
        WindowPhase::Refused => last.generation == generation,
        _ => true,
    }
}

fn on_or_over(window: WindowStatus, now: Timestamp) -> Occurrence {
    if window.end.as_ref().is_some_and(|end| end.0 <= now) {
        Occurrence::Over(window)
    } else {
        Occurrence::Window(window)
    }
}

/// Returns the window of a planned start, at the start to which it was moved.
fn window(spec: &Valid, status: &MaintenanceWindowStatus, planned: Timestamp) -> WindowStatus {
    let recorded = status.window.as_ref().filter(|recorded| recorded.planned.0 == planned);
    let moves =
        spec.hold.deals.as_ref().is_some_and(|deals| deals.forward == ForwardDeals::Postpone);
    let start = recorded.filter(|_| moves).map_or(planned, |recorded| recorded.start.0);
    moved(spec, planned, start, recorded.is_some_and(|recorded| recorded.begun))
}

/// Returns the start of the window of a schedule that follows a window.
pub fn following(spec: &Valid, window: &WindowStatus) -> Option<Timestamp> {
    let (Begins::Every(recurrence), Some(end)) = (&spec.begins, &window.end) else { return None };
    recurrence.next_after((end.0 - SECOND).max(window.planned.0))
}

/// Returns the window with this planned start, which begins at `start`.
pub fn moved(spec: &Valid, planned: Timestamp, start: Timestamp, begun: bool) -> WindowStatus {
    let end = spec.duration.map(|long| start.saturating_add(long).unwrap_or(Timestamp::MAX));
    WindowStatus { planned: Time(planned), start: Time(start), end: end.map(Time), begun }
}

fn recurring(
    spec: &Valid,
    recurrence: &Recurrence,
    status: &MaintenanceWindowStatus,
    generation: Option<i64>,
    now: Timestamp,
) -> Occurrence {
    // The one that is recorded comes first, for as long as the schedule has it.
    let last = status.last.as_ref().filter(|last| stays_over(last, generation));
    if let Some(recorded) = &status.window
        && recurrence.latest_at(recorded.planned.0) == Some(recorded.planned.0)
        && last.is_none_or(|last| last.planned.0 < recorded.planned.0)
    {
        let known = window(spec, status, recorded.planned.0);
        let to_come = known.start.0 > now && !known.begun;
        // One that is to come gives way to an earlier one that a changed schedule brings.
        if !to_come || known.start != known.planned {
            return passed_over(spec, recurrence, known, now);
        }
    }
    // None that began before this schedule was there, and none that an earlier one ran over.
    let since = status.schedule.as_ref().map(|schedule| schedule.since.0);
    let counts = |start: Timestamp| {
        since.is_none_or(|since| start >= since)
            && last.is_none_or(|last| start > last.planned.0 && start >= last.over.0)
    };
    if let Some(latest) = recurrence.latest_at(now).filter(|latest| counts(*latest)) {
        return on_or_over(window(spec, status, latest), now);
    }
    let mut basis = now;
    if let Some(last) = last {
        basis = basis.max(last.over.0 - SECOND).max(last.planned.0);
    }
    recurrence
        .next_after(basis)
        .map_or(Occurrence::None, |planned| Occurrence::Window(window(spec, status, planned)))
}

/// Returns the latest missed window: a window that is over and stopped nothing is replaced by a later window
/// that is over too.
fn passed_over(
    spec: &Valid,
    recurrence: &Recurrence,
    known: WindowStatus,
    now: Timestamp,
) -> Occurrence {
    let occurrence = on_or_over(known, now);
    match &occurrence {
        Occurrence::Over(over) if !over.begun => match recurrence.latest_at(now) {
            Some(latest) => {
                let later = moved(spec, latest, latest, false);
                let is_over = later.end.as_ref().is_some_and(|end| end.0 <= now);
                if latest > over.planned.0 && is_over {
                    Occurrence::Over(later)
                } else {
                    occurrence
                }
            }
            None => occurrence,
        },
        _ => occurrence,
    }
}
