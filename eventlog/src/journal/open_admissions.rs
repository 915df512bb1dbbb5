//! The admissions that wait for their finished record: where their records are, so that segments can be let go.

use std::sync::Arc;

use super::segment::Segment;
use super::sequence::Sequence;

/// Which entry is meant. Held by the ticket, so that finding it takes no search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot(usize);

/// An admission without a finished record.
pub(crate) struct OpenAdmission {
    /// The sequence that its record got first.
    pub(crate) admission: Sequence,
    pub(crate) key: [u8; 16],
    /// Where its record, or the newest copy of it, is. Nowhere when the record could not be read back.
    pub(crate) place: Option<Place>,
    /// Whether a ticket can still finish it, so that room is kept for its finished record.
    holder: Holder,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    Ticket,
    /// The ticket was dropped: only the next recovery will finish it.
    Nobody,
}

/// Where a record is.
pub(crate) struct Place {
    pub(crate) segment: Arc<Segment>,
    pub(crate) offset: u64,
}

/// A slab: entries keep their index, freed ones are used again. Guarded by the writer's mutex.
#[derive(Default)]
pub(crate) struct OpenAdmissions {
    entries: Vec<Option<OpenAdmission>>,
    free: Vec<usize>,
    with_ticket: u64,
    abandoned: u64,
}

impl OpenAdmissions {
    pub(crate) fn open(&mut self, admission: Sequence, key: [u8; 16], place: Place) -> Slot {
        place.segment.admission_opened();
        self.with_ticket += 1;
        let entry = Some(OpenAdmission { admission, key, place: Some(place), holder: Holder::Ticket });
        match self.free.pop().and_then(|index| self.entries.get_mut(index).map(|free| (index, free))) {
            Some((index, free)) => {
                *free = entry;
                Slot(index)
            }
            None => {
                self.entries.push(entry);
                Slot(self.entries.len() - 1)
            }
        }
    }

    /// Its finished record is written.
    pub(crate) fn close(&mut self, slot: Slot) {
        let Some(entry) = self.entries.get_mut(slot.0).and_then(Option::take) else { return };
        self.free.push(slot.0);
        self.with_ticket = self.with_ticket.saturating_sub(1);
        if let Some(place) = entry.place {
            place.segment.admission_closed();
        }
    }

    /// Its ticket is gone without a finished record. The entry stays: the record must be there at the next start.
    pub(crate) fn abandon(&mut self, slot: Slot) {
        if let Some(Some(entry)) = self.entries.get_mut(slot.0) {
            entry.holder = Holder::Nobody;
            self.with_ticket = self.with_ticket.saturating_sub(1);
            self.abandoned += 1;
        }
    }

    /// Those whose record is in this segment. Walks all entries: not for the path of a request.
    pub(crate) fn in_segment(&self, segment: &Arc<Segment>) -> Vec<(Slot, Sequence, u64)> {
        let entries = self.entries.iter().enumerate();
        entries
            .filter_map(|(index, entry)| {
                let entry = entry.as_ref()?;
                let place = entry.place.as_ref().filter(|place| Arc::ptr_eq(&place.segment, segment))?;
                Some((Slot(index), entry.admission, place.offset))
            })
            .collect()
    }

    /// The entry, if it still is that admission's.
    pub(crate) fn get(&self, slot: Slot, admission: Sequence) -> Option<&OpenAdmission> {
        self.entries.get(slot.0)?.as_ref().filter(|entry| entry.admission == admission)
    }

    /// The record is now elsewhere, or nowhere.
    pub(crate) fn relocate(&mut self, slot: Slot, to: Option<Place>) {
        let Some(Some(entry)) = self.entries.get_mut(slot.0) else { return };
        if let Some(place) = &to {
            place.segment.admission_opened();
        }
        if let Some(place) = std::mem::replace(&mut entry.place, to) {
            place.segment.admission_closed();
        }
    }

    /// How many finished records have to fit.
    pub(crate) fn with_ticket(&self) -> u64 {
        self.with_ticket
    }

    /// How many tickets were dropped since the journal was opened.
    pub(crate) fn abandoned(&self) -> u64 {
        self.abandoned
    }
}
