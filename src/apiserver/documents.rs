//! Reads objects as documents, of which only wanted parts are parsed. Objects can be many and large, and belong to
//! anybody: what one tenant stores must not cost the memory that all share.

use std::pin::pin;

use futures::AsyncBufReadExt;
use http::Request;
use kube::Client;
use kube::api::{GetParams, ListParams, Patch, PatchParams};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Semaphore;

use super::items::{Items, NoList};
use super::request::{Error, PAGE, call};

/// Answers to reads that arrive at the same time. Each may have an object of some megabytes in memory.
static ANSWERS: Semaphore = Semaphore::const_new(8);

/// A list without its items.
#[derive(Deserialize)]
struct Envelope {
    metadata: ListMeta,
}

#[derive(Deserialize)]
struct ListMeta {
    #[serde(rename = "continue")]
    next: Option<String>,
}

/// Lists the objects of a resource, page by page. `url` is that of the resource, as `Api::resource_url` returns it.
/// Returns the values that `read` makes of the document of each object.
pub(crate) async fn list<T>(
    client: &Client,
    what: &'static str,
    url: &str,
    params: ListParams,
    mut read: impl FnMut(&[u8]) -> Result<Option<T>, Error>,
) -> Result<Vec<T>, Error> {
    let mut all = Vec::new();
    let mut next = Some(params.limit(PAGE));
    while let Some(params) = next.take() {
        let request = kube::core::Request::new(url).list(&params);
        let request = request.map_err(|error| Error::unsent(what, error))?;
        let each = |item: &[u8]| {
            all.extend(read(item)?);
            Ok(())
        };
        let _answer = ANSWERS.acquire().await;
        let list = call(what, page(client, request, each)).await??;
        let token = list.metadata.next.filter(|token| !token.is_empty());
        next = token.map(|token| params.continue_token(&token));
    }
    Ok(all)
}

/// Reads one page of a list. Returns the list without its items.
async fn page(
    client: &Client,
    request: Request<Vec<u8>>,
    mut each: impl FnMut(&[u8]) -> Result<(), Error>,
) -> Result<Result<Envelope, Error>, kube::Error> {
    let mut answer = pin!(client.request_stream(request).await?);
    let mut items = Items::default();
    loop {
        let bytes = answer.fill_buf().await.map_err(kube::Error::ReadEvents)?;
        let taken = bytes.len();
        if taken == 0 {
            break;
        }
        if let Err(error) = items.take(bytes, &mut each) {
            return Ok(Err(error));
        }
        answer.consume_unpin(taken);
    }
    let envelope =
        items.envelope().and_then(|list| serde_json::from_slice(list).map_err(|_| NoList));
    Ok(envelope.map_err(Error::from))
}

/// Reads one object. Returns its document; none where it does not exist.
pub(crate) async fn get(
    client: &Client,
    what: impl Into<String>,
    url: &str,
    name: &str,
) -> Result<Option<String>, Error> {
    let what = what.into();
    let request = kube::core::Request::new(url).get(name, &GetParams::default());
    let request = request.map_err(|error| Error::unsent(what.as_str(), error))?;
    let _answer = ANSWERS.acquire().await;
    match call(what, client.request_text(request)).await {
        Err(error) if error.is_not_found() => Ok(None),
        read => read.map(Some),
    }
}

/// Patches one object. Returns its document as it is then.
pub(crate) async fn patch(
    client: &Client,
    what: impl Into<String>,
    url: &str,
    name: &str,
    params: &PatchParams,
    merge: &Value,
) -> Result<String, Error> {
    let what = what.into();
    let request = kube::core::Request::new(url).patch(name, params, &Patch::Merge(merge));
    let request = request.map_err(|error| Error::unsent(what.as_str(), error))?;
    call(what, client.request_text(request)).await
}
