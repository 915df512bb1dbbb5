//! Whether a policy is worth evaluating: one that runs over its bounds each time is left alone for a while.
//!
//! Bounds make every evaluation end within milliseconds; this keeps a policy that always ends there from taking those
//! milliseconds from everybody else for each new request. It comes back by itself: a request that somebody made large on
//! purpose must not switch a policy off for good.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::error_kind::PolicyErrorKind;

/// How many evaluations in a row may run over a counted bound before the policy is suspended.
const MAX_OVERRUNS: u32 = 16;

/// How long it is suspended. One evaluation then decides whether it is again.
pub(crate) const SUSPENSION: Duration = Duration::from_secs(60);

/// Where moments are counted from: atomics hold numbers.
static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// How a policy has been doing. Shared by all threads, and kept as long as the policy's text and data are.
#[derive(Debug, Default)]
pub(crate) struct Health {
    overruns: AtomicU32,
    /// Milliseconds since [`ORIGIN`]; 0 for never.
    suspended_until: AtomicU64,
}

fn since_origin(now: Instant) -> u64 {
    u64::try_from(now.saturating_duration_since(*ORIGIN).as_millis()).unwrap_or(u64::MAX)
}

impl Health {
    /// Whether it is suspended.
    pub(crate) fn is_suspended(&self, now: Instant) -> bool {
        let until = self.suspended_until.load(Ordering::Relaxed);
        until != 0 && since_origin(now) < until
    }

    /// Takes note of how an evaluation ended.
    pub(crate) fn note(&self, ended: Result<(), PolicyErrorKind>, now: Instant) {
        let suspend = match ended {
            Err(PolicyErrorKind::Timeout) => true,
            Err(PolicyErrorKind::InstructionLimit | PolicyErrorKind::WorkLimit) => {
                self.overruns.fetch_add(1, Ordering::Relaxed) + 1 >= MAX_OVERRUNS
            }
            _ => {
                if self.overruns.load(Ordering::Relaxed) != 0 {
                    self.overruns.store(0, Ordering::Relaxed);
                }
                return;
            }
        };
        if suspend {
            self.overruns.store(MAX_OVERRUNS, Ordering::Relaxed);
            self.suspended_until.store(since_origin(now + SUSPENSION), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_that_always_overruns_is_suspended_and_comes_back_for_one_trial() {
        let health = Health::default();
        let start = Instant::now();
        for _ in 1..MAX_OVERRUNS {
            health.note(Err(PolicyErrorKind::InstructionLimit), start);
            assert!(!health.is_suspended(start));
        }
        health.note(Err(PolicyErrorKind::InstructionLimit), start);
        assert!(health.is_suspended(start + SUSPENSION / 2));
        let later = start + SUSPENSION + Duration::from_millis(1);
        assert!(!health.is_suspended(later));
        health.note(Err(PolicyErrorKind::WorkLimit), later);
        assert!(health.is_suspended(later), "one more overrun is enough after a suspension");
    }

    #[test]
    fn overruns_between_good_evaluations_suspend_nothing_and_a_timeout_does_at_once() {
        let health = Health::default();
        let now = Instant::now();
        for _ in 0..10 * MAX_OVERRUNS {
            health.note(Err(PolicyErrorKind::InstructionLimit), now);
            health.note(Ok(()), now);
        }
        assert!(!health.is_suspended(now));
        health.note(Err(PolicyErrorKind::Timeout), now);
        assert!(health.is_suspended(now));
    }
}
