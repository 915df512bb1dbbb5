//! A token rate: GCRA, which can also give back and go into debt. (`governor` can do neither, and refuses for ever what is
//! larger than the burst.)
//!
//! The state is the time at which the bucket is full again. Taking n units moves it n units' worth of time away; it may be at most
//! a burst's worth away from now.

use std::num::NonZeroU64;
use std::time::Duration;

use super::{RateState, Share};

const NANOS_PER_MINUTE: u128 = 60_000_000_000;

/// Farthest that debt may push the time of the next request away: beyond a thousand years nothing changes, and sums cannot overflow.
pub(super) const MAX_SPAN: i64 = i64::MAX / 4;

/// So many units a minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rate {
    per_minute: NonZeroU64,
    /// In time.
    burst: i64,
}

/// The state of a rate for one subject.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bucket {
    /// When it is full again, in nanoseconds of the process. Full, when that is past.
    pub(super) full_at: i64,
    /// The rate by which it fills; none was taken of a new one.
    rate: Option<Rate>,
}

impl Rate {
    /// `burst` units may be taken at once from a full bucket. Both count at least 1.
    pub(super) fn new(per_minute: u64, burst: u64) -> Self {
        let per_minute = NonZeroU64::new(per_minute).unwrap_or(NonZeroU64::MIN);
        Self { per_minute, burst: span(per_minute, burst.max(1)) }
    }

    /// Takes so many units, or says how long to wait. More than a burst is given to a full bucket, which is in debt then: else
    /// such a request could never pass.
    pub(super) fn take(&self, bucket: &mut Bucket, now: i64, units: u64) -> Result<(), Duration> {
        let cost = span(self.per_minute, units);
        let room = self.burst.saturating_sub(cost).max(0);
        let from = bucket.full_at.max(now);
        let missing = from.saturating_sub(now);
        if missing > room {
            let wait = missing.saturating_sub(room);
            return Err(Duration::from_nanos(u64::try_from(wait).unwrap_or(0)));
        }
        bucket.full_at = from.saturating_add(cost).min(MAX_SPAN);
        Ok(())
    }

    /// What is left.
    pub(super) fn state(&self, bucket: Bucket, now: i64, share: Share) -> RateState {
        let full_in = bucket.full_at.saturating_sub(now).max(0);
        let left = u128::try_from(self.burst.saturating_sub(full_in)).unwrap_or(0);
        let whole = left.saturating_mul(u128::from(self.per_minute.get())) / NANOS_PER_MINUTE;
        let remaining = whole.checked_div(share.proxies().into()).unwrap_or(whole);
        RateState { remaining: u64::try_from(remaining).unwrap_or(u64::MAX), full_in }
    }

    /// This much time of another rate's in time of this one, by the units that come back in it.
    fn converted(&self, span: i64, from: &Self) -> i64 {
        let span = u128::try_from(span).unwrap_or(0);
        let units = span.saturating_mul(u128::from(from.per_minute.get()));
        let span = units.checked_div(u128::from(self.per_minute.get())).unwrap_or(u128::MAX);
        i64::try_from(span).unwrap_or(MAX_SPAN).min(MAX_SPAN)
    }
}

impl Bucket {
    /// Fills by this rate, which is in force since this moment. What was missing then is still missing, in units: of a smaller
    /// bucket at most all, and a debt is as large as it was.
    pub(super) fn fill_by(&mut self, rate: &Rate, since: i64) {
        let Some(old) = self.rate.replace(*rate).filter(|old| old != rate) else { return };
        let missing = self.full_at.saturating_sub(since);
        if missing > 0 {
            let debt = missing.saturating_sub(old.burst).max(0);
            let taken = rate.converted(missing.saturating_sub(debt), &old).min(rate.burst);
            let missing = taken.saturating_add(rate.converted(debt, &old));
            self.full_at = since.saturating_add(missing).min(MAX_SPAN);
        }
    }

    /// Charges `used` units in place of the `taken` ones: gives the rest back, or goes into debt.
    pub(super) fn correct(&mut self, now: i64, taken: u64, used: u64) {
        let Some(rate) = self.rate else { return };
        let change = span(rate.per_minute, used).saturating_sub(span(rate.per_minute, taken));
        // When something comes back, earlier than now is full as well.
        let from = if change > 0 { self.full_at.max(now) } else { self.full_at };
        self.full_at = from.saturating_add(change).min(MAX_SPAN);
    }

    /// Gives so many units back.
    pub(super) fn give_back(&mut self, units: u64) {
        if let Some(rate) = self.rate {
            self.full_at = self.full_at.saturating_sub(span(rate.per_minute, units));
        }
    }
}

/// The time in which so many units come back, rounded down: else the last unit of a burst that is taken bit by bit would not fit. A
/// rate is exceeded by less than a nanosecond's worth per request.
fn span(per_minute: NonZeroU64, units: u64) -> i64 {
    let nanos = u128::from(units)
        .saturating_mul(NANOS_PER_MINUTE)
        .checked_div(u128::from(per_minute.get()))
        .unwrap_or(u128::MAX);
    i64::try_from(nanos).unwrap_or(MAX_SPAN).min(MAX_SPAN)
}
