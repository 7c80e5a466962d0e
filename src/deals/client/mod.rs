//! The operator's client of the Deals API. It holds no credentials of a market, connects only to a
//! Service in the object's own namespace, and refuses every answer that differs from the contract.
//!
//! For each call [`service`] finds the server, [`token`] gets the token, [`exchange`] sends the request and
//! [`answer`] reads the answer.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{Method, StatusCode, header};
use jiff::Timestamp;
use kube::Client as Kube;
use serde::Serialize;
use tokio::time::{sleep, timeout};

use self::exchange::{Answer, Call, exchange};
use self::service::Endpoint;
use self::token::{Age, Token, Tokens};
use super::types::{Announcement, Commitments, Drain, LONGEST_BODY, List, Order, Resume, cleaned};
use crate::api::deals::SourceStatus;
use crate::apiserver::request::message;
use crate::hold::record::Holder;
use crate::lease::Epoch;

mod answer;
mod error;
mod exchange;
mod service;
mod token;

pub use self::error::Error;
pub use self::token::{Account, NotAnAccount, audience};

/// Limit for an observation in all: the bridge makes many calls to a SONM node for one.
const OBSERVE_TIMEOUT: Duration = Duration::from_mins(1);

/// Limit for a change in all.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(30);

/// Limit for one request to the API server.
const CLUSTER_TIMEOUT: Duration = Duration::from_secs(10);

/// Pauses before an observation is tried again. There are few, as the next iteration observes again.
const OBSERVE_PAUSES: &[Duration] = &[Duration::from_millis(100), Duration::from_millis(400)];

/// Pauses before a change is tried again: once, and at once.
const CHANGE_PAUSES: &[Duration] = &[Duration::ZERO];

/// A client. Cheap to clone; clones share the tokens.
#[derive(Clone)]
pub struct Client {
    kube: Kube,
    account: Option<Account>,
    tokens: Arc<Tokens>,
}

/// A server of the Deals API.
#[derive(Clone, Copy, Debug)]
pub struct Server<'a> {
    /// The object with `spec.deals`.
    pub holder: &'a Holder,
    /// Service and port, in the object's namespace.
    pub source: &'a SourceStatus,
}

/// Commitments, with the time of their observation by this machine's clock.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// Open deals, orders and tasks.
    pub commitments: Commitments,
    /// Before the request was sent.
    pub began: Timestamp,
    /// After the last byte of the answer was read.
    pub complete: Timestamp,
}

impl Client {
    /// Creates a client that authenticates by tokens of the account. Without an account each call returns
    /// [`Error::NoServiceAccount`].
    pub fn new(kube: Kube, account: impl Into<Option<Account>>) -> Self {
        Self { kube, account: account.into(), tokens: Arc::default() }
    }

    /// Returns the open deals, orders and tasks.
    pub async fn observe(&self, server: &Server<'_>) -> Result<Observation, Error> {
        let call = Call {
            method: Method::GET,
            path: "/v1/commitments",
            epoch: None,
            body: None,
            success: StatusCode::OK,
        };
        let answer = self.call(server, &call).await?;
        answer::observation(&call, &answer)
    }

    /// Announces the start of the maintenance; `None` withdraws the announcement.
    pub async fn announce(
        &self,
        server: &Server<'_>,
        epoch: Epoch,
        at: Option<Timestamp>,
    ) -> Result<(), Error> {
        let (method, body) = match at {
            Some(at) => (Method::PUT, Some(written(&Announcement { at })?)),
            None => (Method::DELETE, None),
        };
        let (path, success) = ("/v1/maintenance", StatusCode::NO_CONTENT);
        self.change(server, Call { method, path, epoch: Some(epoch), body, success }).await
    }

    /// Requests to withdraw orders, close deals and end tasks. Later observations show the progress.
    pub async fn drain(
        &self,
        server: &Server<'_>,
        epoch: Epoch,
        drain: &Drain,
    ) -> Result<(), Error> {
        let body = Some(written(drain)?);
        let (path, success) = ("/v1/drain", StatusCode::ACCEPTED);
        let method = Method::POST;
        self.change(server, Call { method, path, epoch: Some(epoch), body, success }).await
    }

