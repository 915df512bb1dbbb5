//! What a key's secret looks like.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mindweave_policy::Secret;
use zeroize::Zeroizing;

use crate::entropy::{self, NoEntropy};

/// What every key starts with, so that scanners and people recognise one.
pub(crate) const SECRET_PREFIX: &str = "mw_";
/// Random bytes in a key: enough that its plain SHA-256 cannot be searched.
const RANDOM_BYTES: usize = 32;

/// A new random key.
pub(crate) fn generate() -> Result<Secret, NoEntropy> {
    let random = Zeroizing::new(entropy::bytes::<RANDOM_BYTES>()?);
    let text = Zeroizing::new(URL_SAFE_NO_PAD.encode(random.as_slice()));
    Ok(Secret::new(format!("{SECRET_PREFIX}{}", text.as_str())))
}
