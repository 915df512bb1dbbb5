//! A token rate: GCRA on one atomic, which can also give back and go into debt. (`governor` can do neither, and refuses for
//! ever what is larger than the burst.)
//!
//! The state is the time at which the bucket is full again. Taking n units moves it n units' worth of time away; it may be at most
//! a burst's worth away from now.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use super::{RateState, Share};

const NANOS_PER_MINUTE: u128 = 60_000_000_000;

/// Farthest that debt may push the time of the next request away: beyond a thousand years nothing changes, and sums cannot overflow.
pub(super) const MAX_SPAN: i64 = i64::MAX / 4;

/// So many units a minute.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    per_minute: u64,
    burst: i64,
}

impl Rate {
    /// `burst` units may be taken at once from a full bucket. Both count at least 1.
    pub(super) fn new(per_minute: u64, burst: u64) -> Self {
        let per_minute = per_minute.max(1);
        Self { per_minute, burst: span(per_minute, burst.max(1)) }
    }

    /// Takes so many units, or says how long to wait. Returns what was taken, in time. More than a burst is given to a full
    /// bucket, which is in debt then: else such a request could never pass.
    pub(super) fn take(
        &self,
        full_at: &AtomicI64,
        now: i64,
        units: u64,
        share: Share,
    ) -> Result<i64, Duration> {
        let cost = share.of(span(self.per_minute, units));
        let room = self.burst.saturating_sub(cost).max(0);
        let next = |full_at: i64| {
            let from = full_at.max(now);
            (from.saturating_sub(now) <= room).then(|| from.saturating_add(cost))
        };
        match full_at.fetch_update(Ordering::AcqRel, Ordering::Acquire, next) {
            Ok(_) => Ok(cost),
            Err(full_at) => {
                let wait = full_at.saturating_sub(now).saturating_sub(room);
                Err(Duration::from_nanos(u64::try_from(wait).unwrap_or(0)))
            }
        }
    }

    /// Charges `units` in place of what was taken for them: gives the rest back, or goes into debt.
    pub(super) fn correct(&self, full_at: &AtomicI64, now: i64, taken: i64, units: u64, share: Share) {
        let change = share.of(span(self.per_minute, units)).saturating_sub(taken);
        if change <= 0 {
            full_at.fetch_add(change, Ordering::AcqRel); // earlier than now is full as well
            return;
        }
        let charged = |full_at: i64| Some(full_at.max(now).saturating_add(change).min(MAX_SPAN));
        let _previous = full_at.fetch_update(Ordering::AcqRel, Ordering::Acquire, charged);
    }

    /// What is left.
    pub(super) fn state(&self, full_at: &AtomicI64, now: i64, share: Share) -> RateState {
        let full_in = full_at.load(Ordering::Relaxed).saturating_sub(now).max(0);
        let left = u128::try_from(self.burst.saturating_sub(full_in)).unwrap_or(0);
        let whole = left.saturating_mul(u128::from(self.per_minute)) / NANOS_PER_MINUTE;
        let remaining = whole.checked_div(share.proxies().into()).unwrap_or(whole);
        RateState { remaining: u64::try_from(remaining).unwrap_or(u64::MAX), full_in }
    }
}

/// The time in which so many units come back, rounded down: else the last unit of a burst that is taken bit by bit would not fit. A
/// rate is exceeded by less than a nanosecond's worth per request.
fn span(per_minute: u64, units: u64) -> i64 {
    let nanos = u128::from(units)
        .saturating_mul(NANOS_PER_MINUTE)
        .checked_div(u128::from(per_minute))
        .unwrap_or(u128::MAX);
    i64::try_from(nanos).unwrap_or(MAX_SPAN).min(MAX_SPAN)
}
