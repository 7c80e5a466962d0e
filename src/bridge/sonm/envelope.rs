//! The encryption of a SONM Node's REST interface: 16 random bytes, then AES-256 in CFB mode with
//! segments of 128 bits. There is no authentication tag: a wrong key decrypts to random bytes.

use std::fmt;

use aes::Aes256;
use aes::cipher::KeyIvInit as _;
use ring::rand::{SecureRandom as _, SystemRandom};
use sha2::{Digest as _, Sha256};

use crate::bridge::signature::Secret;

const KEY_LENGTH: usize = 32;
const IV_LENGTH: usize = 16;

/// The order of the curve secp256k1: a private key is a number from 1 to one less.
const ORDER: [u8; KEY_LENGTH] = [
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe,
    0xba, 0xae, 0xdc, 0xe6, 0xaf, 0x48, 0xa0, 0x3b, 0xbf, 0xd2, 0x5e, 0x8c, 0xd0, 0x36, 0x41, 0x41,
];

/// The error for a key file that cannot be used. It holds no byte of the file.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum KeyError {
    /// The file is an encrypted keystore.
    #[error(
        "the key file is a JSON keystore, which needs a passphrase: put the plain key, 64 hexadecimal \
         digits, into the file instead (go-ethereum's `ethkey inspect --private KEYSTORE` shows it)"
    )]
    Keystore,
    /// The file has another form.
    #[error("the key file does not hold a private key: 64 hexadecimal digits, with or without 0x")]
    Form,
    /// The number is zero, or too large.
    #[error("the number in the key file is not a private key of the curve secp256k1")]
    Range,
}

/// The system's random number generator failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the system's random number generator failed")]
pub(super) struct RandomError;

/// Encrypts and decrypts messages.
#[derive(Clone)]
pub(super) struct Envelope {
    key: [u8; 32],
}

impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Envelope")
    }
}

impl Envelope {
    /// Creates an envelope with the key of a key file.
    pub(super) fn of_key_file(text: &str) -> Result<Self, KeyError> {
        let text = text.trim();
        if text.starts_with('{') {
            return Err(KeyError::Keystore);
        }
        let digits = text.strip_prefix("0x").unwrap_or(text).as_bytes();
        let mut key = [0; KEY_LENGTH];
        if digits.len() != 2 * KEY_LENGTH {
            return Err(KeyError::Form);
        }
        for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        if key >= ORDER || key == [0; KEY_LENGTH] {
            return Err(KeyError::Range);
        }
        Ok(Self::of_private_key(&key))
    }

    /// Hashes the key without its leading zeros, as the Node does with Go's `big.Int.Bytes()`.
    fn of_private_key(key: &[u8]) -> Self {
        let zeros = key.iter().take_while(|byte| **byte == 0).count();
        Self { key: Sha256::digest(&key[zeros..]).into() }
    }

    /// Returns the secret that both ends share.
    pub(super) fn secret(&self) -> Secret {
        Secret::new(self.key)
    }

    /// Encrypts a message.
    pub(super) fn seal(&self, message: &[u8]) -> Result<Vec<u8>, RandomError> {
        let mut iv = [0; IV_LENGTH];
        SystemRandom::new().fill(&mut iv).map_err(|_| RandomError)?;
        Ok(self.seal_with(iv, message))
    }

    fn seal_with(&self, iv: [u8; IV_LENGTH], message: &[u8]) -> Vec<u8> {
        let mut sealed = [&iv, message].concat();
        cfb_mode::Encryptor::<Aes256>::new(&self.key.into(), &iv.into())
            .encrypt(&mut sealed[IV_LENGTH..]);
        sealed
    }

    /// Decrypts a message. Returns random bytes if the key is wrong, `None` if the message is too short.
    pub(super) fn open(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        let (iv, hidden) = sealed.split_first_chunk::<IV_LENGTH>()?;
        let mut message = hidden.to_vec();
        cfb_mode::Decryptor::<Aes256>::new(&self.key.into(), &(*iv).into()).decrypt(&mut message);
        Some(message)
    }
}

fn digit(byte: u8) -> Result<u8, KeyError> {
    let value = char::from(byte).to_digit(16).ok_or(KeyError::Form)?;
    u8::try_from(value).map_err(|_| KeyError::Form)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Vectors of another implementation: `tests/local/bridge/envelope_vectors.py`.
    const VECTORS: &str = include_str!("../../../tests/local/bridge/envelope_vectors.json");

    #[derive(serde::Deserialize)]
    struct Vector {
        private_key: String,
        iv: String,
        message: String,
        sealed: String,
    }

    fn hex(text: &str) -> Vec<u8> {
        let pair = |pair: &[u8]| digit(pair[0]).unwrap() << 4 | digit(pair[1]).unwrap();
        text.as_bytes().chunks_exact(2).map(pair).collect()
    }

    #[test]
    fn envelopes_are_those_of_another_implementation() {
        let vectors: Vec<Vector> = serde_json::from_str(VECTORS).unwrap();
        assert!(vectors.iter().any(|vector| vector.private_key.starts_with("0000")));
        assert!(vectors.iter().any(|vector| vector.message.is_empty()));
        for vector in vectors {
            let envelope = Envelope::of_key_file(&vector.private_key).unwrap();
            let iv = hex(&vector.iv).try_into().unwrap();
            let (message, sealed) = (hex(&vector.message), hex(&vector.sealed));
            assert_eq!(envelope.seal_with(iv, &message), sealed, "{}", vector.private_key);
            assert_eq!(envelope.open(&sealed).unwrap(), message, "{}", vector.private_key);
        }
    }

    #[test]
    fn no_two_messages_begin_alike() {
        let envelope = Envelope::of_key_file(&"1".repeat(64)).unwrap();
        let (one, other) = (envelope.seal(b"{}").unwrap(), envelope.seal(b"{}").unwrap());
        assert_ne!(one[..IV_LENGTH], other[..IV_LENGTH]);
        assert_eq!(envelope.open(&one).unwrap(), b"{}");
        assert_eq!(envelope.open(&one[..IV_LENGTH - 1]), None);
    }

    #[test]
    fn a_key_file_is_read_with_and_without_0x() {
        let key = "00ab".repeat(16);
        let plain = Envelope::of_key_file(&key).unwrap();
        for text in [format!("0x{key}"), format!(" {}\n", key.to_uppercase())] {
            assert_eq!(Envelope::of_key_file(&text).unwrap().key, plain.key);
        }
    }

    #[test]
    fn an_invalid_key_file_is_refused_and_not_shown() {
        let error = |text: &str| Envelope::of_key_file(text).unwrap_err();
        assert_eq!(error(r#"{"address":"8125","crypto":{}}"#), KeyError::Keystore);
        for text in ["", "0x", "secret", &"g".repeat(64), &"1".repeat(63), &"1".repeat(66)] {
            assert_eq!(error(text), KeyError::Form, "{text}");
        }
        assert_eq!(error(&"é".repeat(32)), KeyError::Form);
        assert_eq!(error(&"0".repeat(64)), KeyError::Range);
        let order = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";
        assert_eq!(error(order), KeyError::Range);
        assert!(Envelope::of_key_file(&order.replace("4141", "4140")).is_ok());
    }

    #[test]
    fn a_key_does_not_show_in_debug() {
        assert_eq!(format!("{:?}", Envelope::of_key_file(&"1".repeat(64)).unwrap()), "Envelope");
    }
}
