//! How values stand in the database: times, labels, roles and hints.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::db::StoreError;

/// A stored time, microseconds since 1970.
pub(crate) fn timestamp(micros: i64) -> Result<Timestamp, StoreError> {
    Timestamp::from_microsecond(micros).map_err(|_| StoreError::Corrupt { what: "a time" })
}

/// Stored labels, a JSON object of texts.
pub(crate) fn labels(json: &str) -> Result<BTreeMap<Arc<str>, Arc<str>>, StoreError> {
    serde_json::from_str(json).map_err(|_| StoreError::Corrupt { what: "labels" })
}

/// Labels as they are stored.
pub(crate) fn labels_json(labels: &BTreeMap<Arc<str>, Arc<str>>) -> String {
    serde_json::to_string(labels).unwrap_or_else(|_| "{}".to_owned()) // a map of texts always serialises
}

/// Stored roles, a JSON array of texts.
pub(crate) fn roles(json: &str) -> Result<Vec<Arc<str>>, StoreError> {
    serde_json::from_str(json).map_err(|_| StoreError::Corrupt { what: "roles" })
}

/// Roles as they are stored.
pub(crate) fn roles_json(roles: &[Arc<str>]) -> String {
    serde_json::to_string(roles).unwrap_or_else(|_| "[]".to_owned()) // an array of texts always serialises
}

/// The last four characters of a credential, by which its owner recognises it. Nothing of a short one: it would be most
/// of the secret.
pub(crate) fn hint(credential: &str) -> String {
    const SHOWN: usize = 4;
    const SHORTEST: usize = 16;
    let start = if credential.len() < SHORTEST { credential.len() } else { credential.len() - SHOWN };
    credential.get(start..).unwrap_or_default().to_owned() // credentials are ASCII
}
