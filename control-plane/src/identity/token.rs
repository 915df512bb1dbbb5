//! What tokens look like.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mindweave_policy::Secret;
use zeroize::Zeroizing;

use crate::entropy::{self, NoEntropy};

/// Random bytes in a token: enough that its plain SHA-256 cannot be searched.
const RANDOM_BYTES: usize = 32;

/// What a token is for, which its first characters say: scanners and people recognise one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenKind {
    /// Calls the API, for some minutes after a sign-in.
    Access,
    /// Gets the next access token, once.
    Refresh,
    /// A personal access token, or one of a service account.
    Api,
    /// In a link: sets a password, accepts an invitation, makes the first owner.
    OneTime,
}

impl TokenKind {
    /// What a token of this kind starts with.
    pub(crate) fn prefix(self) -> &'static str {
        match self {
            Self::Access => "mwa_",
            Self::Refresh => "mwr_",
            Self::Api => "mwp_",
            Self::OneTime => "mwo_",
        }
    }

    /// A new random token.
    pub(crate) fn generate(self) -> Result<Secret, NoEntropy> {
        let random = Zeroizing::new(entropy::bytes::<RANDOM_BYTES>()?);
        let text = Zeroizing::new(URL_SAFE_NO_PAD.encode(random.as_slice()));
        Ok(Secret::new(format!("{}{}", self.prefix(), text.as_str())))
    }
}
