//! Folders that are not as we left them.

use std::os::unix::fs::FileExt;

use proptest::prelude::*;

use super::*;
use crate::journal::format::{SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::journal::{JournalError, inspect_segment};

/// A folder with events of several segments, closed.
fn filled() -> (tempfile::TempDir, Vec<Stored>) {
    let dir = tempfile::tempdir().expect("a folder");
    let (journal, _) = open(small(dir.path()));
    for number in 0..40_u8 {
        eventually("there is room", || journal.append_event(&[number; 500]).ok());
    }
    let id = id_of(&journal);
    drop(journal);
    let stored = stored(dir.path(), id);
    assert_eq!(stored.len(), 40);
    (dir, stored)
}

fn change(path: &Path, at: u64, change: impl Fn(u8) -> u8) {
    let file = File::options().read(true).write(true).open(path).expect("the segment");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("inside the file");
    file.write_all_at(&[change(byte[0])], at).expect("written");
}

fn without(stored: &[Stored], lost: impl Fn(&Stored) -> bool) -> Vec<Vec<u8>> {
    stored.iter().filter(|record| !lost(record)).map(|record| record.payload.clone()).collect()
}

#[test]
fn a_flipped_bit_anywhere_in_a_record_loses_that_record_only_and_is_counted() {
    let (dir, stored) = filled();
    let victim = &stored[3];
    assert_eq!(victim.path, stored[4].path, "another record follows in the same segment");
    for at in 0..victim.header.record_bytes() - 4 {
        let folder = tempfile::tempdir().expect("a folder");
        copy_folder(dir.path(), folder.path());
        let path = folder.path().join(victim.path.file_name().expect("a name"));
        change(&path, victim.offset + at, |byte| byte ^ 0x10);
        let (journal, recovery) = open(small(folder.path()));
        assert_eq!(recovery.damaged_records, 1, "byte {at}");
        assert_eq!(recovery.torn_tail_bytes, 0, "byte {at}");
        assert_eq!(journal.stats().damaged_records, 1);
        assert_eq!(
            payloads(&journal),
            without(&stored, |record| record.offset == victim.offset && record.path == victim.path)
        );
    }
}

#[test]
fn a_lost_page_in_the_middle_loses_what_was_in_it_only() {
    let (dir, stored) = filled();
    let victims = &stored[2..5];
    let (from, to) = (victims[0].offset, victims[2].end());
    assert_eq!(victims[0].path, stored[5].path, "another record follows in the same segment");
    for at in from..to {
        change(&victims[0].path, at, |_| 0);
    }
    let (journal, recovery) = open(small(dir.path()));
    assert_eq!(recovery.damaged_records, 3);
    let lost =
        |record: &Stored| victims.iter().any(|victim| victim.header.sequence == record.header.sequence);
    assert_eq!(payloads(&journal), without(&stored, lost));
}

#[test]
fn a_tail_torn_at_any_byte_loses_the_torn_record_only() {
    let (dir, stored) = filled();
    let last = stored.last().expect("records");
    for cut in 0..last.header.record_bytes() - 4 {
        let folder = tempfile::tempdir().expect("a folder");
        copy_folder(dir.path(), folder.path());
        let path = folder.path().join(last.path.file_name().expect("a name"));
        let file = File::options().write(true).open(&path).expect("the segment");
        if cut % 2 == 0 {
            file.set_len(last.offset + cut).expect("cut");
        } else {
            let zeros = vec![0; usize::try_from(last.header.record_bytes() - cut).expect("small")];
            file.write_all_at(&zeros, last.offset + cut).expect("zeroed");
        }
        let (journal, recovery) = open(small(folder.path()));
        assert_eq!(recovery.damaged_records, 0, "cut at {cut}");
        assert_eq!(recovery.torn_tail_bytes > 0, cut > 0, "cut at {cut}");
        assert_eq!(payloads(&journal).len(), 39, "cut at {cut}");
        journal.append_event(b"next").expect("room");
        drop(journal);
        let (journal, recovery) = open(small(folder.path()));
        assert_eq!((recovery.damaged_records, recovery.torn_tail_bytes), (0, 0), "the cut is final");
        assert_eq!(payloads(&journal).last().map(Vec::as_slice), Some(b"next".as_slice()));
    }
}

#[test]
fn a_finished_record_that_is_lost_makes_its_request_interrupted() {
    let dir = tempfile::tempdir().expect("a folder");
    let (journal, _) = open(small(dir.path()));
    let admission = journal.append_admitted([5; 16], b"request").expect("room");
    journal.append_finished(admission, b"finished").expect("room");
    journal.append_event(b"behind it").expect("room");
    let id = id_of(&journal);
    drop(journal);
    let finished = stored(dir.path(), id).swap_remove(1);
    change(&finished.path, finished.end() - 8, |byte| !byte);
    let (journal, recovery) = open(small(dir.path()));
    assert_eq!(recovery.damaged_records, 1);
    assert_eq!(recovery.interrupted.len(), 1);
    assert_eq!(payloads(&journal), [b"behind it"]);
}

#[test]
fn a_missing_segment_is_counted_and_the_others_are_read() {
    let (dir, stored) = filled();
    let paths = segment_paths(dir.path());
    std::fs::remove_file(&paths[1]).expect("removed");
    let (journal, recovery) = open(small(dir.path()));
    assert_eq!(recovery.missing_segments, 1);
    assert_eq!(payloads(&journal), without(&stored, |record| record.path == paths[1]));
}

#[test]
fn renamed_segments_are_read_in_the_order_of_their_headers() {
    let (dir, stored) = filled();
    let paths = segment_paths(dir.path());
    std::fs::rename(&paths[0], dir.path().join("zz-renamed.segment")).expect("renamed");
    let (journal, recovery) = open(small(dir.path()));
    assert_eq!(recovery.missing_segments, 0);
    assert_eq!(payloads(&journal), without(&stored, |_| false));
}

#[test]
fn a_second_copy_of_a_segment_is_left_alone() {
    let (dir, stored) = filled();
    let copy = dir.path().join("copy-of-a.segment");
    std::fs::copy(&segment_paths(dir.path())[0], &copy).expect("copied");
    let (journal, recovery) = open(small(dir.path()));
    assert_eq!(recovery.missing_segments, 1);
    assert_eq!(payloads(&journal), without(&stored, |_| false));
    assert!(std::fs::exists(&copy).expect("readable"));
}

#[test]
fn a_damaged_segment_header_costs_no_record() {
    let (dir, stored) = filled();
    for path in segment_paths(dir.path()) {
        change(&path, 40, |byte| byte ^ 1);
    }
    let (journal, recovery) = open(small(dir.path()));
    assert_eq!((recovery.damaged_records, recovery.missing_segments), (0, 0));
    assert_eq!(payloads(&journal), without(&stored, |_| false));
}

#[test]
fn another_format_is_refused_and_a_flipped_bit_is_not_taken_for_one() {
    let (dir, stored) = filled();
    let path = segment_paths(dir.path()).remove(0);
    change(&path, 8, |byte| byte ^ 2);
    let (journal, _) = open(small(dir.path()));
    assert_eq!(payloads(&journal), without(&stored, |_| false));
    drop(journal);

    let path = segment_paths(dir.path()).pop().expect("a segment");
    let mut bytes = std::fs::read(&path).expect("readable");
    bytes[8] = 2;
    let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[0..12]), &bytes[16..64]);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    std::fs::write(&path, &bytes).expect("written");
    let refused = Journal::open(small(dir.path())).map(|_| ()).expect_err("a newer format");
    assert!(matches!(refused, JournalError::Version { found: 2, supported: 1, .. }), "{refused}");
    assert_eq!(std::fs::read(&path).expect("readable"), bytes, "nothing was changed");
}

