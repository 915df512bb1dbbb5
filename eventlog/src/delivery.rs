//! Events over HTTP: how a proxy in a process of its own delivers its journal to the control plane.
//!
//! Both requests carry the proxy token as a bearer token.
//!
//! **`POST /internal/v1/events/claim`**, body [`ClaimRequest`] as JSON: takes a journal over. Answers [`ClaimAnswer`] with
//! the last sequence that the ledger has, and an epoch that every delivery must name. Whoever claimed before is fenced. Maps
//! to [`crate::EventSink::position`].
//!
//! **`POST /internal/v1/events`**, body a [`Delivery`] in the form below, content type [`DELIVERY_CONTENT_TYPE`]. Maps to
//! [`crate::EventSink::deliver`]. All of it is in the ledger, durably, when the answer says so; may be sent again as often as
//! one likes. Answers:
//!
//! | Status | Body | Meaning |
//! |---|---|---|
//! | 200 | [`DeliveryAnswer`] | in the ledger, position moved to `last` |
//! | 409 | problem, `code` [`CODE_FENCED`] | another consumer claimed the journal: claim again, then deliver again |
//! | 422 | problem, `code` [`CODE_UNDECODABLE`], with `sequence` and `reason` ([`PoisonAnswer`]) | this record will never work: put it aside, deliver the others again |
//! | 401, 403 | problem | the token is wrong, or the control plane takes no proxies |
//! | 400, 413 | problem | the request is not of this form or too large: a fault of the client |
//! | 5xx | problem | try again later |
//!
//! # Form of a delivery, version 1
//! Numbers are little-endian.
//!
//! | Bytes | Field |
//! |---|---|
//! | 0..4 | magic `MWDL` |
//! | 4..8 | version |
//! | 8..16 | epoch |
//! | 16..24 | `last`: the position to store |
//! | 24..28 | number of records |
//! | 28..32 | length of the source's name |
//! | 32.. | the source's name, UTF-8 |
//! | .. | per record: sequence (8), length of the payload (4), payload |
//!
//! Records ascend by sequence; none is beyond `last`. Nothing follows the last one.

use serde::{Deserialize, Serialize};

use crate::embedded::{Batch, Record};
use crate::journal::{MAX_PAYLOAD_BYTES, Sequence};

/// The content type of a delivery.
pub const DELIVERY_CONTENT_TYPE: &str = "application/vnd.mindweave.delivery";
/// The `code` of a refusal because somebody else claimed the journal.
pub const CODE_FENCED: &str = "fenced";
/// The `code` of a refusal because of one record.
pub const CODE_UNDECODABLE: &str = "undecodable_record";
/// Longest name of a source. A journal's id has 32 characters.
pub const MAX_SOURCE_BYTES: usize = 200;
/// Most records of a delivery: what a shipper reads at a time, twice over.
pub const MAX_DELIVERY_RECORDS: usize = 10_000;
/// Longest delivery: the payloads that a shipper reads at a time by default, the one record by which it may pass that limit,
/// and the heads of all records.
pub const MAX_DELIVERY_BYTES: usize =
    (8 << 20) + MAX_PAYLOAD_BYTES + MAX_DELIVERY_RECORDS * RECORD_HEAD + HEAD + MAX_SOURCE_BYTES;

const MAGIC: [u8; 4] = *b"MWDL";
const VERSION: u32 = 1;
const HEAD: usize = 32;
const RECORD_HEAD: usize = 12;

/// Takes a journal over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimRequest {
    /// [`crate::Journal::id`].
    pub source: String,
}

/// The journal is taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimAnswer {
    /// To be named in every delivery.
    pub epoch: i64,
    /// The last sequence that the ledger has; `null` when it has none.
    pub position: Option<u64>,
}

/// A delivery is in the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryAnswer {
    /// How many events were new.
    pub new: u64,
}

