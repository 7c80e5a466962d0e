//! Decides the write that holds or releases an object: a pure function of the observed object, the
//! holder and the desired levers.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use serde_json::{Value, json};

use super::deploy::Deploy;
use super::fields::{self, Owner};
use super::foreign::{self, Foreign};
use super::lever::{self, CONFIG_MAP, Kind};
use super::patch::{Write, patch};
use super::record::{
    ALL_ANNOTATIONS, ANNOTATION, Found, Held, Holder, Holding, MAX_BYTES, ObjectName, Record,
};
use super::refusal::Refusal;
use super::status_record::StatusRecord;
use super::subject::{Subject, View};
use super::writable;
use crate::apiserver::request::MANAGER;

/// The levers that a holder desires on an object.
#[derive(Clone, Debug)]
pub struct Desired<'a> {
    /// The holder.
    pub holder: &'a Holder,
    /// The episode: one hibernation, or one occurrence of a window.
    pub episode: &'a str,
    /// The levers to hold, with their values. The holder releases its other levers; an empty map releases
    /// the object.
    pub wants: &'a BTreeMap<String, Value>,
    /// The record of this object in the status of the holder.
    pub remembered: Option<&'a StatusRecord>,
}

impl Desired<'_> {
    /// Returns whether the status of the holder keeps the original value of a lever, so that the write that
    /// restores it may remove the record too: if admission changes the value, and Torpor is killed before it
    /// has put the record back, the generation still tells that the value was not restored. A ConfigMap has
    /// no generation, and an annotation changes none.
    fn keeps(&self, kind: &Kind, pointer: &str) -> bool {
        *kind != CONFIG_MAP
            && lever::annotation(pointer).is_none()
            && self.remembered.is_some_and(|status| status.keeps(pointer))
    }
}

/// The write that an object needs.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// The object is as desired.
    Unchanged,
    /// The object needs a write.
    Write(Write),
    /// The object cannot be held or restored. The condition says why.
    Refuse(Refusal),
}

/// Returns the decision by which the holder holds exactly the desired levers of the object.
pub fn decide(subject: &Subject, desired: &Desired) -> Decision {
    if let Some(moved) = subject.moved(Some(desired.holder)) {
        return decide(&moved, desired);
    }
    match Draft::new(subject, desired).and_then(|mut draft| {
        draft.find_deploys();
        for (pointer, value) in desired.wants {
            draft.take(pointer, value)?;
        }
        draft.release_the_rest();
        draft.restore_again();
        Ok(draft)
    }) {
        Ok(draft) => draft.finish(),
        Err(refusal) => Decision::Refuse(refusal),
    }
}

/// Returns the decision that marks every holding of a holder as kept, so that it outlives the holder.
pub fn mark_kept(subject: &Subject, holder: &Holder) -> Decision {
    let Some(before) = subject.found.record() else { return Decision::Unchanged };
    let mut record = before.clone();
    for holding in record.levers.values_mut().flat_map(|held| &mut held.holders) {
        holding.kept |= holding.holder == *holder;
    }
    if record == *before {
        return Decision::Unchanged;
    }
    record.object = Some(subject.object_name());
    Decision::Write(Write::of_record(subject, record))
}

/// Returns the decision that hands back the ownership of restored fields, whoever held them. A release
/// that was interrupted between its two writes leaves such fields.
pub fn hand_back_ownership(subject: &Subject) -> Decision {
    let wants = BTreeMap::new();
    decide(subject, &Desired { holder: &nobody(), episode: "", wants: &wants, remembered: None })
}

/// Returns the value that the release by the last holder restores, by lever: the original value, or the
/// value of a later rollout.
pub fn originals(subject: &Subject) -> BTreeMap<String, Option<Value>> {
    let desired =
        Desired { holder: &nobody(), episode: "", wants: &BTreeMap::new(), remembered: None };
    let Ok(mut draft) = Draft::new(subject, &desired) else { return BTreeMap::new() };
    draft.find_deploys();
    for (pointer, view) in &subject.levers {
        draft.judge(pointer, view);
    }
    draft.record.levers.into_iter().map(|(pointer, held)| (pointer, held.original)).collect()
}

/// Returns a holder that holds nothing.
pub(super) fn nobody() -> Holder {
    Holder { kind: String::new(), namespace: String::new(), name: String::new() }
}

/// The record and the values of the next write, while they are decided.
struct Draft<'a> {
    subject: &'a Subject,
    desired: &'a Desired<'a>,
    record: Record,
    values: BTreeMap<String, Option<Value>>,
    /// The levers that this write restores and whose ownership is to be handed back.
    restored: BTreeSet<String>,
    foreign: Vec<Foreign>,
}

