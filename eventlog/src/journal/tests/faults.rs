//! Disks that are full or broken.

use super::*;
use crate::journal::{AppendError, FullCause, JournalError};

#[test]
fn a_full_disk_refuses_admissions_and_still_takes_every_finished_record() {
    let dir = tempfile::tempdir().expect("a folder");
    let disk = Arc::new(TestDisk::default());
    let (journal, _) = Journal::open_on(small(dir.path()), disk.clone()).expect("the journal opens");
    disk.full.store(true, Ordering::SeqCst);
    let open = space::admit_until_full(&journal);
    assert_eq!(journal.stats().full, Some(FullCause::Disk));
    assert!(matches!(journal.append_event(&[0; 3000]), Err(AppendError::Full)));
    for admission in open {
        journal.append_finished(admission, &[b'x'; 256]).expect("room was reserved");
    }

    disk.full.store(false, Ordering::SeqCst);
    eventually("the journal notices that there is room", || journal.append_event(&[0; 3000]).ok());
}

#[tokio::test]
async fn after_a_failed_sync_nothing_is_taken_until_a_restart() {
    let dir = tempfile::tempdir().expect("a folder");
    let disk = Arc::new(TestDisk::default());
    let (journal, _) = Journal::open_on(small(dir.path()), disk.clone()).expect("the journal opens");
    let before = journal.append_event(b"before").expect("room");
    journal.flush().await.expect("synced");
    let admission = journal.append_admitted([1; 16], b"request").expect("room");
    disk.sync_fails.store(true, Ordering::SeqCst);
    let lost = journal.append_event(b"perhaps lost").expect("room");
    let error =
        tokio::time::timeout(PATIENCE, journal.synced(lost)).await.expect("in time").expect_err("it failed");
    assert!(matches!(error, JournalError::Failed(_)), "{error}");

    // The disk works again, and that changes nothing: what it has of the failed write, nobody knows.
    disk.sync_fails.store(false, Ordering::SeqCst);
    assert!(matches!(journal.append_event(b"refused"), Err(AppendError::Failed(_))));
    assert!(matches!(journal.append_finished(admission, b"refused"), Err(AppendError::Failed(_))));
    assert!(journal.synced(before).await.is_ok(), "what was synced before is");
    assert!(journal.flush().await.is_err());
    assert!(journal.stats().failed);
    assert!(journal.tail(lost).ready().await.is_err(), "a reader does not wait for ever");
    drop(journal);

    let (journal, recovery) = open(small(dir.path()));
    assert_eq!(recovery.interrupted.len(), 1);
    journal.append_event(b"after").expect("room");
    assert_eq!(payloads(&journal), [b"before".to_vec(), b"perhaps lost".to_vec(), b"after".to_vec()]);
}

#[test]
fn a_folder_on_a_full_disk_does_not_open_and_is_left_as_it_was() {
    let dir = tempfile::tempdir().expect("a folder");
    let (journal, _) = open(small(dir.path()));
    journal.append_event(b"kept").expect("room");
    drop(journal);
    let disk = Arc::new(TestDisk::default());
    disk.full.store(true, Ordering::SeqCst);
    let refused = Journal::open_on(small(dir.path()), disk).map(|_| ()).expect_err("no room");
    assert!(refused.to_string().contains("allocate"), "{refused}");
    let (journal, _) = open(small(dir.path()));
    assert_eq!(payloads(&journal), [b"kept"]);
}
