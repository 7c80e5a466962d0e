//! Keys and issuer of the cluster's tokens, as the API server publishes them.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use kube::Client;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Error;
use crate::apiserver::request::call;

/// Path at which the API server publishes the issuer of its tokens (`OpenID` Connect Discovery 1.0).
const DISCOVERY: &str = "/.well-known/openid-configuration";
/// Path at which the API server publishes the keys of its tokens.
const KEYS: &str = "/openid/v1/jwks";
/// Most bytes of a key set. Linux limits a variable of the environment to 128 KiB.
const LONGEST: usize = 96 * 1024;
/// The operator reads the keys again after this time, so that bridges stop accepting a withdrawn key.
const STALE_AFTER: Duration = Duration::from_mins(5);
/// Bridges that do not know a key make the operator read the keys again at most this often.
const READ_EVERY: Duration = Duration::from_secs(5);

/// The cluster's published keys, and the issuer of its tokens.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Keys {
    /// The key set, as JSON.
    pub(super) jwks: String,
    /// The issuer.
    pub(super) issuer: String,
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
}

impl Keys {
    /// Parses the API server's answers. The same keys in another order give the same set, as another set
    /// restarts every bridge.
    fn published(discovery: &str, jwks: &str) -> Result<Self, &'static str> {
        let discovery: Discovery = serde_json::from_str(discovery)
            .map_err(|_| "the API server's discovery document names no issuer")?;
        if discovery.issuer.is_empty() {
            return Err("the API server's discovery document names no issuer");
        }
        let set: Value = serde_json::from_str(jwks).unwrap_or_default();
        let keys = set["keys"].as_array().filter(|keys| !keys.is_empty());
        let mut keys = keys.ok_or("the API server publishes no key")?.clone();
        keys.sort_by_key(ToString::to_string);
        let jwks = json!({"keys": keys}).to_string();
        if jwks.len() > LONGEST {
            return Err("the API server's key set is longer than 96 KiB");
        }
        Ok(Self { jwks, issuer: discovery.issuer })
    }
}

/// The published keys as this process has last read them, for all bridges.
#[derive(Debug, Default)]
pub struct PublishedKeys(Mutex<Option<(Instant, Keys)>>);

impl PublishedKeys {
    /// Returns the keys. Reads them from the API server if the last read is too old, and with `refresh` also if it is
    /// older than some seconds.
    pub(super) async fn get(&self, client: &Client, refresh: bool) -> Result<Keys, Error> {
        let most = if refresh { READ_EVERY } else { STALE_AFTER };
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((_, keys)) = known.filter(|(read, _)| read.elapsed() < most) {
            return Ok(keys);
        }
        let began = Instant::now();
        let get = async |path: &str| {
            let request = http::Request::get(path).body(Vec::new());
            let request = request.map_err(|error| Error::Keys(error.to_string()))?;
            Ok::<_, Error>(call("the cluster's keys", client.request_text(request)).await?)
        };
        let (discovery, jwks) = futures::try_join!(get(DISCOVERY), get(KEYS))?;
        let keys =
            Keys::published(&discovery, &jwks).map_err(|text| Error::Keys(text.to_owned()))?;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((began, keys.clone()));
        Ok(keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = r#"{"issuer": "https://a", "jwks_uri": "https://b"}"#;
    const SET: &str = r#"{"keys":[{"kid":"a"},{"kid":"b"}]}"#;

    #[test]
    fn what_cannot_verify_anything_is_not_taken_for_keys() {
        let keys = Keys::published(ANSWER, SET).unwrap();
        assert_eq!((keys.issuer.as_str(), keys.jwks.as_str()), ("https://a", SET));
        for set in ["", "{}", r#"{"keys": []}"#, r#"{"keys": "none"}"#] {
            assert!(Keys::published(ANSWER, set).is_err(), "{set}");
        }
        assert!(Keys::published(r#"{"issuer": ""}"#, SET).is_err());
        assert!(Keys::published("{}", SET).is_err());
        let long = SET.replace("\"b\"", &format!("\"{}\"", "b".repeat(LONGEST)));
        assert!(Keys::published(ANSWER, &long).unwrap_err().contains("longer"));
    }

    #[test]
    fn the_same_keys_in_another_order_restart_no_bridge() {
        let other = r#"{"keys": [{"kid": "b"}, {"kid": "a"}], "more": 1}"#;
        assert_eq!(Keys::published(ANSWER, other), Keys::published(ANSWER, SET));
        let more = r#"{"keys": [{"kid": "b"}]}"#;
        assert_ne!(Keys::published(ANSWER, more), Keys::published(ANSWER, SET));
    }
}
