//! Own events that the ledger's figure does not include yet.

/// Most entries kept apart. At twenty events a second and a feed each second this is some seconds of one counter; beyond it,
/// neighbours are merged.
pub(super) const MAX_PENDING: usize = 128;

/// Stands for an event that has no place in the journal.
pub(crate) const NO_SEQUENCE: u64 = u64::MAX;

/// Amounts by place in the own journal, ascending.
///
/// When there are too many, neighbours are merged in pairs, and later events fill up entries of that size. A merged entry leaves when
/// its last event is included, so that a figure is never too low; while the ledger catches up it can be too high by a part of one
/// entry, at most a sixtieth of all the events that it is behind.
#[derive(Debug, Default)]
pub(super) struct Pending {
    entries: Vec<Entry>,
    /// An entry holds 2 to the power of this many events, if they came in order.
    doublings: u8,
    total: i64,
    /// Events without a place in the journal: the ledger will never include them.
    unconfirmed: i64,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    last: u64,
    amount: i64,
    events: u32,
}

impl Pending {
    pub(super) fn add(&mut self, sequence: u64, amount: i64) {
        if sequence == NO_SEQUENCE {
            self.unconfirmed = self.unconfirmed.saturating_add(amount);
            return;
        }
        self.total = self.total.saturating_add(amount);
        let full = 1_u32.checked_shl(self.doublings.into()).unwrap_or(u32::MAX);
        let place = self.entries.partition_point(|entry| entry.last < sequence);
        let next = Entry { last: sequence, amount, events: 1 };
        if let Some(entry) = self.entries.get_mut(place) {
            if entry.last == sequence {
                entry.amount = entry.amount.saturating_add(amount);
            } else if entry.events > 1 {
                entry.take(Entry { last: entry.last, ..next });
            } else {
                self.entries.insert(place, next);
            }
        } else if let Some(entry) = self.entries.last_mut().filter(|entry| entry.events < full) {
            entry.take(next);
        } else {
            self.entries.push(next);
        }
        if self.entries.len() > MAX_PENDING {
            self.merge_pairs();
        }
    }

    /// Drops what the ledger's figure includes.
    pub(super) fn drop_through(&mut self, included: u64) {
        if self.entries.first().is_none_or(|first| first.last > included) {
            return;
        }
        let count = self.entries.partition_point(|entry| entry.last <= included);
        self.entries.drain(..count);
        self.total = self.entries.iter().fold(0, |sum, entry| sum.saturating_add(entry.amount));
        if self.entries.is_empty() {
            self.doublings = 0;
            self.entries = Vec::new(); // a quiet counter of many holds no memory
        }
    }

    pub(super) fn total(&self) -> i64 {
        self.total.saturating_add(self.unconfirmed)
    }

    fn merge_pairs(&mut self) {
        let merged = self.entries.chunks(2).filter_map(|pair| {
            let (first, rest) = pair.split_first()?;
            let mut entry = *first;
            rest.iter().for_each(|next| entry.take(*next));
            Some(entry)
        });
        self.entries = merged.collect();
        self.doublings = self.doublings.saturating_add(1);
    }
}

impl Entry {
    fn take(&mut self, next: Self) {
        self.last = next.last;
        self.amount = self.amount.saturating_add(next.amount);
        self.events = self.events.saturating_add(next.events);
    }
}
