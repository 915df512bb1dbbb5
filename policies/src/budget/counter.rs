//! What is used of one budget by one subject, window by window.

use jiff::Timestamp;
use smallvec::SmallVec;

use super::Calendar;
use super::pending::Pending;

/// Windows kept per counter: the current one, the one before it for whatever ends late, and one for a clock that is ahead of
/// another's. Figures of earlier ones are dropped: nothing is decided by them any more.
const WINDOWS_KEPT: usize = 3;

/// Windows of one budget and subject, and what open requests hold.
#[derive(Debug, Default)]
pub(crate) struct Counter {
    windows: SmallVec<[Window; 1]>,
    reserved: i64,
}

/// An own event, as far as counters care.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Own {
    /// When it ended.
    pub(crate) at: Timestamp,
    /// Its place in the own journal.
    pub(crate) sequence: u64,
    /// In the budget's unit.
    pub(crate) amount: i64,
}

#[derive(Debug)]
struct Window {
    start: Timestamp,
    end: Timestamp,
    /// What the ledger says.
    ledger: i64,
    /// Which own events that includes, at least.
    included: u64,
    /// The feed that said so.
    feed: u64,
    own: Pending,
}

/// The figures of one window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    /// What the ledger says.
    pub(crate) ledger: i64,
    /// Own events that it does not include.
    pub(crate) own: i64,
}

impl Figures {
    /// What is used.
    pub(crate) fn used(self) -> i64 {
        self.ledger.saturating_add(self.own)
    }
}

impl Counter {
    /// What is used in the window of this moment. `included` is the last own event that the ledger's figures of all counters
    /// include.
    pub(crate) fn figures(&mut self, at: Timestamp, included: u64) -> Figures {
        let Some(window) = self.windows.iter_mut().find(|window| window.holds(at)) else {
            return Figures::default();
        };
        window.own.drop_through(included.max(window.included));
        Figures { ledger: window.ledger, own: window.own.total() }
    }

    /// What open requests hold.
    pub(crate) fn reserved(&self) -> i64 {
        self.reserved
    }

    /// Holds so much.
    pub(crate) fn reserve(&mut self, amount: i64) {
        self.reserved = self.reserved.saturating_add(amount);
    }

    /// No longer holds it.
    pub(crate) fn release(&mut self, amount: i64) {
        self.reserved = self.reserved.saturating_sub(amount);
    }

    /// Counts an own event, unless the ledger's figure includes it already.
    pub(crate) fn charge(&mut self, calendar: &Calendar, event: Own, included: u64) {
        if event.amount == 0 || event.sequence <= included {
            return;
        }
        if let Some(window) = self.window(calendar, event.at) {
            window.own.drop_through(included.max(window.included));
            if event.sequence > window.included {
                window.own.add(event.sequence, event.amount);
            }
        }
    }

    /// Takes the ledger's figure of a window, which includes own events up to `included` and was read at `as_of`. Returns `false`
    /// when it is of another calendar: no window begins then (nothing is taken), or the one that does has ended, though only
    /// current ones are told.
    pub(crate) fn set_ledger(
        &mut self,
        calendar: &Calendar,
        start: Timestamp,
        used: i64,
        included: u64,
        feed: u64,
        as_of: Timestamp,
    ) -> bool {
        if self.windows.iter().all(|window| window.start != start) && calendar.bounds(start).0 != start {
            return false;
        }
        let Some(window) = self.window(calendar, start) else { return false };
        window.ledger = used;
        window.included = included;
        window.feed = feed;
        window.own.drop_through(included);
        as_of < window.end
    }

    /// Clears the figures of windows that a full feed did not list: the ledger knows of no use in them.
    pub(crate) fn clear_unlisted(&mut self, included: u64, feed: u64) {
        for window in self.windows.iter_mut().filter(|window| window.feed != feed) {
            window.ledger = 0;
            window.included = included;
            window.own.drop_through(included);
        }
    }

    /// The ledger's figures, by the start of their windows.
    pub(crate) fn ledger_figures(&self) -> impl Iterator<Item = (Timestamp, i64)> {
        self.windows.iter().filter(|window| window.ledger != 0).map(|window| (window.start, window.ledger))
    }

    /// Drops windows that ended before this moment. Returns whether nothing is left to remember.
    pub(crate) fn forget_before(&mut self, moment: Timestamp) -> bool {
        self.windows.retain(|window| window.end > moment);
        self.windows.is_empty() && self.reserved == 0
    }

    /// The window of this moment, made if need be; `None` when it is older than those that are kept.
    fn window(&mut self, calendar: &Calendar, at: Timestamp) -> Option<&mut Window> {
        // Newest last. Borrowed by place: a reference out of the search would bar the insertion.
        if let Some(place) = self.windows.iter().position(|window| window.holds(at)) {
            return self.windows.get_mut(place);
        }
        let (start, end) = calendar.bounds(at);
        let mut place = self.windows.iter().filter(|window| window.start < start).count();
        if self.windows.len() >= WINDOWS_KEPT {
            if place == 0 {
                return None;
            }
            self.windows.remove(0);
            place = place.saturating_sub(1);
        }
        self.windows
            .insert(place, Window { start, end, ledger: 0, included: 0, feed: 0, own: Pending::default() });
        self.windows.get_mut(place)
    }
}

impl Window {
    fn holds(&self, at: Timestamp) -> bool {
        self.start <= at && at < self.end
    }
}
