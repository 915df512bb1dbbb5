//! How much of all request bodies may be in memory at the same time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::metrics;

/// The one account of all bodies that are held back. Nobody waits for room: requests that wait for each other would wait
/// for ever, so whoever finds none is refused and gives back what it had.
#[derive(Debug)]
pub(crate) struct HeldBytes {
    limit: u64,
    held: AtomicU64,
}

/// There is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoRoom;

/// One body's share; given back when dropped.
#[derive(Debug)]
pub(crate) struct Share {
    account: Arc<HeldBytes>,
    bytes: u64,
}

impl HeldBytes {
    pub(crate) fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self { limit, held: AtomicU64::new(0) })
    }

    /// A share of nothing yet.
    pub(crate) fn share(self: &Arc<Self>) -> Share {
        Share { account: Arc::clone(self), bytes: 0 }
    }
}

impl Share {
    /// Takes so many bytes more.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), NoRoom> {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let account = &self.account;
        let fits = |held: u64| held.checked_add(bytes).filter(|held| *held <= account.limit);
        account.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).map_err(|_| NoRoom)?;
        self.bytes = self.bytes.saturating_add(bytes);
        metrics::governance().holding(bytes);
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.account.held.fetch_sub(self.bytes, Ordering::Relaxed);
        metrics::governance().let_go(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_never_exceed_the_account_and_give_back_what_they_took() {
        let account = HeldBytes::new(100);
        let mut first = account.share();
        let mut second = account.share();
        assert_eq!(first.grow(60), Ok(()));
        assert_eq!(second.grow(41), Err(NoRoom));
        assert_eq!(second.grow(40), Ok(()));
        assert_eq!(first.grow(1), Err(NoRoom));
        drop(second);
        assert_eq!(first.grow(40), Ok(()));
        drop(first);
        assert_eq!(account.held.load(Ordering::Relaxed), 0);
        assert_eq!(account.share().grow(usize::MAX), Err(NoRoom), "nothing overflows");
    }

    #[test]
    fn threads_that_grow_and_drop_shares_leave_nothing_behind() {
        let account = HeldBytes::new(1_000);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for step in 0..2_000_usize {
                        let mut share = account.share();
                        while share.grow(step % 97 + 1).is_ok() {}
                        assert!(account.held.load(Ordering::Relaxed) <= 1_000);
                    }
                });
            }
        });
        assert_eq!(account.held.load(Ordering::Relaxed), 0);
    }
}