/// What a refusal says of the record that can never be taken. Other fields of the problem stand beside these.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoisonAnswer {
    /// Which record.
    pub sequence: u64,
    /// Why; without any content of the record.
    pub reason: String,
}

/// A batch under a claim.
#[derive(Debug)]
pub struct Delivery {
    /// The claim's epoch.
    pub epoch: i64,
    /// The records and their journal.
    pub batch: Batch,
}

/// A body that is not a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeliveryError {
    /// It does not begin like one.
    #[error("the body is not a delivery")]
    NotADelivery,
    /// It is of another version.
    #[error("the delivery has version {0}, this build reads version {VERSION}")]
    Version(u32),
    /// It ends early, or goes on behind its end.
    #[error("the delivery's length is not what its records say")]
    Length,
    /// It has no record, too many, or the source's name is empty or too long.
    #[error("the delivery is empty or over a limit")]
    Limit,
    /// The source's name is not text.
    #[error("the source's name is not UTF-8")]
    Source,
    /// The records do not ascend, or go beyond `last`.
    #[error("the records are out of order")]
    Order,
}

impl Delivery {
    /// The delivery as it is sent.
    pub fn encode(epoch: i64, batch: &Batch) -> Vec<u8> {
        let payloads: usize =
            batch.records.iter().map(|record| record.payload.len().saturating_add(RECORD_HEAD)).sum();
        let mut body = Vec::with_capacity(HEAD.saturating_add(batch.source.len()).saturating_add(payloads));
        body.extend_from_slice(&MAGIC);
        body.extend_from_slice(&VERSION.to_le_bytes());
        body.extend_from_slice(&epoch.to_le_bytes());
        body.extend_from_slice(&batch.last.get().to_le_bytes());
        body.extend_from_slice(&length(batch.records.len()));
        body.extend_from_slice(&length(batch.source.len()));
        body.extend_from_slice(batch.source.as_bytes());
        for Record { sequence, payload, .. } in &batch.records {
            body.extend_from_slice(&sequence.get().to_le_bytes());
            body.extend_from_slice(&length(payload.len()));
            body.extend_from_slice(payload);
        }
        body
    }

    /// Reads a delivery.
    ///
    /// # Errors
    /// See [`DeliveryError`].
    pub fn decode(body: &[u8]) -> Result<Self, DeliveryError> {
        let mut rest = body;
        if take::<4>(&mut rest).map_err(|_| DeliveryError::NotADelivery)? != MAGIC {
            return Err(DeliveryError::NotADelivery);
        }
        let version = u32::from_le_bytes(take(&mut rest)?);
        if version != VERSION {
            return Err(DeliveryError::Version(version));
        }
        let epoch = i64::from_le_bytes(take(&mut rest)?);
        let last = Sequence::new(u64::from_le_bytes(take(&mut rest)?));
        let records = count(take(&mut rest)?);
        let source = count(take(&mut rest)?);
        if !(1..=MAX_DELIVERY_RECORDS).contains(&records) || !(1..=MAX_SOURCE_BYTES).contains(&source) {
            return Err(DeliveryError::Limit);
        }
        let source = take_slice(&mut rest, source)?;
        let source = std::str::from_utf8(source).map_err(|_| DeliveryError::Source)?.to_owned();
        let records = read_records(&mut rest, records)?;
        if !rest.is_empty() {
            return Err(DeliveryError::Length);
        }
        let ascending = records.is_sorted_by(|a, b| a.sequence < b.sequence);
        let ends =
            (records.first().map(|record| record.sequence), records.last().map(|record| record.sequence));
        let (Some(first), Some(highest)) = ends else {
            return Err(DeliveryError::Limit);
        };
        if !ascending || highest > last {
            return Err(DeliveryError::Order);
        }
        Ok(Self { epoch, batch: Batch { source, first, last, records } })
    }
}

