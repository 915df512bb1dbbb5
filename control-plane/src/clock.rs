//! The only place in this crate that asks what time it is.

use jiff::Timestamp;

/// The wall time in whole microseconds, which is what the database keeps: a time compares equal after a round trip.
pub(crate) fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
}
