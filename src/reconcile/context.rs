//! What all reconciles share, and what is remembered of each object between them.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use kube::runtime::events::{Recorder, Reporter};
use tokio::sync::OwnedMutexGuard;

use super::watch_filter::WatchFilter;
use crate::deals::{self, Account};
use crate::hibernation::plan::{Contests, Looks};
use crate::hold::lever::Kind;
use crate::hold::record::Holder;
use crate::hold::writer::Writer;
use crate::lease::CurrentEpoch;
use crate::metrics::{self, Metrics};

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
    /// Speaks the Deals API.
    pub deals: deals::client::Client,
    /// The service account that the operator runs as, where it is known.
    pub account: Option<Account>,
    memory: Mutex<HashMap<Holder, Memory>>,
    /// Objects that want to hear of changes in their namespace, by namespace.
    interested: Mutex<HashMap<String, HashMap<Holder, WatchFilter>>>,
    /// Whose turn it is to offer orders again, by namespace.
    turns: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

/// What is remembered of one object. All of it may be lost: it is found out again.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// Set where all is as it is to be: until then nothing is even looked at.
    pub settled: Option<Settled>,
    /// When all was last found as it is to be, and what was looked at then.
    pub rested: Option<(Instant, Version)>,
    /// What its passes have noted.
    pub notes: Notes,
    /// Failures in a row, for the backoff.
    pub failures: u32,
    /// The phase that was last counted.
    pub phase: Option<String>,
    /// Counts what happened in the namespace, so that a change during a reconcile is not missed.
    pub changes: u64,
}

/// What one pass leaves to the next.
#[derive(Clone, Debug, Default)]
pub struct Notes {
    /// Clear looks at pods.
    pub looks: Looks,
    /// Who writes what is held.
    pub contests: Contests,
    /// What is remembered of a market.
    pub market: deals::clearance::Memory,
}

/// When an object was found settled.
#[derive(Clone, Debug, PartialEq)]
pub struct Settled {
    /// What was looked at: an object that was made again is another one.
    pub of: Version,
    /// When time itself brings the next change.
    pub until: Option<Timestamp>,
}

/// Which version of an object was looked at, status aside.
#[derive(Clone, Debug, PartialEq)]
pub struct Version {
    uid: Option<String>,
    generation: Option<i64>,
    finalizers: Option<Vec<String>>,
}

impl Version {
    /// The version that metadata tells of.
    pub fn of(meta: &ObjectMeta) -> Self {
        Self {
            uid: meta.uid.clone(),
            generation: meta.generation,
            finalizers: meta.finalizers.clone().filter(|finalizers| !finalizers.is_empty()),
        }
    }
}

