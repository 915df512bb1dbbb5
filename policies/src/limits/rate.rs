//! A token rate: GCRA, which can also give back and go into debt. (`governor` can do neither, and refuses for ever what is
//! larger than the burst.)
//!
//! The state is the time at which the bucket is full again. Taking n units moves it n units' worth of time away; it may be at most
//! a burst's worth away from now.

use std::num::NonZeroU64;
use std::time::Duration;

use super::{RateState, Share};
use crate::shares::Portion;

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
    /// The portion of that rate, and of the burst, that it stands for.
    portion: Option<Portion>,
}

impl Rate {
    /// `burst` units may be taken at once from a full bucket. Both count at least 1.
    pub(super) fn new(per_minute: u64, burst: u64) -> Self {
        let per_minute = NonZeroU64::new(per_minute).unwrap_or(NonZeroU64::MIN);
        Self { per_minute, burst: span(per_minute, burst.max(1), Portion::WHOLE) }
    }

    /// Takes so many units of this portion of the rate, or says how long to wait. More than a burst is given to a full bucket,
    /// which is in debt then: else such a request could never pass.
    pub(super) fn take(
        &self,
        bucket: &mut Bucket,
        now: i64,
        units: u64,
        portion: Portion,
    ) -> Result<(), Duration> {
        let cost = span(self.per_minute, units, portion);
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

    /// Whether less than half of a full bucket is left.
    pub(super) fn is_half_used(&self, bucket: Bucket, now: i64) -> bool {
        bucket.full_at.saturating_sub(now) > self.burst / 2
    }

    /// What is left.
    pub(super) fn state(&self, bucket: Bucket, now: i64, portion: Portion) -> RateState {
        let full_in = bucket.full_at.saturating_sub(now).max(0);
        let left = u128::try_from(self.burst.saturating_sub(full_in)).unwrap_or(0);
        let units = left.saturating_mul(self.per_minute.get().into()).saturating_mul(portion.part().into());
        let whole = NANOS_PER_MINUTE.saturating_mul(portion.of().into());
        let remaining = units.checked_div(whole).unwrap_or(0);
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

    /// Stands for this portion of the rate from now on. What was left when that began is left still, in units, but at most a
    /// portion of a burst, and a debt is as large as it was: what moves between proxies is the room, never what fills it. So all
    /// of them together never have more left than one bucket.
    pub(super) fn go_by(&mut self, share: Share, rate: &Rate) {
        let Share { portion, since } = share;
        let Some(old) = self.portion.replace(portion).filter(|old| *old != portion) else { return };
        let missing = self.full_at.saturating_sub(since).max(0);
        let left = i128::from(rate.burst.saturating_sub(missing));
        let left = left.saturating_mul(old.part().into()).saturating_mul(portion.of().into());
        let (of, part) = (i128::from(old.of()), i128::from(portion.part()));
        let left = left.saturating_neg().div_euclid(of.saturating_mul(part).max(1)).saturating_neg(); // by less than a nanosecond too much
        let missing = i128::from(rate.burst).saturating_sub(left).max(0);
        let missing = i64::try_from(missing).unwrap_or(MAX_SPAN).min(MAX_SPAN);
        self.full_at =
            if missing > 0 { since.saturating_add(missing).min(MAX_SPAN) } else { self.full_at.min(since) };
    }

    /// Charges `used` units in place of the `taken` ones: gives the rest back, or goes into debt.
    pub(super) fn correct(&mut self, now: i64, taken: u64, used: u64) {
        let Some(rate) = self.rate else { return };
        let change = self.span(rate, used).saturating_sub(self.span(rate, taken));
        // When something comes back, earlier than now is full as well.
        let from = if change > 0 { self.full_at.max(now) } else { self.full_at };
        self.full_at = from.saturating_add(change).min(MAX_SPAN);
    }

    /// Gives so many units back.
    pub(super) fn give_back(&mut self, units: u64) {
        if let Some(rate) = self.rate {
            self.full_at = self.full_at.saturating_sub(self.span(rate, units));
        }
    }

    fn span(&self, rate: Rate, units: u64) -> i64 {
        span(rate.per_minute, units, self.portion.unwrap_or(Portion::WHOLE))
    }
}

/// So many units in this time, a minute.
pub(super) fn per_minute(units: u64, time: Duration) -> u64 {
    let nanos = time.as_nanos().max(1);
    let rate = u128::from(units).saturating_mul(NANOS_PER_MINUTE).checked_div(nanos).unwrap_or(0);
    u64::try_from(rate).unwrap_or(u64::MAX)
}

/// The time in which so many units of this portion come back, rounded down: else the last unit of a burst that is taken bit by bit would
/// not fit. A rate is exceeded by less than a nanosecond's worth per request.
fn span(per_minute: NonZeroU64, units: u64, portion: Portion) -> i64 {
    let (mut nanos, mut rate) =
        (u128::from(units).saturating_mul(NANOS_PER_MINUTE), u128::from(per_minute.get()));
    if !portion.is_whole() {
        nanos = nanos.saturating_mul(portion.of().into());
        rate = rate.saturating_mul(portion.part().into());
    }
    i64::try_from(nanos.checked_div(rate).unwrap_or(u128::MAX)).unwrap_or(MAX_SPAN).min(MAX_SPAN)
}
