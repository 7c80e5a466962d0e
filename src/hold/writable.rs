//! Whether a lever can be written.

use super::lever;
use super::refusal::Refusal;
use super::subject::Subject;
use super::table_facts::TargetRef;

/// Fails where a write of the lever is impossible or has no effect.
pub(super) fn check(subject: &Subject, pointer: &str) -> Result<(), Refusal> {
    let (facts, display) = (&subject.facts, || subject.display());
    if pointer == lever::RESTART {
        let why = if facts.paused {
            "its rollout is paused. Resume it, or use `action: Stop`"
        } else if facts.strategy == "OnDelete" {
            "its update strategy is OnDelete. Use RollingUpdate, or `action: Stop`"
        } else if facts.partition > 0 {
            "its rolling update is partitioned. Set the partition to 0, or use `action: Stop`"
        } else {
            return Ok(());
        };
        return Err(Refusal::CannotRestart { subject: display(), why });
    }
    if subject.rests_otherwise() {
        let target = facts.table.as_ref().and_then(|table| table.target.as_ref());
        let target = target.map_or("its target".to_owned(), TargetRef::display);
        return Err(Refusal::RestsOtherwise { subject: display(), target });
    }
    if subject.kind.name == "ConfigMap" {
        if facts.immutable {
            return Err(Refusal::Immutable { subject: display() });
        }
        let key = lever::segments(pointer).nth(1).unwrap_or_default();
        if facts.binary_keys.contains(&key) {
            return Err(Refusal::BinaryKey { subject: display(), key });
        }
    }
    Ok(())
}
