//! The progress of an object in words, and the end of a watch. Pure.

use jiff::Timestamp;

use crate::api::hold_state::Counts;
use crate::plugin::object::{Object, Standing};
use crate::plugin::when::span;

/// The cells of the bar.
const CELLS: usize = 24;

/// The result of one look at an object.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    /// The operator works, or waits.
    Pending,
    /// The cluster is as the spec asks.
    Reached(String),
    /// The object does not get there by itself.
    Failed(String),
}

/// Judges an object.
pub(super) fn judge(object: &Object) -> Verdict {
    let (name, message) = (object.display(), object.message());
    let phase = object.phase().unwrap_or_default();
    if object.is_deleting() {
        return Verdict::Pending;
    }
    match object.standing() {
        // `awake` says no more than the phase.
        Standing::Ready if message.eq_ignore_ascii_case(&phase) => {
            Verdict::Reached(format!("{name} is {phase}"))
        }
        Standing::Ready => Verdict::Reached(format!("{name} is {phase}: {message}")),
        Standing::Stalled => {
            Verdict::Failed(format!("{name} is stalled in phase {phase}: {message}"))
        }
        // An object that only observes never gets there.
        Standing::Other if is_dry_run(object) => Verdict::Failed(format!("{name}: {message}")),
        Standing::Unobserved | Standing::Reconciling | Standing::Other => Verdict::Pending,
    }
}

fn is_dry_run(object: &Object) -> bool {
    matches!(object, Object::Hibernation(object) if object.spec.dry_run)
}

/// Returns the obstacle of an object.
pub(super) fn obstacle(object: &Object) -> String {
    match object.standing() {
        Standing::Unobserved => {
            "the operator has not observed its spec; is the operator running?".to_owned()
        }
        _ if object.message().is_empty() => "the operator does not say why".to_owned(),
        _ => object.message().to_owned(),
    }
}

/// Returns one line: phase, step, counts and message.
pub(super) fn line(object: &Object) -> String {
    if object.standing() == Standing::Unobserved {
        return format!("{}: the operator has not observed the spec yet", object.display());
    }
    let phase = object.phase().unwrap_or_else(|| "no phase".to_owned());
    let deleting = if object.is_deleting() { ", being deleted" } else { "" };
    let step = object.hold().and_then(|hold| hold.step.as_ref());
    let step = step.map(|step| format!(", step {}", step.name)).unwrap_or_default();
    let counts = counts(object).map(|(done, total, what)| format!(", {done} of {total} {what}"));
    let step_name = object.hold().and_then(|hold| hold.step.as_ref()).map(|step| &step.name);
    let message = object.message();
    // The message may begin with the step.
    let rest = step_name.and_then(|name| message.strip_prefix(name.as_str())?.strip_prefix(": "));
    let message = match rest.unwrap_or(message) {
        message if message.is_empty() || message.eq_ignore_ascii_case(&phase) => String::new(),
        message => format!(": {message}"),
    };
    format!("{}: {phase}{deleting}{step}{}{message}", object.display(), counts.unwrap_or_default())
}

/// Returns the progress: how many objects are where they should be, of how many.
fn counts(object: &Object) -> Option<(i32, i32, &'static str)> {
    let Counts { total, held, down, .. } = object.hold()?.counts?;
    match object.phase()?.as_str() {
        _ if total == 0 => None,
        "Waking" | "Restoring" => Some((total - held, total, "restored")),
        "Hibernating" | "Hibernated" | "InMaintenance" => Some((down, total, "down")),
        _ => None,
    }
}

