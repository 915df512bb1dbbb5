//! A policy as the audit log has it: its text may be a megabyte, so the log has the version's number and hashes, by which what the API shows
//! of that version can be held against the log.

use mindweave_policy::Fingerprint;
use serde::Serialize;

use super::store::Policy;
use super::version_store::{Content, Version};

/// A policy without its text and data.
#[derive(Serialize)]
pub(super) struct Noted<'a> {
    #[serde(flatten)]
    policy: &'a Policy,
    bundled: Option<&'a str>,
    restored_from: Option<u64>,
    /// SHA-256, hexadecimal.
    rego_sha256: String,
    /// Of the JSON as the API shows it, without blanks.
    data_sha256: String,
}

impl<'a> Noted<'a> {
    pub(super) fn of(policy: &'a Policy, version: &'a Version) -> Self {
        let Content { rego, data, bundled } = &version.content;
        let data = serde_json::to_vec(data).unwrap_or_default(); // what came as JSON goes as JSON
        Self {
            policy,
            bundled: bundled.as_deref(),
            restored_from: version.restored_from,
            rego_sha256: sha256(rego.as_bytes()),
            data_sha256: sha256(&data),
        }
    }
}

fn sha256(bytes: &[u8]) -> String {
    Fingerprint::of(bytes).as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}
