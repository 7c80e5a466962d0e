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
