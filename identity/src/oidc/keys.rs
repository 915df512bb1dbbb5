//! The keys with which an issuer signs (RFC 7517).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{RsaPublicKeyComponents, UnparsedPublicKey};
use serde_json::{Map, Value};

use super::fault::TokenFault;
use super::jws::{Algorithm, KeyKind, Unverified};

/// Most keys of an issuer that are looked at. The large ones have five.
const MAX_KEYS: usize = 64;
/// Marks an uncompressed point (SEC 1, section 2.3.3).
const UNCOMPRESSED: u8 = 4;

/// Bytes of each coordinate (RFC 7518, section 6.2.1.2).
const P256_BYTES: usize = 32;
const P384_BYTES: usize = 48;

/// An issuer's keys.
#[derive(Debug, Default)]
pub(super) struct KeySet(Vec<Key>);

#[derive(Debug)]
struct Key {
    id: Option<String>,
    algorithm: Option<Algorithm>,
    material: Material,
}

#[derive(Debug)]
enum Material {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    Curve { kind: KeyKind, point: Vec<u8> },
}

impl KeySet {
    /// Reads a list of keys. What is not for signatures, or of a kind that is not accepted, is passed over.
    pub(super) fn read(document: &Map<String, Value>) -> Option<Self> {
        let keys = document.get("keys")?.as_array()?;
        Some(Self(keys.iter().take(MAX_KEYS).filter_map(read_key).collect()))
    }

    /// Checks a signature.
    pub(super) fn verify(&self, token: &Unverified<'_>) -> Result<(), TokenFault> {
        let fits = |key: &&Key| {
            let named = token.key_id.is_none() || key.id == token.key_id;
            let meant = key.algorithm.is_none_or(|algorithm| algorithm == token.algorithm);
            named && meant && key.kind() == token.algorithm.key_kind()
        };
        let mut candidates = self.0.iter().filter(fits).peekable();
        if candidates.peek().is_none() {
            return Err(TokenFault::UnknownKey);
        }
        if candidates.any(|key| key.verifies(token)) { Ok(()) } else { Err(TokenFault::Signature) }
    }
}

impl Key {
    fn kind(&self) -> KeyKind {
        match self.material {
            Material::Rsa { .. } => KeyKind::Rsa,
            Material::Curve { kind, .. } => kind,
        }
    }

    fn verifies(&self, token: &Unverified<'_>) -> bool {
        let Unverified { algorithm, signed, signature, .. } = token;
        match &self.material {
            Material::Rsa { n, e } => algorithm.rsa().is_some_and(|parameters| {
                RsaPublicKeyComponents { n, e }.verify(parameters, signed, signature).is_ok()
            }),
            Material::Curve { point, .. } => algorithm
                .curve()
                .is_some_and(|curve| UnparsedPublicKey::new(curve, point).verify(signed, signature).is_ok()),
        }
    }
}

fn read_key(value: &Value) -> Option<Key> {
    let key = value.as_object()?;
    let text = |name: &str| key.get(name).and_then(Value::as_str);
    let bytes = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?).ok();
    if text("use").is_some_and(|use_| use_ != "sig") {
        return None;
    }
    // Section 4.3: what the key is for, in place of `use` or beside it.
    let verifies = |operations: &Value| {
        operations.as_array().is_some_and(|all| all.iter().any(|one| one.as_str() == Some("verify")))
    };
    if key.get("key_ops").is_some_and(|operations| !verifies(operations)) {
        return None;
    }
    let point = |kind, width: usize| {
        let (x, y) = (bytes("x")?, bytes("y")?);
        let whole = x.len() == width && y.len() == width;
        whole.then(|| Material::Curve { kind, point: [&[UNCOMPRESSED][..], &x, &y].concat() })
    };
    let material = match (text("kty")?, text("crv")) {
        // ring takes numbers without leading zeros only.
        ("RSA", _) => Material::Rsa { n: without_zeros(bytes("n")?), e: without_zeros(bytes("e")?) },
        ("EC", Some("P-256")) => point(KeyKind::P256, P256_BYTES)?,
        ("EC", Some("P-384")) => point(KeyKind::P384, P384_BYTES)?,
        ("OKP", Some("Ed25519")) => Material::Curve { kind: KeyKind::Ed25519, point: bytes("x")? },
        _ => return None,
    };
    let algorithm = match text("alg") {
        None => None,
        Some(name) => Some(Algorithm::from_name(name)?),
    };
    Some(Key { id: text("kid").map(str::to_owned), algorithm, material })
}

fn without_zeros(bytes: Vec<u8>) -> Vec<u8> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.into_iter().skip(zeros).collect()
}
