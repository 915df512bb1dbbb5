//! Many writers, a reader and the deletion of segments at the same time.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::journal::AppendError;

const WRITERS: usize = 4;
const REQUESTS_EACH: usize = 2_000;

#[test]
fn every_event_is_read_once_and_in_order_while_segments_come_and_go() {
    let dir = tempfile::tempdir().expect("a folder");
    // Room for a few percent of what is written: without deletion nobody gets far.
    let config = JournalConfig { max_bytes: 12 * 4096, ..small(dir.path()) };
    let (journal, _) = open(config);
    let writing = AtomicUsize::new(WRITERS);
    let read = std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (journal, writing) = (&journal, &writing);
            scope.spawn(move || {
                for number in 0..REQUESTS_EACH {
                    request(journal, writer, number);
                }
                writing.fetch_sub(1, Ordering::SeqCst);
            });
        }
        let reader = scope.spawn(|| read_until_done(&journal, &writing));
        reader.join().expect("the reader")
    });

    assert!(read.is_sorted_by(|(a, _), (b, _)| a < b), "in order, none twice");
    let mut next: BTreeMap<usize, usize> = BTreeMap::new();
    for (_, payload) in &read {
        let text = std::str::from_utf8(payload).expect("text");
        let (writer, number) = text.trim_end().split_once(' ').expect("two numbers");
        let expected = next.entry(writer.parse().expect("a writer")).or_default();
        assert_eq!(number.parse(), Ok(*expected), "writer {writer}");
        *expected += 1;
    }
    assert_eq!(next, (0..WRITERS).map(|writer| (writer, REQUESTS_EACH)).collect());
    eventually("all but the newest segments are deleted", || (journal.stats().segments <= 3).then_some(()));
}

/// One request, tried again while the journal is full.
fn request(journal: &Journal, writer: usize, number: usize) {
    let key = [u8::try_from(writer).expect("few writers"); 16];
    let admission = eventually("there is room", || match journal.append_admitted(key, b"a request") {
        Ok(admission) => Some(admission),
        Err(AppendError::Full) => None,
        Err(error) => panic!("{error}"),
    });
    let payload = format!("{writer} {number}{}", " ".repeat(number % 200));
    journal.append_finished(admission, payload.as_bytes()).expect("room was reserved");
}

fn read_until_done(journal: &Journal, writing: &AtomicUsize) -> Vec<(Sequence, Vec<u8>)> {
    let mut tail = journal.tail(Sequence::ZERO);
    let mut all = Vec::new();
    let limits = ReadLimits { max_records: 50, max_bytes: 1 << 20 };
    eventually("everything is read", || {
        let done = writing.load(Ordering::SeqCst) == 0; // before the read, so that the read sees all
        let events = tail.read(limits);
        assert_eq!(events.gap, None);
        let Some((last, _)) = events.records.last() else { return done.then_some(()) };
        journal.release(*last);
        all.extend(events.records);
        None
    });
    all
}
