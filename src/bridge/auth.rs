//! Authentication: a request carries a service account's token for exactly this bridge, which is
//! verified offline with the cluster's published keys.
//!
//! `jsonwebtoken` parses keys, tokens and claims. `ring` verifies the signatures by hand below, because
//! the crate's own backends would bring a second crypto library beside the `ring` of rustls.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, header};
use jsonwebtoken::crypto::{CryptoProvider, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{ErrorKind, new_error};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::signature::{self, Verifier as SignatureVerifier};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind, Validation};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde::Deserialize;

use crate::deals::files;
use crate::deals::problem::{Problem, ProblemType};

/// Tokens with unknown keys make the bridge read the file at most this often.
const READ_EVERY: Duration = Duration::from_secs(1);

/// The bridge reads the file again after this time, so that it stops accepting a withdrawn key.
const STALE_AFTER: Duration = Duration::from_mins(1);

/// Tolerated clock skew in seconds.
const LEEWAY: u64 = 10;

/// Maximum length of a token in bytes.
const LONGEST_TOKEN: usize = 16 * 1024;

/// Verifies with `ring`. A bridge never signs, so there is no signer.
static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| Err(new_error(ErrorKind::UnsupportedAlgorithm)),
    verifier_factory: |algorithm, key| {
        Ok(Box::new(RingVerifier { algorithm: *algorithm, key: key.kind().clone() }))
    },
    key_utils: KeyUtils::new_unimplemented(),
};

struct RingVerifier {
    algorithm: Algorithm,
    key: DecodingKeyKind,
}

impl JwtVerifier for RingVerifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

impl SignatureVerifier<Vec<u8>> for RingVerifier {
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

/// The claims that a token must carry.
#[derive(Clone, Debug)]
pub(super) struct Expected {
    pub(super) audience: String,
    pub(super) issuer: String,
    pub(super) subject: String,
}

impl Expected {
    /// Returns whether a claim is empty, which would weaken the check.
    pub(super) fn has_empty(&self) -> bool {
        [&self.audience, &self.issuer, &self.subject].iter().any(|text| text.is_empty())
    }
}

/// Where the cluster's public keys come from.
#[derive(Clone, Debug)]
pub(super) enum KeySource {
    /// The value of `--jwks`. Nothing but a new start changes it.
    Given(String),
    /// A file, which is read again as it changes.
    File(PathBuf),
}

impl KeySource {
    /// Returns the source in the folder of `--config-dir`.
    pub(super) fn folder(folder: &Path) -> Self {
        Self::File(folder.join(files::KEYS))
    }
}

#[derive(Debug)]
pub(super) struct Verifier {
    /// None if the keys never change.
    file: Option<PathBuf>,
    expected: Expected,
    keys: Mutex<Keys>,
}

#[derive(Debug, Default)]
struct Keys {
    by_id: HashMap<String, (Algorithm, DecodingKey)>,
    read: Option<Instant>,
}

/// A JSON Web Key Set. `JwkSet` would refuse the whole set for one malformed key; here a key that the
/// bridge cannot use is skipped.
#[derive(Deserialize)]
struct PublishedKeys {
    keys: Vec<serde_json::Value>,
}

/// Parses a key set. Returns its usable keys by ID.
fn parsed(set: &[u8]) -> Result<HashMap<String, (Algorithm, DecodingKey)>, &'static str> {
    let published: PublishedKeys =
        serde_json::from_slice(set).map_err(|_| "not a JSON Web Key Set")?;
    let keys = published.keys.into_iter();
    let keys = keys.filter_map(|key| serde_json::from_value::<Jwk>(key).ok());
    Ok(keys.filter_map(usable).collect())
}

