//! The state that all reconciles share: clients, the registry of objects, and their watch filters.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use kube::runtime::events::{Recorder, Reporter};
use tokio::sync::OwnedMutexGuard;

use super::object_state::ObjectState;
use super::slots::Slots;
use super::watch_filter::WatchFilter;
use crate::api::reason::Reason;
use crate::deals::hosted::PublishedKeys;
use crate::deals::{self, Account};
use crate::hold::lever::Kind;
use crate::hold::record::Holder;
use crate::hold::writer::Writer;
use crate::lease::{CurrentEpoch, LeaseName};
use crate::metrics::{self, Counted, Metrics};

/// Shared by all reconciles.
pub struct Context {
    /// The client.
    pub client: Client,
    /// Writes holds.
    pub writer: Writer,
    /// Image of the Jobs and bridges.
    pub image: String,
    /// Publishes events.
    pub recorder: Recorder,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// In which epoch this process leads.
    pub epoch: CurrentEpoch,
    /// The Lease that the epoch comes from.
    pub lease: LeaseName,
    /// The keys that the cluster signs tokens with.
    pub keys: PublishedKeys,
    /// Speaks the Deals API.
    pub deals: deals::client::Client,
    /// The slots of reconciles.
    pub slots: Slots,
    /// The service account that the operator runs as, where it is known.
    pub account: Option<Account>,
    states: Mutex<HashMap<Holder, ObjectState>>,
    /// The watch filters of objects, by namespace.
    filters: Mutex<HashMap<String, HashMap<Holder, WatchFilter>>>,
    /// Turns to offer orders again, by namespace.
    turns: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

impl Context {
    /// Returns a context that has at most `writes_in_flight` writes of holds under way at a time in one namespace. `client` sends a
    /// write only while this process leads.
    pub fn new(
        client: Client,
        (epoch, lease): (CurrentEpoch, LeaseName),
        image: String,
        account: Option<Account>,
        writes_in_flight: usize,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        let reporter = Reporter { controller: "torpor".to_owned(), instance: None };
        Arc::new(Self {
            writer: Writer::new(client.clone(), writes_in_flight, metrics.clone()),
            recorder: Recorder::new(client.clone(), reporter),
            deals: deals::client::Client::new(client.clone(), account.clone()),
            client,
            image,
            slots: Slots::default(),
            account,
            metrics,
            epoch,
            lease,
            keys: PublishedKeys::default(),
            states: Mutex::default(),
            filters: Mutex::default(),
            turns: Mutex::default(),
        })
    }

