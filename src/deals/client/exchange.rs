//! Sends one request over one connection to the given address. There is no pool, no proxy and no redirect.

use std::error::Error as _;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use futures::future::Either;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Error;
use super::service::Endpoint;
use super::token::Token;
use crate::deals::types::{EPOCH_HEADER, MEDIA_TYPE, cleaned};
use crate::lease::Epoch;

/// Limit for connecting, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Most bytes of an answer to `GET /v1/commitments`.
const LONGEST_COMMITMENTS: usize = 2 * 1024 * 1024;

/// Most bytes of any other answer.
const LONGEST_OTHER: usize = 64 * 1024;

/// Most bytes of an answer's head.
const LONGEST_HEAD: usize = 64 * 1024;

const USER_AGENT: &str = concat!("torpor/", env!("CARGO_PKG_VERSION"));

/// A request.
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) path: &'static str,
    /// The epoch of a change; `None` for an observation.
    pub(super) epoch: Option<Epoch>,
    pub(super) body: Option<Bytes>,
    /// Status of the answer that means success.
    pub(super) success: StatusCode,
}

/// An answer.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// Before the first byte was sent.
    pub(super) began: Timestamp,
    /// After the last byte was read.
    pub(super) complete: Timestamp,
}

/// Sends a call and returns its whole answer.
pub(super) async fn exchange(
    endpoint: &Endpoint,
    call: &Call,
    token: &Token,
) -> Result<Answer, Error> {
    let began = Timestamp::now();
    let unreachable = |error: std::io::Error| Error::Unreachable(cleaned(&error.to_string()));
    let connecting = async {
        let stream = TcpStream::connect(endpoint.address).await.map_err(unreachable)?;
        // The whole request is sent at once: Nagle's algorithm would only delay it.
        stream.set_nodelay(true).map_err(unreachable)?;
        let Some(tls) = &endpoint.tls else { return Ok(Either::Left(stream)) };
        match tls.connector.connect(tls.name.clone(), stream).await {
            Ok(stream) => Ok(Either::Right(stream)),
            Err(error) => Err(match error.downcast::<rustls::Error>() {
                Ok(error) => Error::Tls(cleaned(&error.to_string())),
                Err(error) => unreachable(error),
            }),
        }
    };
    let connected = timeout(CONNECT_TIMEOUT, connecting).await;
    match connected.unwrap_or(Err(Error::Timeout(CONNECT_TIMEOUT)))? {
        Either::Left(stream) => send(stream, endpoint, call, token, began).await,
        Either::Right(stream) => send(stream, endpoint, call, token, began).await,
    }
}

async fn send<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    endpoint: &Endpoint,
    call: &Call,
    token: &Token,
    began: Timestamp,
) -> Result<Answer, Error> {
    let request = request(endpoint, call, token)?;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(LONGEST_HEAD)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| broken(&error))?;
    // Dropping the set aborts the task and so closes the connection.
    let mut connections = JoinSet::new();
    connections.spawn(connection);
    let response = sender.send_request(request).await.map_err(|error| broken(&error))?;
    let (head, body) = response.into_parts();
    let commitments = call.epoch.is_none() && head.status == call.success;
    let body = read(body, if commitments { LONGEST_COMMITMENTS } else { LONGEST_OTHER }).await?;
    let complete = Timestamp::now();
    if token.is_in(&body) {
        return Err(Error::Invalid("it repeats the token".to_owned()));
    }
    Ok(Answer { status: head.status, headers: head.headers, body, began, complete })
}

fn request(endpoint: &Endpoint, call: &Call, token: &Token) -> Result<Request<Full<Bytes>>, Error> {
    let mut request = Request::builder()
        .method(call.method.clone())
        .uri(call.path)
        .header(header::HOST, &endpoint.host)
        .header(header::AUTHORIZATION, token.header())
        .header(header::ACCEPT, "application/json, application/problem+json")
        .header(header::USER_AGENT, USER_AGENT)
        .header(header::CONNECTION, "close");
    if let Some(epoch) = call.epoch {
        request = request.header(EPOCH_HEADER, epoch.0);
    }
    if call.body.is_some() {
        request = request.header(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    }
    let body = Full::new(call.body.clone().unwrap_or_default());
    // Building fails only for an invalid host, and the host consists of labels.
    request.body(body).map_err(|error| Error::Invalid(error.to_string()))
}

/// Returns the error for a connection that ended before the head of an answer.
fn broken(error: &hyper::Error) -> Error {
    let inner = error.source().map(|inner| format!(": {inner}")).unwrap_or_default();
    let text = cleaned(&format!("{error}{inner}"));
    if error.is_parse() {
        Error::Invalid(format!("no HTTP: {text}"))
    } else {
        Error::Unreachable(text)
    }
}

async fn read(body: Incoming, longest: usize) -> Result<Bytes, Error> {
    match Limited::new(body, longest).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(Error::Invalid(format!("it has more than {longest} bytes")))
        }
        Err(_) => Err(Error::Invalid("it was cut short".to_owned())),
    }
}
