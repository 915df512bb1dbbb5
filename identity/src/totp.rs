//! Codes of an authenticator app: time-based one-time passwords (RFC 6238) as every app makes them, with HMAC-SHA-1, six digits and
//! steps of thirty seconds.
//!
//! SHA-1 is what apps support; its collisions are of no use against an HMAC. What protects six digits is that attempts are counted,
//! and that no step is taken twice, which are the caller's to hold: see [`Totp::step`].

use mindweave_policy::Secret;
use totp_rs::{Algorithm, Builder};
use zeroize::Zeroizing;

/// Bytes of a secret, as RFC 4226, section 4, recommends: as many as SHA-1 puts out.
pub const TOTP_SECRET_BYTES: usize = 20;
/// Digits of a code.
pub const TOTP_DIGITS: u8 = 6;
/// Seconds for which an app shows a code.
pub const TOTP_STEP_SECONDS: u64 = 30;
/// Steps before and after the present one whose codes are taken: clocks differ, and typing takes time (RFC 6238, section 5.2).
const WINDOW: u16 = 1;

/// A secret that somebody's app shares with us. Wiped when dropped.
pub struct Totp(totp_rs::Totp);

/// A stored text is not a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is not a secret of one-time passwords")]
pub struct NotATotpSecret;

impl Totp {
    /// Takes random bytes as a new secret.
    pub fn new(secret: &[u8; TOTP_SECRET_BYTES]) -> Self {
        Self(Self::builder(totp_rs::Secret::new_stack(*secret)).build_noncompliant())
    }

    /// Reads what [`Self::secret_text`] wrote.
    ///
    /// # Errors
    /// When the text is something else.
    pub fn from_secret_text(text: &Secret) -> Result<Self, NotATotpSecret> {
        let secret = totp_rs::Secret::try_from_base32(text.expose_secret()).map_err(|_| NotATotpSecret)?;
        Self::builder(secret).build().map(Self).map_err(|_| NotATotpSecret)
    }

    fn builder(secret: totp_rs::Secret) -> Builder {
        Builder::new()
            .with_algorithm(Algorithm::SHA1)
            .with_digits(TOTP_DIGITS)
            .with_step_duration(TOTP_STEP_SECONDS)
            .with_skew(WINDOW)
            .with_secret(secret)
    }

    /// The secret in base32, as people type it into an app that cannot scan.
    pub fn secret_text(&self) -> Secret {
        Secret::new(self.0.secret().to_base32())
    }

    /// The `otpauth:` URI that an app reads from a QR code
    /// (<https://github.com/google/google-authenticator/wiki/Key-Uri-Format>).
    ///
    /// # Errors
    /// When the account has no name.
    pub fn uri(&self, issuer: &str, account: &str) -> Result<Secret, NotATotpSecret> {
        // A colon parts the two in the label.
        let named = Self::builder(self.0.secret().clone())
            .with_issuer(Some(issuer.replace(':', " ")))
            .with_account_name(account.replace(':', " "))
            .build()
            .map_err(|_| NotATotpSecret)?;
        named.to_url().map(Secret::new).map_err(|_| NotATotpSecret)
    }

    /// The time step whose code this is, if it is one of now. Take a step only if it is later than every one that was taken before: a
    /// code that was seen over a shoulder is then worth nothing (RFC 6238, section 5.2).
    pub fn step(&self, code: &str, unix_seconds: u64) -> Option<u64> {
        // Apps show a gap in the middle, and people copy it.
        let digits: Zeroizing<String> =
            Zeroizing::new(code.chars().filter(|char| !char.is_whitespace()).collect());
        self.0.check(&digits, unix_seconds)
    }

    /// The code of a moment, as an app shows it.
    pub fn code(&self, unix_seconds: u64) -> Secret {
        Secret::new(self.0.generate(unix_seconds).to_string())
    }
}

impl std::fmt::Debug for Totp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Totp(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The secret of RFC 6238, appendix B.
    fn of_the_rfc() -> Totp {
        Totp::new(b"12345678901234567890")
    }

    #[test]
    fn codes_are_those_of_the_rfc() {
        // Appendix B has eight digits; six are their end.
        let codes = [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ];
        for (time, code) in codes {
            assert_eq!(of_the_rfc().code(time).expose_secret(), code);
            assert_eq!(of_the_rfc().step(code, time), Some(time / TOTP_STEP_SECONDS));
        }
    }

    #[test]
    fn a_code_is_good_one_step_early_and_late_and_names_its_step() {
        let totp = of_the_rfc();
        let step = 37_037_036;
        let code = totp.code(step * TOTP_STEP_SECONDS);
        for now in [(step - 1) * 30, step * 30, step * 30 + 29, (step + 1) * 30 + 29] {
            assert_eq!(totp.step(code.expose_secret(), now), Some(step));
        }
        for now in [(step - 1) * 30 - 1, (step + 2) * 30] {
            assert_eq!(totp.step(code.expose_secret(), now), None);
        }
    }

    #[test]
    fn what_is_not_six_digits_is_no_code() {
        assert_eq!(of_the_rfc().step("287 082", 59), Some(1));
        for code in ["", "28708", "2870820", "+87082", "28708a", "٢٨٧٠٨٢"] {
            assert_eq!(of_the_rfc().step(code, 59), None, "{code}");
        }
    }

    #[test]
    fn a_secret_can_be_written_and_read_again_and_is_shown_nowhere_else() {
        let totp = of_the_rfc();
        let text = totp.secret_text();
        assert_eq!(text.expose_secret(), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        let again = Totp::from_secret_text(&text).unwrap();
        assert_eq!(again.code(59).expose_secret(), "287082");
        assert_eq!(format!("{totp:?}"), "Totp(..)");
        for text in ["", "GEZDGNBV", "not base32!"] {
            assert!(Totp::from_secret_text(&Secret::new(text.to_owned())).is_err());
        }
    }

    #[test]
    fn the_uri_names_issuer_and_account_and_cannot_be_broken_out_of() {
        let uri = of_the_rfc().uri("Acme: Claude", "a&secret=x@example.com").unwrap();
        let expected = "otpauth://totp/Acme%20%20Claude:a%26secret%3Dx%40example.com?\
                        secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Acme%20%20Claude";
        assert_eq!(uri.expose_secret(), expected);
    }
}