fn read_records(rest: &mut &[u8], count_of: usize) -> Result<Vec<Record>, DeliveryError> {
    let mut records = Vec::with_capacity(count_of);
    for _ in 0..count_of {
        let sequence = Sequence::new(u64::from_le_bytes(take(rest)?));
        let length = count(take(rest)?);
        let payload = take_slice(rest, length)?.to_vec();
        records.push(Record { sequence, origin: None, payload });
    }
    Ok(records)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], DeliveryError> {
    let (taken, left) = rest.split_first_chunk().ok_or(DeliveryError::Length)?;
    *rest = left;
    Ok(*taken)
}

fn take_slice<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], DeliveryError> {
    let (taken, left) = rest.split_at_checked(length).ok_or(DeliveryError::Length)?;
    *rest = left;
    Ok(taken)
}

/// A length as it is written. Nothing that is delivered is longer than four bytes can say; if it were, its reader would find
/// that the delivery is not as long as it says.
fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes()
}

fn count(bytes: [u8; 4]) -> usize {
    usize::try_from(u32::from_le_bytes(bytes)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn batch(records: &[(u64, &[u8])], last: u64) -> Batch {
        let record = |(sequence, payload): &(u64, &[u8])| Record {
            sequence: Sequence::new(*sequence),
            origin: None,
            payload: payload.to_vec(),
        };
        let records: Vec<_> = records.iter().map(record).collect();
        let (first, last) = (records[0].sequence, Sequence::new(last));
        Batch { source: "journal-1".into(), first, last, records }
    }

    #[test]
    fn a_delivery_arrives_as_it_was_sent_also_payloads_that_are_no_text() {
        let sent = batch(&[(3, b"{}"), (4, b""), (1 << 40, b"\xff\n\0")], (1 << 40) + 5);
        let Delivery { epoch, batch } = Delivery::decode(&Delivery::encode(-7, &sent)).unwrap();
        assert_eq!(
            (epoch, batch.source.as_str(), batch.first, batch.last),
            (-7, "journal-1", sent.first, sent.last)
        );
        assert_eq!(batch.records, sent.records);
    }

    #[test]
    fn what_is_not_whole_or_not_in_order_is_refused() {
        let whole = Delivery::encode(1, &batch(&[(3, b"{}"), (4, b"{}")], 4));
        for cut in 0..whole.len() {
            assert!(Delivery::decode(&whole[..cut]).is_err(), "cut at {cut}");
        }
        let refused = |body: &[u8]| Delivery::decode(body).unwrap_err();
        assert_eq!(refused(&[&whole[..], b"x"].concat()), DeliveryError::Length);
        assert_eq!(refused(&Delivery::encode(1, &batch(&[(4, b""), (3, b"")], 4))), DeliveryError::Order);
        assert_eq!(refused(&Delivery::encode(1, &batch(&[(3, b""), (3, b"")], 4))), DeliveryError::Order);
        assert_eq!(refused(&Delivery::encode(1, &batch(&[(5, b"")], 4))), DeliveryError::Order);
        let mut later = whole;
        later[4] = 2;
        assert_eq!(refused(&later), DeliveryError::Version(2));
        assert_eq!(refused(b"{\"records\":[]}"), DeliveryError::NotADelivery);
    }

    #[test]
    fn what_a_shipper_reads_at_a_time_fits_a_delivery() {
        let limits = crate::ShipConfig::default().batch;
        assert!(limits.max_records <= MAX_DELIVERY_RECORDS);
        assert!(
            limits.max_bytes + MAX_PAYLOAD_BYTES + limits.max_records * RECORD_HEAD + HEAD + MAX_SOURCE_BYTES
                <= MAX_DELIVERY_BYTES
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_fail_otherwise_than_by_an_error(body: Vec<u8>, flip: usize) {
            drop(Delivery::decode(&body));
            let mut near = Delivery::encode(1, &batch(&[(3, b"{}"), (4, b"{}")], 4));
            let at = flip % near.len();
            near[at] ^= 0xff;
            drop(Delivery::decode(&near));
        }
    }
}
