//! The only place in this crate that asks what time it is. Durations are measured with `tokio::time::Instant` instead.

use jiff::Timestamp;

/// The wall time.
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}