#[test]
fn the_identity_comes_back_from_the_segments() {
    let (dir, stored) = filled();
    let id = std::fs::read_to_string(dir.path().join("journal.id")).expect("readable");
    std::fs::remove_file(dir.path().join("journal.id")).expect("removed");
    let (journal, _) = open(small(dir.path()));
    assert_eq!(journal.id(), id.trim());
    assert_eq!(payloads(&journal), without(&stored, |_| false));
}

#[test]
fn a_journal_without_any_identity_is_refused_and_left_as_it_is() {
    let (dir, _) = filled();
    std::fs::write(dir.path().join("journal.id"), "nonsense").expect("written");
    let paths = segment_paths(dir.path());
    for path in &paths {
        change(path, 20, |byte| !byte);
    }
    let refused = Journal::open(small(dir.path())).map(|_| ()).expect_err("nobody knows what it is");
    assert!(matches!(refused, JournalError::IdentityLost { .. }), "{refused}");
    assert_eq!(segment_paths(dir.path()), paths);
}

#[test]
fn a_folder_whose_segments_were_removed_is_a_new_journal() {
    let (dir, _) = filled();
    let id = std::fs::read_to_string(dir.path().join("journal.id")).expect("readable");
    for path in segment_paths(dir.path()) {
        std::fs::remove_file(path).expect("removed");
    }
    let (journal, _) = open(small(dir.path()));
    assert_ne!(journal.id(), id.trim(), "its numbers begin again, so a consumer must not compare them");
}