impl<'a> Draft<'a> {
    fn new(subject: &'a Subject, desired: &'a Desired) -> Result<Self, Refusal> {
        let record = match (&subject.found, desired.remembered) {
            // The record was lost, perhaps, and another holder has written its own part again.
            (Found::Record(record), Some(remembered)) if !desired.wants.is_empty() => {
                let mut levers = remembered.still_held(subject).rebuilt(desired).levers;
                levers.extend(record.clone().levers);
                Record { levers, ..record.clone() }
            }
            (Found::Record(record), _) => record.clone(),
            // Both annotation and label are gone: removed by somebody, or released before a crash.
            (Found::Nothing, Some(remembered)) => remembered.still_held(subject).rebuilt(desired),
            (Found::RecordMissing, Some(remembered)) => remembered.rebuilt(desired),
            (Found::Nothing | Found::RecordMissing, None) | (Found::Copy(_), _) => {
                Record::default()
            }
        };
        // Removing the annotation or the label of a held object is a foreign write, as of a lever.
        let healed = subject.found.record().is_none()
            && !desired.wants.is_empty()
            && record.held_by(desired.holder);
        let draft = Self {
            subject,
            desired,
            record,
            values: BTreeMap::new(),
            restored: BTreeSet::new(),
            foreign: if healed { vec![Foreign::of_the_record()] } else { Vec::new() },
        };
        let new = !draft.record.held_by(desired.holder) && !desired.wants.is_empty();
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
        let mine = self.record.holdings(self.desired.holder).find(|(held, _)| *held == pointer);
        let held_value = self.record.levers.get(pointer).and_then(Held::held_value);
        // A lever that is held as desired needs no write, so a write that is impossible is no obstacle.
        if mine.is_none_or(|(_, holding)| holding.value != *want) || view.value != held_value {
            writable::check(self.subject, pointer)?;
        }
        let record_missing = matches!(self.subject.found, Found::RecordMissing);
        let copied = matches!(self.subject.found, Found::Copy(_));
        match self.record.levers.get_mut(pointer) {
            // A held value without a record is never taken for an original value.
            None if (record_missing || view.ours) && as_wanted && !copied => {
                return Err(Refusal::OriginalUnknown {
                    subject: self.subject.display(),
                    lever: pointer.clone(),
                });
            }
            None => {
                let held = Held {
                    original: view.value.clone(),
                    owners: view.owners.clone(),
                    applied: self.subject.last_applied.clone(),
                    ..Held::default()
                };
                self.record.levers.insert(pointer.clone(), held);
            }
            // Released, and held again before the original value was back.
            Some(held) if held.is_released() && !held.is_back(&view) => {}
            // Restored, and held again before the ownership was handed back.
            Some(held) if held.is_released() => {
                if !view.ours {
                    held.owners.clone_from(&view.owners);
                }
                held.original.clone_from(&view.value);
            }
            Some(held) => {
                let differs = |h: &&Holding| h.holder != *self.desired.holder && h.value != *want;
                let other = held.holders.iter().find(differs).filter(|_| pointer != lever::RESTART);
                if let Some(other) = other {
                    return Err(Refusal::HoldConflict {
                        subject: self.subject.display(),
                        holder: Box::new(other.holder.clone()),
                        lever: pointer.clone(),
                    });
                }
                self.judge(pointer, &view);
            }
        }
        let holding = Holding {
            holder: self.desired.holder.clone(),
            value: want.clone(),
            episode: self.desired.episode.to_owned(),
            kept: false,
        };
        if let Some(held) = self.record.levers.get_mut(pointer) {
            match held.holders.iter_mut().find(|h| h.holder == *self.desired.holder) {
                Some(existing) => *existing = holding,
                None => held.holders.push(holding),
            }
            if view.value != held.held_value() {
                self.values.insert(pointer.clone(), held.held_value());
            }
        }
        Ok(())
    }

    /// Finds the deploys that the values of the levers do not show.
    fn find_deploys(&mut self) {
        for (pointer, held) in &mut self.record.levers {
            let view = self.subject.levers.get(pointer).cloned().unwrap_or_default();
            let Some(deploy) = Deploy::unseen(self.subject, pointer, held, &view) else { continue };
            held.original = deploy.original(pointer, held);
            held.applied.clone_from(&self.subject.last_applied);
            held.owners = deploy.owners;
            self.foreign.push(Foreign {
                pointer: pointer.to_owned(),
                value: deploy.value,
                owner: Some(deploy.owner),
                rollout: true,
                restores: held.original.clone(),
                unseen: true,
            });
        }
    }

