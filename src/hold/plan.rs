//! What to write to hold an object, or to let it go: a pure function of the object, the holder and
//! what it wants.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use serde_json::{Map, Value, json};

use super::fields::{self, Owner};
use super::foreign::Foreign;
use super::lever::{self, Kind};
use super::record::{ANNOTATION, Found, Held, Holder, Holding, LABEL, LONGEST, Record};
use super::refusal::Refusal;
use super::status_record::{Lever, StatusRecord};
use super::subject::{Subject, View};
use crate::apiserver::request::MANAGER;

/// What a holder wants of an object.
#[derive(Clone, Debug)]
pub struct Desired<'a> {
    /// Who.
    pub holder: &'a Holder,
    /// Its hibernation, or window.
    pub episode: &'a str,
    /// Levers and the values to hold them at. What the holder holds besides is let go: nothing
    /// wanted means that everything is.
    pub wants: &'a BTreeMap<String, Value>,
    /// What the holder's own status remembers of this object.
    pub remembered: Option<&'a StatusRecord>,
}

/// What is to be done with an object.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// It is as it should be.
    Keep,
    /// One write.
    Write(Write),
    /// It can't be held, or not be restored, and a person has to know why.
    Refuse(Refusal),
}

/// One write, a merge patch that carries the resourceVersion that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    /// The patch.
    pub patch: Value,
    /// The field manager in whose name it is made: Torpor's, or that of the only one who owned what is
    /// restored, who owns it again by that.
    pub manager: String,
    /// Whether another write follows at once: what was restored is still to be given back to those
    /// who owned it. Until then the record stays, so that it is found after a crash.
    pub unfinished: bool,
    /// Values that somebody else wrote while the levers were held.
    pub foreign: Vec<Foreign>,
    /// Whether a CronJob starts again: its missed runs may have to be skipped first.
    pub unsuspends: bool,
}

/// Decides what to write so that `holder` holds exactly what it wants of the object.
pub fn decide(subject: &Subject, wish: &Desired) -> Decision {
    match Draft::new(subject, wish).and_then(|mut draft| {
        for (pointer, value) in wish.wants {
            draft.take(pointer, value)?;
        }
        draft.let_go_of_the_rest();
        Ok(draft)
    }) {
        Ok(draft) => draft.finish(),
        Err(refusal) => Decision::Refuse(refusal),
    }
}

/// Marks every holding of a holder as kept: it stays after the holder is gone.
pub fn keep(subject: &Subject, holder: &Holder) -> Decision {
    let Some(before) = subject.found.record() else { return Decision::Keep };
    let mut record = before.clone();
    for holding in record.levers.values_mut().flat_map(|held| &mut held.holders) {
        holding.kept |= holding.holder == *holder;
    }
    if record == *before {
        return Decision::Keep;
    }
    Decision::Write(Write {
        patch: patch(subject, &record, BTreeMap::new(), None),
        manager: MANAGER.to_owned(),
        unfinished: false,
        foreign: Vec::new(),
        unsuspends: false,
    })
}

/// Finishes what was let go of and not given back before a crash, whoever had held it.
pub fn finish(subject: &Subject) -> Decision {
    let wants = BTreeMap::new();
    decide(subject, &Desired { holder: &nobody(), episode: "", wants: &wants, remembered: None })
}

/// What each held lever comes back to when the last of its holders lets go: the original, or what was
/// deployed since.
pub fn originals(subject: &Subject) -> BTreeMap<String, Option<Value>> {
    let wish =
        Desired { holder: &nobody(), episode: "", wants: &BTreeMap::new(), remembered: None };
    let Ok(mut draft) = Draft::new(subject, &wish) else { return BTreeMap::new() };
    for (pointer, view) in &subject.levers {
        draft.judge(pointer, view);
    }
    draft.record.levers.into_iter().map(|(pointer, held)| (pointer, held.original)).collect()
}

/// A holder that holds nothing.
fn nobody() -> Holder {
    Holder { kind: String::new(), namespace: String::new(), name: String::new() }
}

/// The write in the making.
struct Draft<'a> {
    subject: &'a Subject,
    wish: &'a Desired<'a>,
    record: Record,
    values: BTreeMap<String, Option<Value>>,
    /// What is let go of with this write and has owners to go back to.
    returning: BTreeSet<String>,
    foreign: Vec<Foreign>,
}

