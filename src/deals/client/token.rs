//! Tokens of the operator's own service account, one for each object, cached in memory.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::{HeaderValue, Request, header};
use kube::Client;
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use super::{Error, cluster};
use crate::apiserver::request::{code, message};
use crate::deals::types::{MEDIA_TYPE, cleaned};
use crate::hold::record::Holder;

/// Requested lifetime of a token: the shortest that Kubernetes permits.
const SECONDS: u64 = 600;

const SCHEME: &str = "Bearer ";

/// A service account.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Account {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// The text is not `NAMESPACE/NAME`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("write it as NAMESPACE/NAME, for example torpor-system/torpor")]
pub struct NotAnAccount;

impl FromStr for Account {
    type Err = NotAnAccount;

    fn from_str(text: &str) -> Result<Self, NotAnAccount> {
        let fits = |part: &str| {
            part.starts_with(|first: char| first.is_ascii_alphanumeric())
                && part.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.'))
        };
        match text.split_once('/') {
            Some((namespace, name)) if fits(namespace) && fits(name) => {
                Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() })
            }
            _ => Err(NotAnAccount),
        }
    }
}

/// Returns the audience of the one server that may accept a token: a tenant cannot use a token it has seen
/// at another tenant's server.
pub fn audience(holder: &Holder) -> String {
    format!("deals.torpor.dev/{}/{}/{}", holder.namespace, holder.kind, holder.name)
}

/// The header `Authorization`, marked sensitive so that no log shows it.
#[derive(Clone, Debug)]
pub(super) struct Token(HeaderValue);

impl Token {
    fn new(token: &str) -> Option<Self> {
        let mut header = HeaderValue::from_str(&format!("{SCHEME}{token}")).ok()?;
        header.set_sensitive(true);
        (!token.is_empty()).then_some(Self(header))
    }

    /// Returns the header's value.
    pub(super) fn header(&self) -> HeaderValue {
        self.0.clone()
    }

    /// Returns whether a text repeats the token. Messages may quote such a text.
    pub(super) fn is_in(&self, text: &[u8]) -> bool {
        let secret = &self.0.as_bytes()[SCHEME.len()..];
        text.windows(secret.len()).any(|part| part == secret)
    }
}

/// Whether a token is from the cache.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Age {
    Kept,
    New,
}

/// The cached tokens, by audience.
#[derive(Debug, Default)]
pub(super) struct Tokens(Mutex<HashMap<String, Kept>>);

#[derive(Debug)]
struct Kept {
    token: Token,
    /// End of about half the token's lifetime; it is replaced then.
    until: Instant,
}

/// The fields of a `TokenRequest` (authentication.k8s.io/v1) that are read.
#[derive(Deserialize)]
struct Answer {
    spec: Spec,
    status: Status,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    expiration_seconds: u64,
}

#[derive(Deserialize)]
struct Status {
    token: String,
}

impl Tokens {
    /// Returns a token for an audience, from the cache if it is fresh enough.
    pub(super) async fn get(
        &self,
        kube: &Client,
        account: &Account,
        audience: &str,
    ) -> Result<(Token, Age), Error> {
        let kept = self.locked().get(audience).map(|kept| (kept.token.clone(), kept.until));
        match kept {
            Some((token, until)) if Instant::now() < until => Ok((token, Age::Kept)),
            _ => Ok((self.renew(kube, account, audience).await?, Age::New)),
        }
    }

    /// Requests a new token for an audience.
    pub(super) async fn renew(
        &self,
        kube: &Client,
        account: &Account,
        audience: &str,
    ) -> Result<Token, Error> {
        let asked = Instant::now();
        let (token, life) = request(kube, account, audience).await?;
        let mut all = self.locked();
        all.retain(|_, kept| asked < kept.until);
        all.insert(audience.to_owned(), Kept { token: token.clone(), until: asked + life / 2 });
        Ok(token)
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<String, Kept>> {
        // The map is valid even after a panic elsewhere.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Requests a token from the API server. Returns the token and its lifetime.
async fn request(
    kube: &Client,
    account: &Account,
    audience: &str,
) -> Result<(Token, Duration), Error> {
    const WHAT: &str = "requesting a token";
    let failed = |why: &str| Error::Cluster { what: WHAT, why: why.to_owned() };
    let body = json!({
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"audiences": [audience], "expirationSeconds": SECONDS},
    });
    let Account { namespace, name } = account;
    let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token");
    let request = Request::post(path)
        .header(header::CONTENT_TYPE, MEDIA_TYPE)
        .body(body.to_string().into_bytes())
        .map_err(|_| failed("the request cannot be written"))?;
    // As text: the typed client would log an answer that it cannot parse, with the token.
    let asked = cluster(WHAT, async {
        match kube.request_text(request).await {
            Err(no) if matches!(code(&no), Some(400 | 403 | 404 | 422)) => {
                Ok(Err(cleaned(&message(&no))))
            }
            other => other.map(Ok),
        }
    });
    let refused = |why| Error::TokenRefused { account: account.to_string(), why };
    let text = asked.await?.map_err(refused)?;
    let answer: Answer = serde_json::from_str(&text)
        .map_err(|_| failed("the API server's answer holds no token"))?;
    let token = Token::new(&answer.status.token)
        .ok_or_else(|| failed("the API server's token is empty or no header value"))?;
    Ok((token, Duration::from_secs(answer.spec.expiration_seconds.min(SECONDS))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_a_namespace_and_a_name() {
        let account: Account = "torpor-system/torpor".parse().unwrap();
        assert_eq!(
            (account.namespace.as_str(), account.name.as_str()),
            ("torpor-system", "torpor")
        );
        assert_eq!(account.to_string(), "torpor-system/torpor");
        for text in ["torpor", "", "/", "a/", "/b", "a/b/c", "a/../b", "a/..", "A/b", "a/b?"] {
            assert_eq!(text.parse::<Account>(), Err(NotAnAccount), "{text}");
        }
    }
}