    /// Records a foreign write. Its value becomes the value to restore only in a rollout: the field
    /// manager owned the lever before, or owns the pod template. Any other write, and every write through
    /// /scale, is only reported: a `kubectl scale` while asleep does not turn 5 replicas into 1.
    fn judge(&mut self, pointer: &str, view: &View) {
        let Some(held) = self.record.levers.get_mut(pointer) else { return };
        if !held.is_released() && view.value == held.held_value() {
            return;
        }
        let deploys = |owner: &&Owner| {
            owner.subresource.is_empty()
                && (held.owners.iter().any(|former| former.same_manager(owner))
                    || self.subject.template_owners.iter().any(|t| t.same_manager(owner)))
        };
        let owner = view.owners.iter().find(deploys);
        let rollout = owner.is_some();
        let owner = owner.or(view.owners.first()).cloned();
        if rollout {
            held.original.clone_from(&view.value);
            held.owners.clone_from(&view.owners);
            held.applied.clone_from(&self.subject.last_applied);
            held.marked = false;
        }
        self.foreign.push(Foreign {
            pointer: pointer.to_owned(),
            value: view.value.clone(),
            owner,
            rollout,
            restores: held.original.clone(),
            unseen: false,
        });
    }

    fn release_the_rest(&mut self) {
        let rest: Vec<String> = self
            .record
            .holdings(self.desired.holder)
            .map(|(pointer, _)| pointer.clone())
            .filter(|pointer| !self.desired.wants.contains_key(pointer))
            .collect();
        for pointer in rest {
            let view = self.view(&pointer);
            self.judge(&pointer, &view);
            let Some(held) = self.record.levers.get_mut(&pointer) else { continue };
            held.holders.retain(|h| h.holder != *self.desired.holder);
            if !held.is_released() {
                // The others restart it once more, without what this holder overrode.
                if pointer == lever::RESTART && view.value != held.held_value() {
                    self.values.insert(pointer, held.held_value());
                }
                continue;
            }
            let changes = view.value != held.original;
            if changes {
                self.values.insert(pointer.clone(), held.original.clone());
            }
            // The record stays until the value was observed, unless the status keeps it.
            let confirmed_later = changes && !self.desired.keeps(self.subject.kind, &pointer);
            // A node selector is owned as a whole, and its owners may have changed.
            if lever::owned_field(&pointer) != pointer && !view.owners.is_empty() {
                held.owners.clone_from(&view.owners);
            }
            // An absent field has no owner.
            let owned = held.original.is_some() || !held.owners.is_empty();
            // The mark in managedFields goes too, where nothing else changes.
            let marked = held.owners.iter().any(|owner| self.subject.unapplied.contains(owner));
            if confirmed_later || marked || (owned && (changes || view.ours)) {
                self.restored.insert(pointer);
            } else {
                self.record.levers.remove(&pointer);
            }
        }
    }

    /// Restores once more what was released and is not back: admission has changed the first write.
    fn restore_again(&mut self) {
        for (pointer, held) in self.record.levers.iter().filter(|(_, held)| held.is_released()) {
            if !self.restored.contains(pointer) && !held.is_back(&self.view(pointer)) {
                self.values.insert(pointer.clone(), held.original.clone());
            }
        }
    }

    /// Returns the refusal to restore a ConfigMap that was made immutable.
    fn made_immutable(&self) -> Refusal {
        let values = self.values.iter().map(|(pointer, value)| {
            let key = lever::segments(pointer).last().unwrap_or_default();
            match value {
                Some(value) => format!("{key}: {}", foreign::shown(value)),
                None => format!("no key {key}"),
            }
        });
        let values = values.collect::<Vec<_>>().join(", ");
        Refusal::MadeImmutable { subject: self.subject.display(), values }
    }