impl<'a> Draft<'a> {
    fn new(subject: &'a Subject, wish: &'a Desired) -> Result<Self, Refusal> {
        let record = match (&subject.found, wish.remembered) {
            // RecordMissing off, perhaps, and another holder was the first to write its own part anew.
            (Found::Record(record), Some(remembered)) if !wish.wants.is_empty() => {
                let mut levers = rebuilt(&remembered.still_held(subject), wish).levers;
                levers.extend(record.clone().levers);
                Record { levers }
            }
            (Found::Record(record), _) => record.clone(),
            // Neither mark is there: torn off, or let go before a crash.
            (Found::Nothing, Some(remembered)) if wish.wants.is_empty() => {
                rebuilt(&remembered.still_held(subject), wish)
            }
            (Found::Nothing | Found::RecordMissing, Some(remembered)) => rebuilt(remembered, wish),
            (Found::Nothing | Found::RecordMissing, None) => Record::default(),
        };
        // Whoever takes the marks off what is held contests the hold, as whoever writes the lever does.
        let healed = subject.found.record().is_none()
            && !wish.wants.is_empty()
            && record.held_by(wish.holder);
        let draft = Self {
            subject,
            wish,
            record,
            values: BTreeMap::new(),
            returning: BTreeSet::new(),
            foreign: if healed { vec![Foreign::of_the_record()] } else { Vec::new() },
        };
        let new = !draft.record.held_by(wish.holder) && !wish.wants.is_empty();
        if new && let Some(owner) = &subject.controller {
            return Err(Refusal::ControlledBy {
                subject: subject.display(),
                kind: owner.kind.clone(),
                name: owner.name.clone(),
            });
        }
        Ok(draft)
    }

    fn view(&self, pointer: &str) -> View {
        self.subject.levers.get(pointer).cloned().unwrap_or_default()
    }

    fn take(&mut self, pointer: &String, want: &Value) -> Result<(), Refusal> {
        let view = self.view(pointer);
        let as_wanted = view.value.as_ref() == Some(want);
        let held = self.record.holdings(self.wish.holder).any(|(held, _)| held == pointer);
        // What is held as it should be needs no write: that none could be made any more is no matter.
        if !(held && as_wanted) {
            self.refuse_what_cannot_be_written(pointer)?;
        }
        let torn = matches!(self.subject.found, Found::RecordMissing);
        match self.record.levers.get_mut(pointer) {
            // A held value that nothing tells of any more is never taken for an original.
            None if (torn || view.ours) && as_wanted => {
                return Err(Refusal::OriginalUnknown {
                    subject: self.subject.display(),
                    lever: pointer.clone(),
                });
            }
            None => {
                let held = Held {
                    original: view.value.clone(),
                    owners: view.owners.clone(),
                    holders: Vec::new(),
                };
                self.record.levers.insert(pointer.clone(), held);
            }
            // Let go of, and held again before its owners had it back.
            Some(held) if held.returned() => {
                if !view.ours {
                    held.owners.clone_from(&view.owners);
                }
                held.original.clone_from(&view.value);
            }
            Some(held) => {
                let other =
                    held.holders.iter().find(|h| h.holder != *self.wish.holder && h.value != *want);
                if let Some(other) = other {
                    return Err(Refusal::HoldConflict {
                        subject: self.subject.display(),
                        holder: Box::new(other.holder.clone()),
                        lever: pointer.clone(),
                    });
                }
                if !as_wanted {
                    self.judge(pointer, &view);
                }
            }
        }
        if !as_wanted {
            self.values.insert(pointer.clone(), Some(want.clone()));
        }
        let holding = Holding {
            holder: self.wish.holder.clone(),
            value: want.clone(),
            episode: self.wish.episode.to_owned(),
            kept: false,
        };
        if let Some(held) = self.record.levers.get_mut(pointer) {
            match held.holders.iter_mut().find(|h| h.holder == *self.wish.holder) {
                Some(existing) => *existing = holding,
                None => held.holders.push(holding),
            }
        }
        Ok(())
    }

