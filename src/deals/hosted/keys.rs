//! Keys and issuer of the cluster's tokens, as the API server publishes them and a bridge's ConfigMap keeps
//! them.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::deals::files;

/// Key of the ConfigMap for the issuer.
pub(super) const ISSUER: &str = "issuer";
/// Most bytes of a key set. A ConfigMap holds at most 1 MiB.
const LONGEST: usize = 256 * 1024;

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
    /// Parses the API server's answers.
    pub(super) fn published(discovery: &str, jwks: String) -> Result<Self, &'static str> {
        let discovery: Discovery = serde_json::from_str(discovery)
            .map_err(|_| "the API server's discovery document names no issuer")?;
        if jwks.len() > LONGEST {
            return Err("the API server's key set is longer than 256 KiB");
        }
        let keys = Self { jwks, issuer: discovery.issuer };
        if keys.usable() { Ok(keys) } else { Err("the API server publishes no key") }
    }

    /// Parses the data of a ConfigMap. Returns `None` for missing or unusable data.
    pub(super) fn kept(data: &BTreeMap<String, String>) -> Option<Self> {
        let text = |key: &str| data.get(key).cloned();
        let keys = Self { jwks: text(files::KEYS)?, issuer: text(ISSUER)? };
        keys.usable().then_some(keys)
    }

    fn usable(&self) -> bool {
        let set: Option<Value> = serde_json::from_str(&self.jwks).ok();
        let keys = set.as_ref().and_then(|set| set["keys"].as_array());
        !self.issuer.is_empty() && keys.is_some_and(|keys| !keys.is_empty())
    }
}

/// Returns the epoch in the data of a ConfigMap.
pub(super) fn epoch(data: &BTreeMap<String, String>) -> Option<i32> {
    data.get(files::EPOCH)?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = r#"{"issuer": "https://a", "jwks_uri": "https://b"}"#;
    const SET: &str = r#"{"keys": [{"kid": "k"}]}"#;

    #[test]
    fn what_cannot_verify_anything_is_not_taken_for_keys() {
        let keys = Keys::published(ANSWER, SET.to_owned()).unwrap();
        assert_eq!((keys.issuer.as_str(), keys.jwks.as_str()), ("https://a", SET));
        for set in ["", "{}", r#"{"keys": []}"#, r#"{"keys": "none"}"#] {
            assert!(Keys::published(ANSWER, set.to_owned()).is_err(), "{set}");
        }
        assert!(Keys::published(r#"{"issuer": ""}"#, SET.to_owned()).is_err());
        assert!(Keys::published("{}", SET.to_owned()).is_err());
        let long = format!("{SET}{}", " ".repeat(LONGEST));
        assert!(Keys::published(ANSWER, long).unwrap_err().contains("longer"));
    }

    #[test]
    fn what_is_missing_from_the_config_map_is_read_anew() {
        let data = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        let all = data(&[(files::KEYS, SET), (ISSUER, "https://a"), (files::EPOCH, "7\n")]);
        assert!(Keys::kept(&all).is_some());
        assert_eq!(epoch(&all), Some(7));
        assert!(Keys::kept(&data(&[(files::KEYS, SET)])).is_none());
        assert!(Keys::kept(&data(&[(ISSUER, "https://a")])).is_none());
        assert!(Keys::kept(&data(&[(files::KEYS, "no"), (ISSUER, "https://a")])).is_none());
        assert_eq!(epoch(&data(&[(files::EPOCH, "many")])), None);
    }
}
