//! Compares the answer to a write with what was sent: a mutating webhook or admission policy may have
//! changed the write. Whatever happened, the original values are still in hand, and go back to the object
//! at once.

use std::collections::BTreeMap;

use kube::ResourceExt;
use kube::core::DynamicObject;
use serde_json::Value;

use super::foreign::shown;
use super::lever;
use super::patch::Write;
use super::plan::{Decision, Desired, decide, nobody};
use super::record::{ANNOTATION, Found, Holder, LABEL, Record};
use super::subject::Subject;

/// A change of a write by admission: state, cause and remedy for the condition.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "{subject} is not {effect}: admission {change}. Exempt {subject} from that webhook or admission policy, or change it{remedy}"
)]
pub struct Altered {
    subject: String,
    effect: &'static str,
    change: String,
    remedy: &'static str,
}

impl Altered {
    /// Returns how the stored object differs from the write; none where it is as sent.
    pub fn of(write: &Write, stored: &Subject) -> Option<Self> {
        let releases = write.record.holders().next().is_none();
        let (effect, remedy) = if releases {
            ("restored", "; its original values stay recorded until then")
        } else {
            ("held", ", or remove the object from the spec")
        };
        let change = value_change(write, stored).or_else(|| mark_change(write, stored))?;
        Some(Self { subject: stored.display(), effect, change, remedy })
    }
}

/// Returns the first value that is not as sent.
fn value_change(write: &Write, stored: &Subject) -> Option<String> {
    let (pointer, sent, now) = write.values.iter().find_map(|(pointer, sent)| {
        let now = stored.value(pointer);
        // The API server sets an absent field to its default.
        let as_sent =
            now == sent.as_ref() || (sent.is_none() && now == lever::default(pointer).as_ref());
        (!as_sent).then_some((pointer, sent, now))
    })?;
    let field = lever::path(pointer);
    let sent = match sent {
        Some(value) => format!("where Torpor writes {}", shown(value)),
        None => "where Torpor removes it".to_owned(),
    };
    Some(match now {
        Some(now) => format!("changes {field} to {} {sent}", shown(now)),
        None => format!("removes {field} {sent}"),
    })
}

/// Returns the mark that is not as sent.
fn mark_change(write: &Write, stored: &Subject) -> Option<String> {
    let nothing = write.record.levers.is_empty();
    match &stored.found {
        Found::Record(record) if *record == write.record => None,
        Found::Nothing if nothing => None,
        _ if nothing => Some(format!("keeps the annotation {ANNOTATION} or the label {LABEL}")),
        Found::Nothing => Some(format!(
            "removes the label {LABEL}, without which the record of the original values does not count"
        )),
        Found::RecordMissing | Found::Record(_) | Found::Copy(_) => Some(format!(
            "removes or changes the annotation {ANNOTATION}, which records the original values"
        )),
    }
}

/// The writes that put back the part of an altered write that was stored. They need no mark on the object:
/// the record is in hand.
#[derive(Clone, Debug)]
pub enum Undo {
    /// Releases the hold that was to be taken, or finishes a release.
    Release {
        /// The record as it was to be stored.
        record: Record,
        /// The holder whose hold was to be taken.
        holder: Holder,
        /// The levers that it held before, with their values.
        wants: BTreeMap<String, Value>,
    },
    /// Writes the record that was to be changed or removed.
    Record(Record),
}

impl Undo {
    /// Returns what is to be put back after an altered write; none where the object has a record that tells
    /// all of it.
    pub fn of(before: &Subject, write: &Write, stored: &Subject) -> Option<Self> {
        let known = before.found.record().cloned().unwrap_or_default();
        let taken = write.record.levers.iter().find_map(|(pointer, held)| {
            let before = known.levers.get(pointer).map(|held| held.holders.as_slice());
            let new = |by: &Holder| before.is_none_or(|all| !all.iter().any(|h| h.holder == *by));
            held.holders.iter().map(|holding| &holding.holder).find(|by| new(by)).cloned()
        });
        if let Some(holder) = taken {
            let held = known.holdings(&holder);
            let wants = held.map(|(pointer, h)| (pointer.clone(), h.value.clone())).collect();
            return Some(Self::Release { record: write.record.clone(), holder, wants });
        }
        if stored.found.record() == Some(&write.record) {
            return None;
        }
        if write.unfinished && value_change(write, stored).is_none() {
            let (record, wants) = (write.record.clone(), BTreeMap::new());
            return Some(Self::Release { record, holder: nobody(), wants });
        }
        (!known.levers.is_empty()).then_some(Self::Record(known))
    }

    /// Returns the next write, for the object as it is now. `read` parses it.
    pub fn next(
        &self,
        object: &DynamicObject,
        read: impl Fn(&DynamicObject) -> Option<Subject>,
    ) -> Option<(Subject, Write)> {
        let (subject, decision) = match self {
            Self::Release { record, holder, wants } => {
                let subject = read(&marked(object, record))?;
                let desired = Desired { holder, episode: "", wants, remembered: None };
                let decision = decide(&subject, &desired);
                (subject, decision)
            }
            Self::Record(record) => {
                let subject = read(object)?;
                let missing = subject.found.record() != Some(record);
                let write = Write::of_record(&subject, record.clone());
                (subject, if missing { Decision::Write(write) } else { Decision::Unchanged })
            }
        };
        match decision {
            Decision::Write(write) => Some((subject, write)),
            Decision::Unchanged | Decision::Refuse(_) => None,
        }
    }

    /// Continues after a write. Returns whether another one follows.
    pub fn wrote(&mut self, write: Write) -> bool {
        if let Self::Release { record, .. } = self {
            *record = write.record;
        }
        write.unfinished
    }
}

/// Returns an object with the marks of a record.
fn marked(object: &DynamicObject, record: &Record) -> DynamicObject {
    let (annotation, label) = record.written();
    let mut object = object.clone();
    object.annotations_mut().insert(ANNOTATION.to_owned(), annotation);
    object.labels_mut().insert(LABEL.to_owned(), label);
    object
}
