//! One object on a screen: request, phase, obstacles, next transition, conditions, workloads.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::api::condition::{DEALS_CLEAR, PREFLIGHT_PASSED, READY, RECONCILING, STALLED};
use crate::api::hold_state::{Counts, Truncation, WorkloadStatus};
use crate::api::maintenance_window::WindowStatus;
use crate::api::text::{counted, size};
use crate::plugin::asked::{Asked, next_in_words, window_in_words};
use crate::plugin::live::Live;
use crate::plugin::object::{Object, Standing};
use crate::plugin::paint::{Paint, Screen};
use crate::plugin::table::{Cell, Table, facts};
use crate::plugin::when::{absolute, moment, span};

/// Returns the screen of an object. Times are those of `zone`.
pub(super) fn render(
    object: &Object,
    live: &Live,
    now: Timestamp,
    zone: &TimeZone,
    screen: Screen,
) -> String {
    let mut parts = vec![
        screen.paint(&title(object), Paint::Bold) + "\n",
        facts(&summary(object, now, zone), screen),
        conditions(object, now).render(screen),
        workloads(object, live).render(screen),
    ];
    parts.retain(|part| !part.is_empty());
    parts.join("\n")
}

fn title(object: &Object) -> String {
    let deleting = if object.is_deleting() { ", being deleted" } else { "" };
    format!("{} in namespace {}{deleting}", object.display(), object.namespace())
}

/// Returns the lines about the object as a whole. A line without a text is not shown.
fn summary(object: &Object, now: Timestamp, zone: &TimeZone) -> Vec<(&'static str, String)> {
    let invalid = object.selection().err().map(|error| format!("the spec is not valid: {error}"));
    let dry_run = matches!(object, Object::Hibernation(object) if object.spec.dry_run);
    let notes = if dry_run { "spec.dryRun is set, so that nothing changes" } else { "" };
    let (asked, next) = match object {
        Object::Hibernation(object) => match Asked::of(&object.spec, now) {
            Ok(asked) => (
                asked.in_words(&object.spec, now, zone),
                next_in_words(asked.resolved.next, now, zone),
            ),
            Err(_) => (String::new(), String::new()),
        },
        Object::MaintenanceWindow(window) => {
            let next = object.next();
            let next = next.map(|(state, at)| format!("{state} at {}", moment(at, now, zone)));
            (window_in_words(&window.spec, zone), next.unwrap_or_default())
        }
    };
    vec![
        ("Asked for", invalid.unwrap_or(asked)),
        ("Note", notes.to_owned()),
        ("Phase", phase(object, now, zone)),
        ("Cause", episode_cause(object)),
        ("Objects", objects(object)),
        ("Message", says(object)),
        ("Step", step(object, now)),
        ("Next", next),
        ("Window", window(object, now, zone)),
        ("Deals", deals(object, now, zone)),
        ("Truncated", truncated(object, now, zone)),
    ]
}

/// Returns the phase, and since when it lasts.
fn phase(object: &Object, now: Timestamp, zone: &TimeZone) -> String {
    let Some(phase) = object.phase() else {
        return "none: the operator has not observed the object yet".to_owned();
    };
    let episode = object.hold().and_then(|hold| hold.episode.as_ref());
    let since = match (phase.as_str(), episode) {
        ("Hibernating", Some(episode)) => Some(episode.began.0),
        ("Hibernated" | "InMaintenance", Some(episode)) => {
            Some(episode.asleep_since.as_ref().unwrap_or(&episode.began).0)
        }
        ("Waking" | "Restoring", Some(episode)) => episode.waking_since.as_ref().map(|at| at.0),
        _ => last_change(object, &phase),
    };
    let since = since.map(|at| format!(" since {}", moment(at, now, zone)));
    format!("{phase}{}", since.unwrap_or_default())
}

/// Returns the cause of the hibernation or maintenance under way.
fn episode_cause(object: &Object) -> String {
    let episode = object.hold().and_then(|hold| hold.episode.as_ref());
    episode.map(|episode| episode.cause.clone()).unwrap_or_default()
}

/// Returns the time at which the history has the phase as its newest entry.
fn last_change(object: &Object, phase: &str) -> Option<Timestamp> {
    let (newest, at) = match object {
        Object::Hibernation(object) => {
            let entry = object.status.as_ref()?.history.first()?;
            (format!("{:?}", entry.phase), entry.at.0)
        }
        Object::MaintenanceWindow(object) => {
            let entry = object.status.as_ref()?.history.first()?;
            (format!("{:?}", entry.phase), entry.at.0)
        }
    };
    (newest == phase).then_some(at)
}

/// Returns how many objects are held and down.
fn objects(object: &Object) -> String {
    let Some(Counts { total, held, down, refused }) = object.hold().and_then(|hold| hold.counts)
    else {
        return String::new();
    };
    let refused = if refused > 0 { format!(", {refused} refused") } else { String::new() };
    format!("{total}: {held} held, {down} down{refused}")
}

/// Returns the message of the status, and whether it concerns an earlier spec.
fn says(object: &Object) -> String {
    let message = object.message();
    match object.standing() {
        Standing::Unobserved if !message.is_empty() => {
            format!("{message} (about an earlier spec: the operator has not observed this one yet)")
        }
        _ => message.to_owned(),
    }
}

/// Returns the step under way, and for how long it has been waiting.
fn step(object: &Object, now: Timestamp) -> String {
    let Some(step) = object.hold().and_then(|hold| hold.step.as_ref()) else {
        return String::new();
    };
    let overdue = match step.overdue.as_slice() {
        [] => String::new(),
        stages => format!("; passed before all was ready: {}", stages.join(", ")),
    };
    format!("{}, for {}{overdue}", step.name, span(now.duration_since(step.since.0)))
}

