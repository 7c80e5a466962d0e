//! Why a reconcile failed.

use super::apply;
use crate::apiserver::request;

/// Why a reconcile failed. It is tried again, with backoff.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Torpor could not observe something.
    #[error(transparent)]
    Observe(#[from] request::Error),
    /// Torpor could not write or apply something.
    #[error(transparent)]
    Apply(#[from] apply::Error),
}

impl Error {
    fn request(&self) -> Option<&request::Error> {
        match self {
            Self::Observe(error) | Self::Apply(apply::Error::Request(error)) => Some(error),
            Self::Apply(_) => None,
        }
    }

    /// Returns whether the object was changed since it was read: it is only read again.
    pub(super) fn is_conflict(&self) -> bool {
        self.request().is_some_and(request::Error::is_conflict)
    }
}
