//! One request to the API server. This is the only code that knows its timeout, its errors, the refusal
//! of a write without a permit, and `Retry-After`.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::{TryStreamExt, stream};
use kube::api::{Api, ListParams, PatchParams, PostParams};
use serde::de::DeserializeOwned;
use tokio::time;

use super::items::NoList;

/// The field manager of every write that Torpor makes.
pub(crate) const MANAGER: &str = "torpor";
/// The timeout of one request. It does not apply to watches.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);
/// The number of objects in one page of a list.
pub(crate) const PAGE: u32 = 500;

/// Returns whether this process may write now. A [`permitted`](super::client::permitted) client asks
/// before each write.
pub type Permit = Arc<dyn Fn() -> bool + Send + Sync>;

/// The refusal of a write by a [`permitted`](super::client::permitted) client.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("this replica no longer holds the lease; the replica that does continues")]
pub struct NotPermitted;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another replica holds the lease. The write was not sent.
    #[error(transparent)]
    NotPermitted(#[from] NotPermitted),
    /// The API server did not answer in time.
    #[error("{what}: the API server did not answer within {timeout:?}")]
    Timeout {
        /// The object or list of the request.
        what: String,
        /// The timeout.
        timeout: Duration,
    },
    /// The API server answered with an error, or could not be reached.
    #[error("{what}: {}", message(source))]
    Api {
        /// The object or list of the request.
        what: String,
        /// The answer.
        source: Box<kube::Error>,
    },
    /// The answer is not what it should be, or larger.
    #[error(transparent)]
    NoList(#[from] NoList),
    /// An object of the answer does not parse.
    #[error("{what}: an object does not parse: {source}")]
    Document {
        /// The object or list of the request.
        what: String,
        /// The error.
        source: serde_json::Error,
    },
    /// Selected objects have too much in the fields that are to be held.
    #[error("the held fields of the selected {what} have more than {} MiB: select fewer of them", limit >> 20)]
    TooLarge {
        /// The list of the request.
        what: &'static str,
        /// The limit in bytes.
        limit: usize,
    },
}

impl Error {
    /// Returns the error of a request that cannot be built.
    pub(crate) fn unsent(what: impl Into<String>, error: kube::core::request::Error) -> Self {
        let source = Box::new(kube::Error::BuildRequest(error));
        Self::Api { what: what.into(), source }
    }

    /// Returns the error of an object that does not parse.
    pub(crate) fn unreadable(what: impl Into<String>, source: serde_json::Error) -> Self {
        Self::Document { what: what.into(), source }
    }

    /// Returns the HTTP status code; none where the API server did not answer.
    pub(crate) fn code(&self) -> Option<u16> {
        match self {
            Self::Api { source, .. } => code(source),
            Self::NotPermitted(_)
            | Self::Timeout { .. }
            | Self::NoList(_)
            | Self::Document { .. }
            | Self::TooLarge { .. } => None,
        }
    }

    /// Returns whether the API server rejected the request. The same request would be rejected again.
    pub(crate) fn is_rejection(&self) -> bool {
        matches!(self.code(), Some(400 | 403 | 422))
    }

    /// Returns whether another client changed the object since it was read.
    pub(crate) fn is_conflict(&self) -> bool {
        self.code() == Some(409)
    }

    /// Returns the pause that the API server asks for with 429 Too Many Requests, between 1 and 30 s.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        let Self::Api { source, .. } = self else { return None };
        let kube::Error::Api(status) = source.as_ref() else { return None };
        let seconds = status.details.as_ref().map(|details| details.retry_after_seconds);
        let pause = Duration::from_secs(seconds.unwrap_or_default().clamp(1, 30).into());
        (status.code == 429).then_some(pause)
    }

    /// Returns whether the object does not exist.
    pub(crate) fn is_not_found(&self) -> bool {
        self.code() == Some(404)
    }
}

/// Returns the HTTP status code of an answer.
pub(crate) fn code(answer: &kube::Error) -> Option<u16> {
    match answer {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

/// Returns the message of the API server.
pub(crate) fn message(answer: &kube::Error) -> String {
    match answer {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

/// Sends one request with [`TIMEOUT`]. `what` names its object or list in errors.
pub(crate) fn call<T>(
    what: impl Into<String>,
    request: impl Future<Output = Result<T, kube::Error>>,
) -> impl Future<Output = Result<T, Error>> {
    call_within(TIMEOUT, what, request)
}

/// Sends one request with a timeout of its own. `what` names its object or list in errors.
pub(crate) async fn call_within<T>(
    timeout: Duration,
    what: impl Into<String>,
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, Error> {
    match time::timeout(timeout, request).await {
        Err(_) => Err(Error::Timeout { what: what.into(), timeout }),
        // The client refused the write and did not send it.
        Ok(Err(kube::Error::Service(refusal))) if refusal.is::<NotPermitted>() => {
            Err(Error::NotPermitted(NotPermitted))
        }
        Ok(Err(source)) => Err(Error::Api { what: what.into(), source: Box::new(source) }),
        Ok(Ok(answer)) => Ok(answer),
    }
}

/// Lists all objects, page by page. Returns the values that `keep` makes of them.
pub(crate) async fn pages<K, T>(
    what: &'static str,
    api: &Api<K>,
    params: ListParams,
    keep: impl Fn(K) -> Option<T>,
) -> Result<Vec<T>, Error>
where
    K: Clone + Debug + DeserializeOwned,
{
    let first = Some(params.limit(PAGE));
    stream::try_unfold(first, |next| async {
        let Some(params) = next else { return Ok(None) };
        let page = call(what, api.list(&params)).await?;
        let next = page.metadata.continue_.filter(|token| !token.is_empty());
        let next = next.map(|token| params.continue_token(&token));
        Ok(Some((page.items, next)))
    })
    .try_fold(Vec::new(), |mut kept, items| {
        kept.extend(items.into_iter().filter_map(&keep));
        std::future::ready(Ok(kept))
    })
    .await
}

/// Returns the parameters of a PATCH by Torpor's field manager.
pub(crate) fn patch_params() -> PatchParams {
    PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() }
}

/// Returns the parameters of a create by Torpor's field manager.
pub(crate) fn post_params() -> PostParams {
    PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() }
}
