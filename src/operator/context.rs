//! What all reconciles share, and what is remembered of each object between them.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use kube::api::PartialObjectMeta;
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::reflector::ObjectRef;

use super::interest::Interest;
use super::metrics::{self, Metrics};
use crate::api::Hibernation;
use crate::api::hibernation::Phase;
use crate::hibernation::plan::{Contests, Looks};
use crate::hold::apply::{Permit, Writer};
use crate::hold::lever::Kind;
use crate::hold::record::Holder;

/// What the controller sees of a Hibernation: its metadata. The object itself is read when there
/// is something to do, so that no plan is made from a stale copy.
pub type Seen = PartialObjectMeta<Hibernation>;

/// Shared by all reconciles.
pub struct Context {
    /// The client.
    pub client: Client,
    /// Writes holds.
    pub writer: Writer,
    /// Image of the Jobs.
    pub image: String,
    /// Publishes events.
    pub recorder: Recorder,
    /// Counts.
    pub metrics: Arc<Metrics>,
    memory: Mutex<HashMap<ObjectRef<Seen>, Memory>>,
    /// Objects that want to hear of changes in their namespace, by namespace.
    interested: Mutex<HashMap<String, HashMap<String, Interest>>>,
}

/// What is remembered of one object. All of it may be lost: it is found out again.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// Set where all is as it is to be: until then nothing is even looked at.
    pub settled: Option<Settled>,
    /// Clear looks at pods.
    pub looks: Looks,
    /// Who writes what is held.
    pub contests: Contests,
    /// Failures in a row, for the backoff.
    pub failures: u32,
    /// The phase that was last counted.
    pub phase: Option<Phase>,
    /// Counts what happened in the namespace, so that a change during a reconcile is not missed.
    pub changes: u64,
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
    /// A context that writes only while permitted, at most `writes_in_flight` at a time.
    pub fn new(
        client: Client,
        permit: Permit,
        image: String,
        writes_in_flight: usize,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        let reporter = Reporter { controller: "torpor".to_owned(), instance: None };
        Arc::new(Self {
            writer: Writer::new(client.clone(), permit, writes_in_flight, metrics.clone()),
            recorder: Recorder::new(client.clone(), reporter),
            client,
            image,
            metrics,
            memory: Mutex::default(),
            interested: Mutex::default(),
        })
    }

    /// Remembers an object from now on, until it is forgotten. Returns what is remembered of it.
    pub fn know(&self, object: &ObjectRef<Seen>) -> Memory {
        self.locked().entry(object.clone()).or_default().clone()
    }

    /// What is remembered of an object.
    pub fn memory(&self, of: &ObjectRef<Seen>) -> Memory {
        self.locked().get(of).cloned().unwrap_or_default()
    }

    /// Changes what is remembered of an object. Of one that is not known, or not any more, nothing is.
    pub fn remember(&self, of: &ObjectRef<Seen>, change: impl FnOnce(&mut Memory)) {
        if let Some(memory) = self.locked().get_mut(of) {
            change(memory);
        }
    }

    /// Forgets an object that is gone.
    pub fn forget(&self, of: &ObjectRef<Seen>) {
        self.count(of, None);
        self.locked().remove(of);
        self.listen(of, None);
    }

    /// Counts an object in its phase.
    pub fn count(&self, object: &ObjectRef<Seen>, phase: Option<Phase>) {
        let before = self.memory(object).phase;
        if before != phase {
            let word = |phase: Phase| format!("{phase:?}");
            let (from, to) = (before.map(word), phase.map(word));
            self.metrics.moved(metrics::Kind::Hibernation, from.as_deref(), to.as_deref());
            self.remember(object, |memory| memory.phase = phase);
        }
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, HashMap<ObjectRef<Seen>, Memory>> {
        // A panic elsewhere leaves a map that is still whole.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Of which changes in its namespace an object hears; none of any.
    pub fn listen(&self, object: &ObjectRef<Seen>, interest: Option<Interest>) {
        let namespace = object.namespace.clone().unwrap_or_default();
        let mut interested = self.interested.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(interest) = interest {
            interested.entry(namespace).or_default().insert(object.name.clone(), interest);
        } else if let Some(names) = interested.get_mut(&namespace) {
            names.remove(&object.name);
            if names.is_empty() {
                interested.remove(&namespace);
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
    ) -> Vec<ObjectRef<Seen>> {
        let namespace = meta.namespace.as_deref().unwrap_or_default();
        let named: Vec<(ObjectRef<Seen>, bool)> = {
            let interested = self.interested.lock().unwrap_or_else(PoisonError::into_inner);
            let there = interested.get(namespace).into_iter().flatten();
            let object = |name: &String| ObjectRef::new(name).within(namespace);
            there.map(|(name, interest)| (object(name), interest.concerns(kind, meta))).collect()
        };
        let on_the_way = |object: &ObjectRef<Seen>| {
            kind.name != "ConfigMap" && self.memory(object).settled.is_none()
        };
        let holders = holders.iter().filter(|holder| holder.namespace == namespace);
        let holders = holders.map(|holder| ObjectRef::new(&holder.name).within(namespace));
        let mut objects: HashSet<ObjectRef<Seen>> = named
            .into_iter()
            .filter(|(object, concerned)| *concerned || on_the_way(object))
            .map(|(object, _)| object)
            .chain(holders)
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

    #[tokio::test]
    async fn a_holder_that_is_not_known_is_not_remembered() {
        let client = Client::try_from(kube::Config::new("http://127.0.0.1:1".parse().unwrap()));
        let permit: Permit = Arc::new(|| false);
        let metrics = Arc::new(Metrics::new());
        let context = Context::new(client.unwrap(), permit, String::new(), 1, metrics);
        let known = ObjectRef::new("known").within("ns");
        context.know(&known);
        let kind = Kind::any("Deployment").unwrap();
        let meta = serde_json::from_value(json!({"namespace": "ns", "name": "worker"})).unwrap();
        let holders = ["Hibernation/ns/known", "Hibernation/ns/invented"];
        let holders = holders.map(|holder| holder.parse().unwrap());
        assert_eq!(context.changed(kind, &meta, &holders), std::slice::from_ref(&known));
        assert_eq!(context.memory(&known).changes, 1);
        assert_eq!(context.locked().len(), 1);
        context.forget(&known);
        assert_eq!(context.changed(kind, &meta, &holders), []);
        assert!(context.locked().is_empty());
    }
}
