//! Calls to a SONM Node over its REST interface: `POST /<Service>Server/<Method>`.

use std::time::Duration;

use axum::body::Bytes;
use axum::http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::envelope::Envelope;
use crate::deals::problem::{Problem, ProblemType};
use crate::deals::types::cleaned;

/// Says which worker is meant; `0xADDRESS` or `0xADDRESS@host:port`.
const WORKER_HEADER: &str = "x-worker-eth-addr";

/// Most bytes of an answer.
const LONGEST_ANSWER: usize = 8 * 1024 * 1024;

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A call that did not bring what it should.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum CallError {
    /// No connection, so that nothing was asked.
    #[error("the node cannot be reached: {0}")]
    Unreachable(String),
    /// There was no answer in time. What was asked may still be done (defect 8).
    #[error("the node did not answer in time")]
    Timeout,
    /// The connection broke. What was asked may still be done.
    #[error("the connection to the node broke before it answered")]
    Broken,
    /// The node or the worker said no.
    #[error("{description}")]
    Refused {
        /// gRPC's code, as the node writes it: `Unavailable`.
        code: String,
        /// Its words, cleaned.
        description: String,
    },
    /// The answer cannot be used.
    #[error("{0}")]
    Invalid(String),
}

impl CallError {
    /// Whether what was asked may be done all the same, now or later.
    pub(super) fn leaves_open(&self) -> bool {
        match self {
            Self::Timeout | Self::Broken => true,
            Self::Refused { code, .. } => {
                matches!(code.as_str(), "DeadlineExceeded" | "Canceled" | "Unavailable")
            }
            Self::Unreachable(_) | Self::Invalid(_) => false,
        }
    }
}

impl From<CallError> for Problem {
    fn from(error: CallError) -> Self {
        let kind = match &error {
            CallError::Unreachable(_) | CallError::Broken => ProblemType::MarketUnreachable,
            CallError::Timeout => ProblemType::MarketTimeout,
            CallError::Refused { code, .. } => match code.as_str() {
                // The node answers, and the worker or the chain behind it doesn't.
                "Unavailable" => ProblemType::MarketUnreachable,
                "DeadlineExceeded" => ProblemType::MarketTimeout,
                _ => ProblemType::MarketRefused,
            },
            CallError::Invalid(_) => ProblemType::MarketInvalid,
        };
        kind.because(error.to_string())
    }
}

/// A Node, and the worker behind it.
#[derive(Debug)]
pub(super) struct Node {
    client: Client<HttpConnector, Full<Bytes>>,
    url: String,
    worker: String,
    /// `None` where the node runs with `allow_insecure_connection`.
    envelope: Option<Envelope>,
    patience: Duration,
}

/// The error that the node answers instead.
#[derive(serde::Deserialize)]
struct Refusal {
    error: String,
}

impl Node {
    /// A node at `http://host:port`, which is all that a URL of it may say.
    pub(super) fn new(
        url: &str,
        worker: String,
        envelope: Option<Envelope>,
        patience: Duration,
    ) -> Result<Self, String> {
        let parsed: Uri = url.parse().map_err(|_| "--node is not a URL".to_owned())?;
        if parsed.scheme_str() != Some("http") {
            return Err("--node begins with http://: the REST interface has no TLS; its own \
                        encryption goes by the key"
                .to_owned());
        }
        let plain = matches!(parsed.path(), "" | "/") && parsed.query().is_none();
        let authority = parsed.authority().filter(|_| plain);
        let Some(authority) = authority.filter(|authority| !authority.as_str().contains('@'))
        else {
            return Err("--node is http://HOST:PORT and nothing else".to_owned());
        };
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            // A connection that the node has closed meanwhile would look like a call that broke.
            .pool_max_idle_per_host(0)
            .build(connector);
        Ok(Self { client, url: format!("http://{authority}"), worker, envelope, patience })
    }

    /// Asks the worker, with the usual patience.
    pub(super) async fn worker<B: Serialize + ?Sized, A: DeserializeOwned>(
        &self,
        method: &str,
        body: &B,
    ) -> Result<A, CallError> {
        self.call("WorkerManagement", method, body, self.patience).await
    }

    /// Asks the node.
    pub(super) async fn ask<B: Serialize + ?Sized, A: DeserializeOwned>(
        &self,
        service: &str,
        method: &str,
        body: &B,
    ) -> Result<A, CallError> {
        self.call(service, method, body, self.patience).await
    }

    /// Asks with a patience of its own.
    pub(super) async fn call<B: Serialize + ?Sized, A: DeserializeOwned>(
        &self,
        service: &str,
        method: &str,
        body: &B,
        patience: Duration,
    ) -> Result<A, CallError> {
        let what = format!("{service}.{method}");
        let message = serde_json::to_vec(body)
            .map_err(|_| CallError::Invalid(format!("{what}: the request is no JSON")))?;
        let answer = timeout(patience, self.send(service, method, message)).await;
        let (status, answer) = answer.unwrap_or(Err(CallError::Timeout)).inspect_err(|error| {
            tracing::debug!(call = what, %error, "no answer");
        })?;
        tracing::debug!(call = what, status = status.as_u16(), "answered");
        let opened = match &self.envelope {
            None => Some(answer.to_vec()),
            Some(envelope) => envelope.open(&answer),
        };
        let opened = opened.unwrap_or_default();
        if status.is_success() {
            return serde_json::from_slice(&opened).map_err(|error| {
                self.unreadable(&answer, &opened, false).unwrap_or_else(|| {
                    CallError::Invalid(cleaned(&format!("the answer to {what}: {error}")))
                })
            });
        }
        if status.is_redirection() {
            return Err(CallError::Invalid(format!("{what}: the node answers with a redirect")));
        }
        match serde_json::from_slice::<Refusal>(&opened) {
            Ok(refusal) => Err(refused(status, &refusal.error)),
            Err(_) => Err(self
                .unreadable(&answer, &opened, status == StatusCode::INTERNAL_SERVER_ERROR)
                .unwrap_or_else(|| {
                    CallError::Invalid(format!("{what}: the node answers {}", status.as_u16()))
                })),
        }
    }

