//! The envelope of the Node's REST interface: a random IV of 16 bytes, then AES-256 in CFB mode
//! (128-bit segments) of the JSON text. There is no authentication code and no protection from replay.

use std::path::Path;

use aes::Aes256;
use cfb_mode::cipher::KeyIvInit as _;
use sha2::{Digest as _, Sha256};

/// The bytes of an AES block, and of the IV.
pub const BLOCK: usize = 16;

/// The key that both ends derive from the Ethereum private key that they share.
#[derive(Clone, PartialEq, Eq)]
pub struct Key([u8; 32]);

impl Key {
    /// Derives the key from a private key: SHA-256 of the big-endian number, so without its leading zeros.
    pub fn derive(private: &[u8]) -> Self {
        let first = private.iter().position(|byte| *byte != 0).unwrap_or(private.len());
        Self(Sha256::digest(&private[first..]).into())
    }

    /// Reads a private key from a file that has it in hexadecimal, with or without `0x`.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("the key {}: {error}", path.display()))?;
        let private = decode_hex(text.trim()).filter(|bytes| (1..=32).contains(&bytes.len()));
        private
            .map(|bytes| Self::derive(&bytes))
            .ok_or_else(|| format!("the key {}: want 64 hexadecimal digits", path.display()))
    }

    /// Another key, which neither end has: for the fault of a Node that was given the wrong one.
    pub fn wrong(&self) -> Self {
        Self(Sha256::digest(self.0).into())
    }

    /// Puts a text into an envelope with this IV.
    pub fn seal(&self, iv: [u8; BLOCK], text: &[u8]) -> Vec<u8> {
        let mut body = text.to_vec();
        cfb_mode::Encryptor::<Aes256>::new(&self.0.into(), &iv.into()).encrypt(&mut body);
        [iv.as_slice(), &body].concat()
    }

    /// Takes the text out of an envelope; none if it is too short to be one.
    pub fn open(&self, envelope: &[u8]) -> Option<Vec<u8>> {
        let (iv, body) = envelope.split_first_chunk::<BLOCK>()?;
        let mut text = body.to_vec();
        cfb_mode::Decryptor::<Aes256>::new(&self.0.into(), &(*iv).into()).decrypt(&mut text);
        Some(text)
    }
}

/// The bytes of a hexadecimal text with or without `0x`.
pub fn decode_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("0x").unwrap_or(text).as_bytes();
    digits
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        })
        .collect()
}

fn digit(character: u8) -> Option<u8> {
    char::from(character).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Vector {
        name: String,
        private: String,
        iv: String,
        text: String,
        envelope: String,
    }

    /// What `vectors/make.py` made with Python's `cryptography`.
    fn vectors() -> Vec<Vector> {
        serde_json::from_str(include_str!("../vectors/envelopes.json")).unwrap()
    }

    #[test]
    fn an_envelope_is_what_another_implementation_makes() {
        assert!(vectors().len() > 30);
        for vector in vectors() {
            let key = Key::derive(&decode_hex(&vector.private).unwrap());
            let iv = decode_hex(&vector.iv).unwrap().try_into().unwrap();
            let envelope = decode_hex(&vector.envelope).unwrap();
            assert_eq!(key.seal(iv, vector.text.as_bytes()), envelope, "{}", vector.name);
            assert_eq!(key.open(&envelope).unwrap(), vector.text.as_bytes(), "{}", vector.name);
        }
    }

    #[test]
    fn a_key_is_derived_from_the_number_and_not_from_its_width() {
        let number = Key::derive(&[7, 0, 9]);
        assert!(number == Key::derive(&[0, 0, 7, 0, 9]));
        assert!(number != Key::derive(&[7, 9]));
        assert!(number != Key::derive(&[7, 0, 9, 0]));
    }

    #[test]
    fn what_is_shorter_than_an_iv_is_no_envelope() {
        let key = Key::derive(&[1]);
        assert_eq!(key.open(&[0; BLOCK - 1]), None);
        assert_eq!(key.open(&[0; BLOCK]), Some(Vec::new()));
    }

    #[test]
    fn a_key_file_has_hexadecimal_digits() {
        let path = std::env::temp_dir().join(format!("sonm-key-{}", std::process::id()));
        for (text, read) in
            [("0x0A0b\n", true), ("0a0B", true), ("", false), ("0x1", false), ("xy", false)]
        {
            std::fs::write(&path, text).unwrap();
            assert_eq!(
                Key::read(&path).is_ok_and(|key| key == Key::derive(&[10, 11])),
                read,
                "{text}"
            );
        }
        std::fs::remove_file(&path).unwrap();
    }
}
