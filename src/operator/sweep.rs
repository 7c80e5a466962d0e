//! Holds whose holder is gone are let go: the last line behind the finalizer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, DynamicObject, ListParams, PartialObjectMeta};
use kube::core::ApiResource;
use kube::runtime::reflector::Store;
use kube::{Resource, ResourceExt};

use crate::api::Hibernation;
use crate::apiserver::request::call;
use crate::hold::lever::Kind;
use crate::hold::plan::{Decision, Desired, decide, hand_back_ownership};
use crate::hold::record::{ANNOTATION, Found, Holder, LABEL, Record};
use crate::hold::subject::Subject;
use crate::reconcile::apply;
use crate::reconcile::context::Context;
use crate::reconcile::kind::{Seen, reference};
use crate::transition::attempt;

/// How often the missing ones are counted. It costs no request.
const EVERY: Duration = Duration::from_secs(15);
/// How long whoever lets go of an object has to finish it.
const UNFINISHED: SignedDuration = SignedDuration::from_secs(30);

/// Keeps an eye on who holds what.
pub struct Sweep {
    /// How long a holder must be missing.
    grace: SignedDuration,
    /// Watches of holders. A holder of any other kind is another program's, or a newer version's, matter.
    watched: Vec<Watched>,
    /// Those that have not yet listed what there is: who is not known may only be unseen.
    unlisted: Arc<AtomicUsize>,
    /// Objects that were let go of, and whose owners are not yet what they were; since when.
    unfinished: Mutex<BTreeMap<Held, Timestamp>>,
    /// Held objects, and who holds them.
    held: Mutex<BTreeMap<Held, BTreeSet<Holder>>>,
    /// Since when a holder has been missing.
    missing: Mutex<BTreeMap<Missing, Timestamp>>,
}

/// A holder that is not there, as far as what it holds in one namespace goes: it has no power over
/// another one, and what names it there came with a backup.
type Missing = (Holder, String);

/// A watch of holders of one kind.
struct Watched {
    resource: ApiResource,
    /// Whether a holder of this kind is there.
    sees: Box<dyn Fn(&Holder) -> bool + Send + Sync>,
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
    /// Lets go of what was held by somebody who has been missing for so long.
    pub fn new(grace: SignedDuration) -> Self {
        Self {
            grace,
            watched: Vec::new(),
            unlisted: Arc::default(),
            unfinished: Mutex::default(),
            held: Mutex::default(),
            missing: Mutex::default(),
        }
    }

