//! Who may ask: the bearer of a service account's token for exactly this bridge, verified offline by
//! the cluster's published keys.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, header};
use jsonwebtoken::crypto::{CryptoProvider, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{ErrorKind, new_error};
use jsonwebtoken::signature::{self, Verifier as Signature};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind, Validation};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde::Deserialize;

use crate::deals::files;
use crate::deals::problem::{Problem, ProblemType};

/// The file is read for an unknown key no more often than this.
const READ_EVERY: Duration = Duration::from_secs(1);

/// The file is read again after this, so that a key that was withdrawn is not accepted for ever.
const STALE_AFTER: Duration = Duration::from_mins(1);

/// Seconds by which clocks may differ.
const LEEWAY: u64 = 10;

/// Longest token that is looked at.
const LONGEST_TOKEN: usize = 16 * 1024;

/// Verifies with `ring`; there is nothing here that signs.
static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| Err(new_error(ErrorKind::UnsupportedAlgorithm)),
    verifier_factory: |algorithm, key| {
        Ok(Box::new(ByRing { algorithm: *algorithm, key: key.kind().clone() }))
    },
    key_utils: KeyUtils::new_unimplemented(),
};

/// A key and the one algorithm that it is for.
struct ByRing {
    algorithm: Algorithm,
    key: DecodingKeyKind,
}

impl JwtVerifier for ByRing {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

impl Signature<Vec<u8>> for ByRing {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        let verified = match (self.algorithm, &self.key) {
            (Algorithm::RS256, DecodingKeyKind::RsaModulusExponent { n, e }) => {
                RsaPublicKeyComponents { n, e }.verify(
                    &RSA_PKCS1_2048_8192_SHA256,
                    message,
                    signature,
                )
            }
            (Algorithm::ES256, DecodingKeyKind::SecretOrDer(point)) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature)
            }
            _ => Err(ring::error::Unspecified),
        };
        verified.map_err(|_| signature::Error::new())
    }
}

/// What a token must say.
#[derive(Clone, Debug)]
pub struct Expected {
    /// Its only audience.
    pub audience: String,
    /// Its issuer.
    pub issuer: String,
    /// Its subject.
    pub subject: String,
}

impl Expected {
    /// Whether something is missing, so that anything might pass.
    pub fn has_empty(&self) -> bool {
        [&self.audience, &self.issuer, &self.subject].iter().any(|text| text.is_empty())
    }
}

/// Verifies tokens.
#[derive(Debug)]
pub struct Verifier {
    file: PathBuf,
    expected: Expected,
    keys: Mutex<Keys>,
}

#[derive(Debug, Default)]
struct Keys {
    by_id: HashMap<String, (Algorithm, DecodingKey)>,
    read: Option<Instant>,
}

/// A set as it is published. Keys of other kinds may be in it; they are passed over.
#[derive(Deserialize)]
struct PublishedKeys {
    keys: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct PublishedKey {
    kid: String,
    kty: String,
    #[serde(rename = "use")]
    usage: Option<String>,
    alg: Option<String>,
    n: Option<String>,
    e: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl PublishedKey {
    fn usable(&self) -> Option<(Algorithm, DecodingKey)> {
        let (algorithm, key) = match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => (
                Algorithm::RS256,
                DecodingKey::from_rsa_components(self.n.as_deref()?, self.e.as_deref()?),
            ),
            ("EC", Some("P-256")) => (
                Algorithm::ES256,
                DecodingKey::from_ec_components(self.x.as_deref()?, self.y.as_deref()?),
            ),
            _ => return None,
        };
        let name = if algorithm == Algorithm::RS256 { "RS256" } else { "ES256" };
        let for_this = self.alg.as_deref().is_none_or(|alg| alg == name)
            && self.usage.as_deref().is_none_or(|usage| usage == "sig");
        Some((algorithm, key.ok().filter(|_| for_this)?))
    }
}

/// The claim that is looked at here; the others are checked by [`Validation`].
#[derive(Deserialize)]
struct Claims {
    aud: serde_json::Value,
}

impl Verifier {
    /// With the keys in that folder.
    pub fn new(folder: &Path, expected: Expected) -> Self {
        // Another verifier of this process may have done it before.
        let _ = PROVIDER.install_default();
        let verifier = Self { file: folder.join(files::KEYS), expected, keys: Mutex::default() };
        if !verifier.has_keys() {
            tracing::warn!(file = files::KEYS, "there is no usable key yet");
        }
        verifier
    }

