//! The register of holds: which objects are held, by whom, and since when a holder has been missing.
//! Watches fill it, and the sweep reads it. It makes no request.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::ApiResource;
use kube::runtime::reflector::Store;

use crate::apiserver::request::TIMEOUT;
use crate::hold::lever::Kind;
use crate::hold::record::{Found, Holder, Record};
use crate::reconcile::kind::{Metadata, reference};

/// Most holders that are remembered of one object.
const HOLDERS: usize = 16;
/// Time for a reconcile to finish a release that it began: longer than a request may take, and a second try. After
/// that the sweep finishes the release.
const UNFINISHED: SignedDuration = SignedDuration::from_secs(2 * TIMEOUT.as_secs().cast_signed());

/// The holds that the watches have observed.
pub(crate) struct Holds {
    /// Time for which a holder must be missing before the sweep releases its holds.
    pub(crate) grace: SignedDuration,
    /// Watches of holders. Any other kind of holder belongs to another program, or to a newer version.
    watched: Vec<Watched>,
    /// Watches that have not finished their first list. Until then an unknown holder may just be unlisted.
    unlisted: Arc<AtomicUsize>,
    /// Released objects whose field managers are not restored yet, and since when.
    unfinished: Mutex<BTreeMap<Held, Timestamp>>,
    /// Held objects and their holders. They can be many, and a set takes ten times as much memory for one.
    held: Mutex<BTreeMap<Held, Box<[Holder]>>>,
    /// Since when a holder has been missing.
    missing: Mutex<BTreeMap<Missing, Timestamp>>,
    /// Objects with the record of another one.
    copies: Mutex<BTreeMap<Held, CopyOf>>,
}

/// An object with the record of another one.
struct CopyOf {
    uid: String,
    note: String,
    /// The holders that believe the record, if they exist.
    holders: Vec<Holder>,
    /// Whether an Event about it was published.
    published: bool,
}

/// A missing holder, and the namespace of the objects that it holds. A holder has no power over another
/// namespace: a record there that names the holder came with a backup.
pub(crate) type Missing = (Holder, String);

/// A watch of holders of one kind.
struct Watched {
    resource: ApiResource,
    /// Whether the watch has listed this holder.
    lists: Box<dyn Fn(&Holder) -> bool + Send + Sync>,
}

/// A workload or ConfigMap that is held, or was.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Held {
    pub(crate) kind: &'static str,
    pub(crate) namespace: String,
    pub(crate) name: String,
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

impl Holds {
    /// Returns an empty register. A holder is overdue once it has been missing for the grace period.
    pub(crate) fn new(grace: SignedDuration) -> Self {
        Self {
            grace,
            watched: Vec::new(),
            unlisted: Arc::default(),
            unfinished: Mutex::default(),
            held: Mutex::default(),
            missing: Mutex::default(),
            copies: Mutex::default(),
        }
    }

