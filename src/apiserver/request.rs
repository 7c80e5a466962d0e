//! One request to the API server: its timeout, its error, and the permit to write.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::{TryStreamExt, stream};
use kube::api::{Api, ListParams, PatchParams, PostParams};
use serde::de::DeserializeOwned;
use tokio::time;

/// The field manager of every write that Torpor makes.
pub const MANAGER: &str = "torpor";
/// The timeout of one request. It does not apply to watches.
pub const TIMEOUT: Duration = Duration::from_secs(30);
/// Objects in one page of a list.
const PAGE: u32 = 500;

/// Returns whether this process may write now. Ask right before each write.
pub type Permit = Arc<dyn Fn() -> bool + Send + Sync>;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another replica leads.
    #[error("this replica does not hold the lease any more")]
    NotPermitted,
    /// The API server did not answer in time.
    #[error("{what}: no answer within {} s", TIMEOUT.as_secs())]
    Timeout {
        /// The object or list of the request.
        what: String,
    },
    /// The API server answered with an error, or could not be reached.
    #[error("{what}: {}", message(source))]
    Api {
        /// The object or list of the request.
        what: String,
        /// The answer.
        source: Box<kube::Error>,
    },
}

impl Error {
    /// Returns the status code of the API server's answer; none where it did not answer.
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Api { source, .. } => code(source),
            Self::NotPermitted | Self::Timeout { .. } => None,
        }
    }

    /// Returns whether the API server rejected the request as such: it would do so again.
    pub fn is_rejection(&self) -> bool {
        matches!(self.code(), Some(400 | 403 | 422))
    }

    /// Returns whether the object was changed since it was read.
    pub fn is_conflict(&self) -> bool {
        self.code() == Some(409)
    }

    /// Returns the time after which the API server wants the request to be sent again.
    pub fn retry_after(&self) -> Duration {
        let seconds = match self {
            Self::Api { source, .. } if let kube::Error::Api(status) = source.as_ref() => {
                status.details.as_ref().map(|details| details.retry_after_seconds)
            }
            _ => None,
        };
        Duration::from_secs(seconds.unwrap_or_default().clamp(1, 30).into())
    }

    /// Returns whether the object does not exist.
    pub fn is_not_found(&self) -> bool {
        self.code() == Some(404)
    }
}

/// Returns the status code of an answer.
pub fn code(answer: &kube::Error) -> Option<u16> {
    match answer {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

/// Returns the API server's own words.
pub fn message(answer: &kube::Error) -> String {
    match answer {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

/// Sends one request, with the timeout. `what` names its object or list in errors.
pub async fn call<T>(
    what: impl Into<String>,
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, Error> {
    match time::timeout(TIMEOUT, request).await {
        Err(_) => Err(Error::Timeout { what: what.into() }),
        Ok(answer) => {
            answer.map_err(|source| Error::Api { what: what.into(), source: Box::new(source) })
        }
    }
}

/// Returns the values that `keep` makes of the objects of every page of a list.
pub async fn pages<K, T>(
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
pub fn patch_params() -> PatchParams {
    PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() }
}

/// Returns the parameters of a create by Torpor's field manager.
pub fn post_params() -> PostParams {
    PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() }
}
