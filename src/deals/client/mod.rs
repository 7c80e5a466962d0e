//! The operator's client of the Deals API: it holds no market's credentials, speaks to nobody but the
//! Service in the object's own namespace, and believes no answer that is not exactly as the contract
//! has it.
//!
//! The way through one call: [`service`] finds the server, [`token`] what it knows us by, [`exchange`]
//! asks, and [`answer`] says what it means.

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

/// How long a look may take in all: that of a SONM worker takes many calls.
const LOOK_TIMEOUT: Duration = Duration::from_mins(1);

/// How long a change may take in all.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long the API server may take for one request.
const CLUSTER_TIMEOUT: Duration = Duration::from_secs(10);

/// The pauses before a look is tried again. No more: whoever called comes again.
const LOOK_PAUSES: &[Duration] = &[Duration::from_millis(100), Duration::from_millis(400)];

/// A change is tried again once, and at once.
const CHANGE_PAUSES: &[Duration] = &[Duration::ZERO];

/// A client. Cheap to clone; clones share the tokens.
#[derive(Clone)]
pub struct Client {
    kube: Kube,
    account: Option<Account>,
    tokens: Arc<Tokens>,
}

/// Whom to ask.
#[derive(Clone, Copy, Debug)]
pub struct Server<'a> {
    /// The object that asks.
    pub holder: &'a Holder,
    /// Where its Deals API is served, in its own namespace.
    pub source: &'a SourceStatus,
}

/// What was seen, and when, by this machine's clock.
#[derive(Clone, Debug, PartialEq)]
pub struct Look {
    /// All that binds.
    pub commitments: Commitments,
    /// Before it was asked for.
    pub began: Timestamp,
    /// After the last of it was read.
    pub complete: Timestamp,
}

impl Client {
    /// One that is known by the tokens of an account. Without an account each call is
    /// [`Error::NoServiceAccount`].
    pub fn new(kube: Kube, account: impl Into<Option<Account>>) -> Self {
        Self { kube, account: account.into(), tokens: Arc::default() }
    }

    /// All that binds at the moment.
    pub async fn look(&self, server: &Server<'_>) -> Result<Look, Error> {
        let call = Call {
            method: Method::GET,
            path: "/v1/commitments",
            epoch: None,
            body: None,
            success: StatusCode::OK,
        };
        let answer = self.call(server, &call).await?;
        answer::look(&call, &answer)
    }

    /// Announces when the maintenance begins; `None` takes back what was announced.
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

    /// Has orders withdrawn, deals closed and tasks ended. The looks tell when it is done.
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

    /// Has orders offered again; none of them only ends a drain that still runs. More than a request may
    /// have is [`Error::TooLarge`], and nothing is sent.
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
        let patience = if call.epoch.is_none() { LOOK_TIMEOUT } else { CHANGE_TIMEOUT };
        let asked = timeout(patience, self.authenticated(server, call)).await;
        asked.unwrap_or(Err(Error::Timeout(patience)))
    }

    /// Asks with a token that is fresh enough; with a new one, once, where one that was kept is refused.
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

/// Asks, and asks again where the connection did not come about or broke without an answer. Whether a
/// change was made then is not known, and doesn't matter: each is the same made once or twice.
async fn ask(endpoint: &Endpoint, call: &Call, token: &Token) -> Result<Answer, Error> {
    let look = call.epoch.is_none();
    let mut pauses = if look { LOOK_PAUSES } else { CHANGE_PAUSES }.iter();
    loop {
        let outcome = exchange(endpoint, call, token).await;
        let (status, error) = match &outcome {
            Ok(answer) => (Some(answer.status.as_u16()), None),
            Err(error) => (None, Some(error.to_string())),
        };
        tracing::debug!(server = endpoint.host, path = call.path, status, error, "asked");
        let again = match &outcome {
            Err(error) => matches!(error, Error::Unreachable(_)),
            // Who says when to come again means it.
            Ok(answer) => {
                look && answer.status == StatusCode::SERVICE_UNAVAILABLE
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
        let text = format!("its body has {} bytes, and {LONGEST_BODY} is the most", body.len());
        return Err(Error::TooLarge(text));
    }
    Ok(body.into())
}

/// What the API server answers.
async fn cluster<T>(
    what: &'static str,
    asked: impl Future<Output = kube::Result<T>>,
) -> Result<T, Error> {
    let why = match timeout(CLUSTER_TIMEOUT, asked).await {
        Ok(Ok(answer)) => return Ok(answer),
        Ok(Err(error)) => cleaned(&message(&error)),
        Err(_) => format!("no answer of the API server in {} s", CLUSTER_TIMEOUT.as_secs()),
    };
    Err(Error::Cluster { what, why })
}