    /// Whether there is any key to verify with.
    pub fn has_keys(&self) -> bool {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.by_id.is_empty() {
            self.read(&mut keys);
        }
        !keys.by_id.is_empty()
    }

    /// Whether the request may be answered.
    pub fn verify(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let refused = |why: &str| Err(ProblemType::Unauthenticated.because(why));
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        let Some(token) = values
            .next()
            .filter(|_| values.next().is_none())
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim())
        else {
            return refused("one header Authorization: Bearer TOKEN is needed");
        };
        if token.len() > LONGEST_TOKEN {
            return refused("the token is too long");
        }
        let Ok(header) = jsonwebtoken::decode_header(token) else {
            return refused("the token is no JSON Web Token signed by RS256 or ES256");
        };
        if !matches!(header.alg, Algorithm::RS256 | Algorithm::ES256) || header.crit.is_some() {
            return refused("the token is no JSON Web Token signed by RS256 or ES256");
        }
        let Some(id) = header.kid else { return refused("the token names no key") };
        let Some((algorithm, key)) = self.key(&id) else {
            return Err(ProblemType::UnknownKey.because("its key is not in jwks.json"));
        };

        let mut validation = Validation::new(algorithm);
        validation.set_required_spec_claims(&["exp", "nbf", "aud", "iss", "sub"]);
        validation.set_audience(&[&self.expected.audience]);
        validation.set_issuer(&[&self.expected.issuer]);
        validation.sub = Some(self.expected.subject.clone());
        validation.validate_nbf = true;
        validation.leeway = LEEWAY;
        let claims: Claims = match jsonwebtoken::decode(token, &key, &validation) {
            Ok(token) => token.claims,
            Err(error) => return refused(in_words(error.kind())),
        };
        // One for several bridges could be passed on from one to the other.
        let alone = claims.aud.as_array().is_none_or(|all| all.len() == 1);
        if alone { Ok(()) } else { refused("the token is for other audiences as well") }
    }

    fn key(&self, id: &str) -> Option<(Algorithm, DecodingKey)> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let stale = keys.read.is_none_or(|read| read.elapsed() > STALE_AFTER);
        if stale || !keys.by_id.contains_key(id) {
            self.read(&mut keys);
        }
        keys.by_id.get(id).cloned()
    }

    /// Reads the file, unless that was a moment ago. What cannot be read changes nothing.
    fn read(&self, keys: &mut Keys) {
        if keys.read.is_some_and(|read| read.elapsed() < READ_EVERY) {
            return;
        }
        keys.read = Some(Instant::now());
        let published =
            std::fs::read(&self.file).map_err(|error| error.kind().to_string()).and_then(|text| {
                serde_json::from_slice::<PublishedKeys>(&text).map_err(|_| "no key set".to_owned())
            });
        match published {
            Err(problem) => tracing::warn!(file = files::KEYS, problem, "the keys cannot be read"),
            Ok(published) => {
                keys.by_id = published
                    .keys
                    .into_iter()
                    .filter_map(|key| serde_json::from_value::<PublishedKey>(key).ok())
                    .filter_map(|key| Some((key.kid.clone(), key.usable()?)))
                    .collect();
                tracing::info!(file = files::KEYS, keys = keys.by_id.len(), "keys read");
            }
        }
    }
}

fn in_words(error: &ErrorKind) -> &'static str {
    match error {
        ErrorKind::ExpiredSignature => "the token has expired",
        ErrorKind::ImmatureSignature => "the token is not valid yet",
        ErrorKind::InvalidAudience => "the token is for another audience",
        ErrorKind::InvalidIssuer => "the token is of another issuer",
        ErrorKind::InvalidSubject => "the token is of another account",
        ErrorKind::InvalidAlgorithm => "the token's algorithm is not that of its key",
        ErrorKind::InvalidSignature => "the token's signature is not that of its key",
        ErrorKind::MissingRequiredClaim(_) => "the token lacks one of exp, nbf, aud, iss, sub",
        _ => "the token cannot be read",
    }
}
