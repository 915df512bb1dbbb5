//! Ids of what only this crate knows.

use jiff::Timestamp;

use crate::entropy::{self, NoEntropy};

/// The prefix and a UUIDv7, as [`mindweave_metering`] makes ids.
pub(crate) fn generate(prefix: &str, now: Timestamp) -> Result<String, NoEntropy> {
    let millis = u64::try_from(now.as_millisecond()).unwrap_or(0); // before 1970: a broken clock, not a reason to fail
    let id = uuid::Builder::from_unix_timestamp_millis(millis, &entropy::bytes()?).into_uuid();
    Ok(format!("{prefix}{}", id.simple()))
}
