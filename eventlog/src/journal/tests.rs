//! What the journal promises, each promise tried on real files.

mod concurrency;
mod damage;
mod faults;
mod kill;
mod model;
mod space;
mod tail;

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::disk::{Disk, OsDisk};
use super::scan::{Found, Scanner};
use super::segment::is_segment;
use super::{Journal, JournalConfig, ReadLimits, Recovery, Sequence, SyncPolicy, format, recovery};

/// Longer than any machine takes; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(20);
/// Everything at once.
const ALL: ReadLimits = ReadLimits { max_records: usize::MAX, max_bytes: usize::MAX };

/// Segments of a few records, so that the ends of segments are met all the time.
fn small(dir: &Path) -> JournalConfig {
    JournalConfig {
        segment_bytes: 4096,
        max_bytes: 64 * 4096,
        sync: SyncPolicy::Group { every: Duration::from_millis(1) },
        finished_budget_bytes: 256,
        ..JournalConfig::new(dir)
    }
}

fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "never happened: {what}");
        std::thread::yield_now();
    }
}

/// Every event that the journal holds.
fn events(journal: &Journal) -> Vec<(Sequence, Vec<u8>)> {
    journal.tail(Sequence::ZERO).read(ALL).records
}

fn payloads(journal: &Journal) -> Vec<Vec<u8>> {
    events(journal).into_iter().map(|(_, payload)| payload).collect()
}

/// A disk that refuses when told to, and that does not waste a test's time with real syncs.
#[derive(Default)]
struct TestDisk {
    full: AtomicBool,
    sync_fails: AtomicBool,
}

impl Disk for TestDisk {
    fn allocate(&self, file: &File, bytes: u64) -> io::Result<()> {
        if self.full.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        OsDisk.allocate(file, bytes)
    }

    fn sync(&self, _file: &File) -> io::Result<()> {
        if self.sync_fails.load(Ordering::SeqCst) {
            Err(io::Error::other("the disk is on fire"))
        } else {
            Ok(())
        }
    }

    fn sync_folder(&self, _folder: &Path) -> io::Result<()> {
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        OsDisk.remove(path)
    }
}

fn open(config: JournalConfig) -> (Journal, Recovery) {
    Journal::open_on(config, Arc::new(TestDisk::default())).expect("the journal opens")
}

/// What a crash leaves: the files as they are now. A crash is one moment and a copy is not, so it is made again while
/// segments come or go.
fn copy_folder(from: &Path, to: &Path) {
    eventually("no segment comes or goes during the copy", || {
        for stale in segment_paths(to) {
            std::fs::remove_file(stale).expect("removed");
        }
        let before = segment_paths(from);
        let ids = [from.join("journal.id")];
        let copied = before.iter().chain(&ids).all(|path| {
            let name = path.file_name().expect("a name");
            std::fs::copy(path, to.join(name)).is_ok()
        });
        (copied && segment_paths(from) == before).then_some(())
    });
}

fn segment_paths(dir: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(dir).expect("the folder is there");
    let mut paths: Vec<_> =
        entries.map(|entry| entry.expect("an entry").path()).filter(|p| is_segment(p)).collect();
    paths.sort();
    paths
}

/// A record as it lies in a file.
#[derive(Clone, Debug)]
struct Stored {
    path: std::path::PathBuf,
    offset: u64,
    header: format::RecordHeader,
    payload: Vec<u8>,
}

impl Stored {
    fn end(&self) -> u64 {
        self.offset + self.header.record_bytes()
    }
}

/// The records of an undamaged folder in order.
fn stored(dir: &Path, journal: format::JournalId) -> Vec<Stored> {
    let (stored, flaws) = stored_and_flaws(dir, journal);
    assert_eq!(flaws, Flaws::default(), "{}", dir.display());
    stored
}

/// What is not a record in the segments of a folder.
#[derive(Debug, Default, PartialEq, Eq)]
struct Flaws {
    /// Something lies between records.
    damaged: bool,
    /// Something lies behind the last record of a segment.
    torn: bool,
}

/// The whole records of a folder in order, and what else there is.
fn stored_and_flaws(dir: &Path, journal: format::JournalId) -> (Vec<Stored>, Flaws) {
    let (mut all, mut flaws) = (Vec::new(), Flaws::default());
    for path in segment_paths(dir) {
        let bytes = std::fs::read(&path).expect("a segment");
        let mut scanner = Scanner::new(journal);
        while let Some(found) = scanner.next(bytes.as_slice(), bytes.len().try_into().expect("small")) {
            match found {
                Found::Record { header, offset, payload } => {
                    all.push(Stored { path: path.clone(), offset, header, payload: payload.to_vec() });
                }
                Found::Rest { blank, .. } => flaws.torn |= !blank,
                Found::Damage { .. } => flaws.damaged = true,
            }
        }
    }
    (all, flaws)
}

fn id_of(journal: &Journal) -> format::JournalId {
    journal.shared.writer.lock().journal()
}

