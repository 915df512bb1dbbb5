//! The limit, what is promised below it, and how space comes back.

use super::*;
use crate::journal::{Admission, AppendError};

/// Admits until the journal says that it is full.
pub(super) fn admit_until_full(journal: &Journal) -> Vec<Admission> {
    let mut open = Vec::new();
    eventually("the journal is full", || match journal.append_admitted([3; 16], &[b'r'; 100]) {
        Ok(admission) => {
            open.push(admission);
            None
        }
        Err(AppendError::Full) => Some(()),
        Err(error) => panic!("{error}"),
    });
    open
}

fn limited(dir: &Path) -> JournalConfig {
    JournalConfig { max_bytes: 8 * 4096, ..small(dir) }
}

#[test]
fn a_full_journal_refuses_admissions_and_still_takes_every_finished_record() {
    let dir = tempfile::tempdir().expect("a folder");
    let (journal, _) = open(limited(dir.path()));
    let open = admit_until_full(&journal);
    assert!(open.len() > 20, "most of the journal was used: {}", open.len());
    assert!(journal.stats().refused_full > 0);
    for (number, admission) in open.into_iter().enumerate() {
        let size = if number % 3 == 0 { 256 } else { number % 200 };
        journal.append_finished(admission, &vec![b'x'; size]).expect("room was reserved");
    }
    // The limit, and the one segment more that may free the oldest, which only open requests kept.
    assert!(journal.stats().disk_bytes <= 9 * 4096, "{:?}", journal.stats());
}

#[test]
fn a_batch_of_events_that_does_not_fit_leaves_nothing_and_one_that_does_takes_no_promised_room() {
    let dir = tempfile::tempdir().expect("a folder");
    let (journal, _) = open(limited(dir.path()));
    let batch = vec![vec![b'e'; 1_000]; 5];
    let mut taken = 0;
    let refused = loop {
        match journal.append_events(&batch) {
            Ok(last) => taken += usize::from(last.is_some()) * batch.len(),
            Err(error) => break error,
        }
        assert!(taken < 100, "the journal is never full");
    };
    assert!(matches!(refused, AppendError::Full), "{refused}");
    assert_eq!((events(&journal).len(), journal.stats().refused_full), (taken, 5));
    assert!(taken >= 10, "most of the journal was used: {taken}");
    let (last, _) = events(&journal).pop().expect("events");
    journal.release(last);
    let open = admit_until_full(&journal);
    assert!(journal.append_events(&batch).is_err());
    for admission in open {
        journal.append_finished(admission, &[b'x'; 256]).expect("room was reserved");
    }
}

#[test]
fn a_full_journal_takes_requests_again_when_the_consumer_has_caught_up() {
    let dir = tempfile::tempdir().expect("a folder");
    let (journal, _) = open(limited(dir.path()));
    for admission in admit_until_full(&journal) {
        journal.append_finished(admission, &[b'x'; 200]).expect("room was reserved");
    }
    let (last, _) = events(&journal).pop().expect("events");
    journal.release(last);
    let admission = eventually("there is room", || journal.append_admitted([4; 16], &[b'r'; 1000]).ok());
    journal.append_finished(admission, b"done").expect("room was reserved");
}

#[test]
fn a_full_journal_opens_and_its_interrupted_requests_can_be_finished() {
    let dir = tempfile::tempdir().expect("a folder");
    let (journal, _) = open(limited(dir.path()));
    let open_requests = admit_until_full(&journal);
    let count = open_requests.len();
    drop(open_requests);
    drop(journal);
    for round in 0..3 {
        let (journal, mut recovery) = open(limited(dir.path()));
        assert_eq!(recovery.interrupted.len(), count - round, "finished ones do not come back");
        let one = recovery.interrupted.remove(0);
        journal.append_finished(one.admission, &[b'x'; 256]).expect("room was reserved");
    }
    let (journal, recovery) = open(limited(dir.path()));
    for request in recovery.interrupted {
        journal.append_finished(request.admission, &[b'x'; 256]).expect("room was reserved");
    }
    drop(journal);
    let (_journal, recovery) = open(limited(dir.path()));
    assert_eq!(recovery.interrupted.len(), 0);
}

