//! What a proxy token looks like.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mindweave_policy::Secret;
use zeroize::Zeroizing;

use crate::entropy::{self, NoEntropy};

/// What every token that is made here starts with, so that scanners and people recognise one.
pub(super) const SECRET_PREFIX: &str = "mwp_";
/// Random bytes in a token: enough that its plain SHA-256 cannot be searched.
const RANDOM_BYTES: usize = 32;

/// A new random token.
pub(super) fn generate() -> Result<Secret, NoEntropy> {
    let random = Zeroizing::new(entropy::bytes::<RANDOM_BYTES>()?);
    let text = Zeroizing::new(URL_SAFE_NO_PAD.encode(random.as_slice()));
    Ok(Secret::new(format!("{SECRET_PREFIX}{}", text.as_str())))
}