    /// Offers orders again; an empty list only ends a drain that still runs. Returns [`Error::TooLarge`] for
    /// more orders than a request may have, and sends nothing then.
    pub async fn resume(
        &self,
        server: &Server<'_>,
        epoch: Epoch,
        orders: Vec<Order>,
    ) -> Result<(), Error> {
        let orders = List::try_from(orders).map_err(|error| Error::TooLarge(error.to_string()))?;
        let body = Some(written(&Resume { orders })?);
        let (path, success) = ("/v1/resume", StatusCode::NO_CONTENT);
        let method = Method::POST;
        self.change(server, Call { method, path, epoch: Some(epoch), body, success }).await
    }

    async fn change(&self, server: &Server<'_>, call: Call) -> Result<(), Error> {
        let answer = self.call(server, &call).await?;
        answer::changed(&call, &answer)
    }

    async fn call(&self, server: &Server<'_>, call: &Call) -> Result<Answer, Error> {
        let patience = if call.epoch.is_none() { OBSERVE_TIMEOUT } else { CHANGE_TIMEOUT };
        let asked = timeout(patience, self.authenticated(server, call)).await;
        asked.unwrap_or(Err(Error::Timeout(patience)))
    }

    /// Sends a call with a cached token, and once more with a new token if the server refuses the cached one.
    async fn authenticated(&self, server: &Server<'_>, call: &Call) -> Result<Answer, Error> {
        let account = self.account.as_ref().ok_or(Error::NoServiceAccount)?;
        let endpoint = Endpoint::find(&self.kube, server).await?;
        let audience = audience(server.holder);
        let (token, age) = self.tokens.get(&self.kube, account, &audience).await?;
        let answer = ask(&endpoint, call, &token).await?;
        if answer.status != StatusCode::UNAUTHORIZED || age == Age::New {
            return Ok(answer);
        }
        let token = self.tokens.renew(&self.kube, account, &audience).await?;
        ask(&endpoint, call, &token).await
    }
}

/// Sends a call, and sends it again after a failed or broken connection. A change may have been made by
/// then; repeating it has no further effect.
async fn ask(endpoint: &Endpoint, call: &Call, token: &Token) -> Result<Answer, Error> {
    let observes = call.epoch.is_none();
    let mut pauses = if observes { OBSERVE_PAUSES } else { CHANGE_PAUSES }.iter();
    loop {
        let outcome = exchange(endpoint, call, token).await;
        let (status, error) = match &outcome {
            Ok(answer) => (Some(answer.status.as_u16()), None),
            Err(error) => (None, Some(error.to_string())),
        };
        tracing::debug!(server = endpoint.host, path = call.path, status, error, "asked");
        let again = match &outcome {
            Err(error) => matches!(error, Error::Unreachable(_)),
            // A Retry-After is longer than the pauses: the next iteration comes after it.
            Ok(answer) => {
                observes
                    && answer.status == StatusCode::SERVICE_UNAVAILABLE
                    && !answer.headers.contains_key(header::RETRY_AFTER)
            }
        };
        match pauses.next() {
            Some(pause) if again => sleep(*pause).await,
            _ => return outcome,
        }
    }
}

fn written(body: &impl Serialize) -> Result<Bytes, Error> {
    // Types whose keys are all strings always make JSON.
    let body = serde_json::to_vec(body).map_err(|error| Error::Invalid(error.to_string()))?;
    if body.len() > LONGEST_BODY {
        let text = format!("its body has {} bytes of at most {LONGEST_BODY}", body.len());
        return Err(Error::TooLarge(text));
    }
    Ok(body.into())
}

/// Returns the API server's answer.
async fn cluster<T>(
    what: &'static str,
    asked: impl Future<Output = kube::Result<T>>,
) -> Result<T, Error> {
    let why = match timeout(CLUSTER_TIMEOUT, asked).await {
        Ok(Ok(answer)) => return Ok(answer),
        Ok(Err(error)) => cleaned(&message(&error)),
        Err(_) => format!("the API server did not answer within {} s", CLUSTER_TIMEOUT.as_secs()),
    };
    Err(Error::Cluster { what, why })
}
