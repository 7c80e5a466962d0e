//! The Node's REST interface: envelopes, faults, the journal of calls. What the calls do is in `methods`.

pub mod error;
pub mod gate;
mod methods;

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use jiff::Timestamp;
use serde_json::Value;

use crate::app::App;
use crate::envelope::{BLOCK, Key};
use crate::faults::{Answer, Reach, When};
use crate::model::journal::{By, Call, Entry, What};
use error::{Code, RpcError};

/// The header that selects the worker.
pub const WORKER: &str = "x-worker-eth-addr";
/// The longest request that is read.
const LONGEST: usize = 4 << 20;

/// Answers all paths.
pub fn router(app: Arc<App>) -> axum::Router {
    axum::Router::new().fallback(answer).with_state(app)
}

async fn answer(State(app): State<Arc<App>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, LONGEST).await else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    if parts.method != Method::POST {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let path = parts.uri.path().trim_matches('/').to_owned();
    // What has begun is carried out, whether or not its client waits for it.
    let call = tokio::spawn(call(app, path, parts.headers, body));
    call.await.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

/// One call from its envelope to the envelope of its answer.
async fn call(app: Arc<App>, method: String, headers: HeaderMap, body: Bytes) -> Response {
    let began = app.now();
    let upset = app.change(|world, _| world.faults.meet(&method));
    if upset.delay_ms > 0 {
        tokio::time::sleep(Duration::from_millis(upset.delay_ms)).await;
    }
    let key = app.key.as_ref().map(|key| if upset.wrong_key { key.wrong() } else { key.clone() });
    let selector = headers.get(WORKER).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let selector = selector.as_deref();
    let request = open(key.as_ref(), &body);
    let outcome = match (&request, upset.node, upset.error) {
        (_, Reach::Refused | Reach::Unavailable, _) => {
            Err(RpcError::new(Code::Unavailable, "all SubConns are in TransientFailure"))
        }
        (Err(why), ..) => Err(RpcError::plain(why)),
        (Ok(_), _, Some((error, When::Before))) => Err(error),
        (Ok(request), _, error) => {
            let outcome = methods::dispatch(&app, &method, selector, request).await;
            error.map_or(outcome, |(error, _)| Err(error))
        }
    };
    let (status, answer) = match outcome {
        Ok(answer) => (StatusCode::OK, answer),
        Err(error) => (error.code.status(), error.body()),
    };
    let record = Call {
        method,
        selector: selector.map(str::to_owned),
        began,
        request: request.unwrap_or_default(),
        status: status.as_u16(),
        answer: answer.clone(),
    };
    app.change(|world, now| world.model.journal.write(entry(now, record)));
    let (status, text) = match upset.answer {
        Answer::True => (status, answer.to_string()),
        Answer::Empty => (StatusCode::OK, "{}".to_owned()),
        Answer::Truncated => {
            let text = answer.to_string();
            (status, text.chars().take(text.chars().count() / 2).collect())
        }
    };
    // A connection from before the Node went away has to end, too.
    let close = (upset.node == Reach::Refused).then_some([(header::CONNECTION, "close")]);
    (status, close, Body::from(seal(key.as_ref(), text))).into_response()
}

fn entry(now: Timestamp, call: Call) -> Entry {
    let mut entry = Entry::new(now, What::Call).by(By::Client);
    entry.call = Some(call);
    entry
}

/// The request in a body. With a wrong key it is some bytes, which are no JSON.
fn open(key: Option<&Key>, body: &[u8]) -> Result<Value, String> {
    let text = match key {
        Some(key) => key.open(body).ok_or("ciphertext too short")?,
        None => body.to_vec(),
    };
    if text.is_empty() {
        return Err("unexpected end of JSON input".to_owned());
    }
    serde_json::from_slice(&text).map_err(|error| format!("failed to decode the request: {error}"))
}

fn seal(key: Option<&Key>, text: String) -> Vec<u8> {
    match key {
        Some(key) => key.seal(random_iv(), text.as_bytes()),
        None => text.into_bytes(),
    }
}

/// An IV that nobody can foresee.
fn random_iv() -> [u8; BLOCK] {
    let mut iv = [0; BLOCK];
    // Without the system's random numbers nothing can be said safely: the call fails, as a whole.
    #[expect(clippy::expect_used)]
    getrandom::fill(&mut iv).expect("the system gives random numbers");
    iv
}
