//! One timer per connection, for every way in which a connection can be useless.

use std::pin::Pin;
use std::sync::Arc;

use tokio::time::{Duration, Instant, Sleep, sleep};

use super::activity::{Activity, Phase};

/// How often the shortest limit is looked at: an overrun of a quarter is nothing to a client that is too slow anyway.
const LOOKS_PER_LIMIT: u32 = 4;

/// How long each phase may last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) header: Duration,
    pub(super) idle: Duration,
    pub(super) stall: Duration,
}

/// Why a connection should end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// No request for long enough. It may end politely.
    Idle,
    /// A request head takes too long.
    SlowHead,
    /// A request is under way, but nothing moves.
    Stalled,
}

/// Judges one connection.
#[derive(Debug)]
pub(super) struct Watchdog {
    activity: Arc<Activity>,
    limits: Limits,
    sleep: Pin<Box<Sleep>>,
    /// The last change seen while busy.
    moved: (u64, Instant),
}

impl Watchdog {
    pub(super) fn new(activity: Arc<Activity>, limits: Limits) -> Self {
        let sleep = Box::pin(sleep(interval(&limits)));
        Self { activity, limits, sleep, moved: (0, Instant::now()) }
    }

    /// Waits until the connection should end. May be dropped and called again.
    pub(super) async fn verdict(&mut self) -> Verdict {
        loop {
            self.sleep.as_mut().await;
            match self.look() {
                Ok(wait) => self.sleep.set(sleep(wait)),
                Err(verdict) => {
                    // Whoever asks again has let the connection live; it gets another interval.
                    self.sleep.set(sleep(interval(&self.limits)));
                    return verdict;
                }
            }
        }
    }

    /// How long to wait before the next look, or the verdict.
    fn look(&mut self) -> Result<Duration, Verdict> {
        let now = Instant::now();
        let (since, limit, verdict) = match self.activity.phase() {
            Phase::Idle(since) => (since, self.limits.idle, Verdict::Idle),
            Phase::Head(since) => (since, self.limits.header, Verdict::SlowHead),
            Phase::Busy(moves) => {
                if self.moved.0 != moves {
                    self.moved = (moves, now);
                }
                (self.moved.1, self.limits.stall, Verdict::Stalled)
            }
        };
        let left = limit.checked_sub(now.saturating_duration_since(since)).filter(|left| !left.is_zero());
        // Never asleep for so long that a head which begins meanwhile could overrun its limit by much.
        left.map(|left| left.min(interval(&self.limits))).ok_or(verdict)
    }
}

fn interval(limits: &Limits) -> Duration {
    limits.header.min(limits.idle).min(limits.stall) / LOOKS_PER_LIMIT
}
