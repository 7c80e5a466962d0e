//! Tokens of a cluster, and forged ones.

use std::process::Command;
use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use ring::{digest, hmac};
use serde_json::{Value, json};

pub(crate) const AUDIENCE: &str = "deals.torpor.dev/shop/MaintenanceWindow/worker";
pub(crate) const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
pub(crate) const SUBJECT: &str = "system:serviceaccount:torpor-system:torpor";

fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A key that signs tokens.
pub(crate) enum Key {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
}

impl Key {
    /// Returns the cluster's RSA key. It is generated once, as that is slow.
    pub(crate) fn rsa() -> &'static Self {
        static KEY: OnceLock<Key> = OnceLock::new();
        KEY.get_or_init(|| {
            let made = Command::new("sh")
                .args(["-c", "openssl genrsa 2048 | openssl pkcs8 -topk8 -nocrypt -outform DER"])
                .output()
                .unwrap();
            Self::Rsa(RsaKeyPair::from_pkcs8(&made.stdout).unwrap())
        })
    }

    pub(crate) fn new_ec() -> Self {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let made = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        Self::Ec(EcdsaKeyPair::from_pkcs8(algorithm, made.as_ref(), &random).unwrap())
    }

    /// Returns the key ID as Kubernetes derives it from the public key.
    pub(crate) fn id(&self) -> String {
        let public = match self {
            Self::Rsa(key) => key.public().as_ref().to_vec(),
            Self::Ec(key) => key.public_key().as_ref().to_vec(),
        };
        base64(digest::digest(&digest::SHA256, &public))
    }

    fn algorithm(&self) -> &'static str {
        match self {
            Self::Rsa(_) => "RS256",
            Self::Ec(_) => "ES256",
        }
    }

    /// Returns the public key as a JWK.
    pub(crate) fn published(&self) -> Value {
        let mut key = json!({"use": "sig", "kid": self.id(), "alg": self.algorithm()});
        match self {
            Self::Rsa(pair) => {
                let public = PublicKeyComponents::<Vec<u8>>::from(pair.public());
                key["kty"] = json!("RSA");
                key["n"] = json!(base64(public.n));
                key["e"] = json!(base64(public.e));
            }
            Self::Ec(pair) => {
                let point = pair.public_key().as_ref();
                key["kty"] = json!("EC");
                key["crv"] = json!("P-256");
                key["x"] = json!(base64(&point[1..33]));
                key["y"] = json!(base64(&point[33..]));
            }
        }
        key
    }

    pub(crate) fn header(&self) -> Value {
        json!({"alg": self.algorithm(), "kid": self.id()})
    }

    /// Signs any header and claims.
    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        let message = message(header, claims);
        let random = SystemRandom::new();
        let signature = match self {
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message.as_bytes(), &mut signature).unwrap();
                signature
            }
            Self::Ec(key) => key.sign(&random, message.as_bytes()).unwrap().as_ref().to_vec(),
        };
        format!("{message}.{}", base64(signature))
    }

    /// Returns a valid token.
    pub(crate) fn token(&self) -> String {
        self.sign(&self.header(), &claims())
    }

    /// Returns a token signed by HMAC with the public key as the secret: a known attack.
    pub(crate) fn by_hmac(&self) -> String {
        let mut header = self.header();
        header["alg"] = json!("HS256");
        let Self::Rsa(key) = self else { panic!("an RSA key") };
        let message = message(&header, &claims());
        let secret = hmac::Key::new(hmac::HMAC_SHA256, key.public().as_ref());
        format!("{message}.{}", base64(hmac::sign(&secret, message.as_bytes())))
    }

    /// Returns a token without a signature.
    pub(crate) fn unsigned(&self, algorithm: &str) -> String {
        let mut header = self.header();
        header["alg"] = json!(algorithm);
        format!("{}.", message(&header, &claims()))
    }
}

/// Returns a JWKS of these keys.
pub(crate) fn set(keys: &[&Key]) -> String {
    json!({"keys": keys.iter().map(|key| key.published()).collect::<Vec<_>>()}).to_string()
}

/// Returns the claims of a service account's token.
pub(crate) fn claims() -> Value {
    let now = Timestamp::now().as_second();
    json!({
        "aud": [AUDIENCE], "iss": ISSUER, "sub": SUBJECT,
        "iat": now, "nbf": now, "exp": now + 600, "jti": "6a1c",
        "kubernetes.io": {"namespace": "torpor-system"},
    })
}

pub(crate) fn with(key: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[key] = value;
    claims
}

pub(crate) fn without(key: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(key).unwrap();
    claims
}

fn message(header: &Value, claims: &Value) -> String {
    format!("{}.{}", base64(header.to_string()), base64(claims.to_string()))
}