    /// Returns the only former owner of all restored levers, if no other lever is left in the record: a
    /// write by that field manager restores value and ownership at once, and removes the record. Only an
    /// update can be imitated; a server-side apply would remove the fields that the write does not contain.
    fn sole_updater(&self) -> Option<String> {
        if !self.subject.unapplied.is_empty() {
            return None;
        }
        let mut owners = self.record.levers.iter().map(|(pointer, held)| {
            let restored = self.restored.contains(pointer)
                && self.values.contains_key(pointer)
                && self.desired.keeps(self.subject.kind, pointer);
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

    /// Returns the field manager of the write, its managedFields, and whether a second write must follow to
    /// hand ownership back.
    fn hand_back(&mut self) -> (String, Option<Vec<ManagedFieldsEntry>>, bool) {
        let torpor = MANAGER.to_owned();
        if !self.record.unfinished() {
            return (torpor, None, false);
        }
        if let Some(manager) = self.sole_updater() {
            self.record.levers.clear();
            return (manager, None, false);
        }
        if !self.values.is_empty() || !self.restored.is_empty() {
            return (torpor, None, true);
        }
        let returned = self.record.levers.iter().filter(|(_, held)| held.is_released());
        let fields = returned.map(|(pointer, held)| (pointer.as_str(), held.owners.as_slice()));
        let version = self.subject.kind.api_resource().api_version;
        let managed = fields::handed_back(&self.subject.managed_fields, fields, &version);
        self.record.levers.retain(|_, held| !held.is_released());
        let still_marked = self.record.levers.values().any(|held| held.marked);
        let managed = if still_marked { managed } else { fields::unmarked(&managed) };
        (torpor, Some(managed), false)
    }

    /// Returns managedFields in which the server-side applies that own a held lever are marked, so that their
    /// next apply shows; none where there is nothing to mark. `entries` are managedFields as they are.
    fn mark(&mut self, entries: &[ManagedFieldsEntry]) -> Option<Vec<ManagedFieldsEntry>> {
        let mut owners = Vec::new();
        for held in self.record.levers.values_mut().filter(|held| !held.is_released()) {
            let applies = held.owners.iter().filter(|owner| owner.applies());
            let unmarked = |owner: &&Owner| !held.marked || !self.subject.unapplied.contains(owner);
            owners.extend(applies.clone().filter(unmarked).cloned());
            held.marked = applies.count() > 0;
        }
        (!owners.is_empty()).then(|| fields::marked(entries, &owners))
    }

    fn finish(mut self) -> Decision {
        let (manager, mut owners, unfinished) = self.hand_back();
        let unchanged = match &self.subject.found {
            // A record that moved is written anew, for the sweep to find it.
            Found::Record(before) => {
                let moved = |of: &ObjectName| of.namespace != self.subject.namespace;
                before.levers == self.record.levers && !before.object.as_ref().is_some_and(moved)
            }
            // Torpor removes a label without a record, and leaves a stale annotation and a copy.
            Found::Nothing | Found::Copy(_) => self.record.levers.is_empty(),
            Found::RecordMissing => false,
        };
        let holds_nothing = self.record.levers.is_empty() && self.desired.wants.is_empty();
        let lost_by_others = matches!(self.subject.found, Found::RecordMissing)
            && holds_nothing
            && self.desired.remembered.is_none();
        if (unchanged && self.values.is_empty()) || lost_by_others {
            return Decision::Unchanged;
        }
        if self.subject.facts.immutable && !self.values.is_empty() {
            return Decision::Refuse(self.made_immutable());
        }
        let mut needs_read = false;
        if !self.desired.wants.is_empty() {
            let entries = owners.clone().unwrap_or_else(|| self.subject.managed_fields.clone());
            if let Some(marked) = self.mark(&entries) {
                needs_read = entries.is_empty();
                owners = (!needs_read).then_some(marked);
            }
        }
        self.record.object = Some(self.subject.object_name());
        let written = self.record.written().0.len();
        if written > MAX_BYTES {
            return Decision::Refuse(Refusal::TooLarge { subject: self.subject.display() });
        }
        let others = &self.subject.facts.annotations;
        let full = others.bytes + ANNOTATION.len() + written > ALL_ANNOTATIONS;
        if full && !self.desired.wants.is_empty() {
            let (largest, bytes) = others.largest.clone();
            let subject = self.subject.display();
            return Decision::Refuse(Refusal::NoRoom { subject, largest, bytes });
        }
        if self.record.has_too_many_holders() {
            return Decision::Refuse(Refusal::TooManyHolders { subject: self.subject.display() });
        }
        let unsuspends = self.subject.kind.name == "CronJob"
            && self.values.get("/spec/suspend").is_some_and(|v| *v != Some(json!(true)));
        Decision::Write(Write {
            patch: patch(self.subject, &self.record, &self.values, owners),
            manager,
            unfinished,
            foreign: self.foreign,
            unsuspends,
            values: self.values,
            record: self.record,
            needs_read,
        })
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
