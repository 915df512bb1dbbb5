//! What is kept of a message: the record for the ledger, and what a dead letter would need.

use std::sync::Arc;

use mindweave_eventlog::{MAX_PAYLOAD_BYTES, Origin, Record, Sequence};
use rdkafka::Message as _;
use rdkafka::message::{BorrowedMessage, Header, Headers as _, OwnedHeaders};

use super::dead_letters::{Letter, Reason};
use super::start::sequence;
use crate::{JOURNAL_HEADER, SEQUENCE_HEADER};

/// Journals whose ids are kept, so that each of their records shares one text. A partition has those of a few proxies.
const MAX_JOURNALS_KEPT: usize = 32;
/// What a record costs in memory beside its payload, about: counted, so that tiny messages are bounded as well.
const RECORD_OVERHEAD_BYTES: usize = 256;

/// A message taken from its partition.
pub(super) struct Taken {
    pub(super) sequence: Sequence,
    /// About what it takes in memory.
    pub(super) bytes: usize,
    pub(super) content: Content,
}

pub(super) enum Content {
    /// Something that the sink shall decide on.
    Record(Record, Aside),
    /// It cannot be an event.
    Unfit(Letter),
}

/// What a message has beside its value, as long as it may become a dead letter.
#[derive(Default)]
pub(super) struct Aside {
    key: Option<Vec<u8>>,
    timestamp: Option<i64>,
    /// `None`: those that the record's origin stands for.
    headers: Option<OwnedHeaders>,
}

impl Aside {
    /// The message again, as the dead letter that it becomes.
    pub(super) fn letter(self, record: Record, detail: String) -> Letter {
        let headers = self.headers.or_else(|| record.origin.as_ref().map(headers_of));
        Letter {
            sequence: record.sequence,
            key: self.key,
            timestamp: self.timestamp,
            headers,
            value: Some(record.payload),
            reason: Reason::Refused,
            detail,
        }
    }
}

/// Takes messages of one partition.
#[derive(Default)]
pub(super) struct Taker {
    journals: Vec<Arc<str>>,
}

impl Taker {
    /// Copies what is needed, so that librdkafka can have its buffer back.
    pub(super) fn take(&mut self, message: &BorrowedMessage<'_>) -> Taken {
        let sequence = sequence(message.offset());
        let key = message.key().map(<[u8]>::to_vec);
        let timestamp = message.timestamp().to_millis();
        let payload = message.payload();
        let origin = self.origin(message);
        let ours = origin.is_some() && message.headers().is_none_or(|headers| headers.count() == 2);
        let headers = if ours { None } else { message.headers().map(|headers| headers.detach()) };
        let bytes = payload.map_or(0, <[u8]>::len) + key.as_ref().map_or(0, Vec::len) + RECORD_OVERHEAD_BYTES;
        let unfit = |reason, detail| {
            let value = payload.map(<[u8]>::to_vec);
            let headers = message.headers().map(|headers| headers.detach());
            Letter { sequence, key: key.clone(), timestamp, headers, value, reason, detail }
        };
        let content = match payload {
            None | Some([]) => Content::Unfit(unfit(Reason::Empty, "the message has no value".to_owned())),
            Some(payload) if payload.len() > MAX_PAYLOAD_BYTES => {
                let detail = format!("{} bytes, and an event has at most {MAX_PAYLOAD_BYTES}", payload.len());
                Content::Unfit(unfit(Reason::TooLong, detail))
            }
            Some(payload) => {
                let record = Record { sequence, origin, payload: payload.to_vec() };
                Content::Record(record, Aside { key, timestamp, headers })
            }
        };
        Taken { sequence, bytes, content }
    }

    /// Where the event was written down. A message without it, or with something else there, is of another producer.
    fn origin(&mut self, message: &BorrowedMessage<'_>) -> Option<Origin> {
        let headers = message.headers()?;
        let text = |name| {
            let header = headers.iter().find(|header| header.key == name)?;
            std::str::from_utf8(header.value?).ok()
        };
        let sequence = Sequence::new(text(SEQUENCE_HEADER)?.parse().ok()?);
        let journal = text(JOURNAL_HEADER).filter(|journal| !journal.is_empty())?;
        Some(Origin { journal: self.journal(journal), sequence })
    }

    fn journal(&mut self, id: &str) -> Arc<str> {
        if let Some(known) = self.journals.iter().find(|known| &***known == id) {
            return Arc::clone(known);
        }
        let new: Arc<str> = id.into();
        if self.journals.len() < MAX_JOURNALS_KEPT {
            self.journals.push(Arc::clone(&new));
        }
        new
    }
}

fn headers_of(origin: &Origin) -> OwnedHeaders {
    OwnedHeaders::new_with_capacity(2)
        .insert(Header { key: JOURNAL_HEADER, value: Some(&*origin.journal) })
        .insert(Header { key: SEQUENCE_HEADER, value: Some(&origin.sequence.to_string()) })
}
