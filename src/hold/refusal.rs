//! Why an object is not held, or not restored: state, cause and remedy for the condition.

use super::deploy::LAST_APPLIED;
use super::record::{ANNOTATION, Holder, MAX_HOLDERS};
use crate::api::reason::Reason;

/// Why an object is not held, or not restored.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// Another controller controls the object.
    #[error(
        "{subject} is not held: {kind} {name} controls it and would revert any change. Name {kind} {name} instead"
    )]
    ControlledBy {
        /// Kind and name of the object.
        subject: String,
        /// Kind of the controller.
        kind: String,
        /// Name of the controller.
        name: String,
    },
    /// Another holder holds the lever at another value.
    #[error(
        "{subject} is not held: {holder} holds {lever} at another value. Set it in one of the two objects only"
    )]
    HoldConflict {
        /// Kind and name of the object.
        subject: String,
        /// The other holder.
        holder: Box<Holder>,
        /// The lever.
        lever: String,
    },
    /// The annotation is gone or changed, and no status records the original value.
    #[error(
        "{subject} was held, and the original value of {lever} is lost: the annotation {ANNOTATION} is gone or changed, and no status records the value. Set it to the value that it should have when awake"
    )]
    OriginalUnknown {
        /// Kind and name of the object.
        subject: String,
        /// The lever.
        lever: String,
    },
    /// The annotation would be too large.
    #[error(
        "{subject} is not held: the record of its original values would exceed 64 KiB. Override fewer or smaller keys"
    )]
    TooLarge {
        /// Kind and name of the object.
        subject: String,
    },
    /// The annotations of the object leave no room for the record.
    #[error(
        "{subject} is not held: its annotations leave no room for the record of its original values, as Kubernetes permits 256 KiB of annotations. Remove the largest, {largest} with {bytes} bytes{remedy}",
        remedy = server_side(largest)
    )]
    NoRoom {
        /// Kind and name of the object.
        subject: String,
        /// The largest annotation.
        largest: String,
        /// Its bytes.
        bytes: usize,
    },
    /// The object already has [`MAX_HOLDERS`] holders.
    #[error(
        "{subject} is not held: {most} other objects hold it already. Remove it from the spec of one of them",
        most = MAX_HOLDERS
    )]
    TooManyHolders {
        /// Kind and name of the object.
        subject: String,
    },
    /// The ConfigMap is immutable.
    #[error(
        "{subject} is not held: it is immutable. Create a ConfigMap that is not, and let the workloads use that ConfigMap"
    )]
    Immutable {
        /// Kind and name of the object.
        subject: String,
    },
    /// The ConfigMap was made immutable while it was held.
    #[error(
        "{subject} is not restored: it was made immutable while keys were overridden. Delete it, and create it again with {values}"
    )]
    MadeImmutable {
        /// Kind and name of the object.
        subject: String,
        /// The keys with the values to restore.
        values: String,
    },
    /// The key is in `binaryData`.
    #[error(
        "{subject} is not held: its key {key} is in binaryData, and Torpor overrides keys in data only. Override a key in data"
    )]
    BinaryKey {
        /// Kind and name of the object.
        subject: String,
        /// The key.
        key: String,
    },
    /// An object that scales another one is paused already, by other means than its lever.
    #[error(
        "{subject} is not held: it is paused already, by other means than the hold's, so that its wake would not scale {target} up again. Name {target} in its place"
    )]
    RestsOtherwise {
        /// Kind and name of the object.
        subject: String,
        /// Kind and name of the workload that it scales.
        target: String,
    },
    /// A change of the pod template would not restart all pods.
    #[error("{subject} is not restarted: {why}")]
    CannotRestart {
        /// Kind and name of the object.
        subject: String,
        /// Cause and remedy.
        why: &'static str,
    },
}

/// Returns how the manifest that `kubectl apply` keeps goes away.
fn server_side(annotation: &str) -> &'static str {
    if annotation == LAST_APPLIED {
        ": apply the object with `kubectl apply --server-side`, and then remove that annotation"
    } else {
        ""
    }
}

impl Refusal {
    /// Returns the reason of the condition.
    pub fn reason(&self) -> Reason {
        match self {
            Self::ControlledBy { .. } => Reason::ControlledBy,
            Self::HoldConflict { .. } => Reason::HoldConflict,
            Self::OriginalUnknown { .. } => Reason::OriginalUnknown,
            Self::TooLarge { .. } | Self::NoRoom { .. } | Self::TooManyHolders { .. } => {
                Reason::HoldTooLarge
            }
            Self::Immutable { .. } | Self::MadeImmutable { .. } => Reason::ConfigMapImmutable,
            Self::BinaryKey { .. } => Reason::ConfigMapKeyBinary,
            Self::RestsOtherwise { .. } => Reason::PausedOtherwise,
            Self::CannotRestart { .. } => Reason::CannotRestart,
        }
    }
}
