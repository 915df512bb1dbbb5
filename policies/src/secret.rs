//! Secrets in memory: never shown, wiped when dropped.

use std::fmt;

use zeroize::Zeroizing;

/// A secret text, for example a Claude API key. Has no `Display` and does not serialise, so that it cannot slip out.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the text over.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself. The long name is meant to be noticed in review.
    pub fn expose_secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_shows_nothing_of_the_secret() {
        assert_eq!(format!("{:?}", Secret::new("sk-ant-api03-abc".into())), "Secret(..)");
    }
}
