//! How events reach the control plane: the journal and its shippers.
//!
//! [`Journal`] makes an event real: from the return of an append on it outlives the process. [`ship`] carries events
//! from there to an [`EventSink`]: the ledger in the same process, a control plane over HTTP, or a topic of Kafka.

mod dead_letters;
mod delivery;
mod embedded;
mod error_chain;
mod journal;
mod metrics;

pub use delivery::{
    CODE_FENCED, CODE_UNDECODABLE, ClaimAnswer, ClaimRequest, DELIVERY_CONTENT_TYPE, Delivery,
    DeliveryAnswer, DeliveryError, MAX_DELIVERY_BYTES, MAX_DELIVERY_RECORDS, MAX_SOURCE_BYTES, PoisonAnswer,
};
pub use embedded::{Batch, EventSink, Origin, Record, ShipConfig, ShipEnd, SinkError, ship, ship_with};
pub use journal::{
    Admission, AppendError, DEFAULT_FINISHED_BUDGET_BYTES, DEFAULT_MAX_BYTES, DEFAULT_SEGMENT_BYTES,
    DEFAULT_SYNC_EVERY, Events, FullCause, Gap, Interrupted, Journal, JournalConfig, JournalError,
    JournalStats, MAX_PAYLOAD_BYTES, ReadLimits, Recovery, SegmentSummary, Sequence, SyncPolicy, Tail,
    inspect_segment,
};
