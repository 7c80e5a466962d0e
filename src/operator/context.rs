//! What all reconciles share, and what is remembered of each object between them.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use kube::api::PartialObjectMeta;
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::reflector::ObjectRef;

use super::metrics::{Kind, Metrics};
use crate::api::Hibernation;
use crate::api::hibernation::Phase;
use crate::hibernation::plan::{Contests, Looks};
use crate::hold::apply::{Permit, Writer};

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
    interested: Mutex<HashMap<String, HashSet<String>>>,
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
    /// What was let go since the status was last written, by key of `status.originals`: what others
    /// write into it from then on is theirs, whatever the status still remembers.
    pub let_go: BTreeSet<String>,
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

    /// What is remembered of an object.
    pub fn memory(&self, of: &ObjectRef<Seen>) -> Memory {
        self.locked().get(of).cloned().unwrap_or_default()
    }

    /// Changes what is remembered of an object.
    pub fn remember(&self, of: &ObjectRef<Seen>, change: impl FnOnce(&mut Memory)) {
        change(self.locked().entry(of.clone()).or_default());
    }

    /// Forgets an object that is gone.
    pub fn forget(&self, of: &ObjectRef<Seen>) {
        self.count(of, None);
        self.locked().remove(of);
        self.listen(of, false);
    }

    /// Counts an object in its phase.
    pub fn count(&self, object: &ObjectRef<Seen>, phase: Option<Phase>) {
        let before = self.memory(object).phase;
        if before != phase {
            let word = |phase: Phase| format!("{phase:?}");
            let (from, to) = (before.map(word), phase.map(word));
            self.metrics.moved(Kind::Hibernation, from.as_deref(), to.as_deref());
            self.remember(object, |memory| memory.phase = phase);
        }
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, HashMap<ObjectRef<Seen>, Memory>> {
        // A panic elsewhere leaves a map that is still whole.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an object hears of changes in its namespace.
    pub fn listen(&self, object: &ObjectRef<Seen>, wanted: bool) {
        let namespace = object.namespace.clone().unwrap_or_default();
        let mut interested = self.interested.lock().unwrap_or_else(PoisonError::into_inner);
        if wanted {
            interested.entry(namespace).or_default().insert(object.name.clone());
        } else if let Some(names) = interested.get_mut(&namespace) {
            names.remove(&object.name);
            if names.is_empty() {
                interested.remove(&namespace);
            }
        }
    }

    /// Something changed in a namespace: those who want to hear of it.
    pub fn changed(&self, namespace: &str) -> Vec<ObjectRef<Seen>> {
        let names: Vec<String> = {
            let interested = self.interested.lock().unwrap_or_else(PoisonError::into_inner);
            interested.get(namespace).into_iter().flatten().cloned().collect()
        };
        let objects: Vec<ObjectRef<Seen>> =
            names.iter().map(|name| ObjectRef::new(name).within(namespace)).collect();
        for object in &objects {
            self.remember(object, |memory| {
                memory.settled = None;
                memory.changes += 1;
            });
        }
        objects
    }
}