#[test]
fn a_payload_over_the_limit_is_refused_with_the_limit() {
    let dir = tempfile::tempdir().expect("a folder");
    let (journal, _) = open(small(dir.path()));
    let limit = journal.max_payload_bytes();
    journal.append_event(&vec![0; limit]).expect("exactly the limit fits");
    let refused = journal.append_event(&vec![0; limit + 1]).expect_err("too large");
    assert!(
        matches!(refused, AppendError::TooLarge { bytes, limit: said } if bytes == limit + 1 && said == limit)
    );
}

#[test]
fn a_finished_record_over_its_budget_is_written_where_there_is_room() {
    let dir = tempfile::tempdir().expect("a folder");
    let (journal, _) = open(small(dir.path()));
    let admission = journal.append_admitted([1; 16], b"request").expect("room");
    journal.append_finished(admission, &[b'x'; 3000]).expect("there is room");
    assert_eq!(payloads(&journal), [vec![b'x'; 3000]]);
}

#[test]
fn a_request_that_stays_open_does_not_keep_the_segments_behind_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let (journal, _) = open(limited(dir.path()));
    let long = journal.append_admitted([9; 16], b"an hour of work").expect("room");
    let abandoned = journal.append_admitted([8; 16], b"forgotten").expect("room");
    drop(abandoned);
    for _ in 0..100 {
        let last = eventually("there is room", || journal.append_event(&[b'x'; 1000]).ok());
        journal.release(last);
    }
    let first_numbers: Vec<_> = segment_paths(dir.path());
    assert!(
        !first_numbers[0].ends_with("0000000000000001.segment"),
        "the first segment is gone: {first_numbers:?}"
    );

    let crashed = tempfile::tempdir().expect("a folder");
    copy_folder(dir.path(), crashed.path());
    let (_after_crash, recovery) = open(limited(crashed.path()));
    let mut payloads: Vec<_> = recovery.interrupted.iter().map(|request| request.payload.clone()).collect();
    payloads.sort();
    assert_eq!(payloads, [b"an hour of work".to_vec(), b"forgotten".to_vec()]);
    assert!(recovery.interrupted.iter().any(|request| request.admission.sequence() == long.sequence()));

    journal.append_finished(long, b"done").expect("room was reserved");
    drop(journal);
    let (_journal, recovery) = open(limited(dir.path()));
    let open: Vec<_> = recovery.interrupted.iter().map(|request| request.payload.as_slice()).collect();
    assert_eq!(open, [b"forgotten"], "a copy does not bring a finished request back");
}

#[test]
fn a_full_journal_frees_itself_of_a_request_that_stays_open_before_everything_else() {
    let dir = tempfile::tempdir().expect("a folder");
    let (journal, _) = open(limited(dir.path()));
    let long = journal.append_admitted([9; 16], &[b'l'; 900]).expect("room");
    // Each is finished at once: only the long one is open when the journal is full.
    eventually("the journal is full", || match journal.append_admitted([3; 16], &[b'r'; 100]) {
        Ok(admission) => {
            journal.append_finished(admission, &[b'x'; 256]).expect("room was reserved");
            None
        }
        Err(AppendError::Full) => Some(()),
        Err(error) => panic!("{error}"),
    });
    while journal.append_event(b"").is_ok() {}
    let (last, _) = events(&journal).pop().expect("events");
    journal.release(last);
    eventually("there is room", || journal.append_event(&[b'x'; 1000]).ok());
    journal.append_finished(long, &[b'x'; 256]).expect("room was reserved");
}

#[test]
fn restarts_do_not_eat_up_the_limit() {
    let dir = tempfile::tempdir().expect("a folder");
    for _ in 0..50 {
        let (journal, _) = open(limited(dir.path()));
        eventually("there is room", || journal.append_event(b"one a restart").ok());
    }
    let (journal, _) = open(limited(dir.path()));
    assert_eq!(events(&journal).len(), 50);
    assert!(journal.stats().disk_bytes <= 8 * 4096 + 50 * 256, "{:?}", journal.stats());
}
