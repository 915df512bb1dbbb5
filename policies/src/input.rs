//! Rego's `input`, field by field: what a policy may read, and how it is told.

mod field;
mod key;
mod server;
mod time;
mod value;

pub(crate) use field::{Field, FieldSet};
pub(crate) use key::write_key;
pub(crate) use time::Moment;
pub(crate) use value::{document, document_json};

use crate::facts::PolicyInput;

impl PolicyInput<'_> {
    /// The whole `input` as policies see it, in JSON: for people who write policies. `policies/README.md` explains it.
    pub fn to_json(&self) -> serde_json::Value {
        document_json(self)
    }
}

#[cfg(test)]
pub(crate) mod tests;