fn window(object: &Object, now: Timestamp, zone: &TimeZone) -> String {
    let Object::MaintenanceWindow(object) = object else { return String::new() };
    let Some(WindowStatus { planned, start, end, begun }) =
        object.status.as_ref().and_then(|status| status.window.as_ref())
    else {
        return String::new();
    };
    let to = match end {
        Some(end) => format!("to {}", absolute(end.0, zone)),
        None => "without an end".to_owned(),
    };
    let moved = if planned == start {
        String::new()
    } else {
        format!(", postponed from {}", absolute(planned.0, zone))
    };
    let begun = if *begun { ", begun" } else { "" };
    format!("{} {to}{moved}{begun}", moment(start.0, now, zone))
}

fn deals(object: &Object, now: Timestamp, zone: &TimeZone) -> String {
    let (deals, earliest) = match object {
        Object::Hibernation(object) => {
            let status = object.status.as_ref();
            (status.and_then(|s| s.deals.as_ref()), status.and_then(|s| s.earliest_start.as_ref()))
        }
        Object::MaintenanceWindow(object) => {
            let status = object.status.as_ref();
            (status.and_then(|s| s.deals.as_ref()), status.and_then(|s| s.earliest_start.as_ref()))
        }
    };
    let Some(deals) = deals else { return String::new() };
    let mut parts = Vec::new();
    if let Some(open) = &deals.open {
        parts.push(format!(
            "open: {}, {}, {}, {}",
            counted(open.forward, "Forward deal"),
            counted(open.spot, "Spot deal"),
            counted(open.orders, "order"),
            counted(open.tasks, "task")
        ));
    }
    if let Some(at) = earliest {
        parts.push(format!("the earliest start is {}", moment(at.0, now, zone)));
    }
    if deals.withdrawn {
        parts.push("orders are withdrawn, and offered again at the end".to_owned());
    }
    parts.join("; ")
}

fn truncated(object: &Object, now: Timestamp, zone: &TimeZone) -> String {
    let Object::Hibernation(object) = object else { return String::new() };
    let done = object.status.as_ref().and_then(|status| status.database.truncation.as_ref());
    let Some(Truncation { at, tables, rows, bytes_freed, .. }) = done else {
        return String::new();
    };
    format!(
        "{} with about {} at {}; {} freed",
        counted(*tables, "table"),
        counted(*rows, "row"),
        moment(at.0, now, zone),
        size(*bytes_freed)
    )
}

/// Returns the table of the conditions. A message that the summary shows is not repeated.
fn conditions(object: &Object, now: Timestamp) -> Table {
    let mut table = Table::new(&["CONDITION", "STATUS", "REASON", "FOR", "MESSAGE"]);
    for condition in object.conditions() {
        let paint = match (condition.type_.as_str(), condition.status.as_str()) {
            (STALLED, "True") | (PREFLIGHT_PASSED, "False") => Paint::Red,
            (RECONCILING, "True") | (READY | DEALS_CLEAR, "False") | (_, "Unknown") => {
                Paint::Yellow
            }
            (READY | DEALS_CLEAR | PREFLIGHT_PASSED, "True") => Paint::Green,
            _ => Paint::Plain,
        };
        let known = condition.message == object.message();
        let lasts = now.duration_since(condition.last_transition_time.0);
        table.add([
            condition.type_.as_str().into(),
            Cell::painted(condition.status.as_str(), paint),
            condition.reason.as_str().into(),
            span(lasts).into(),
            if known { "".into() } else { condition.message.as_str().into() },
        ]);
    }
    table
}

/// Returns the table of workloads and ConfigMaps.
fn workloads(object: &Object, live: &Live) -> Table {
    let mut table = Table::new(&["OBJECT", "STATE", "ORIGINAL", "NOW", "MESSAGE"]);
    let recorded = object.hold().map(|hold| hold.workloads.as_slice()).unwrap_or_default();
    for workload in recorded {
        let WorkloadStatus { kind, name, state, message, .. } = workload;
        let now = live.get(&(kind.clone(), name.clone())).cloned();
        let paint = match state.as_str() {
            "Refused" => Paint::Red,
            "Stopping" | "Restarting" | "Changed" | "Waking" => Paint::Yellow,
            "Skipped" => Paint::Dim,
            _ => Paint::Plain,
        };
        table.add([
            format!("{}/{name}", kind.to_lowercase()).into(),
            Cell::painted(state.as_str(), paint),
            original(workload).into(),
            now.unwrap_or_default().into(),
            message.clone().unwrap_or_default().into(),
        ]);
    }
    if recorded.is_empty() {
        for ((kind, name), now) in live {
            let object = format!("{}/{name}", kind.to_lowercase());
            table.add([object.into(), "".into(), "".into(), now.clone().into(), "".into()]);
        }
    }
    table
}

/// Returns the value that the wake restores, in words.
fn original(workload: &WorkloadStatus) -> String {
    let Some(original) = &workload.original else { return String::new() };
    match (workload.kind.as_str(), original.as_str()) {
        ("CronJob" | "Job", "true") => "suspended".to_owned(),
        ("CronJob" | "Job", "false" | "not set") => "not suspended".to_owned(),
        ("Deployment" | "StatefulSet" | "ReplicaSet", count) => match count.parse::<i64>() {
            Ok(count) => counted(count, "replica"),
            Err(_) => original.clone(),
        },
        _ => original.clone(),
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
