//! Passwords and tokens in bodies: taken out of the JSON without a copy, and wiped when they are dropped.

use mindweave_policy::Secret;
use serde_json::Value;

use super::Fields;

/// Longest password that is compared at all, in characters. New ones have a limit of their own.
const MAX_PASSWORD_CHARS: usize = 1_024;

impl Fields {
    /// A password that must be there, of any characters. Empty when it was refused; [`Self::finish`] then fails.
    pub(crate) fn required_password(&mut self, name: &'static str) -> Secret {
        match self.take(name) {
            None => self.fault(name, "is required"),
            Some(Value::String(text)) => {
                let secret = Secret::new(text);
                if (1..=MAX_PASSWORD_CHARS).contains(&secret.expose_secret().chars().count()) {
                    return secret;
                }
                self.fault(name, format!("must have 1 to {MAX_PASSWORD_CHARS} characters"));
            }
            Some(_) => self.fault(name, "must be a text"),
        }
        Secret::new(String::new())
    }

    /// Whether a switch is on; absent and `null` are off.
    pub(crate) fn flag(&mut self, name: &'static str) -> bool {
        match self.take(name) {
            None => false,
            Some(Value::Bool(on)) => on,
            Some(_) => {
                self.fault(name, "must be true or false");
                false
            }
        }
    }
}
