//! The trait that each kind of object implements.

use std::fmt::{Debug, Display};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{ObjectMeta, PartialObjectMeta};
use kube::core::NamespaceResourceScope;
use kube::core::object::HasStatus;
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::api::deals::DealsStatus;
use crate::api::event::Event;
use crate::api::hold_state::{DatabaseState, HoldState};
use crate::api::reason::Reason;
use crate::hold::record::Holder;
use crate::metrics::{Metrics, ObjectKind};
use crate::transition::plan::{FINALIZER, Input, Plan};
use crate::transition::spec::Spec;

/// The metadata of an object, as its controller watches it. The loop reads the object itself, so that no plan
/// is made from a stale copy.
pub type Metadata<K> = PartialObjectMeta<K>;

/// A spec that is not valid.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InvalidSpec {
    /// The reason of the condition.
    pub reason: Reason,
    /// The cause, and what to write instead.
    pub message: String,
}

impl InvalidSpec {
    /// Returns an error of that reason and message.
    pub fn new(reason: Reason, message: &impl Display) -> Self {
        Self { reason, message: message.to_string() }
    }
}

/// A kind of object that holds workloads. [`super::run`] is the loop that all kinds share; each kind
/// implements this.
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
    /// The kind in metrics.
    const KIND: ObjectKind;

    /// The valid spec.
    type Valid: Send + Sync;

    /// Validates the spec.
    fn validate(&self) -> Result<Self::Valid, InvalidSpec>;

    /// Returns the spec of an object that is being deleted and whose own is not valid: it names nothing,
    /// so that every hold is released, or kept.
    fn unreadable(&self) -> Self::Valid;

    /// Returns the part of the spec that says what the object holds.
    fn hold_spec(valid: &Self::Valid) -> &Spec;

    /// Returns the part of the status that tells of the hold.
    fn hold_state(status: &Self::Status) -> &HoldState;

    /// Returns the part of the status that tells of the database; none where the kind has no database.
    fn database_state(status: &Self::Status) -> Option<&DatabaseState>;

    /// Returns the part of the status that tells of the market.
    fn deals(status: &Self::Status) -> Option<&DealsStatus>;

    /// Returns the parts that the statuses of all kinds have.
    fn common(status: &mut Self::Status) -> Common<'_>;

    /// Returns the next status, calls and actions. Pure.
    fn plan(input: Input<Self::Valid, Self::Status>) -> Plan<Self::Status>;

    /// Returns how long a deletion may take before the finalizer is removed all the same.
    fn longest_deletion(&self) -> SignedDuration;

    /// Returns the phase, a word of the API.
    fn phase(status: &Self::Status) -> Option<String>;

    /// Returns when time brings a change to an object at rest.
    fn next_change(valid: &Self::Valid, status: &Self::Status, now: Timestamp)
    -> Option<Timestamp>;

    /// Returns the Events of a change of the status.
    fn events(before: &Self::Status, after: &Self::Status) -> Vec<Event>;

    /// Counts a change of the status, where it is counted.
    fn measure(_before: &Self::Status, _after: &Self::Status, _metrics: &Metrics) {}
}

/// The parts that the statuses of all kinds have.
pub struct Common<'a> {
    /// `status.observedGeneration`.
    pub observed_generation: &'a mut Option<i64>,
    /// `status.message`.
    pub message: &'a mut Option<String>,
    /// `status.conditions`.
    pub conditions: &'a mut Vec<Condition>,
}

/// Returns whether an object has Torpor's finalizer.
pub fn has_finalizer(object: &impl ResourceExt) -> bool {
    object.finalizers().iter().any(|finalizer| finalizer == FINALIZER)
}

/// Returns an object as a holder.
pub fn holder<K: Resource<DynamicType = ()>>(meta: &ObjectMeta) -> Holder {
    Holder {
        kind: K::kind(&()).into_owned(),
        namespace: meta.namespace.clone().unwrap_or_default(),
        name: meta.name.clone().unwrap_or_default(),
    }
}

/// Returns a holder of this kind as its controller knows it.
pub fn reference<K: Resource<DynamicType = ()>>(holder: &Holder) -> ObjectRef<Metadata<K>> {
    ObjectRef::new(&holder.name).within(&holder.namespace)
}
