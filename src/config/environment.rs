//! The part of the process environment that is ours, captured once.

use std::collections::BTreeMap;
use std::ffi::OsString;

use mindweave_policy::Secret;

use super::fault::{Fault, Place, nearest};
use super::settings::KEYS;
use super::{Given, Values};

/// What every variable of ours begins with.
const PREFIX: &str = "MINDWEAVE_";
/// Stands for the dot of a key.
const SEPARATOR: &str = "__";
/// The bearer token that the API accepts.
pub(crate) const ADMIN_TOKEN: &str = "MINDWEAVE_ADMIN_TOKEN";
/// The key that stored secrets are encrypted with.
pub(crate) const MASTER_KEY: &str = "MINDWEAVE_MASTER_KEY";
/// Keys that still open what was encrypted before.
pub(crate) const MASTER_KEY_PREVIOUS: &str = "MINDWEAVE_MASTER_KEY_PREVIOUS";
/// The bearer token with which proxies call their control plane.
pub(crate) const PROXY_TOKEN: &str = "MINDWEAVE_PROXY_TOKEN";
/// Variables that are not settings: secrets stay out of the file, and the others say where to look.
const NOT_SETTINGS: [&str; 8] = [
    ADMIN_TOKEN,
    MASTER_KEY,
    MASTER_KEY_PREVIOUS,
    PROXY_TOKEN,
    "MINDWEAVE_CONFIG",
    "MINDWEAVE_SERVER",
    "MINDWEAVE_PROFILE",
    "MINDWEAVE_CA_FILE",
];

/// The captured variables. Empty ones count as not set: compose files pass them that way.
#[derive(Clone, Default)]
pub(crate) struct Environment {
    variables: BTreeMap<String, OsString>,
}

impl Environment {
    /// Captures the environment of this process.
    pub(crate) fn capture() -> Self {
        Self::of(std::env::vars_os().map(|(name, value)| (name.to_string_lossy().into_owned(), value)))
    }

    /// An environment with these variables.
    pub(crate) fn of(variables: impl IntoIterator<Item = (String, OsString)>) -> Self {
        Self { variables: variables.into_iter().filter(|(_, value)| !value.is_empty()).collect() }
    }

    /// A secret, if the variable is set and is text. Surrounding white space, as a pasted line end, is no part of it.
    pub(crate) fn secret(&self, name: &str) -> Option<Secret> {
        let text = self.variables.get(name)?.to_str()?.trim();
        (!text.is_empty()).then(|| Secret::new(text.to_owned()))
    }

    /// Puts every setting over what the file gave, and reports variables that mean nothing.
    pub(super) fn settings(&self, values: &mut Values, faults: &mut Vec<Fault>) {
        for (name, value) in &self.variables {
            let Some(rest) = name.strip_prefix(PREFIX) else { continue };
            if NOT_SETTINGS.contains(&name.as_str()) {
                continue;
            }
            let key = rest.replace(SEPARATOR, ".").to_lowercase();
            let place = Place::Variable(name.clone());
            if KEYS.iter().any(|known| known.name == key) {
                let value = value.to_str().map(str::to_owned).ok_or("text that is not UTF-8");
                values.insert(key, Given { value, place });
            } else if rest.contains(SEPARATOR) || is_slip(name) {
                faults.push(Fault::unknown_variable(name));
            }
            // Others are not ours to judge: Kubernetes sets MINDWEAVE_PORT and more for a service of that name.
        }
    }
}

/// The variable that overrides a key.
pub(crate) fn variable_of(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', SEPARATOR).to_uppercase())
}

/// Whether a variable without separator is a known one misspelt, for example with one underscore in place of two.
fn is_slip(name: &str) -> bool {
    let bare = |text: &str| text.replace('_', "");
    let known: Vec<String> = KEYS.iter().map(|key| variable_of(key.name)).collect();
    let same_letters = known.iter().any(|known| bare(known) == bare(name));
    let close = nearest(name, known.iter().map(String::as_str))
        .is_some_and(|near| strsim::damerau_levenshtein(near, name) <= 2);
    same_letters || close
}

#[cfg(test)]
impl Environment {
    /// An environment for a test.
    pub(crate) fn with(pairs: &[(&str, &str)]) -> Self {
        Self::of(pairs.iter().map(|(name, value)| ((*name).to_owned(), OsString::from(value))))
    }
}
