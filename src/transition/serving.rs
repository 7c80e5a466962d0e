//! Whether the workloads of an object serve again, whoever keeps them down.

use std::sync::Arc;

use super::blockers::not_ready;
use super::draft::Draft;
use super::plan::HoldInput;
use super::role::Role;
use crate::api::text::few;
use crate::hold::subject::Subject;

/// Returns why the market stays closed: a workload that the spec names does not serve. None where all do: none is
/// held by anybody, and each is ready.
pub fn not_serving(input: HoldInput) -> Option<String> {
    let waits = waits(input);
    (!waits.is_empty())
        .then(|| format!("the market stays closed until the workloads are ready: {}", few(&waits)))
}

/// Returns a sentence for each workload that does not serve.
fn waits(input: HoldInput) -> Vec<String> {
    let draft = Draft::new(input);
    let named: Vec<&Arc<Subject>> = draft
        .roles
        .iter()
        .filter(|(_, role)| matches!(role, Role::Stop(_) | Role::Restart(_)))
        .map(|(subject, _)| *subject)
        .collect();
    if named.is_empty() {
        return draft.unmatched().iter().map(|entry| format!("{entry} is not found")).collect();
    }
    let waits: Vec<String> = named
        .iter()
        .filter_map(|subject| held_down(subject).or_else(|| not_ready(subject, false)))
        .collect();
    // One at 0 may have been so before. If all are, nothing serves.
    let scaled = |subject: &&&Arc<Subject>| subject.kind.stop == Some("/spec/replicas");
    let all_at_zero = named.iter().filter(scaled).all(|subject| subject.facts.replicas == 0);
    if waits.is_empty() && all_at_zero {
        let zero = |subject: &&Arc<Subject>| format!("{} is scaled to 0", subject.display());
        return named.iter().filter(scaled).map(zero).collect();
    }
    waits
}

/// Returns who keeps a workload down; none where nobody does.
fn held_down(subject: &Subject) -> Option<String> {
    let held = subject.found.record()?.levers.get(subject.kind.stop?)?;
    let holder = &held.holders.first()?.holder;
    Some(format!("{} is held by {} {}", subject.display(), holder.kind, holder.name))
}
