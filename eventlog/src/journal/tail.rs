//! Reads events in order while they are being written.

use std::fmt;
use std::sync::Arc;

use super::error::JournalError;
use super::format::JournalId;
use super::scan::{Found, Scanner};
use super::segment::Segment;
use super::sequence::Sequence;
use super::shared::Shared;
use super::writer::{Stopped, Writer};

/// How much a read returns at most.
#[derive(Clone, Copy, Debug)]
pub struct ReadLimits {
    /// Records.
    pub max_records: usize,
    /// Payload bytes; the record that passes the limit is still included, so that every read makes progress.
    pub max_bytes: usize,
}

/// Events that were released and deleted before this reader had them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The last event that the reader has.
    pub after: Sequence,
    /// No event up to here exists any more.
    pub through: Sequence,
}

/// What one read returned.
#[derive(Default)]
pub struct Events {
    /// Payloads of finished and event records in the order in which they were appended.
    pub records: Vec<(Sequence, Vec<u8>)>,
    /// Set where events are missing before `records`.
    pub gap: Option<Gap>,
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let records = self.records.len(); // their content belongs into no log
        f.debug_struct("Events").field("records", &records).field("gap", &self.gap).finish()
    }
}

/// A reader of a journal's events. Any number of them may read at the same time, while records are appended and segments
/// deleted.
pub struct Tail {
    shared: Arc<Shared>,
    journal: JournalId,
    /// Every event up to here was returned, or cannot be.
    position: Sequence,
    cursor: Option<Cursor>,
}

struct Cursor {
    segment: Arc<Segment>,
    scanner: Scanner,
}

impl Tail {
    pub(crate) fn new(shared: Arc<Shared>, after: Sequence) -> Self {
        let journal = shared.writer.lock().journal();
        Self { shared, journal, position: after, cursor: None }
    }

    /// Returns once there is an event to read. Safe to cancel.
    ///
    /// # Errors
    /// [`JournalError::Failed`] or [`JournalError::Closed`] when nothing is left to read and nothing will come.
    pub async fn ready(&self) -> Result<(), JournalError> {
        let notified = self.shared.events.notified();
        tokio::pin!(notified);
        loop {
            notified.as_mut().enable(); // before looking, so that an append right after the look is not missed
            {
                let mut writer = self.shared.writer.lock();
                if writer.last_event() > self.position {
                    return Ok(());
                }
                match &writer.stopped {
                    Some(Stopped::Failed(cause)) => return Err(JournalError::Failed(Arc::clone(cause))),
                    Some(Stopped::Closed) => return Err(JournalError::Closed),
                    None => writer.tail_waits = true,
                }
            }
            notified.as_mut().await;
            notified.set(self.shared.events.notified());
        }
    }

    /// Waits for at least one event and returns what is there. Safe to cancel.
    ///
    /// # Errors
    /// See [`Self::ready`].
    pub async fn next(&mut self, limits: ReadLimits) -> Result<Events, JournalError> {
        loop {
            self.ready().await?;
            let events = self.read(limits);
            if !events.records.is_empty() || events.gap.is_some() {
                return Ok(events);
            }
        }
    }

    /// Returns what is there without waiting. Reads from files that are in the page cache, unless a backlog is older
    /// than that: callers for whom a disk read is too long run it on a blocking thread.
    pub fn read(&mut self, limits: ReadLimits) -> Events {
        let newest = self.shared.writer.lock().last_event();
        let mut events = Events::default();
        let mut bytes = 0_usize;
        while events.records.len() < limits.max_records && bytes < limits.max_bytes {
            let position = self.position;
            let Some(cursor) = &mut self.cursor else {
                if self.enter_next_segment(&mut events) {
                    continue;
                }
                break;
            };
            match cursor.scanner.next(&cursor.segment.file, cursor.segment.published()) {
                Some(Found::Record { header, payload, .. }) => {
                    if header.kind.is_event() && header.sequence > position {
                        bytes = bytes.saturating_add(payload.len());
                        events.records.push((header.sequence, payload.to_vec()));
                        self.position = header.sequence;
                    }
                }
                Some(Found::Damage { .. } | Found::Rest { .. }) => {
                    tracing::error!(segment = %cursor.segment.path.display(), "damaged journal records are passed over");
                }
                None => {
                    if self.enter_next_segment(&mut events) {
                        continue;
                    }
                    // All is read. What was said to be there and was not returned is unreadable.
                    self.position = self.position.max(newest);
                    break;
                }
            }
        }
        events
    }

    /// Goes to the next segment if this one is read to its end and will not grow.
    fn enter_next_segment(&mut self, events: &mut Events) -> bool {
        let writer = self.shared.writer.lock();
        let number = self.cursor.as_ref().map(|cursor| cursor.segment.number);
        if let Some(cursor) = &self.cursor {
            let unread = cursor.scanner.offset() < cursor.segment.published();
            if unread {
                return true; // it grew after the last look
            }
        }
        let Some(segment) = writer.segment_after(number) else { return false };
        note_gap(&writer, &mut self.position, events);
        drop(writer);
        self.cursor = Some(Cursor { segment, scanner: Scanner::new(self.journal) });
        true
    }
}

fn note_gap(writer: &Writer, position: &mut Sequence, events: &mut Events) {
    if *position >= writer.deleted_through {
        return;
    }
    let after = events.gap.map_or(*position, |gap| gap.after);
    events.gap = Some(Gap { after, through: writer.deleted_through });
    *position = writer.deleted_through;
}