    fn refuse_what_cannot_be_written(&self, pointer: &str) -> Result<(), Refusal> {
        let facts = &self.subject.facts;
        let subject = || self.subject.display();
        if pointer == lever::RESTART {
            let why = if facts.paused {
                "it is paused; resume its rollout, or use `action: Stop`"
            } else if facts.strategy == "OnDelete" {
                "its update strategy is OnDelete; use RollingUpdate, or `action: Stop`"
            } else if facts.partition > 0 {
                "its rolling update is partitioned; set the partition to 0, or use `action: Stop`"
            } else {
                return Ok(());
            };
            return Err(Refusal::CannotRestart { subject: subject(), why });
        }
        if self.subject.kind.name == "ConfigMap" {
            if facts.immutable {
                return Err(Refusal::Immutable { subject: subject() });
            }
            let key = lever::segments(pointer).nth(1).unwrap_or_default();
            if facts.binary_keys.contains(&key) {
                return Err(Refusal::BinaryKey { subject: subject(), key });
            }
        }
        Ok(())
    }

    /// Somebody else's value becomes the one to restore only if it came from the manager that
    /// owned the lever before, or from one that owns the pod template, which is a deploy. Any
    /// other, and anything through /scale, is shown and not kept: a person who peeks with `kubectl
    /// scale` does not turn 5 into 1.
    fn judge(&mut self, pointer: &str, view: &View) {
        let Some(held) = self.record.levers.get_mut(pointer) else { return };
        if held.holders.iter().any(|holding| view.value.as_ref() == Some(&holding.value)) {
            return;
        }
        let deploys = |owner: &&Owner| {
            owner.subresource.is_empty()
                && (held.owners.iter().any(|former| former.same_manager(owner))
                    || self.subject.template_owners.iter().any(|t| t.same_manager(owner)))
        };
        let owner = view.owners.iter().find(deploys);
        let kept = owner.is_some();
        let owner = owner.or(view.owners.first()).cloned();
        if kept {
            held.original.clone_from(&view.value);
            held.owners.clone_from(&view.owners);
        }
        self.foreign.push(Foreign {
            pointer: pointer.to_owned(),
            value: view.value.clone(),
            owner,
            kept,
        });
    }

    fn let_go_of_the_rest(&mut self) {
        let rest: Vec<String> = self
            .record
            .holdings(self.wish.holder)
            .map(|(pointer, _)| pointer.clone())
            .filter(|pointer| !self.wish.wants.contains_key(pointer))
            .collect();
        for pointer in rest {
            let view = self.view(&pointer);
            self.judge(&pointer, &view);
            let Some(held) = self.record.levers.get_mut(&pointer) else { continue };
            held.holders.retain(|h| h.holder != *self.wish.holder);
            if !held.returned() {
                continue;
            }
            let changes = view.value != held.original;
            if changes {
                self.values.insert(pointer.clone(), held.original.clone());
            }
            // Who shares in a node selector may be another one by now.
            if lever::owned_field(&pointer) != pointer && !view.owners.is_empty() {
                held.owners.clone_from(&view.owners);
            }
            // What is not there has no owner.
            let owned = held.original.is_some() || !held.owners.is_empty();
            if owned && (changes || view.ours) {
                self.returning.insert(pointer);
            } else {
                self.record.levers.remove(&pointer);
            }
        }
    }

    /// The only manager that owned all that is restored, where nothing else is left to do: a write in
    /// its name restores value and owner at once. Only an update can be made so; an apply would
    /// take away what it does not say.
    fn sole_updater(&self) -> Option<String> {
        let mut owners = self.record.levers.iter().map(|(pointer, held)| {
            let restored = self.returning.contains(pointer) && self.values.contains_key(pointer);
            match held.owners.as_slice() {
                [owner] if restored && !owner.applies() && owner.subresource.is_empty() => {
                    Some(owner.manager.clone()).filter(|manager| !manager.is_empty())
                }
                _ => None,
            }
        });
        let first = owners.next()??;
        owners.all(|owner| owner.as_ref() == Some(&first)).then_some(first)
    }

