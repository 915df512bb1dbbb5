//! The ledger's figures: taken from feeds, and kept for the next start.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use mindweave_metering::QuotaId;

use super::index::Index;
use super::state::State;
use crate::budget::BudgetRule;
use crate::usage_feed::{CounterUsage, UsageFeed};

/// Where feeds do not say what they go through to: how much older than the last one a feed is that came out of order. One that is
/// older still comes from a control plane whose clock was put back, and is the newest.
const REORDER_HORIZON: SignedDuration = SignedDuration::from_secs(10);

/// Figures of budgets that are not in force yet: feeds and snapshots come by different ways, and a feed may be first.
const MAX_WAITING: usize = 65_536;

/// What was fed last.
#[derive(Debug, Default)]
pub(crate) struct Feeding {
    as_of: Option<Timestamp>,
    through: Option<u64>,
    own: u64,
    number: u64,
    waiting: HashMap<(QuotaId, Arc<str>), Figure>,
}

/// What the ledger says of one window.
#[derive(Clone, Copy, Debug)]
struct Figure {
    window_start: Timestamp,
    used: i64,
    included: u64,
    as_of: Timestamp,
    definition: u64,
}

/// Where a feed stands beside what is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// It knows all of that.
    Next,
    /// It is older, and to be ignored: whatever it has that is news will come again.
    Behind,
    /// The ledger itself is older than it was.
    Back,
}

impl Feeding {
    /// Where a feed stands beside what is known. Another control plane may have read it, a moment earlier or later than the one
    /// before it; what it does not know would be lost, and what was known of own events with it.
    fn place(&self, feed: &UsageFeed, own: u64) -> Place {
        let Some(last) = self.as_of else { return Place::Next };
        match (feed.through, self.through) {
            (Some(through), Some(known)) if through >= known => Place::Next,
            // Read later, and knows less: the ledger was put back from a copy.
            (Some(_), Some(_)) if feed.as_of > last => Place::Back,
            (Some(_), Some(_)) => Place::Behind,
            (None, _) | (_, None) => {
                let age = last.duration_since(feed.as_of);
                let late = own == self.own && age > SignedDuration::ZERO && age <= REORDER_HORIZON;
                if own < self.own || late { Place::Behind } else { Place::Back }
            }
        }
    }

    /// Notes that a feed is taken. Returns the last own event that the figures include now.
    fn note(&mut self, feed: &UsageFeed, own: u64, place: Place) -> u64 {
        let newest = place == Place::Next;
        self.own = if newest { own.max(self.own) } else { own };
        self.as_of = if newest { self.as_of.max(Some(feed.as_of)) } else { Some(feed.as_of) };
        self.through = feed.through;
        self.number = self.number.saturating_add(1);
        self.own
    }

    fn wait(&mut self, counter: &CounterUsage, figure: Figure) {
        let key = (counter.quota_id.clone(), Arc::clone(&counter.subject));
        if self.waiting.len() < MAX_WAITING || self.waiting.contains_key(&key) {
            self.waiting.insert(key, figure);
        }
    }
}

impl State {
    /// Takes the figures of a feed, unless it has newer ones. `now` is in nanoseconds of the process.
    pub(crate) fn take(&self, feed: &UsageFeed, now: i64) {
        let own = feed.included.get(&self.journal).copied().unwrap_or(0);
        let mut feeding = self.feeding.lock();
        let place = feeding.place(feed, own);
        if place == Place::Behind {
            return;
        }
        let own = feeding.note(feed, own, place);
        if feed.full {
            feeding.waiting.clear();
        }
        let index = self.index.load();
        for counter in &feed.counters {
            let rule = index.budget(&counter.quota_id);
            let figure = Figure {
                window_start: counter.window_start,
                used: counter.used,
                included: own,
                as_of: feed.as_of,
                definition: counter.definition,
            };
            if !rule.is_some_and(|rule| self.set_ledger(rule, &counter.subject, figure, feeding.number)) {
                feeding.wait(counter, figure); // for a budget as a snapshot is about to bring it
            }
        }
        if feed.full {
            self.budgets.for_each(|_, cell| cell.counter.lock().clear_unlisted(own, feeding.number));
        }
        // Last: a counter that is not listed has the events up to here in the figure that it was last listed with.
        self.set_included(own);
        self.recent.lock().drop_through(own);
        self.freshness.note_proxies(feed.live_proxies, now);
    }

    /// Gives figures that came early to the budgets that are in force now.
    pub(crate) fn take_waiting(&self, feeding: &mut Feeding, index: &Index) {
        let number = feeding.number;
        feeding.waiting.retain(|(quota_id, subject), figure| {
            !index.budget(quota_id).is_some_and(|rule| self.set_ledger(rule, subject, *figure, number))
        });
    }

    /// The ledger's figures of the counters in force.
    pub(crate) fn ledger_figures(&self) -> UsageFeed {
        let feeding = self.feeding.lock();
        let index = self.index.load();
        let mut counters = Vec::new();
        self.budgets.for_each(|key, cell| {
            let Some(rule) = index.budgets.get(&key.number) else { return };
            counters.extend(cell.counter.lock().ledger_figures().map(|(window_start, used)| CounterUsage {
                quota_id: rule.spec.id.clone(),
                subject: Arc::clone(&key.subject),
                window_start,
                used,
                definition: rule.definition,
            }));
        });
        UsageFeed {
            full: true,
            counters,
            included: BTreeMap::from([(Arc::clone(&self.journal), feeding.own)]),
            as_of: feeding.as_of.unwrap_or_default(),
            through: feeding.through,
            live_proxies: self.freshness.live_proxies(),
        }
    }

    /// Returns whether the figure is of this budget as it is in force, and of one of its windows.
    fn set_ledger(&self, rule: &BudgetRule, subject: &str, figure: Figure, feed: u64) -> bool {
        if figure.definition != 0 && figure.definition != rule.definition {
            return false;
        }
        let cell = self.budgets.of(rule.number, subject);
        let mut counter = cell.counter.lock();
        let Figure { window_start, used, included, as_of, definition: _ } = figure;
        counter.set_ledger(&rule.calendar, window_start, used, included, feed, as_of)
    }
}
