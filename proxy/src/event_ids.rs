//! Event ids without a system call per request.

use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use mindweave_metering::EventId;
use ring::rand::{SecureRandom, SystemRandom};

/// Makes UUIDv7 ids whose random part is one random start that counts up: unique inside the process by counting, and
/// between processes by the 74 random bits that they start from. Ids are names, not secrets.
#[derive(Debug)]
pub(crate) struct EventIds {
    high: [u8; 2],
    next: AtomicU64,
}

impl EventIds {
    /// Draws the start from the system's randomness.
    pub(crate) fn from_system_randomness() -> Result<Self, ring::error::Unspecified> {
        let mut start = [0; 10];
        SystemRandom::new().fill(&mut start)?;
        let [a, b, low @ ..] = start;
        Ok(Self { high: [a, b], next: AtomicU64::new(u64::from_be_bytes(low)) })
    }

    /// The next id, made at this moment.
    pub(crate) fn next(&self, now: Timestamp) -> EventId {
        let low = self.next.fetch_add(1, Ordering::Relaxed); // wraps after 2^64 ids
        let mut random = [0; 10];
        let (head, tail) = random.split_at_mut(self.high.len());
        head.copy_from_slice(&self.high);
        tail.copy_from_slice(&low.to_be_bytes());
        EventId::generate(now, random)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_made_in_the_same_moment_differ_also_when_the_counter_wraps() {
        let ids = EventIds { high: [1, 2], next: AtomicU64::new(u64::MAX - 5) };
        let now = Timestamp::from_millisecond(1_764_000_000_000).unwrap();
        let made: HashSet<EventId> = (0..1_000).map(|_| ids.next(now)).collect();
        assert_eq!(made.len(), 1_000);
    }
}
