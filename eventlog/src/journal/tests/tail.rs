//! Readers: order, waking, gaps.

use super::*;
use crate::journal::Gap;

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_reader_wakes_for_an_event_and_not_for_an_admission() {
    let dir = tempfile::tempdir().expect("a folder");
    let (journal, _) = open(small(dir.path()));
    let mut tail = journal.tail(Sequence::ZERO);
    let waiting = tokio::spawn(async move { tail.next(ALL).await.map(|events| events.records) });
    eventually("the reader waits", || journal.shared.writer.lock().tail_waits.then_some(()));
    let admission = journal.append_admitted([1; 16], b"request").expect("room");
    assert!(journal.shared.writer.lock().tail_waits, "an admission is nothing to read");
    let finished = journal.append_finished(admission, b"event").expect("room");
    let records =
        tokio::time::timeout(PATIENCE, waiting).await.expect("in time").expect("no panic").expect("open");
    assert_eq!(records, [(finished, b"event".to_vec())]);
}

#[tokio::test]
async fn a_cancelled_wait_loses_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    let (journal, _) = open(small(dir.path()));
    let mut tail = journal.tail(Sequence::ZERO);
    for number in 0..50_u8 {
        let cancelled = tokio::time::timeout(Duration::ZERO, tail.next(ALL)).await;
        assert!(cancelled.is_err(), "nothing to read yet");
        journal.append_event(&[number]).expect("room");
        let read = tokio::time::timeout(PATIENCE, tail.next(ALL)).await.expect("in time").expect("open");
        assert_eq!(read.records.len(), 1);
        assert_eq!(read.records[0].1, [number]);
    }
}

#[test]
fn a_reader_goes_on_after_what_it_has_and_keeps_to_its_limits() {
    let dir = tempfile::tempdir().expect("a folder");
    let (journal, _) = open(small(dir.path()));
    let sequences: Vec<_> = (0..40_u8).map(|n| journal.append_event(&[n; 300]).expect("room")).collect();
    let mut tail = journal.tail(sequences[9]);
    let by_count = tail.read(ReadLimits { max_records: 7, max_bytes: usize::MAX }).records;
    assert_eq!(by_count.iter().map(|(s, _)| *s).collect::<Vec<_>>(), sequences[10..17]);
    let by_bytes = tail.read(ReadLimits { max_records: usize::MAX, max_bytes: 601 }).records;
    assert_eq!(
        by_bytes.iter().map(|(s, _)| *s).collect::<Vec<_>>(),
        sequences[17..20],
        "the third one passes the limit"
    );
    assert_eq!(tail.read(ALL).records.len(), 20);
    assert_eq!(tail.read(ALL).records.len(), 0);
}

#[test]
fn a_reader_behind_the_deleted_segments_begins_with_the_oldest_and_is_told_of_the_gap() {
    let dir = tempfile::tempdir().expect("a folder");
    let (journal, _) = open(small(dir.path()));
    let mut early = journal.tail(Sequence::ZERO);
    let first = journal.append_event(b"first").expect("room");
    assert_eq!(early.read(ALL).records.len(), 1);
    let sequences: Vec<_> = (0..30).map(|_| journal.append_event(&[b'x'; 1000]).expect("room")).collect();
    journal.release(sequences[20]);
    let deleted = eventually("segments are deleted", || {
        let deleted = journal.shared.writer.lock().deleted_through;
        (deleted > sequences[15]).then_some(deleted)
    });

    let late = journal.tail(first).read(ALL);
    assert_eq!(late.gap, Some(Gap { after: first, through: deleted }));
    assert_eq!(late.records.last().map(|(sequence, _)| *sequence), sequences.last().copied());
    // A reader that was there still holds the deleted file it was in, and finds the gap behind it.
    let rest = early.read(ALL);
    assert!(rest.gap.is_some());
    assert_eq!(rest.records.last(), late.records.last());
}
