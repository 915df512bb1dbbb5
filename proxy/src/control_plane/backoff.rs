//! How long to wait between attempts: longer after each failure, and never in step with other proxies.

use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};

/// After the first failure. A control plane that is restarted is back within seconds.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// After many. Bounds how long a proxy stays away from a control plane that is back.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// A connection that stood for this long was a good one. One that breaks off sooner counts as a failure, or a control plane that
/// falls over at the first line would be asked for everything many times a second.
const STEADY: Duration = Duration::from_secs(10);

/// The pauses of one connection.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
    random: SystemRandom,
}

impl Backoff {
    pub(super) fn new() -> Self {
        Self { next: FIRST_PAUSE, random: SystemRandom::new() }
    }

    /// A connection stood for this long; returns whether it was a good one.
    pub(super) fn stood(&mut self, time: Duration) -> bool {
        let steady = time >= STEADY;
        if steady {
            self.next = FIRST_PAUSE;
        }
        steady
    }

    /// How long to wait now: between half and all of what the failures so far ask for.
    pub(super) fn pause(&mut self) -> Duration {
        let whole = self.next;
        self.next = self.next.saturating_mul(2).min(LONGEST_PAUSE);
        let mut byte = [0];
        if self.random.fill(&mut byte).is_err() {
            return whole; // in step with others, but not at once
        }
        let [byte] = byte;
        whole / 2 + whole.mul_f32(f32::from(byte) / f32::from(u8::MAX) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_are_jittered_and_begin_anew_after_a_connection_that_stood() {
        let mut backoff = Backoff::new();
        let mut expected = FIRST_PAUSE;
        for _ in 0..10 {
            let pause = backoff.pause();
            assert!(pause >= expected / 2 && pause <= expected, "{pause:?} for {expected:?}");
            assert!(!backoff.stood(STEADY / 2), "one that breaks off at once is no success");
            expected = (expected * 2).min(LONGEST_PAUSE);
        }
        assert_eq!(expected, LONGEST_PAUSE);
        assert!(backoff.stood(STEADY));
        assert!(backoff.pause() <= FIRST_PAUSE);
        let pauses: std::collections::BTreeSet<_> = (0..50)
            .map(|_| {
                backoff.stood(STEADY);
                backoff.pause()
            })
            .collect();
        assert!(pauses.len() > 5, "proxies do not come back in step");
    }
}
