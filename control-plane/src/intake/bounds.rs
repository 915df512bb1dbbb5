//! What producers may send at most.

/// Events of one request. A thousand are in the journal within milliseconds, and their answer can still be read.
pub(super) const MAX_EVENTS: usize = 1_000;
/// A request's body as it is sent: a thousand events of 4 KB, twice what they usually have.
pub(super) const MAX_BODY_BYTES: usize = 4 << 20;
/// A compressed body when it is inflated: JSON shrinks to a tenth, and what shrinks to a thousandth is no JSON.
pub(super) const MAX_INFLATED_BYTES: usize = 4 * MAX_BODY_BYTES;
/// Bodies in memory at a time; more requests wait. With what is made of them, a body takes a few times its size.
pub(super) const MAX_REQUESTS: usize = 16;
/// One event as it is sent, and one as it is kept.
pub(super) const MAX_EVENT_BYTES: usize = 64 << 10;
/// Values inside of values. The event has four levels, its envelope and the API's `usage` one more each.
pub(super) const MAX_DEPTH: usize = 8;
/// Any text that has no bound of its own: names, ids, paths. The API's own stay below 128.
pub(super) const MAX_TEXT_BYTES: usize = 256;
/// Longest reason why figures are not exact.
pub(super) const MAX_REASON_BYTES: usize = 128;
/// Longest `idempotency-key`.
pub(super) const MAX_IDEMPOTENCY_KEY_BYTES: usize = 256;
/// Entries of an event's metadata: as many as a key may have labels.
pub(super) const MAX_METADATA: usize = 32;
/// A name in the metadata.
pub(super) const MAX_METADATA_NAME_BYTES: usize = 128;
/// A value in the metadata: a ticket, a cost centre, a path; too short for a prompt.
pub(super) const MAX_METADATA_VALUE_BYTES: usize = 256;
/// Lines of a bill. An answer with compactions, advisors and declined hops has some twenty.
pub(super) const MAX_BUCKETS: usize = 128;
/// Names in a request's digest.
pub(super) const MAX_DIGEST_NAMES: usize = 128;
/// Fields of a later version of the event, which are kept as they are.
pub(super) const MAX_LATER_FIELDS: usize = 32;
/// The fields of a later version together, as JSON: figures and names, no texts.
pub(super) const MAX_LATER_BYTES: usize = 2 << 10;
/// Faults that are named of one event.
pub(super) const MAX_FAULTS: usize = 32;
/// Faults that one answer names. Of events beyond them, the first one only.
pub(super) const MAX_LISTED_FAULTS: usize = 1_000;
/// How far a producer's clock may be ahead.
pub(super) const MAX_CLOCK_SKEW: std::time::Duration = std::time::Duration::from_secs(5 * 60);
