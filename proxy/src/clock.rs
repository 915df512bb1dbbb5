//! The only place in this crate that asks what time it is. Durations are measured with `tokio::time::Instant` instead.

use jiff::Timestamp;

/// The wall time in whole microseconds, which is what events carry: every store can hold it exactly.
pub(crate) fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
}