    async fn send(
        &self,
        service: &str,
        method: &str,
        message: Vec<u8>,
    ) -> Result<(StatusCode, Bytes), CallError> {
        let invalid = |what: &str| CallError::Invalid(what.to_owned());
        let (message, kind) = match &self.envelope {
            None => (message, "application/json"),
            Some(envelope) => {
                let sealed =
                    envelope.seal(&message).map_err(|error| invalid(&error.to_string()))?;
                (sealed, "application/octet-stream")
            }
        };
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("{}/{service}Server/{method}", self.url))
            .header("content-type", kind)
            .header(WORKER_HEADER, &self.worker)
            .body(Full::new(Bytes::from(message)))
            .map_err(|_| invalid("the request cannot be written"))?;
        let response = self.client.request(request).await.map_err(|error| {
            if error.is_connect() {
                CallError::Unreachable(cleaned(&root(&error)))
            } else {
                CallError::Broken
            }
        })?;
        let status = response.status();
        match Limited::new(response.into_body(), LONGEST_ANSWER).collect().await {
            Ok(body) => Ok((status, body.to_bytes())),
            Err(error) if error.is::<LengthLimitError>() => {
                Err(invalid("the node's answer is longer than 8 MiB"))
            }
            Err(_) => Err(CallError::Broken),
        }
    }

    /// What it means that an answer is no JSON after opening, where that can be told.
    fn unreadable(&self, answer: &[u8], opened: &[u8], server_error: bool) -> Option<CallError> {
        let is_json = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).is_ok();
        if is_json(opened) {
            return None;
        }
        let text = if self.envelope.is_some() && is_json(answer) {
            "the node does not encrypt (allow_insecure_connection): use --insecure-node instead of \
             a key"
        } else if self.envelope.is_some() && server_error {
            "the node's answer cannot be decrypted: the key is probably wrong"
        } else if self.envelope.is_some() {
            "the node's answer cannot be decrypted, or is no JSON"
        } else if server_error {
            "the node's answer is no JSON: it probably wants a key (--key-file)"
        } else {
            "the node's answer is no JSON"
        };
        Some(CallError::Invalid(text.to_owned()))
    }
}

/// `rpc error: code = Unknown desc = ...`, or a plain text.
fn refused(status: StatusCode, error: &str) -> CallError {
    let parts = error
        .strip_prefix("rpc error: code = ")
        .and_then(|rest| rest.split_once(" desc = "))
        .map(|(code, description)| (code.to_owned(), description));
    let (code, description) = parts.unwrap_or_else(|| {
        let code = match status.as_u16() {
            401 => "Unauthenticated",
            403 => "PermissionDenied",
            404 => "NotFound",
            503 => "Unavailable",
            _ => "Unknown",
        };
        (code.to_owned(), error)
    });
    CallError::Refused { code, description: cleaned(description) }
}

/// The innermost error: the outer ones only say that there was one.
fn root(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(url: &str) -> Result<Node, String> {
        Node::new(url, "0x".to_owned(), None, CONNECT_TIMEOUT)
    }

    #[test]
    fn the_node_is_a_host_and_a_port() {
        assert_eq!(node("http://127.0.0.1:15031/").unwrap().url, "http://127.0.0.1:15031");
        assert_eq!(node("http://node:15031").unwrap().url, "http://node:15031");
        for url in ["https://node:15031", "node:15031", ""] {
            assert!(node(url).is_err(), "{url}");
        }
        for url in ["http://user@node:15031", "http://node:15031/path", "http://node/?q"] {
            assert!(node(url).unwrap_err().contains("nothing else"), "{url}");
        }
    }

    #[test]
    fn an_error_is_taken_apart() {
        let refused = |status: u16, text| refused(StatusCode::from_u16(status).unwrap(), text);
        let CallError::Refused { code, description } =
            refused(500, "rpc error: code = Unknown desc = specified ask-plan does not exist")
        else {
            panic!("refused")
        };
        assert_eq!(
            (code.as_str(), description.as_str()),
            ("Unknown", "specified ask-plan does not exist")
        );
        for (status, kind) in [
            (401, ProblemType::MarketRefused),
            (403, ProblemType::MarketRefused),
            (404, ProblemType::MarketRefused),
            (500, ProblemType::MarketRefused),
            (503, ProblemType::MarketUnreachable),
        ] {
            assert_eq!(Problem::from(refused(status, "no")).kind, kind, "{status}");
        }
        let slow =
            refused(500, "rpc error: code = DeadlineExceeded desc = context deadline exceeded");
        assert!(slow.leaves_open());
        assert_eq!(Problem::from(slow).kind, ProblemType::MarketTimeout);
    }
}
