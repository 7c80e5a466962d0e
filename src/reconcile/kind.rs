//! What the operator has to know of a kind of object to look after it: the same for each of them, whatever
//! its spec asks for.

use std::fmt::{Debug, Display};

use jiff::{SignedDuration, Timestamp};
use kube::Resource;
use kube::api::{ObjectMeta, PartialObjectMeta};
use kube::core::NamespaceResourceScope;
use kube::core::object::HasStatus;
use kube::runtime::reflector::ObjectRef;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::context::{Context, Notes};
use super::run::Error;
use super::watch_filter::WatchFilter;
use crate::api::event::Event;
use crate::hibernation::plan::Next;
use crate::hold::record::Holder;
use crate::metrics::{Metrics, ObjectKind};

/// What a controller sees of an object: its metadata. The object itself is read when there is something
/// to do, so that no plan is made from a stale copy.
pub type Seen<K> = PartialObjectMeta<K>;

/// A spec that can't be read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InvalidSpec {
    /// The reason of the condition.
    pub reason: &'static str,
    /// What is wrong, and what to write instead.
    pub message: String,
}

impl InvalidSpec {
    /// What is wrong, for machines and for people.
    pub fn new(reason: &'static str, message: &impl Display) -> Self {
        Self { reason, message: message.to_string() }
    }
}

/// A kind of object that holds workloads. `reconcile` does for all of them what they have in common; what
/// is their own is here.
pub trait Managed:
    HasStatus<
        Status: Clone + Debug + Default + DeserializeOwned + PartialEq + Serialize + Send + Sync,
    > + Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Serialize
    + Send
    + Sync
    + 'static
{
    /// How it is counted.
    const KIND: ObjectKind;

    /// The spec, once it has been read.
    type Valid: Send + Sync;

    /// Reads the spec.
    fn validate(&self) -> Result<Self::Valid, InvalidSpec>;

    /// The spec of an object that is being deleted and whose own can't be read: it names nothing, so that
    /// all that is held is let go, or kept.
    fn unreadable(&self) -> Self::Valid;

    /// How long it may be on its way out before its finalizer is taken off though not all of it is done.
    fn longest_deletion(&self) -> SignedDuration;

    /// Which changes in its namespace it has to look at.
    fn interest(valid: &Self::Valid, status: &Self::Status) -> WatchFilter;

    /// Its phase, a word of the API.
    fn phase(status: &Self::Status) -> Option<String>;

    /// When time itself brings a change to an object that is as it is to be.
    fn next_change(valid: &Self::Valid, status: &Self::Status, now: Timestamp)
    -> Option<Timestamp>;

    /// The status of an object that can't be read.
    fn invalid(
        before: &Self::Status,
        generation: Option<i64>,
        reason: &str,
        message: &str,
        now: Timestamp,
    ) -> Self::Status;

    /// The status of an object whose reconcile fails. What is known of it stays.
    fn failing(
        before: &Self::Status,
        generation: Option<i64>,
        message: &str,
        now: Timestamp,
    ) -> Self::Status;

    /// What has happened between two statuses.
    fn events(before: &Self::Status, after: &Self::Status) -> Vec<Event>;

    /// Counts what has happened between two statuses, where that is counted.
    fn measure(_before: &Self::Status, _after: &Self::Status, _metrics: &Metrics) {}

    /// One pass: what is seen, what follows, the status written, and doing it. Returns what is to be done
    /// then, and the object with its status as it was written.
    fn pass(
        &self,
        context: &Context,
        holder: &Holder,
        valid: &Self::Valid,
        notes: &mut Notes,
        now: Timestamp,
    ) -> impl Future<Output = Result<(Next, Self), Error>> + Send;
}

/// An object, as a holder.
pub fn holder<K: Resource<DynamicType = ()>>(meta: &ObjectMeta) -> Holder {
    Holder {
        kind: K::kind(&()).into_owned(),
        namespace: meta.namespace.clone().unwrap_or_default(),
        name: meta.name.clone().unwrap_or_default(),
    }
}

/// A holder of this kind, as its controller knows it.
pub fn reference<K: Resource<DynamicType = ()>>(holder: &Holder) -> ObjectRef<Seen<K>> {
    ObjectRef::new(&holder.name).within(&holder.namespace)
}