impl Context {
    /// A context that writes only while this process leads, at most `writes_in_flight` at a time.
    pub fn new(
        client: Client,
        epoch: CurrentEpoch,
        image: String,
        account: Option<Account>,
        writes_in_flight: usize,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        let permit = {
            let epoch = epoch.clone();
            Arc::new(move || epoch().is_some())
        };
        let reporter = Reporter { controller: "torpor".to_owned(), instance: None };
        Arc::new(Self {
            writer: Writer::new(client.clone(), permit, writes_in_flight, metrics.clone()),
            recorder: Recorder::new(client.clone(), reporter),
            deals: deals::client::Client::new(client.clone(), account.clone()),
            client,
            image,
            account,
            metrics,
            epoch,
            memory: Mutex::default(),
            interested: Mutex::default(),
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

    /// Remembers an object from now on, until it is forgotten. Returns what is remembered of it.
    pub fn know(&self, object: &Holder) -> Memory {
        self.locked().entry(object.clone()).or_default().clone()
    }

    /// What is remembered of an object.
    pub fn memory(&self, of: &Holder) -> Memory {
        self.locked().get(of).cloned().unwrap_or_default()
    }

    /// Changes what is remembered of an object. Of one that is not known, or not any more, nothing is.
    pub fn remember(&self, of: &Holder, change: impl FnOnce(&mut Memory)) {
        if let Some(memory) = self.locked().get_mut(of) {
            change(memory);
        }
    }

    /// Forgets an object that is gone.
    pub fn forget(&self, kind: metrics::ObjectKind, of: &Holder) {
        self.count(kind, of, None);
        self.locked().remove(of);
        self.listen(of, None);
    }

    /// Counts an object of a kind in its phase.
    pub fn count(&self, kind: metrics::ObjectKind, object: &Holder, phase: Option<String>) {
        let before = self.memory(object).phase;
        if before != phase {
            self.metrics.moved(kind, before.as_deref(), phase.as_deref());
            self.remember(object, |memory| memory.phase = phase);
        }
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, HashMap<Holder, Memory>> {
        // A panic elsewhere leaves a map that is still whole.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Of which changes in its namespace an object hears; none of any.
    pub fn listen(&self, object: &Holder, interest: Option<WatchFilter>) {
        let mut interested = self.interested.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(interest) = interest {
            let there = interested.entry(object.namespace.clone()).or_default();
            there.insert(object.clone(), interest);
        } else if let Some(there) = interested.get_mut(&object.namespace) {
            there.remove(object);
            if there.is_empty() {
                interested.remove(&object.namespace);
            }
        }
    }

    /// A workload or ConfigMap changed: those who have to look. On the way, every workload counts: what
    /// they own is waited for. Whoever holds it looks in any case, awake or not: it may have come back
    /// from a backup. A holder that is not known may be invented: anybody can write any name into what
    /// is theirs.
    pub fn changed(
        &self,
        kind: &'static Kind,
        meta: &ObjectMeta,
        holders: &[Holder],
    ) -> Vec<Holder> {
        let namespace = meta.namespace.as_deref().unwrap_or_default();
        let named: Vec<(Holder, bool)> = {
            let interested = self.interested.lock().unwrap_or_else(PoisonError::into_inner);
            let there = interested.get(namespace).into_iter().flatten();
            there.map(|(object, i)| (object.clone(), i.concerns(kind, meta))).collect()
        };
        let on_the_way =
            |object: &Holder| kind.name != "ConfigMap" && self.memory(object).settled.is_none();
        let holders = holders.iter().filter(|holder| holder.namespace == namespace);
        let mut objects: HashSet<Holder> = named
            .into_iter()
            .filter(|(object, concerned)| *concerned || on_the_way(object))
            .map(|(object, _)| object)
            .chain(holders.cloned())
            .collect();
        let mut known = self.locked();
        objects.retain(|object| {
            let memory = known.get_mut(object);
            memory.is_some_and(|memory| {
                memory.settled = None;
                memory.changes += 1;
                true
            })
        });
        objects.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn context() -> Arc<Context> {
        let client = Client::try_from(kube::Config::new("http://127.0.0.1:1".parse().unwrap()));
        let metrics = Arc::new(Metrics::new());
        Context::new(client.unwrap(), Arc::new(|| None), String::new(), None, 1, metrics)
    }

    fn holder(holder: &str) -> Holder {
        holder.parse().unwrap()
    }

    #[tokio::test]
    async fn a_holder_that_is_not_known_is_not_remembered() {
        let context = context();
        let known = holder("Hibernation/ns/known");
        context.know(&known);
        let kind = Kind::any("Deployment").unwrap();
        let meta = serde_json::from_value(json!({"namespace": "ns", "name": "worker"})).unwrap();
        let holders = ["Hibernation/ns/known", "Hibernation/ns/invented"].map(holder);
        assert_eq!(context.changed(kind, &meta, &holders), std::slice::from_ref(&known));
        assert_eq!(context.memory(&known).changes, 1);
        assert_eq!(context.locked().len(), 1);
        context.forget(metrics::ObjectKind::Hibernation, &known);
        assert_eq!(context.changed(kind, &meta, &holders), []);
        assert!(context.locked().is_empty());
    }

    #[tokio::test]
    async fn objects_of_two_kinds_with_one_name_are_two() {
        let context = context();
        let both = ["Hibernation/ns/same", "MaintenanceWindow/ns/same"].map(holder);
        let settled = |of: &Holder| context.memory(of).settled.is_some();
        for object in &both {
            context.know(object);
            let version = Version::of(&ObjectMeta::default());
            context.remember(object, |memory| {
                memory.settled = Some(Settled { of: version, until: None });
            });
        }
        let kind = Kind::any("ConfigMap").unwrap();
        let meta = serde_json::from_value(json!({"namespace": "ns", "name": "env"})).unwrap();
        assert_eq!(context.changed(kind, &meta, &both[1..]), both[1..]);
        assert!(settled(&both[0]) && !settled(&both[1]));
        // What one is about, it alone hears of.
        context.listen(&both[0], Some(WatchFilter::default()));
        context.listen(&both[1], None);
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
            context.know(object);
            context.count(kind, object, Some(phase.to_owned()));
            context.count(kind, object, Some(phase.to_owned()));
        }
        counted(1);
        for (object, kind) in both.iter().zip(kinds) {
            context.forget(kind, object);
        }
        counted(0);
    }
}
