//! A timer for silence that costs nothing while there is none.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Duration, Instant, Sleep, sleep};

/// Fires when nothing has moved for a limit.
///
/// Movement does not touch the timer. It is looked at when it fires, compared with the time of the last movement and armed
/// again for what is left. It lives as long as its connection and is never armed for longer than the shortest limit, so a new
/// request finds it armed early enough.
#[derive(Debug)]
pub(super) struct SilenceTimer {
    sleep: Pin<Box<Sleep>>,
    shortest: Duration,
}

impl SilenceTimer {
    /// `shortest`: of all limits that this timer will be polled with.
    pub(super) fn new(shortest: Duration) -> Self {
        Self { sleep: Box::pin(sleep(shortest)), shortest }
    }

    /// Ready once `limit` has passed since `last`.
    pub(super) fn poll(
        &mut self,
        context: &mut Context<'_>,
        limit: Duration,
        last: impl Fn() -> Instant,
    ) -> Poll<()> {
        while self.sleep.as_mut().poll(context).is_ready() {
            let now = Instant::now();
            let silent = now.saturating_duration_since(last());
            let Some(left) = limit.checked_sub(silent).filter(|left| !left.is_zero()) else {
                return Poll::Ready(());
            };
            // Stamps are cut to milliseconds, so what is left is too long rather than too short, and never zero.
            self.sleep.set(sleep(left.min(self.shortest)));
        }
        Poll::Pending
    }
}
