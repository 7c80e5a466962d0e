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

/// The header that selects the worker: `0xADDRESS` or `0xADDRESS@host:port`.
const WORKER_HEADER: &str = "x-worker-eth-addr";

/// Maximum bytes of an answer.
const LONGEST_ANSWER: usize = 8 * 1024 * 1024;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The error of a call to the node.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum CallError {
    /// There was no connection, so the node did not get the call.
    #[error("the node cannot be reached: {0}")]
    Unreachable(String),
    /// There was no answer in time. The call may still take effect (defect 8).
    #[error("the node did not answer in time")]
    Timeout,
    /// The connection broke. The call may still take effect.
    #[error("the connection to the node broke before it answered")]
    Broken,
    /// The node or the worker answered with an error.
    #[error("{description}")]
    Refused {
        /// The gRPC code, as the node writes it: `Unavailable`.
        code: String,
        /// The message of the error, cleaned.
        description: String,
    },
    /// The answer cannot be used.
    #[error("{0}")]
    Invalid(String),
}

impl CallError {
    /// Returns whether the call may take effect despite the error, now or later.
    pub(super) fn may_take_effect(&self) -> bool {
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
                // The node answers, but the worker or the chain behind it does not.
                "Unavailable" => ProblemType::MarketUnreachable,
                "DeadlineExceeded" => ProblemType::MarketTimeout,
                _ => ProblemType::MarketRefused,
            },
            CallError::Invalid(_) => ProblemType::MarketInvalid,
        };
        kind.because(error.to_string())
    }
}

/// A client for one worker behind a SONM Node.
#[derive(Debug)]
pub(super) struct Node {
    client: Client<HttpConnector, Full<Bytes>>,
    url: String,
    worker: String,
    /// `None` if the node runs with `allow_insecure_connection`.
    envelope: Option<Envelope>,
    call_timeout: Duration,
}

/// The body of an error.
#[derive(serde::Deserialize)]
struct Refusal {
    error: String,
}

impl Node {
    /// Creates a client for the node at `http://HOST:PORT`.
    pub(super) fn new(
        url: &str,
        worker: String,
        envelope: Option<Envelope>,
        call_timeout: Duration,
    ) -> Result<Self, String> {
        let parsed: Uri =
            url.parse().map_err(|_| "--node is not a URL: write http://HOST:PORT".to_owned())?;
        if parsed.scheme_str() != Some("http") {
            return Err(
                "--node must begin with http://: the REST interface has no TLS, and encrypts \
                        with the key of --key-file"
                    .to_owned(),
            );
        }
        let plain = matches!(parsed.path(), "" | "/") && parsed.query().is_none();
        let authority = parsed.authority().filter(|_| plain);
        let Some(authority) = authority.filter(|authority| !authority.as_str().contains('@'))
        else {
            return Err("--node must be http://HOST:PORT and nothing else".to_owned());
        };
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            // A pooled connection that the node has closed would look like a call that broke.
            .pool_max_idle_per_host(0)
            .build(connector);
        Ok(Self { client, url: format!("http://{authority}"), worker, envelope, call_timeout })
    }

    /// Calls a method of the worker, with the usual timeout.
    pub(super) async fn worker<B: Serialize + ?Sized, A: DeserializeOwned>(
        &self,
        method: &str,
        body: &B,
    ) -> Result<A, CallError> {
        self.call("WorkerManagement", method, body, self.call_timeout).await
    }

    /// Calls a method of the node, with the usual timeout.
    pub(super) async fn ask<B: Serialize + ?Sized, A: DeserializeOwned>(
        &self,
        service: &str,
        method: &str,
        body: &B,
    ) -> Result<A, CallError> {
        self.call(service, method, body, self.call_timeout).await
    }

    /// Calls a method with a timeout of its own.
    pub(super) async fn call<B: Serialize + ?Sized, A: DeserializeOwned>(
        &self,
        service: &str,
        method: &str,
        body: &B,
        call_timeout: Duration,
    ) -> Result<A, CallError> {
        let name = format!("{service}.{method}");
        let message = serde_json::to_vec(body).map_err(|_| {
            CallError::Invalid(format!("{name}: the request cannot be written as JSON"))
        })?;
        let answer = timeout(call_timeout, self.send(service, method, message)).await;
        let (status, answer) = answer.unwrap_or(Err(CallError::Timeout)).inspect_err(|error| {
            tracing::debug!(call = name, %error, "the node did not answer");
        })?;
        tracing::debug!(call = name, status = status.as_u16(), "the node answered");
        let opened = match &self.envelope {
            None => Some(answer.to_vec()),
            Some(envelope) => envelope.open(&answer),
        };
        let opened = opened.unwrap_or_default();
        if status.is_success() {
            return serde_json::from_slice(&opened).map_err(|error| {
                self.unreadable(&answer, &opened, false).unwrap_or_else(|| {
                    CallError::Invalid(cleaned(&format!(
                        "the answer to {name} is invalid: {error}"
                    )))
                })
            });
        }
        if status.is_redirection() {
            return Err(CallError::Invalid(format!(
                "{name}: the node answers with a redirect, which the bridge does not follow"
            )));
        }
        match serde_json::from_slice::<Refusal>(&opened) {
            Ok(refusal) => Err(refused(status, &refusal.error)),
            Err(_) => Err(self
                .unreadable(&answer, &opened, status == StatusCode::INTERNAL_SERVER_ERROR)
                .unwrap_or_else(|| {
                    CallError::Invalid(format!(
                        "{name}: the node answers with status {}",
                        status.as_u16()
                    ))
                })),
        }
    }

    async fn send(
        &self,
        service: &str,
        method: &str,
        message: Vec<u8>,
    ) -> Result<(StatusCode, Bytes), CallError> {
        let invalid = |text: &str| CallError::Invalid(text.to_owned());
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

    /// Returns the error for an answer that is not JSON after decryption, or `None` if it is JSON.
    fn unreadable(&self, answer: &[u8], opened: &[u8], server_error: bool) -> Option<CallError> {
        let is_json = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).is_ok();
        if is_json(opened) {
            return None;
        }
        let text = if self.envelope.is_some() && is_json(answer) {
            "the node does not encrypt (allow_insecure_connection): use --insecure-node instead of \
             --key-file"
        } else if self.envelope.is_some() && server_error {
            "the node's answer cannot be decrypted: the key is probably wrong (--key-file)"
        } else if self.envelope.is_some() {
            "the node's answer cannot be decrypted, or is not JSON"
        } else if server_error {
            "the node's answer is not JSON: it probably wants a key (--key-file)"
        } else {
            "the node's answer is not JSON"
        };
        Some(CallError::Invalid(text.to_owned()))
    }
}

/// Parses the text of an error: `rpc error: code = Unknown desc = ...`, or a plain text.
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

/// Returns the innermost error, which has the cause.
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
    fn an_error_is_parsed() {
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
        assert!(slow.may_take_effect());
        assert_eq!(Problem::from(slow).kind, ProblemType::MarketTimeout);
    }
}
