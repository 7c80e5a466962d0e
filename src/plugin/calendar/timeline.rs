//! The transitions of an object in a period. Pure.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::maintenance_window::WindowStatus;
use crate::api::schedule::DesiredState;
use crate::api::{Hibernation, MaintenanceWindow};
use crate::maintenance::occurrence::{following, moved};
use crate::maintenance::validate::{Begins, validate};
use crate::plugin::asked::{Asked, cause};
use crate::plugin::object::Object;
use crate::schedule::Resolved;

/// The most transitions of a timeline.
pub(super) const MOST: usize = 500;

/// The state of the workloads.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum State {
    /// They run.
    Up,
    /// They are down.
    Down,
}

/// A part of the timeline with one state.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Part {
    /// The start.
    pub(super) from: Timestamp,
    /// The end; none without an end.
    pub(super) to: Option<Timestamp>,
    /// The state.
    pub(super) state: State,
    /// The field of the spec that decides the state.
    pub(super) by: String,
}

/// The states of an object in a period.
#[derive(Clone, Debug)]
pub(super) struct Timeline {
    /// The start of the period.
    pub(super) from: Timestamp,
    /// The end of the period.
    pub(super) end: Timestamp,
    /// The parts, by time. The first one begins with the period.
    pub(super) parts: Vec<Part>,
    /// Whether there are more transitions in the period.
    pub(super) is_cut: bool,
}

impl Timeline {
    /// Returns the state at a time of the period.
    pub(super) fn at(&self, time: Timestamp) -> Option<State> {
        let after = self.parts.partition_point(|part| part.from <= time);
        let part = self.parts.get(after.checked_sub(1)?)?;
        let last = after == self.parts.len();
        // The state after the cut is not known.
        (time < self.end && !(last && self.is_cut && part.to.is_some_and(|to| to <= time)))
            .then_some(part.state)
    }
}

/// Returns the timeline of an object. Fails with the reason why its spec is not valid.
pub(super) fn of(object: &Object, from: Timestamp, end: Timestamp) -> Result<Timeline, String> {
    let (parts, is_cut) = match object {
        Object::Hibernation(hibernation) => of_hibernation(hibernation, from, end)?,
        Object::MaintenanceWindow(window) => {
            let by = match &window.spec {
                spec if spec.schedule.is_some() => "spec.schedule",
                spec if spec.after.is_some() => "spec.after",
                _ => "spec.start",
            };
            of_windows(&windows(window, from, end)?, by, from, end)
        }
    };
    Ok(Timeline { from, end, parts, is_cut })
}

fn of_hibernation(
    hibernation: &Hibernation,
    from: Timestamp,
    end: Timestamp,
) -> Result<(Vec<Part>, bool), String> {
    let spec = &hibernation.spec;
    let asked = Asked::of(spec, from)?;
    let mut parts = Vec::new();
    let mut at = from;
    loop {
        let Resolved { state, cause: why, next } =
            Resolved::at(&asked.basis, asked.override_.as_ref(), at);
        let by = cause(&why, state, spec);
        let state = match state {
            DesiredState::Hibernated => State::Down,
            DesiredState::Awake => State::Up,
        };
        let to = next.map(|next| next.at);
        parts.push(Part { from: at, to, state, by });
        match to {
            Some(to) if to < end && parts.len() < MOST => at = to,
            Some(to) => return Ok((parts, to < end)),
            None => return Ok((parts, false)),
        }
    }
}

/// Returns the windows that are not over at `from`, and begin before `end`.
fn windows(
    window: &MaintenanceWindow,
    from: Timestamp,
    end: Timestamp,
) -> Result<Vec<WindowStatus>, String> {
    let valid = validate(&window.spec).map_err(|invalid| invalid.to_string())?;
    if valid.suspend {
        return Ok(Vec::new());
    }
    let status = window.status.as_ref();
    // The operator knows whether a window was moved, or has begun.
    let recorded = status.and_then(|status| status.window.clone());
    let is_known = recorded.is_some() || status.is_some_and(|status| status.last.is_some());
    let single = |planned: Timestamp| {
        let all =
            if is_known { recorded.clone() } else { Some(moved(&valid, planned, planned, false)) };
        all.into_iter().filter(|window| !is_over(window, from)).collect()
    };
    let mut windows = Vec::new();
    let mut next = match &valid.begins {
        Begins::At(planned) => return Ok(single(*planned)),
        Begins::After { duration, .. } => {
            let after = status.and_then(|status| status.after.as_ref());
            let since = after.map_or(from, |after| after.since.0);
            return Ok(single(since.saturating_add(*duration).unwrap_or(Timestamp::MAX)));
        }
        Begins::Every(recurrence) => match &recorded {
            Some(recorded) => {
                windows.push(recorded.clone());
                following(&valid, recorded)
            }
            None => recurrence.next_after(from),
        },
        Begins::Never => None,
    };
    // The first one after the period tells how long its last part lasts.
    while let Some(start) = next.filter(|_| windows.len() <= MOST) {
        let window = moved(&valid, start, start, false);
        next = following(&valid, &window).filter(|_| start < end);
        windows.push(window);
    }
    windows.retain(|window| !is_over(window, from));
    Ok(windows)
}

fn is_over(window: &WindowStatus, at: Timestamp) -> bool {
    window.end.as_ref().is_some_and(|end| end.0 <= at)
}

fn of_windows(
    windows: &[WindowStatus],
    by: &str,
    from: Timestamp,
    end: Timestamp,
) -> (Vec<Part>, bool) {
    let up = |from, to| Part { from, to, state: State::Up, by: String::new() };
    let mut parts = Vec::new();
    let mut at = from;
    for WindowStatus { planned, start, end: over, .. } in windows {
        if at >= end {
            break;
        }
        let begins = start.0.max(from);
        if begins > at {
            parts.push(up(at, Some(begins)));
        }
        if start.0 >= end {
            // The last part ends after the period.
            at = end;
            break;
        }
        let moved = if planned == start { "" } else { ", postponed" };
        let to = over.as_ref().map(|Time(over)| *over);
        parts.push(Part { from: begins, to, state: State::Down, by: format!("{by}{moved}") });
        // Without an end nothing follows.
        at = to.unwrap_or(end);
    }
    let is_cut = parts.len() > MOST;
    parts.truncate(MOST);
    if at < end && !is_cut {
        parts.push(up(at, None));
    }
    (parts, is_cut)
}

/// Returns the length of a part; none without an end.
pub(super) fn length(part: &Part) -> Option<SignedDuration> {
    part.to.map(|to| to.duration_since(part.from))
}

#[cfg(test)]
#[path = "timeline_tests.rs"]
mod tests;
