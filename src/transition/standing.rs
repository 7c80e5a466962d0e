//! How a transition stands, and how to say it.

use crate::api::reason::Reason;

/// How an object stands, for its conditions.
#[derive(Clone, Debug, PartialEq)]
pub enum Standing {
    /// The cluster is as the spec asks.
    Reached,
    /// Torpor is changing the cluster, or waits for something that ends by itself.
    Progressing {
        /// For the conditions.
        reason: Reason,
        /// The object that it waits for.
        message: String,
    },
    /// A person is needed.
    Stalled {
        /// For the conditions.
        reason: Reason,
        /// The obstacle and its remedy.
        message: String,
    },
}

impl Standing {
    /// Returns whether the cluster is as the spec asks.
    pub fn is_reached(&self) -> bool {
        *self == Self::Reached
    }

    /// Returns whether a person is needed.
    pub fn is_stalled(&self) -> bool {
        matches!(self, Self::Stalled { .. })
    }

    /// Returns reason and message; none where the cluster is as the spec asks.
    pub fn explanation(&self) -> Option<(&Reason, &str)> {
        match self {
            Self::Reached => None,
            Self::Progressing { reason, message } | Self::Stalled { reason, message } => {
                Some((reason, message))
            }
        }
    }
}