    /// Registers a watch of holders of this kind, and the store that it fills. Returns a function to call
    /// after the first list of the watch: the sweep releases nothing before.
    pub(crate) fn watch<K: Clone + Resource<DynamicType = ()> + Send + Sync + 'static>(
        &mut self,
        store: Store<Metadata<K>>,
    ) -> impl FnOnce() + Send + use<K> {
        let resource = ApiResource::erase::<K>(&());
        let lists = Box::new(move |holder: &Holder| store.get(&reference::<K>(holder)).is_some());
        self.watched.push(Watched { resource, lists });
        self.unlisted.fetch_add(1, Ordering::Relaxed);
        let unlisted = self.unlisted.clone();
        move || {
            unlisted.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Returns whether all watches of holders have finished their first list.
    pub(crate) fn all_listed(&self) -> bool {
        // `Store::wait_until_ready` wakes one waiter only, which is the controller.
        self.unlisted.load(Ordering::Relaxed) == 0
    }

    fn watches_of(&self, holder: &Holder) -> impl Iterator<Item = &Watched> {
        self.watched.iter().filter(|watched| watched.resource.kind == holder.kind)
    }

    /// Returns the resource of a holder, if its kind is watched.
    pub(crate) fn resource_of(&self, holder: &Holder) -> Option<&ApiResource> {
        self.watches_of(holder).next().map(|watched| &watched.resource)
    }

    /// Records that a workload or ConfigMap was deleted.
    pub(crate) fn deleted(&self, kind: &'static Kind, meta: &ObjectMeta) {
        self.forget(&Held::of(kind, meta));
    }

    /// Forgets an object that does not exist any more.
    pub(crate) fn forget(&self, held: &Held) {
        locked(&self.held).remove(held);
        locked(&self.unfinished).remove(held);
        locked(&self.copies).remove(held);
    }

    /// Records an observed workload or ConfigMap. Returns its holders, as far as their kinds are watched.
    pub(crate) fn observed(&self, kind: &'static Kind, meta: &ObjectMeta) -> Vec<Holder> {
        let found = Found::of(kind, meta);
        let held = Held::of(kind, meta);
        let moved = self.observed_copy(&held, meta, &found);
        {
            let mut all = locked(&self.unfinished);
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
        // Anybody can write any names into their own objects. The missing ones count first; the others when the
        // sweep has released those.
        let listed = |holder: &&Holder| self.watches_of(holder).any(|w| (w.lists)(holder));
        let (there, missing): (Vec<_>, Vec<_>) =
            not_kept.map(|holding| &holding.holder).partition(listed);
        let holders: BTreeSet<Holder> =
            missing.into_iter().chain(there).take(HOLDERS).cloned().collect();
        let mut all = locked(&self.held);
        if holders.is_empty() {
            all.remove(&held);
        } else {
            all.insert(held, holders.into_iter().collect());
        }
        holdings.into_iter().map(|holding| holding.holder.clone()).chain(moved).collect()
    }

    /// Records an object with the record of another one. Returns the holders that may believe it.
    fn observed_copy(&self, held: &Held, meta: &ObjectMeta, found: &Found) -> Vec<Holder> {
        let mut all = locked(&self.copies);
        let Found::Copy(copy) = found else {
            all.remove(held);
            return Vec::new();
        };
        let uid = meta.uid.clone().unwrap_or_default();
        let holders = copy.moved.iter().flat_map(Record::holders);
        let holders: Vec<Holder> = holders.map(|holding| holding.holder.clone()).collect();
        if all.get(held).is_none_or(|known| known.uid != uid) {
            let display = format!("{} {}", held.kind, held.name);
            let note = copy.explain(&display);
            all.insert(
                held.clone(),
                CopyOf { uid, note, holders: holders.clone(), published: false },
            );
        }
        holders
    }

    /// Returns the objects with the record of another one for which no Event was published yet: uid and message. An
    /// object that was restored into another namespace with its holder is that holder's.
    pub(crate) fn new_copies(&self) -> Vec<(Held, String, String)> {
        let mut all = locked(&self.copies);
        let new = all.iter_mut().filter(|(_, copy)| {
            let lists = |holder: &Holder| self.watches_of(holder).any(|w| (w.lists)(holder));
            !copy.published && !copy.holders.iter().any(lists)
        });
        new.map(|(held, copy)| {
            copy.published = true;
            (held.clone(), copy.uid.clone(), copy.note.clone())
        })
        .collect()
    }

    /// Returns the holders that have been missing for the grace period, and the objects that they hold.
    pub(crate) fn overdue(&self, now: Timestamp) -> Vec<(Missing, BTreeSet<Held>)> {
        let mut holds: BTreeMap<Missing, BTreeSet<Held>> = BTreeMap::new();
        for (held, holders) in &*locked(&self.held) {
            for holder in holders {
                let key = (holder.clone(), held.namespace.clone());
                holds.entry(key).or_default().insert(held.clone());
            }
        }
        let mut missing = locked(&self.missing);
        let listed = |(holder, namespace): &Missing| {
            holder.namespace == *namespace
                && self.watches_of(holder).any(|watched| (watched.lists)(holder))
        };
        missing.retain(|holder, _| holds.contains_key(holder) && !listed(holder));
        holds.retain(|holder, _| {
            !listed(holder) && {
                let since = *missing.entry(holder.clone()).or_insert(now);
                now.duration_since(since) >= self.grace
            }
        });
        holds.into_iter().collect()
    }

    /// Returns since when a holder has been missing.
    pub(crate) fn missing_since(&self, missing: &Missing) -> Option<Timestamp> {
        locked(&self.missing).get(missing).copied()
    }

    /// Records that a missing holder exists after all.
    pub(crate) fn not_missing(&self, missing: &Missing) {
        locked(&self.missing).remove(missing);
    }

    /// Returns the objects whose release has been unfinished for so long that nobody else finishes it.
    pub(crate) fn left_unfinished(&self, now: Timestamp) -> Vec<Held> {
        let all = locked(&self.unfinished);
        let patience = self.grace.min(UNFINISHED);
        let late = all.iter().filter(|(_, since)| now.duration_since(**since) >= patience);
        late.map(|(held, _)| held.clone()).collect()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Hibernation, MaintenanceWindow};
    use crate::hold::record::{ANNOTATION, LABEL};
    use kube::runtime::reflector::store::Writer;
    use kube::runtime::{reflector, watcher::Event};
    use serde_json::json;

    /// A register without grace period, and the stores that the watches of holders fill.
    struct Scene {
        holds: Holds,
        hibernations: Writer<Metadata<Hibernation>>,
        windows: Writer<Metadata<MaintenanceWindow>>,
    }

    impl Scene {
        fn new() -> Self {
            let mut holds = Holds::new(SignedDuration::ZERO);
            let (store, hibernations) = reflector::store();
            let _listed = holds.watch::<Hibernation>(store);
            let (store, windows) = reflector::store();
            let _listed = holds.watch::<MaintenanceWindow>(store);
            Self { holds, hibernations, windows }
        }

        /// Observes a Deployment with these holders. Returns the holders that the register knows.
        fn observe(&self, pointer: &str, holders: &[&str]) -> Vec<String> {
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
            let holders = self.holds.observed(kind, &serde_json::from_value(meta).unwrap());
            holders.iter().map(ToString::to_string).collect()
        }

        fn overdue(&self) -> Vec<String> {
            let overdue = self.holds.overdue(Timestamp::now());
            overdue.into_iter().map(|((holder, _), _)| holder.to_string()).collect()
        }
    }

    /// Adds an object of a kind to a store.
    fn add<K: Clone + Resource<DynamicType = ()> + 'static>(
        writer: &mut Writer<Metadata<K>>,
        name: &str,
    ) {
        let object = json!({"metadata": {"namespace": "ns", "name": name}});
        writer.apply_watcher_event(&Event::Apply(serde_json::from_value(object).unwrap()));
    }

    #[test]
    fn only_records_of_torpor_are_registered() {
        let scene = Scene::new();
        let twice = ["Hibernation/ns/gone"; 2];
        scene.observe("/spec/replicas", &twice);
        assert_eq!(scene.overdue().len(), 1);
        scene.observe("/spec/paused", &twice);
        assert!(scene.overdue().is_empty(), "/spec/paused is no lever of a Deployment");
        assert!(scene.holds.held.lock().unwrap().is_empty());
    }

    #[test]
    fn a_holder_is_missing_if_no_object_of_its_kind_has_its_name() {
        let mut scene = Scene::new();
        let both = ["Hibernation/ns/same", "MaintenanceWindow/ns/same"];
        assert_eq!(scene.observe("/spec/replicas", &both), both);
        assert_eq!(scene.overdue(), both);
        add(&mut scene.hibernations, "same");
        assert_eq!(scene.overdue(), both[1..]);
        add(&mut scene.windows, "same");
        assert!(scene.overdue().is_empty());
    }

    #[test]
    fn a_holder_of_an_unknown_kind_is_never_missing() {
        let scene = Scene::new();
        let holders = ["Unicorn/ns/gone", "MaintenanceWindow/ns/gone"];
        assert_eq!(scene.observe("/spec/replicas", &holders), holders[1..]);
        assert_eq!(scene.overdue(), holders[1..]);
    }

    #[test]
    fn the_sweep_waits_for_every_watch_of_every_kind() {
        let mut holds = Holds::new(SignedDuration::ZERO);
        let unlisted = holds.unlisted.clone();
        let left = || unlisted.load(Ordering::Relaxed);
        let first = holds.watch::<Hibernation>(reflector::store().0);
        let second = holds.watch::<Hibernation>(reflector::store().0);
        let third = holds.watch::<MaintenanceWindow>(reflector::store().0);
        assert_eq!(left(), 3);
        second();
        first();
        assert_eq!(left(), 1);
        third();
        assert_eq!(left(), 0);
    }
}