#[test]
fn what_was_appended_is_there_after_a_restart() {
    let dir = tempfile::tempdir().expect("a folder");
    let (journal, _) = Journal::open(JournalConfig::new(dir.path())).expect("the journal opens");
    let admission = journal.append_admitted([7; 16], b"admitted").expect("room");
    let finished = journal.append_finished(admission, b"finished").expect("room");
    let event = journal.append_event(b"event").expect("room");
    let open = journal.append_admitted([8; 16], b"open").expect("room");
    let id = journal.id().to_owned();
    drop(open);
    drop(journal);

    let (journal, recovery) = Journal::open(JournalConfig::new(dir.path())).expect("the journal opens again");
    assert_eq!(journal.id(), id);
    assert_eq!(events(&journal), [(finished, b"finished".to_vec()), (event, b"event".to_vec())]);
    assert_eq!((recovery.damaged_records, recovery.torn_tail_bytes, recovery.missing_segments), (0, 0, 0));
    let [interrupted] = recovery.interrupted.try_into().expect("one open request");
    assert_eq!((interrupted.key, interrupted.payload.as_slice()), ([8; 16], b"open".as_slice()));
    let last = journal.append_finished(interrupted.admission, b"interrupted").expect("room");
    assert!(last > event, "numbers go on rising");
}

#[test]
fn a_dropped_ticket_is_counted_and_its_request_comes_back_as_interrupted() {
    let dir = tempfile::tempdir().expect("a folder");
    let (journal, _) = open(small(dir.path()));
    drop(journal.append_admitted([1; 16], b"request").expect("room"));
    let stats = journal.stats();
    assert_eq!((stats.open_admissions, stats.dropped_admissions), (0, 1));
    drop(journal);
    let (_journal, recovery) = open(small(dir.path()));
    assert_eq!(recovery.interrupted.len(), 1);
}

#[test]
fn a_second_process_is_told_that_the_folder_is_in_use() {
    let dir = tempfile::tempdir().expect("a folder");
    let (journal, _) = open(small(dir.path()));
    let refused = Journal::open(small(dir.path())).map(|_| ()).expect_err("it is open");
    assert!(refused.to_string().contains("in use by another process"), "{refused}");
    drop(journal);
    open(small(dir.path()));
}

#[tokio::test]
async fn a_closed_journal_frees_its_folder_and_takes_nothing_more() {
    let dir = tempfile::tempdir().expect("a folder");
    let (journal, _) = open(small(dir.path()));
    let admission = journal.append_admitted([1; 16], b"request").expect("room");
    journal.append_event(b"event").expect("room");
    journal.close().await.expect("all is synced");
    assert!(matches!(journal.append_event(b"late"), Err(super::AppendError::Closed)));
    assert!(matches!(journal.append_finished(admission, b"late"), Err(super::AppendError::Closed)));
    assert_eq!(payloads(&journal), [b"event"], "what is there can still be read");
    let (_other, recovery) = open(small(dir.path()));
    assert_eq!((recovery.records, recovery.interrupted.len()), (2, 1));
}

#[tokio::test]
async fn with_always_an_admission_is_durable_when_it_says_so() {
    let dir = tempfile::tempdir().expect("a folder");
    let config = JournalConfig { sync: SyncPolicy::Always, ..small(dir.path()) };
    let (journal, _) = Journal::open(config).expect("the journal opens");
    for key in 0..20 {
        let admission = journal.append_admitted([key; 16], b"request").expect("room");
        let wait = journal.admission_durable(admission.sequence());
        tokio::time::timeout(PATIENCE, wait).await.expect("in time").expect("synced");
        assert!(journal.stats().synced >= admission.sequence());
        journal.append_finished(admission, b"done").expect("room");
    }
}

#[tokio::test]
async fn flush_does_not_wait_for_the_next_group() {
    let dir = tempfile::tempdir().expect("a folder");
    let config = JournalConfig { sync: SyncPolicy::Group { every: PATIENCE * 10 }, ..small(dir.path()) };
    let (journal, _) = Journal::open(config).expect("the journal opens");
    let sequence = journal.append_event(b"event").expect("room");
    tokio::time::timeout(PATIENCE, journal.flush()).await.expect("in time").expect("synced");
    assert!(journal.stats().synced >= sequence);
}

#[test]
fn settings_outside_their_bounds_are_refused_by_name() {
    let dir = tempfile::tempdir().expect("a folder");
    let sound = small(dir.path());
    for (setting, config) in [
        ("segment_bytes", JournalConfig { segment_bytes: 100, ..sound.clone() }),
        ("max_bytes", JournalConfig { max_bytes: 4096, ..sound.clone() }),
        ("finished_budget_bytes", JournalConfig { finished_budget_bytes: 4096, ..sound }),
    ] {
        let refused = recovery::open(config, Arc::new(OsDisk)).map(|_| ()).expect_err("out of bounds");
        assert!(refused.to_string().contains(setting), "{refused}");
    }
}