    /// How what was let go of comes to its owners: with this write, or with one that follows.
    fn give_back(&mut self) -> (String, Option<Vec<ManagedFieldsEntry>>, bool) {
        let torpor = MANAGER.to_owned();
        if !self.record.unfinished() {
            return (torpor, None, false);
        }
        if let Some(manager) = self.sole_updater() {
            self.record.levers.clear();
            return (manager, None, false);
        }
        if !self.values.is_empty() || !self.returning.is_empty() {
            return (torpor, None, true);
        }
        let returned = self.record.levers.iter().filter(|(_, held)| held.returned());
        let fields = returned.map(|(pointer, held)| (pointer.as_str(), held.owners.as_slice()));
        let version = self.subject.kind.api_resource().api_version;
        let managed = fields::given_back(&self.subject.managed, fields, &version);
        self.record.levers.retain(|_, held| !held.returned());
        (torpor, Some(managed), false)
    }

    fn finish(mut self) -> Decision {
        let (manager, owners, unfinished) = self.give_back();
        let unchanged = match &self.subject.found {
            Found::Record(before) => *before == self.record,
            // A stale annotation is not ours to clean up; a label without a record is.
            Found::Nothing => self.record.levers.is_empty(),
            Found::RecordMissing => false,
        };
        let holds_nothing = self.record.levers.is_empty() && self.wish.wants.is_empty();
        let torn_by_others = matches!(self.subject.found, Found::RecordMissing)
            && holds_nothing
            && self.wish.remembered.is_none();
        if (unchanged && self.values.is_empty()) || torn_by_others {
            return Decision::Keep;
        }
        if self.record.written().0.len() > LONGEST {
            return Decision::Refuse(Refusal::TooLarge { subject: self.subject.display() });
        }
        if self.record.has_too_many_holders() {
            return Decision::Refuse(Refusal::TooManyHolders { subject: self.subject.display() });
        }
        let unsuspends = self.subject.kind.name == "CronJob"
            && self.values.get("/spec/suspend").is_some_and(|v| *v != Some(json!(true)));
        Decision::Write(Write {
            patch: patch(self.subject, &self.record, self.values, owners),
            manager,
            unfinished,
            foreign: self.foreign,
            unsuspends,
        })
    }
}

/// A record rebuilt from what the holder's status remembers.
fn rebuilt(remembered: &StatusRecord, wish: &Desired) -> Record {
    let levers = remembered.0.iter().map(|(pointer, Lever(original, value, owners))| {
        let holding = Holding {
            holder: wish.holder.clone(),
            value: value.clone(),
            episode: wish.episode.to_owned(),
            kept: false,
        };
        let held =
            Held { original: original.clone(), owners: owners.clone(), holders: vec![holding] };
        (pointer.clone(), held)
    });
    Record { levers: levers.collect() }
}

fn patch(
    subject: &Subject,
    record: &Record,
    values: BTreeMap<String, Option<Value>>,
    managed: Option<Vec<ManagedFieldsEntry>>,
) -> Value {
    let (annotation, label) = if record.levers.is_empty() {
        (Value::Null, Value::Null)
    } else {
        let (annotation, label) = record.written();
        (json!(annotation), json!(label))
    };
    let mut patch = json!({"metadata": {
        "resourceVersion": subject.resource_version,
        "annotations": {ANNOTATION: annotation},
        "labels": {LABEL: label},
    }});
    if let Some(managed) = managed {
        patch["metadata"]["managedFields"] = json!(managed);
    }
    for (pointer, value) in values {
        set(&mut patch, &pointer, value.unwrap_or(Value::Null));
    }
    patch
}

/// Sets a value in a document by its pointer, making the objects on the way.
fn set(document: &mut Value, pointer: &str, value: Value) {
    let mut node = document;
    for segment in lever::segments(pointer) {
        if !node.is_object() {
            *node = Value::Object(Map::new());
        }
        let Value::Object(map) = node else { return };
        node = map.entry(segment).or_insert(Value::Null);
    }
    *node = value;
}

/// The original of an object's own lever, as a person would say it.
pub fn original_in_words(kind: &Kind, record: &Record) -> Option<String> {
    let mut words: Vec<String> = record
        .levers
        .iter()
        .filter(|(pointer, _)| *pointer != lever::RESTART)
        .map(|(pointer, held)| {
            let value = match &held.original {
                None => "not set".to_owned(),
                Some(Value::String(text)) => text.clone(),
                Some(value) => value.to_string(),
            };
            if kind.name == "ConfigMap" {
                let key = lever::segments(pointer).nth(1).unwrap_or_default();
                format!("{key}={value}")
            } else {
                value
            }
        })
        .collect();
    words.sort();
    (!words.is_empty()).then(|| words.join(", "))
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
