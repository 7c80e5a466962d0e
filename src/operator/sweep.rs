//! Holds whose holder is gone are let go: the last line behind the finalizer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, DynamicObject};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::reflector::Store;

use super::context::{Context, Seen};
use crate::hibernation::apply;
use crate::hibernation::observe::call;
use crate::hold::lever::Kind;
use crate::hold::plan::{Wish, decide};
use crate::hold::record::{ANNOTATION, Found, Holder, LABEL, Record};
use crate::hold::subject::Subject;

/// How long a holder must be missing.
const GRACE: SignedDuration = SignedDuration::from_mins(5);
/// How often the missing ones are counted. It costs no request.
const EVERY: Duration = Duration::from_secs(15);

/// Keeps an eye on who holds what.
#[derive(Default)]
pub struct Sweep {
    /// Held objects, and who holds them.
    held: Mutex<BTreeMap<Held, Vec<Holder>>>,
    /// Since when a holder has been missing.
    missing: Mutex<BTreeMap<Holder, Timestamp>>,
}

#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Held {
    kind: &'static str,
    namespace: String,
    name: String,
}

impl Held {
    fn of(kind: &'static Kind, meta: &ObjectMeta) -> Self {
        Self {
            kind: kind.name,
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: meta.name.clone().unwrap_or_default(),
        }
    }
}

impl Sweep {
    /// A workload or ConfigMap is gone.
    pub fn gone(&self, kind: &'static Kind, meta: &ObjectMeta) {
        let held = Held::of(kind, meta);
        self.held.lock().unwrap_or_else(PoisonError::into_inner).remove(&held);
    }

    /// A workload or ConfigMap was seen. Only Hibernations are known to this version.
    pub fn saw(&self, kind: &'static Kind, meta: &ObjectMeta) {
        let label = meta.labels.as_ref().and_then(|labels| labels.get(LABEL));
        let annotation = meta.annotations.as_ref().and_then(|a| a.get(ANNOTATION));
        let found = Found::read(annotation.map(String::as_str), label.map(String::as_str));
        let held = Held::of(kind, meta);
        let holders: Vec<Holder> = found
            .record()
            .into_iter()
            .flat_map(Record::holders)
            .filter(|holding| !holding.kept && holding.holder.kind == "Hibernation")
            .map(|holding| holding.holder.clone())
            .collect();
        let mut all = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if holders.is_empty() {
            all.remove(&held);
        } else {
            all.insert(held, holders);
        }
    }

    /// Lets go, for as long as the operator runs, of what is held by nobody.
    pub async fn run(self: Arc<Self>, context: Arc<Context>, stores: Vec<Store<Seen>>) {
        for store in &stores {
            if store.wait_until_ready().await.is_err() {
                return;
            }
        }
        let mut every = tokio::time::interval(EVERY);
        loop {
            every.tick().await;
            for (holder, objects) in self.overdue(&stores, Timestamp::now()) {
                if let Err(error) = self.let_go(&context, &holder, objects).await {
                    tracing::warn!(%holder, %error, "its holds could not be let go yet");
                }
            }
        }
    }

    /// Holders that have been missing for long enough.
    fn overdue(&self, stores: &[Store<Seen>], now: Timestamp) -> Vec<(Holder, BTreeSet<Held>)> {
        let mut holds: BTreeMap<Holder, BTreeSet<Held>> = BTreeMap::new();
        for (held, holders) in &*self.held.lock().unwrap_or_else(PoisonError::into_inner) {
            for holder in holders {
                holds.entry(holder.clone()).or_default().insert(held.clone());
            }
        }
        let mut missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        let known = |holder: &Holder| {
            let object = ObjectRef::new(&holder.name).within(&holder.namespace);
            stores.iter().any(|store| store.get(&object).is_some())
        };
        missing.retain(|holder, _| holds.contains_key(holder) && !known(holder));
        holds.retain(|holder, _| {
            !known(holder) && {
                let since = *missing.entry(holder.clone()).or_insert(now);
                now.duration_since(since) >= GRACE
            }
        });
        holds.into_iter().collect()
    }

    async fn let_go(
        &self,
        context: &Context,
        holder: &Holder,
        objects: BTreeSet<Held>,
    ) -> Result<(), apply::Error> {
        let api: Api<crate::api::Hibernation> =
            Api::namespaced(context.client.clone(), &holder.namespace);
        if call("a holder", api.get_metadata_opt(&holder.name)).await?.is_some() {
            self.missing.lock().unwrap_or_else(PoisonError::into_inner).remove(holder);
            return Ok(());
        }
        tracing::info!(%holder, objects = objects.len(), "holder is gone; letting go");
        for held in objects {
            // One that can't be let go yet doesn't keep the others.
            if let Err(error) = self.let_go_of(context, holder, &held).await {
                tracing::warn!(%holder, ?held, %error, "a hold could not be let go yet");
            }
        }
        Ok(())
    }

    async fn let_go_of(
        &self,
        context: &Context,
        holder: &Holder,
        held: &Held,
    ) -> Result<(), apply::Error> {
        let Some(kind) = Kind::any(held.kind) else { return Ok(()) };
        let api: Api<DynamicObject> =
            Api::namespaced_with(context.client.clone(), &held.namespace, &kind.api_resource());
        let read = call("a held object", api.get_opt(&held.name)).await?;
        let Some(subject) = read.and_then(|object| Subject::read(kind, &object, [])) else {
            self.held.lock().unwrap_or_else(PoisonError::into_inner).remove(held);
            return Ok(());
        };
        let kept = subject
            .found
            .record()
            .is_none_or(|record| record.holdings(holder).all(|(_, holding)| holding.kept));
        if !kept {
            let wants = BTreeMap::new();
            let decide = |subject: &Subject| {
                decide(subject, &Wish { holder, episode: "", wants: &wants, remembered: None })
            };
            context.writer.settle(&subject, true, decide).await?;
        }
        Ok(())
    }
}