/// Returns the key with its ID and the one algorithm that it verifies, or `None` for a key of another
/// type or use.
fn usable(key: Jwk) -> Option<(String, (Algorithm, DecodingKey))> {
    let (algorithm, name) = match &key.algorithm {
        AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
        AlgorithmParameters::EllipticCurve(parameters)
            if parameters.curve == EllipticCurve::P256 =>
        {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        _ => return None,
    };
    let decoding_key = DecodingKey::from_jwk(&key).ok()?;
    let common = key.common;
    let fits = common.key_algorithm.is_none_or(|algorithm| algorithm == name)
        && common.public_key_use.is_none_or(|usage| usage == PublicKeyUse::Signature);
    common.key_id.filter(|_| fits).map(|id| (id, (algorithm, decoding_key)))
}

/// The claim that [`Verifier::verify`] checks itself; [`Validation`] checks the others.
#[derive(Deserialize)]
struct Claims {
    aud: serde_json::Value,
}

impl Verifier {
    /// Creates a verifier. Fails for a given key set without a usable key. A file may get its keys later.
    pub(super) fn new(source: KeySource, expected: Expected) -> Result<Self, &'static str> {
        // This fails where another verifier of the process has installed the provider already.
        let _ = PROVIDER.install_default();
        let file = match source {
            KeySource::File(file) => file,
            KeySource::Given(set) => {
                let by_id = parsed(set.as_bytes())?;
                if by_id.is_empty() {
                    return Err("it has no key for RS256 or ES256");
                }
                let keys = Mutex::new(Keys { by_id, read: None });
                return Ok(Self { file: None, expected, keys });
            }
        };
        let verifier = Self { file: Some(file), expected, keys: Mutex::default() };
        if !verifier.has_keys() {
            tracing::warn!(
                file = files::KEYS,
                "the key file has no usable key yet: the bridge refuses every token"
            );
        }
        Ok(verifier)
    }

    /// Returns whether the bridge has a key to verify tokens with.
    pub(super) fn has_keys(&self) -> bool {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.by_id.is_empty() {
            self.read(&mut keys);
        }
        !keys.by_id.is_empty()
    }

    /// Returns an error unless the request carries a valid token.
    pub(super) fn verify(&self, headers: &HeaderMap) -> Result<(), Problem> {
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
            return refused(
                "the request lacks a token: send exactly one header `Authorization: Bearer TOKEN`",
            );
        };
        if token.len() > LONGEST_TOKEN {
            return refused("the token is longer than 16 KiB");
        }
        let Ok(header) = jsonwebtoken::decode_header(token) else {
            return refused("the token is not a JSON Web Token signed with RS256 or ES256");
        };
        if !matches!(header.alg, Algorithm::RS256 | Algorithm::ES256) || header.crit.is_some() {
            return refused("the token is not a JSON Web Token signed with RS256 or ES256");
        }
        let Some(id) = header.kid else { return refused("the token's header has no key ID (kid)") };
        let Some((algorithm, key)) = self.key(&id) else {
            return Err(ProblemType::UnknownKey.because(if self.file.is_some() {
                "the token's key is not in jwks.json: update the file from /openid/v1/jwks"
            } else {
                "the token's key is not in --jwks: start the bridge with the keys of /openid/v1/jwks"
            }));
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
            Err(error) => return refused(cause(error.kind())),
        };
        // One bridge could replay a token for several bridges to another bridge.
        let alone = claims.aud.as_array().is_none_or(|all| all.len() == 1);
        if alone { Ok(()) } else { refused("the token has more than one audience") }
    }

    fn key(&self, id: &str) -> Option<(Algorithm, DecodingKey)> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let stale = keys.read.is_none_or(|read| read.elapsed() > STALE_AFTER);
        if stale || !keys.by_id.contains_key(id) {
            self.read(&mut keys);
        }
        keys.by_id.get(id).cloned()
    }

    /// Reads the file, at most once in [`READ_EVERY`]. A file that cannot be read leaves the keys as
    /// they were.
    fn read(&self, keys: &mut Keys) {
        let Some(file) = &self.file else { return };
        if keys.read.is_some_and(|read| read.elapsed() < READ_EVERY) {
            return;
        }
        keys.read = Some(Instant::now());
        let read = std::fs::read(file).map_err(|error| error.kind().to_string());
        match read.and_then(|text| parsed(&text).map_err(str::to_owned)) {
            Err(problem) => tracing::warn!(
                file = files::KEYS,
                problem,
                "the key file cannot be read: the bridge keeps the keys that it has"
            ),
            Ok(by_id) => {
                keys.by_id = by_id;
                tracing::info!(file = files::KEYS, keys = keys.by_id.len(), "keys read");
            }
        }
    }
}

/// Returns the message for a token that the library refuses, without a part of the token.
fn cause(error: &ErrorKind) -> &'static str {
    match error {
        ErrorKind::ExpiredSignature => "the token has expired",
        ErrorKind::ImmatureSignature => "the token is not valid yet (nbf): compare the clocks",
        ErrorKind::InvalidAudience => "the token is for another audience",
        ErrorKind::InvalidIssuer => "the token is from another issuer",
        ErrorKind::InvalidSubject => "the token belongs to another service account",
        ErrorKind::InvalidAlgorithm => "the token's algorithm does not match its key",
        ErrorKind::InvalidSignature => "the token's signature does not match its key",
        ErrorKind::MissingRequiredClaim(_) => {
            "the token lacks one of the claims exp, nbf, aud, iss and sub"
        }
        _ => "the token cannot be parsed",
    }
}