    /// Waits for its turn to offer orders again in a namespace. Two objects may have withdrawn the same ones, each by a
    /// bridge of its own that offers what it does not find there: at the same time, both would.
    pub async fn turn(&self, namespace: &str) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            turns.entry(namespace.to_owned()).or_default().clone()
        };
        turn.lock_owned().await
    }

    /// Registers an object until it is forgotten. Returns what is remembered of it.
    pub fn register(&self, object: &Holder) -> ObjectState {
        self.locked().entry(object.clone()).or_default().clone()
    }

    /// Returns what is remembered of an object.
    pub fn state(&self, object: &Holder) -> ObjectState {
        self.locked().get(object).cloned().unwrap_or_default()
    }

    /// Changes what is remembered of an object. Does nothing where the object is not registered.
    pub fn update(&self, object: &Holder, change: impl FnOnce(&mut ObjectState)) {
        if let Some(state) = self.locked().get_mut(object) {
            change(state);
        }
    }

    /// Forgets an object that is gone.
    pub fn forget(&self, kind: metrics::ObjectKind, object: &Holder) {
        self.count(kind, object, Counted::default());
        self.locked().remove(object);
        self.watch(object, None);
    }

    /// Counts an object of a kind by its phase and conditions.
    pub fn count(&self, kind: metrics::ObjectKind, object: &Holder, counted: Counted) {
        let before = self.state(object).counted;
        if before != counted {
            self.metrics.counted(kind, &before, &counted);
            let left_behind = Some(Reason::LeftBehind.as_str());
            if counted.stalled.as_deref() == left_behind && before.stalled != counted.stalled {
                self.metrics.left_behind(kind);
            }
            self.update(object, |state| state.counted = counted);
        }
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, HashMap<Holder, ObjectState>> {
        // A panic elsewhere leaves a map that is still whole.
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers the watch filter of an object. None: no change in its namespace concerns it.
    pub fn watch(&self, object: &Holder, filter: Option<WatchFilter>) {
        let mut filters = self.filters.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(filter) = filter {
            let namespace = filters.entry(object.namespace.clone()).or_default();
            namespace.insert(object.clone(), filter);
        } else if let Some(namespace) = filters.get_mut(&object.namespace) {
            namespace.remove(object);
            if namespace.is_empty() {
                filters.remove(&object.namespace);
            }
        }
    }

    /// Returns the objects that name a kind, in a namespace or in all: the API server serves it now.
    pub fn naming(&self, kind: &'static Kind, namespace: Option<&str>) -> Vec<Holder> {
        let mut objects: Vec<Holder> = {
            let filters = self.filters.lock().unwrap_or_else(PoisonError::into_inner);
            let all = filters.values().flatten().filter(|(_, filter)| filter.names(kind));
            all.map(|(object, _)| object.clone()).collect()
        };
        objects.retain(|object| namespace.is_none_or(|namespace| object.namespace == namespace));
        let mut states = self.locked();
        for object in &objects {
            if let Some(state) = states.get_mut(object) {
                state.note_change();
            }
        }
        objects
    }

    /// Returns the objects that a changed workload or ConfigMap concerns. During a transition every workload
    /// concerns an object, because Torpor waits for what it owns. A change always concerns its holders,
    /// awake or not: the changed object may be a restored backup. A holder that is not registered may be
    /// invented: anybody can write any name into their own objects.
    pub fn changed(
        &self,
        kind: &'static Kind,
        meta: &ObjectMeta,
        holders: &[Holder],
    ) -> Vec<Holder> {
        let namespace = meta.namespace.as_deref().unwrap_or_default();
        let holders = holders.iter().filter(|holder| holder.namespace == namespace);
        let holders: Vec<Holder> = holders.cloned().collect();
        let filtered: Vec<(Holder, bool)> = {
            let filters = self.filters.lock().unwrap_or_else(PoisonError::into_inner);
            let there = filters.get(namespace).into_iter().flatten();
            there
                .map(|(object, filter)| (object.clone(), filter.concerns(kind, meta, &holders)))
                .collect()
        };
        let on_the_way =
            |object: &Holder| kind.name != "ConfigMap" && self.state(object).at_rest.is_none();
        let mut objects: HashSet<Holder> = filtered
            .into_iter()
            .filter(|(object, concerned)| *concerned || on_the_way(object))
            .map(|(object, _)| object)
            .chain(holders)
            .collect();
        let mut states = self.locked();
        objects.retain(|object| {
            let state = states.get_mut(object);
            state.map(ObjectState::note_change).is_some()
        });
        objects.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::object_state::{AtRest, Version};
    use serde_json::json;

    fn context() -> Arc<Context> {
        let client = Client::try_from(kube::Config::new("http://127.0.0.1:1".parse().unwrap()));
        let metrics = Arc::new(Metrics::new());
        let lease = LeaseName { namespace: String::new(), name: String::new() };
        let epoch: CurrentEpoch = Arc::new(|| None);
        Context::new(client.unwrap(), (epoch, lease), String::new(), None, 1, metrics)
    }

    fn holder(holder: &str) -> Holder {
        holder.parse().unwrap()
    }

    #[tokio::test]
    async fn a_holder_that_is_not_known_is_not_remembered() {
        let context = context();
        let known = holder("Hibernation/ns/known");
        context.register(&known);
        let kind = Kind::any("Deployment").unwrap();
        let meta = serde_json::from_value(json!({"namespace": "ns", "name": "worker"})).unwrap();
        let holders = ["Hibernation/ns/known", "Hibernation/ns/invented"].map(holder);
        assert_eq!(context.changed(kind, &meta, &holders), std::slice::from_ref(&known));
        assert_eq!(context.state(&known).changes, 1);
        assert_eq!(context.locked().len(), 1);
        context.forget(metrics::ObjectKind::Hibernation, &known);
        assert_eq!(context.changed(kind, &meta, &holders), []);
        assert!(context.locked().is_empty());
    }

    #[tokio::test]
    async fn objects_of_two_kinds_with_one_name_are_two() {
        let context = context();
        let both = ["Hibernation/ns/same", "MaintenanceWindow/ns/same"].map(holder);
        let settled = |of: &Holder| context.state(of).at_rest.is_some();
        for object in &both {
            context.register(object);
            let version = Version::of(&ObjectMeta::default());
            context.update(object, |state| {
                state.at_rest = Some(AtRest { version, until: None });
            });
        }
        let kind = Kind::any("ConfigMap").unwrap();
        let meta = serde_json::from_value(json!({"namespace": "ns", "name": "env"})).unwrap();
        assert_eq!(context.changed(kind, &meta, &both[1..]), both[1..]);
        assert!(settled(&both[0]) && !settled(&both[1]));
        // What one is about, it alone hears of.
        context.watch(&both[0], Some(WatchFilter::default()));
        context.watch(&both[1], None);
        let meta = json!({"namespace": "ns", "name": "env", "labels": {"torpor.dev/held": "x"}});
        let meta = serde_json::from_value(meta).unwrap();
        assert_eq!(context.changed(kind, &meta, &[]), both[..1]);
        context.forget(metrics::ObjectKind::MaintenanceWindow, &both[1]);
        assert_eq!(context.changed(kind, &meta, &both), both[..1]);
    }

    #[tokio::test]
    async fn an_object_is_counted_in_its_kind_and_phase_until_it_is_gone() {
        let context = context();
        let both = ["Hibernation/ns/same", "MaintenanceWindow/ns/same"].map(holder);
        let kinds = [metrics::ObjectKind::Hibernation, metrics::ObjectKind::MaintenanceWindow];
        let counted = |number: u8| {
            let text = context.metrics.encode().unwrap();
            for (kind, phase) in [("Hibernation", "Awake"), ("MaintenanceWindow", "Scheduled")] {
                let line = format!("torpor_objects{{kind=\"{kind}\",phase=\"{phase}\"}} {number}");
                assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
            }
        };
        for ((object, kind), phase) in both.iter().zip(kinds).zip(["Awake", "Scheduled"]) {
            context.register(object);
            let phase = Some(phase.to_owned());
            let once = Counted { phase, ..Counted::default() };
            context.count(kind, object, once.clone());
            context.count(kind, object, once);
        }
        counted(1);
        for (object, kind) in both.iter().zip(kinds) {
            context.forget(kind, object);
        }
        counted(0);
    }
}
