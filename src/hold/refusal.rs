//! Why an object is not held, or not restored, as a person is told.

use super::record::{ANNOTATION, HOLDERS, Holder};
use crate::api::reason::Reason;

/// Why an object is not held, or not restored.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// Another controller owns it.
    #[error("{subject} belongs to {kind} {name}, which would undo any change: name that instead")]
    ControlledBy {
        /// The object.
        subject: String,
        /// Kind of its owner.
        kind: String,
        /// Name of its owner.
        name: String,
    },
    /// Another holder wants another value.
    #[error("{subject}: {holder} holds {lever} at another value; take that key out of one of them")]
    HoldConflict {
        /// The object.
        subject: String,
        /// The other holder.
        holder: Box<Holder>,
        /// The lever.
        lever: String,
    },
    /// Its annotation was torn off, and the original is recorded nowhere.
    #[error(
        "{subject} was held, its annotation {ANNOTATION} is gone or changed, and {lever} had a value that is recorded nowhere: set it to what it should be when awake"
    )]
    OriginalUnknown {
        /// The object.
        subject: String,
        /// The lever.
        lever: String,
    },
    /// The record would not fit.
    #[error(
        "{subject}: the record of what is held would pass 64 KiB; override fewer or smaller keys"
    )]
    TooLarge {
        /// The object.
        subject: String,
    },
    /// The record would not be read again.
    #[error("{subject} is held by {most} others already: have one of them let go of it", most = HOLDERS)]
    TooManyHolders {
        /// The object.
        subject: String,
    },
    /// The ConfigMap can't be changed.
    #[error("{subject} is immutable: make one that is not, and let the workloads use that")]
    Immutable {
        /// The object.
        subject: String,
    },
    /// The key is binary.
    #[error("{subject}: {key} is in binaryData, and only keys in data can be overridden")]
    BinaryKey {
        /// The object.
        subject: String,
        /// The key.
        key: String,
    },
    /// Rolling it would not restart its pods.
    #[error("{subject} can't be restarted: {why}")]
    CannotRestart {
        /// The object.
        subject: String,
        /// Why.
        why: &'static str,
    },
}

impl Refusal {
    /// The reason of the condition.
    pub fn reason(&self) -> Reason {
        match self {
            Self::ControlledBy { .. } => Reason::ControlledBy,
            Self::HoldConflict { .. } => Reason::HoldConflict,
            Self::OriginalUnknown { .. } => Reason::OriginalUnknown,
            Self::TooLarge { .. } | Self::TooManyHolders { .. } => Reason::HoldTooLarge,
            Self::Immutable { .. } => Reason::ConfigMapImmutable,
            Self::BinaryKey { .. } => Reason::ConfigMapKeyBinary,
            Self::CannotRestart { .. } => Reason::CannotRestart,
        }
    }
}
