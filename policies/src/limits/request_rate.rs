//! A plain rate of requests: `governor`'s arithmetic on our own cell, so that a limit can change without forgetting what was
//! used, and so that time is an argument.

use std::cell::Cell;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::state::direct::NotKeyed;
use governor::{Quota, RateLimiter};

use super::rate::Bucket;
use crate::shares::Portion;

const MINUTE: Duration = Duration::from_secs(60);

/// So many requests a minute.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequestRate {
    quota: Quota,
}

impl RequestRate {
    /// `burst` requests may come at once after a quiet time. Both count at least 1; what does not fit in 32 bits is as good as
    /// unlimited and is cut to that.
    pub(super) fn new(per_minute: u64, burst: u64) -> Self {
        let every = Duration::from_nanos(nanos(MINUTE).checked_div(per_minute).unwrap_or(0).max(1));
        let burst = u32::try_from(burst).ok().and_then(NonZeroU32::new);
        let burst = burst.unwrap_or(if per_minute == 0 { NonZeroU32::MIN } else { NonZeroU32::MAX });
        let quota = Quota::with_period(every).unwrap_or(Quota::per_minute(burst));
        Self { quota: quota.allow_burst(burst) }
    }

    /// Takes one request of this portion, or says how long to wait.
    pub(super) fn take(&self, bucket: &mut Bucket, now: i64, portion: Portion) -> Result<(), Duration> {
        let full_at = Cell::new(bucket.full_at);
        let state = SinceNow { full_at: &full_at, now };
        let limiter =
            RateLimiter::<NotKeyed, _, _, NoOpMiddleware<Nanos>>::new(self.divided(portion), state, Now);
        limiter.check().map_err(|not_until| not_until.wait_time_from(Now.now()))?;
        bucket.full_at = full_at.get();
        Ok(())
    }

    fn divided(&self, portion: Portion) -> Quota {
        if portion.is_whole() {
            return self.quota;
        }
        let every = self.quota.replenish_interval().saturating_mul(portion.of());
        let every = every.checked_div(portion.part()).unwrap_or(every);
        let burst = portion.of_units(self.quota.burst_size().get().into());
        let burst = u32::try_from(burst).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN);
        Quota::with_period(every).unwrap_or(self.quota).allow_burst(burst)
    }
}

/// A clock that stands still: states are told relative to now.
#[derive(Clone, Debug)]
struct Now;

impl Clock for Now {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::new(0)
    }
}

/// `governor`'s state in a cell of ours, whose lock is held: the time from now until the bucket is full.
struct SinceNow<'a> {
    full_at: &'a Cell<i64>,
    now: i64,
}

impl StateStore for SinceNow<'_> {
    type Key = NotKeyed;

    fn measure_and_replace<T, F, E>(&self, _: &NotKeyed, judge: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let full_in = u64::try_from(self.full_at.get().saturating_sub(self.now)).unwrap_or(0);
        let (answer, next) = judge(Some(Nanos::new(full_in)))?;
        self.full_at.set(self.now.saturating_add(i64::try_from(next.as_u64()).unwrap_or(i64::MAX)));
        Ok(answer)
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
