//! When an event was, and by what id it is known: it is in the ledger once however often it is sent.

use jiff::{SignedDuration, Timestamp};
use mindweave_metering::EventId;
use ring::digest;

use super::bounds::{MAX_CLOCK_SKEW, MAX_IDEMPOTENCY_KEY_BYTES};
use super::fault::Faults;
use super::form::Sent;
use crate::entropy::{self, NoEntropy};

/// Keeps ids that are made of idempotency keys apart from whatever else is made by the same hash.
const ID_CONTEXT: &[u8] = b"mindweave event id 1";
/// Events are refused when this part of the time that they are kept is left to them: what was accepted may still wait for the
/// ledger, and whoever sent it may send it again, when it would be forgotten otherwise.
const LANDING_SHARE: i32 = 100;

/// An `idempotency-key` header, as far as ids are made of it.
#[derive(Clone, Debug)]
pub(super) struct IdempotencyKey(Vec<u8>);

impl IdempotencyKey {
    /// The key of this caller; `None` for one that is no key: empty, too long, or not plain.
    pub(super) fn new(scope: &str, key: &[u8]) -> Option<Self> {
        let fits = (1..=MAX_IDEMPOTENCY_KEY_BYTES).contains(&key.len());
        if !fits || !key.iter().all(u8::is_ascii_graphic) {
            return None;
        }
        Some(Self([ID_CONTEXT, scope.as_bytes(), b"\0", key, b"\0"].concat()))
    }

    /// The id of the event of this project at this place of the request: the same request gives the same ids. Of version 7 where
    /// the event says its time, else of version 8, which has none.
    fn event_id(&self, index: usize, project_id: &str, timestamp: Option<Timestamp>) -> EventId {
        let (place, project_id) = (index.to_string(), project_id.as_bytes());
        let hash = digest::digest(&digest::SHA256, &[&*self.0, place.as_bytes(), b"\0", project_id].concat());
        if let Some(timestamp) = timestamp {
            return EventId::generate(timestamp, beginning(hash.as_ref()));
        }
        let mut bytes: [u8; 16] = beginning(hash.as_ref());
        let [.., version, _, variant, _, _, _, _, _, _, _] = &mut bytes;
        *version = *version & 0x0f | 0x80;
        *variant = *variant & 0x3f | 0x80;
        EventId::from_bytes(bytes)
    }
}

/// The first bytes of a hash, which has more.
fn beginning<const N: usize>(hash: &[u8]) -> [u8; N] {
    hash.first_chunk().copied().unwrap_or([0; N])
}

/// Which times events may have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Period {
    now: Timestamp,
    oldest: Timestamp,
}

impl Period {
    /// The times at this moment, where events are kept for so long.
    pub(super) fn at(now: Timestamp, kept: SignedDuration) -> Self {
        let oldest = now.checked_sub(kept - kept / LANDING_SHARE).unwrap_or(Timestamp::MIN);
        Self { now, oldest }
    }

    /// These times, or fewer where events are kept for less.
    pub(super) fn within(self, kept: SignedDuration) -> Self {
        Self { oldest: Self::at(self.now, kept).oldest.max(self.oldest), ..self }
    }

    /// The moment.
    pub(super) fn now(&self) -> Timestamp {
        self.now
    }

    /// What is wrong with this time.
    fn fault(&self, time: Timestamp) -> Option<String> {
        let ahead = time.duration_since(self.now);
        if ahead > SignedDuration::try_from(MAX_CLOCK_SKEW).unwrap_or_default() {
            return Some("is more than five minutes in the future".to_owned());
        }
        (time < self.oldest).then(|| {
            let oldest = self.oldest;
            format!("is before {oldest:.0}: of older events it is not known any more whether they were sent before")
        })
    }
}

/// Sets time and id of an event.
///
/// # Errors
/// When the operating system has no random bytes.
pub(super) fn identify(
    sent: &mut Sent,
    index: usize,
    key: Option<&IdempotencyKey>,
    period: &Period,
    faults: &mut Faults,
) -> Result<(), NoEntropy> {
    let timestamp = sent.timestamp.unwrap_or(period.now);
    sent.draft.timestamp = timestamp;
    if let Some(fault) = period.fault(timestamp) {
        faults.add(sent.places.of("timestamp"), fault);
    }
    sent.draft.event_id = match (sent.event_id, key) {
        (Some(id), _) => {
            if let Some(fault) = time_of(id).and_then(|made_at| period.fault(made_at)) {
                faults.add(sent.places.of("event_id"), format!("is a UUIDv7 whose time {fault}"));
            }
            id
        }
        (None, Some(key)) => key.event_id(index, sent.draft.project_id.as_str(), sent.timestamp),
        (None, None) => EventId::generate(timestamp, entropy::bytes()?),
    };
    Ok(())
}

/// When an id of version 7 was made (RFC 9562).
fn time_of(id: EventId) -> Option<Timestamp> {
    let [a, b, c, d, e, f, version, _, variant, ..] = *id.as_bytes();
    if version >> 4 != 7 || variant >> 6 != 0b10 {
        return None;
    }
    let millis = u64::from_be_bytes([0, 0, a, b, c, d, e, f]);
    let time = i64::try_from(millis).ok().and_then(|millis| Timestamp::from_millisecond(millis).ok());
    Some(time.unwrap_or(Timestamp::MAX))
}