/// Returns the bar, in at most `width` columns.
pub(super) fn bar(object: &Object, now: Timestamp, width: usize) -> String {
    let step = object.hold().and_then(|hold| hold.step.as_ref());
    let step =
        step.map(|step| format!("  {}, for {}", step.name, span(now.duration_since(step.since.0))));
    // Counts about an earlier spec say nothing about this one.
    let counts = counts(object).filter(|_| object.standing() != Standing::Unobserved);
    let text = match counts {
        Some((done, total, what)) => {
            let (done_cells, total_cells) =
                (usize::try_from(done).unwrap_or_default(), usize::try_from(total).unwrap_or(1));
            let full = (done_cells * CELLS / total_cells.max(1)).min(CELLS);
            let bar = format!("{}{}", "█".repeat(full), "░".repeat(CELLS - full));
            format!("{bar}  {done} of {total} {what}{}", step.unwrap_or_default())
        }
        None => format!("{}  waiting{}", "░".repeat(CELLS), step.unwrap_or_default()),
    };
    // A line that wraps could not be drawn over.
    text.chars().take(width.saturating_sub(1)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::plugin::name::Kind;

    #[expect(clippy::needless_pass_by_value, reason = "callers write literals")]
    fn object(kind: Kind, generation: i64, status: Value) -> Object {
        let object = json!({
            "metadata": {"name": "cornice", "namespace": "shop", "generation": generation},
            "spec": if kind == Kind::Hibernation { json!({"state": "Hibernated"}) } else { json!({"after": "0s"}) },
            "status": status,
        });
        Object::parse(kind, object).unwrap()
    }

    fn status(phase: &str, trues: &[&str]) -> Value {
        let condition = |kind: &&str| {
            json!({"type": kind, "status": "True", "reason": "Waiting", "message": "pods",
                "lastTransitionTime": "2026-11-30T10:00:00Z"})
        };
        let conditions: Vec<Value> = trues.iter().map(condition).collect();
        json!({"observedGeneration": 2, "phase": phase, "message": "deployment/worker: 1 pod left",
            "conditions": conditions,
            "step": {"name": "Stage 1", "since": "2026-11-30T10:00:00Z"},
            "counts": {"total": 4, "held": 4, "down": 3, "refused": 0}})
    }

    #[test]
    fn what_the_phase_and_the_step_say_is_not_repeated() {
        let told = |phase: &str, message: &str| {
            let mut status = status(phase, &["Ready"]);
            status["message"] = message.into();
            object(Kind::Hibernation, 2, status)
        };
        let writing = told("Hibernating", "Stage 1: writing");
        assert_eq!(
            line(&writing),
            "Hibernation cornice: Hibernating, step Stage 1, 3 of 4 down: writing"
        );
        let awake = told("Awake", "awake");
        assert_eq!(line(&awake), "Hibernation cornice: Awake, step Stage 1");
        assert_eq!(judge(&awake), Verdict::Reached("Hibernation cornice is Awake".to_owned()));
    }

    fn hibernation(phase: &str, trues: &[&str]) -> Object {
        object(Kind::Hibernation, 2, status(phase, trues))
    }

    #[test]
    fn a_watch_ends_when_the_object_is_as_asked_or_needs_a_person() {
        let verdict = |trues: &[&str]| judge(&hibernation("Hibernating", trues));
        assert_eq!(verdict(&[]), Verdict::Pending);
        assert_eq!(verdict(&["Reconciling"]), Verdict::Pending);
        // It is awake, and an obstacle to its next hibernation is told.
        assert!(matches!(verdict(&["Ready", "Stalled"]), Verdict::Reached(_)));
        assert!(
            matches!(verdict(&["Ready"]), Verdict::Reached(text) if text.contains("is Hibernating"))
        );
        let Verdict::Failed(text) = verdict(&["Stalled"]) else { panic!("it is stalled") };
        assert_eq!(
            text,
            "Hibernation cornice is stalled in phase Hibernating: deployment/worker: 1 pod left"
        );
    }

    #[test]
    fn conditions_about_an_earlier_spec_end_no_watch() {
        for trues in [["Ready"], ["Stalled"]] {
            let earlier = object(Kind::Hibernation, 3, status("Awake", &trues));
            assert_eq!(judge(&earlier), Verdict::Pending);
            assert!(obstacle(&earlier).contains("is the operator running?"));
        }
        let new = object(Kind::MaintenanceWindow, 1, json!({"observedGeneration": -1}));
        assert_eq!(judge(&new), Verdict::Pending);
        assert_eq!(
            line(&new),
            "MaintenanceWindow cornice: the operator has not observed the spec yet"
        );
    }

    #[test]
    fn a_dry_run_never_gets_there() {
        let mut dry = hibernation("Awake", &[]);
        if let Object::Hibernation(object) = &mut dry {
            object.spec.dry_run = true;
        }
        assert!(matches!(judge(&dry), Verdict::Failed(_)));
    }

    #[test]
    fn the_progress_counts_what_is_down_or_restored() {
        let down = hibernation("Hibernating", &["Reconciling"]);
        assert_eq!(
            line(&down),
            "Hibernation cornice: Hibernating, step Stage 1, 3 of 4 down: deployment/worker: 1 pod left"
        );
        let now = "2026-11-30T10:00:40Z".parse().unwrap();
        assert_eq!(
            bar(&down, now, 120),
            "██████████████████░░░░░░  3 of 4 down  Stage 1, for 40 s"
        );
        assert_eq!(bar(&down, now, 11).chars().count(), 10);
        let waking = hibernation("Waking", &["Reconciling"]);
        assert!(line(&waking).contains("0 of 4 restored"), "{}", line(&waking));
        let empty = object(Kind::Hibernation, 2, json!({"observedGeneration": 2}));
        assert_eq!(line(&empty), "Hibernation cornice: no phase");
        assert!(bar(&empty, now, 120).ends_with("waiting"));
    }
}
