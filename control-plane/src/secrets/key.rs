//! One master key: from its text, without copies that nobody wipes, and its names.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use mindweave_policy::Secret;
use ring::aead::{AES_256_GCM, LessSafeKey, UnboundKey};
use ring::digest::{Context, SHA256};
use zeroize::Zeroizing;

use crate::entropy::{self, NoEntropy};

/// Length of a master key.
pub(super) const KEY_BYTES: usize = 32;
/// Length of its name: two keys do not have the same by chance.
pub(super) const ID_BYTES: usize = 8;
/// What is hashed before the key to get its name: that must not be the start of a plain hash of the key.
const ID_CONTEXT: &[u8] = b"mindweave master key id\0";
/// Room for what base64 may decode to before its length is known: a little more than a key.
const DECODED_BYTES: usize = KEY_BYTES + 16;

/// The name of a key, as it stands in what is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KeyId(pub(super) [u8; ID_BYTES]);

impl KeyId {
    /// The name in the first form: its first byte.
    pub(super) fn first_form(self) -> u8 {
        let [first, ..] = self.0;
        first
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A master key. Clones share the one copy, which is wiped when the last of them is dropped.
#[derive(Clone)]
pub(super) struct Key {
    id: KeyId,
    bytes: Arc<Zeroizing<[u8; KEY_BYTES]>>,
}

impl Key {
    /// Reads 64 hexadecimal digits or base64 of 32 bytes.
    pub(super) fn from_text(text: &str) -> Option<Self> {
        let text = text.trim().as_bytes();
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        let read = from_hex(text, &mut bytes) || from_base64(text, &mut bytes);
        read.then(|| Self::from_bytes(bytes))
    }

    pub(super) fn from_bytes(bytes: Zeroizing<[u8; KEY_BYTES]>) -> Self {
        let mut digest = Context::new(&SHA256);
        digest.update(ID_CONTEXT);
        digest.update(bytes.as_slice());
        let mut id = [0; ID_BYTES];
        id.iter_mut().zip(digest.finish().as_ref()).for_each(|(to, from)| *to = *from);
        Self { id: KeyId(id), bytes: Arc::new(bytes) }
    }

    /// A new random key as text.
    pub(super) fn generate_text() -> Result<Secret, NoEntropy> {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let bytes = Zeroizing::new(entropy::bytes::<KEY_BYTES>()?);
        let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).map_or('0', |digit| char::from(*digit));
        let mut text = String::with_capacity(KEY_BYTES.saturating_mul(2));
        for byte in bytes.iter() {
            text.push(digit(byte >> 4));
            text.push(digit(byte & 0xF));
        }
        Ok(Secret::new(text))
    }

    pub(super) fn id(&self) -> KeyId {
        self.id
    }

    /// The cipher. ring keeps its own copy of the key while it lives, and does not wipe it: made for one use each time.
    pub(super) fn cipher(&self) -> Option<LessSafeKey> {
        UnboundKey::new(&AES_256_GCM, self.bytes.as_slice()).ok().map(LessSafeKey::new)
    }
}

fn from_hex(text: &[u8], bytes: &mut [u8; KEY_BYTES]) -> bool {
    let (pairs, []) = text.as_chunks::<2>() else { return false };
    pairs.len() == KEY_BYTES
        && bytes.iter_mut().zip(pairs).all(|(byte, [high, low])| match (digit(*high), digit(*low)) {
            (Some(high), Some(low)) => {
                *byte = high << 4 | low;
                true
            }
            _ => false,
        })
}

fn digit(char: u8) -> Option<u8> {
    char::from(char).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

fn from_base64(text: &[u8], bytes: &mut [u8; KEY_BYTES]) -> bool {
    [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE, &URL_SAFE_NO_PAD].iter().any(|engine| {
        let mut decoded = Zeroizing::new([0; DECODED_BYTES]);
        if engine.decode_slice(text, decoded.as_mut_slice()) != Ok(KEY_BYTES) {
            return false;
        }
        bytes.iter_mut().zip(decoded.iter()).for_each(|(to, from)| *to = *from);
        true
    })
}