#[test]
fn a_segment_of_another_journal_is_left_alone() {
    let (dir, stored) = filled();
    let (other, _) = filled();
    let foreign = dir.path().join("ffffffffffffff00.segment");
    std::fs::copy(&segment_paths(other.path())[0], &foreign).expect("copied");
    let (journal, recovery) = open(small(dir.path()));
    assert_eq!(recovery.missing_segments, 1);
    assert_eq!(payloads(&journal), without(&stored, |_| false));
    assert!(std::fs::exists(foreign).expect("readable"));
}

#[test]
fn a_segment_full_of_nonsense_is_put_aside_under_another_name() {
    let (dir, stored) = filled();
    std::fs::write(dir.path().join("00000000000000f0.segment"), vec![0xA5; 4096]).expect("written");
    let (journal, recovery) = open(small(dir.path()));
    assert_eq!(payloads(&journal), without(&stored, |_| false));
    assert!(recovery.missing_segments > 0);
    assert!(std::fs::exists(dir.path().join("00000000000000f0.unreadable")).expect("readable"));
}

/// A payload that holds the bytes of a whole record.
#[test]
fn a_record_inside_a_damaged_payload_is_not_taken_for_one() {
    let (other, others) = filled();
    let path = &others[0].path;
    let record = std::fs::read(path).expect("readable")[64..64 + 556].to_vec();
    drop(other);
    let dir = tempfile::tempdir().expect("a folder");
    let (journal, _) = open(small(dir.path()));
    journal.append_event(&record).expect("room");
    journal.append_event(b"behind it").expect("room");
    drop(journal);
    change(&segment_paths(dir.path())[0], SEGMENT_HEADER_BYTES + 3, |byte| !byte);
    let (journal, recovery) = open(small(dir.path()));
    assert_eq!(payloads(&journal), [b"behind it"]);
    assert_eq!(recovery.damaged_records, 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_bytes_can_be_read(header in any::<bool>(), bytes in proptest::collection::vec(any::<u8>(), 0..6000)) {
        let dir = tempfile::tempdir().expect("a folder");
        let mut content = Vec::new();
        if header {
            let header = SegmentHeader { journal: format::JournalId([1; 16]), number: 3, bytes: 4096, floor: Sequence::new(9) };
            content.extend(header.encode());
        }
        content.extend(&bytes);
        let summary = inspect_segment([1; 16], &content);
        prop_assert_eq!(summary.records, 0);
        std::fs::write(dir.path().join("journal.id"), "01".repeat(16)).expect("written");
        std::fs::write(dir.path().join("0000000000000003.segment"), &content).expect("written");
        let (journal, _) = open(small(dir.path()));
        journal.append_event(b"works").expect("room");
        prop_assert_eq!(payloads(&journal), [b"works"]);
    }

    #[test]
    fn records_with_any_bytes_changed_can_be_read(
        changes in proptest::collection::vec((0_u64..4096, any::<u8>()), 0..40),
        sizes in proptest::collection::vec(0_usize..600, 1..12),
    ) {
        let dir = tempfile::tempdir().expect("a folder");
        let (journal, _) = open(small(dir.path()));
        let written: Vec<_> = sizes.iter().map(|size| vec![b'e'; *size]).collect();
        for payload in &written {
            eventually("there is room", || journal.append_event(payload).ok());
        }
        drop(journal);
        let first = segment_paths(dir.path()).remove(0);
        for (at, value) in changes {
            change(&first, at, |_| value);
        }
        if let Ok((journal, _)) = Journal::open_on(small(dir.path()), Arc::new(TestDisk::default())) {
            let mut rest = written.iter();
            for payload in payloads(&journal) {
                prop_assert!(rest.any(|original| *original == payload), "only what was written, in order");
            }
            eventually("there is room", || journal.append_event(b"works").ok());
        }
    }
}
