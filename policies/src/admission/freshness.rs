//! Whether the ledger's figures are within reach.

use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::time::Duration;

use crate::limits::Share;
use crate::shares::Portion;

/// When the ledger was last heard of. Times are nanoseconds of the process, and so positive.
#[derive(Debug, Default)]
pub(crate) struct Freshness {
    /// 0: no feed is expected.
    stale_after: AtomicI64,
    /// 0: never.
    heard: AtomicI64,
    live_proxies: AtomicU32,
    /// Since when there are so many.
    counted: AtomicI64,
}

impl Freshness {
    pub(crate) fn expect(&self, stale_after: Duration) {
        let nanos = i64::try_from(stale_after.as_nanos()).unwrap_or(i64::MAX);
        self.stale_after.store(nanos.max(1), Ordering::Relaxed);
    }

    pub(crate) fn note(&self, heard: i64) {
        self.heard.fetch_max(heard, Ordering::Relaxed);
    }

    pub(crate) fn note_proxies(&self, live: u32, now: i64) {
        if self.live_proxies.swap(live, Ordering::Relaxed) != live {
            self.counted.store(now, Ordering::Relaxed);
        }
    }

    pub(crate) fn is_stale(&self, now: i64) -> bool {
        let stale_after = self.stale_after.load(Ordering::Relaxed);
        let heard = self.heard.load(Ordering::Relaxed);
        stale_after != 0 && (heard == 0 || now.saturating_sub(heard) > stale_after)
    }

    /// This proxy's part of what is divided evenly among all of them.
    pub(crate) fn share(&self) -> Share {
        let portion = Portion::one_of(self.live_proxies());
        Share { portion, since: self.counted.load(Ordering::Relaxed) }
    }

    /// How many proxies were alive, at least this one.
    pub(crate) fn live_proxies(&self) -> u32 {
        self.live_proxies.load(Ordering::Relaxed).max(1)
    }
}
