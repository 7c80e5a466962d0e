//! Reads objects as documents, of which only wanted parts are parsed. Objects can be many and large, and belong to
//! anybody: what one tenant stores must not cost the memory that all share.

use std::pin::pin;

use futures::{AsyncBufReadExt, TryFutureExt};
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
        let list = page(client, what, request, each).await?;
        let token = list.metadata.next.filter(|token| !token.is_empty());
        next = token.map(|token| params.continue_token(&token));
    }
    Ok(all)
}

/// Reads one page of a list. Returns the list without its items. A large page that arrives slowly still arrives: the
/// timeout is that of each part of the answer. The API server ends a request after a minute (`--request-timeout`).
async fn page(
    client: &Client,
    what: &'static str,
    request: Request<Vec<u8>>,
    mut each: impl FnMut(&[u8]) -> Result<(), Error>,
) -> Result<Envelope, Error> {
    let mut answer = pin!(call(what, client.request_stream(request)).await?);
    let mut items = Items::default();
    loop {
        let bytes = call(what, answer.fill_buf().map_err(kube::Error::ReadEvents)).await?;
        let taken = bytes.len();
        if taken == 0 {
            break;
        }
        items.take(bytes, &mut each)?;
        answer.consume_unpin(taken);
    }
    Ok(serde_json::from_slice(items.envelope()?).map_err(|_| NoList)?)
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

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::time::Duration;

    use futures::{StreamExt, stream};
    use http::Response;
    use http_body_util::StreamBody;
    use hyper::body::{Bytes, Frame};
    use kube::client::Body;
    use serde_json::json;
    use tower::service_fn;

    use super::*;

    /// Lists what an API server answers that pauses before each part of its answer. Returns the names.
    async fn listed(parts: Vec<String>, pause: Duration) -> Result<Vec<String>, Error> {
        let service = service_fn(move |_: Request<Body>| {
            let parts = stream::iter(parts.clone()).then(move |part| async move {
                tokio::time::sleep(pause).await;
                Ok::<_, Infallible>(Frame::data(Bytes::from(part)))
            });
            let answer = Response::new(StreamBody::new(Box::pin(parts)));
            std::future::ready(Ok::<_, Infallible>(answer))
        });
        let name = |document: &[u8]| {
            let object: Value =
                serde_json::from_slice(document).map_err(|error| Error::unreadable("x", error))?;
            Ok(object["name"].as_str().map(str::to_owned))
        };
        let client = Client::new(service, "default");
        list(&client, "objects", "/api/v1/objects", ListParams::default(), name).await
    }

    /// Returns an answer in as many parts as it has objects, and one.
    fn answer(objects: usize) -> Vec<String> {
        let object = |number: usize| json!({"name": format!("{number}")}).to_string();
        let first = format!("{{\"metadata\":{{}},\"items\":[{}", object(0));
        let more = (1..objects).map(|number| format!(",{}", object(number)));
        std::iter::once(first).chain(more).chain(["]}".to_owned()]).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_that_arrives_slowly_arrives() {
        let names = listed(answer(5), Duration::from_secs(20)).await.unwrap();
        assert_eq!(names, ["0", "1", "2", "3", "4"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_that_stops_arriving_is_given_up() {
        let error = listed(answer(2), Duration::from_secs(31)).await.unwrap_err();
        assert_eq!(error.to_string(), "objects: the API server did not answer within 30s");
    }
}
