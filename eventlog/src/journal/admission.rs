//! The ticket of a request that was let in.

use std::fmt;
use std::sync::Arc;

use super::open_admissions::Slot;
use super::sequence::Sequence;
use super::shared::Shared;

/// Proves that a request is in the journal, and holds the room for its finished record.
///
/// To be consumed by [`crate::Journal::append_finished`]. Dropped instead, the request stays open on disk, is counted in
/// [`crate::JournalStats::dropped_admissions`], and the next start hands it out as interrupted.
#[must_use = "an admission that is not finished becomes an interrupted request at the next start"]
pub struct Admission {
    shared: Arc<Shared>,
    slot: Slot,
    sequence: Sequence,
    key: [u8; 16],
    state: TicketState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TicketState {
    Open,
    Settled,
}

impl Admission {
    pub(crate) fn new(shared: Arc<Shared>, slot: Slot, sequence: Sequence, key: [u8; 16]) -> Self {
        Self { shared, slot, sequence, key, state: TicketState::Open }
    }

    /// The sequence that the admitted record got first.
    pub fn sequence(&self) -> Sequence {
        self.sequence
    }

    /// The key that the request was admitted with.
    pub fn key(&self) -> &[u8; 16] {
        &self.key
    }

    pub(crate) fn journal(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// The finished record is written: dropping the ticket is fine now.
    pub(crate) fn settled(&mut self) -> Slot {
        self.state = TicketState::Settled;
        self.slot
    }
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admission")
            .field("sequence", &self.sequence)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        if self.state == TicketState::Open {
            self.shared.writer.lock().open.abandon(self.slot);
        }
    }
}