    /// Holders of this kind are known from now on, by what a watch of them stores. Returns what is to be
    /// called once it has listed what there is; nothing is let go before.
    pub fn watch<K: Clone + Resource<DynamicType = ()> + Send + Sync + 'static>(
        &mut self,
        store: Store<Seen<K>>,
    ) -> impl FnOnce() + Send + use<K> {
        let resource = ApiResource::erase::<K>(&());
        let sees = Box::new(move |holder: &Holder| store.get(&reference::<K>(holder)).is_some());
        self.watched.push(Watched { resource, sees });
        self.unlisted.fetch_add(1, Ordering::Relaxed);
        let unlisted = self.unlisted.clone();
        move || {
            unlisted.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// The watches that a holder is known by.
    fn watches_of(&self, holder: &Holder) -> impl Iterator<Item = &Watched> {
        self.watched.iter().filter(|watched| watched.resource.kind == holder.kind)
    }

    /// A workload or ConfigMap is gone.
    pub fn gone(&self, kind: &'static Kind, meta: &ObjectMeta) {
        self.forget(&Held::of(kind, meta));
    }

    fn forget(&self, held: &Held) {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).remove(held);
        self.unfinished.lock().unwrap_or_else(PoisonError::into_inner).remove(held);
    }

    /// A workload or ConfigMap was seen. Returns who holds it, of the kinds that are known.
    pub fn saw(&self, kind: &'static Kind, meta: &ObjectMeta) -> Vec<Holder> {
        let label = meta.labels.as_ref().and_then(|labels| labels.get(LABEL));
        let annotation = meta.annotations.as_ref().and_then(|a| a.get(ANNOTATION));
        let found = Found::of(kind, annotation.map(String::as_str), label.map(String::as_str));
        let held = Held::of(kind, meta);
        {
            let mut all = self.unfinished.lock().unwrap_or_else(PoisonError::into_inner);
            if found.unfinished() {
                all.entry(held.clone()).or_insert_with(Timestamp::now);
            } else {
                all.remove(&held);
            }
        }
        let holdings = found.record().into_iter().flat_map(Record::holders);
        let known = |holder: &Holder| self.watches_of(holder).next().is_some();
        let holdings: Vec<_> = holdings.filter(|holding| known(&holding.holder)).collect();
        let not_kept = holdings.iter().filter(|holding| !holding.kept);
        let holders: BTreeSet<Holder> = not_kept.map(|holding| holding.holder.clone()).collect();
        let mut all = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if holders.is_empty() {
            all.remove(&held);
        } else {
            all.insert(held, holders);
        }
        holdings.into_iter().map(|holding| holding.holder.clone()).collect()
    }

    /// Lets go, for as long as the operator runs, of what is held by nobody.
    pub async fn run(self: Arc<Self>, context: Arc<Context>) {
        let mut every = tokio::time::interval(EVERY.min(self.grace.unsigned_abs()));
        loop {
            every.tick().await;
            // `Store::wait_until_ready` wakes only one of those who wait, which is the controller.
            if self.unlisted.load(Ordering::Relaxed) > 0 {
                continue;
            }
            for held in self.left_unfinished(Timestamp::now()) {
                if let Err(error) = self.settle(&context, &held, hand_back_ownership).await {
                    tracing::warn!(?held, %error, "what was let go of could not be finished yet");
                }
            }
            for (missing, objects) in self.overdue(Timestamp::now()) {
                if let Err(error) = self.let_go(&context, &missing, objects).await {
                    tracing::warn!(holder = %missing.0, %error, "its holds could not be let go yet");
                }
            }
        }
    }

    /// Holders that have been missing for long enough.
    fn overdue(&self, now: Timestamp) -> Vec<(Missing, BTreeSet<Held>)> {
        let mut holds: BTreeMap<Missing, BTreeSet<Held>> = BTreeMap::new();
        for (held, holders) in &*self.held.lock().unwrap_or_else(PoisonError::into_inner) {
            for holder in holders {
                let key = (holder.clone(), held.namespace.clone());
                holds.entry(key).or_default().insert(held.clone());
            }
        }
        let mut missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        let known = |(holder, namespace): &Missing| {
            holder.namespace == *namespace
                && self.watches_of(holder).any(|watched| (watched.sees)(holder))
        };
        missing.retain(|holder, _| holds.contains_key(holder) && !known(holder));
        holds.retain(|holder, _| {
            !known(holder) && {
                let since = *missing.entry(holder.clone()).or_insert(now);
                now.duration_since(since) >= self.grace
            }
        });
        holds.into_iter().collect()
    }

    /// What nobody has finished for so long that whoever let go of it is gone.
    fn left_unfinished(&self, now: Timestamp) -> Vec<Held> {
        let all = self.unfinished.lock().unwrap_or_else(PoisonError::into_inner);
        let patience = self.grace.min(UNFINISHED);
        let late = all.iter().filter(|(_, since)| now.duration_since(**since) >= patience);
        late.map(|(held, _)| held.clone()).collect()
    }

    async fn let_go(
        &self,
        context: &Context,
        missing: &Missing,
        objects: BTreeSet<Held>,
    ) -> Result<(), apply::Error> {
        let (holder, namespace) = missing;
        let Some(Watched { resource, .. }) = self.watches_of(holder).next() else { return Ok(()) };
        let api: Api<DynamicObject> =
            Api::namespaced_with(context.client.clone(), &holder.namespace, resource);
        if holder.namespace == *namespace
            && call("a holder", api.get_metadata_opt(&holder.name)).await?.is_some()
        {
            self.missing.lock().unwrap_or_else(PoisonError::into_inner).remove(missing);
            return Ok(());
        }
        if self.may_truncate(context, missing).await? {
            return Ok(());
        }
        tracing::info!(%holder, objects = objects.len(), "holder is gone; letting go");
        for held in objects {
            // One that can't be let go yet doesn't keep the others.
            let wants = BTreeMap::new();
            let let_go = |subject: &Subject| {
                let record = subject.found.record();
                if record.is_none_or(|record| record.holdings(holder).all(|(_, h)| h.kept)) {
                    return Decision::Unchanged;
                }
                decide(subject, &Desired { holder, episode: "", wants: &wants, remembered: None })
            };
            if let Err(error) = self.settle(context, &held, let_go).await {
                tracing::warn!(%holder, ?held, %error, "a hold could not be let go yet");
            }
        }
        Ok(())
    }

    /// Whether a truncation of a holder that is gone may still commit, while what it holds is to stay down:
    /// its Job goes with it, and a pod may run on until the fence. Only Hibernations have one.
    async fn may_truncate(
        &self,
        context: &Context,
        missing: &Missing,
    ) -> Result<bool, apply::Error> {
        let fence = attempt::TIME_LIMIT + attempt::CLOCK_MARGIN;
        let since =
            self.missing.lock().unwrap_or_else(PoisonError::into_inner).get(missing).copied();
        let (holder, namespace) = missing;
        if holder.kind != Hibernation::kind(&())
            || since.is_none_or(|since| Timestamp::now().duration_since(since) > fence)
        {
            return Ok(false);
        }
        let pods: Api<Pod> = Api::namespaced(context.client.clone(), namespace);
        let running = ListParams::default()
            .labels("torpor.dev/job=truncation")
            .fields("status.phase!=Succeeded,status.phase!=Failed");
        let running = call("pods", pods.list_metadata(&running)).await?;
        let of = |pod: &PartialObjectMeta<Pod>| pod.labels().get("torpor.dev/hibernation").cloned();
        Ok(running.items.iter().any(|pod| of(pod).as_ref() == Some(&holder.name)))
    }

    /// Reads an object and writes what is decided of it.
    async fn settle(
        &self,
        context: &Context,
        held: &Held,
        decide: impl Fn(&Subject) -> Decision,
    ) -> Result<(), apply::Error> {
        let Some(kind) = Kind::any(held.kind) else { return Ok(()) };
        let api: Api<DynamicObject> =
            Api::namespaced_with(context.client.clone(), &held.namespace, &kind.api_resource());
        let read = call("a held object", api.get_opt(&held.name)).await?;
        let Some(object) = read else {
            // A watch that has lost touch lists what is there, and tells of nothing that is gone.
            self.forget(held);
            return Ok(());
        };
        if let Some(subject) = Subject::read(kind, &object, []) {
            context.writer.write(&subject, true, decide).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::MaintenanceWindow;
    use kube::runtime::reflector::store::Writer;
    use kube::runtime::{reflector, watcher::Event};
    use serde_json::json;

    /// A sweep without patience, and what the watches of holders write into.
    struct Scene {
        sweep: Sweep,
        hibernations: Writer<Seen<Hibernation>>,
        windows: Writer<Seen<MaintenanceWindow>>,
    }

    impl Scene {
        fn new() -> Self {
            let mut sweep = Sweep::new(SignedDuration::ZERO);
            let (store, hibernations) = reflector::store();
            let _listed = sweep.watch::<Hibernation>(store);
            let (store, windows) = reflector::store();
            let _listed = sweep.watch::<MaintenanceWindow>(store);
            Self { sweep, hibernations, windows }
        }

        /// A Deployment is seen that these hold. Returns those who are known.
        fn see(&self, pointer: &str, holders: &[&str]) -> Vec<String> {
            let holding = |by: &&str| json!({"by": by, "value": 0, "episode": "e"});
            let holders: Vec<_> = holders.iter().map(holding).collect();
            let record = json!({pointer: {"original": 1, "holders": holders}});
            let record: Record = serde_json::from_value(record).unwrap();
            let (annotation, label) = record.written();
            let meta = json!({
                "namespace": "ns", "name": "worker",
                "annotations": {ANNOTATION: annotation}, "labels": {LABEL: label},
            });
            let kind = Kind::any("Deployment").unwrap();
            let holders = self.sweep.saw(kind, &serde_json::from_value(meta).unwrap());
            holders.iter().map(ToString::to_string).collect()
        }

        fn overdue(&self) -> Vec<String> {
            let overdue = self.sweep.overdue(Timestamp::now());
            overdue.into_iter().map(|((holder, _), _)| holder.to_string()).collect()
        }
    }

    /// An object of a kind is there.
    fn add<K: Clone + Resource<DynamicType = ()> + 'static>(
        writer: &mut Writer<Seen<K>>,
        name: &str,
    ) {
        let object = json!({"metadata": {"namespace": "ns", "name": name}});
        writer.apply_watcher_event(&Event::Apply(serde_json::from_value(object).unwrap()));
    }

    #[test]
    fn only_what_is_a_record_of_torpors_is_kept_in_mind() {
        let scene = Scene::new();
        let twice = ["Hibernation/ns/gone"; 2];
        scene.see("/spec/replicas", &twice);
        assert_eq!(scene.overdue().len(), 1);
        scene.see("/spec/paused", &twice);
        assert!(scene.overdue().is_empty(), "no lever of a Deployment");
        assert!(scene.sweep.held.lock().unwrap().is_empty());
    }

    #[test]
    fn a_holder_is_missing_where_none_of_its_own_kind_has_its_name() {
        let mut scene = Scene::new();
        let both = ["Hibernation/ns/same", "MaintenanceWindow/ns/same"];
        assert_eq!(scene.see("/spec/replicas", &both), both);
        assert_eq!(scene.overdue(), both);
        add(&mut scene.hibernations, "same");
        assert_eq!(scene.overdue(), both[1..]);
        add(&mut scene.windows, "same");
        assert!(scene.overdue().is_empty());
    }

    #[test]
    fn a_holder_of_a_kind_that_is_not_known_is_never_missing() {
        let scene = Scene::new();
        let holders = ["Unicorn/ns/gone", "MaintenanceWindow/ns/gone"];
        assert_eq!(scene.see("/spec/replicas", &holders), holders[1..]);
        assert_eq!(scene.overdue(), holders[1..]);
    }

    #[test]
    fn every_watch_of_every_kind_is_waited_for() {
        let mut sweep = Sweep::new(SignedDuration::ZERO);
        let unlisted = sweep.unlisted.clone();
        let left = || unlisted.load(Ordering::Relaxed);
        let first = sweep.watch::<Hibernation>(reflector::store().0);
        let second = sweep.watch::<Hibernation>(reflector::store().0);
        let third = sweep.watch::<MaintenanceWindow>(reflector::store().0);
        assert_eq!(left(), 3);
        second();
        first();
        assert_eq!(left(), 1);
        third();
        assert_eq!(left(), 0);
    }
}
