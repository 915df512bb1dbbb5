//! A segment of any bytes: reading it ends, and finds no more than there is room for.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mindweave_eventlog::inspect_segment;

/// A record's header: no record is shorter.
const SHORTEST_RECORD: usize = 56;
/// Where a segment's header names its journal, whose id seeds the checksums.
const JOURNAL_ID: std::ops::Range<usize> = 16..32;

fuzz_target!(|bytes: &[u8]| {
    let id = bytes.get(JOURNAL_ID).and_then(|id| id.try_into().ok()).unwrap_or_default();
    let summary = inspect_segment(id, bytes);
    let length = u64::try_from(bytes.len()).expect("fits");
    assert!(summary.records <= u64::try_from(bytes.len() / SHORTEST_RECORD).expect("fits"));
    assert!(summary.torn_bytes <= length);
});
