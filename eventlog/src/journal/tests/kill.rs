//! A process that is killed loses nothing that it acknowledged.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use super::*;

/// Tells the test binary that it is the child, and where its journal is.
const CHILD_FOLDER: &str = "MINDWEAVE_JOURNAL_CHILD_FOLDER";
const CHILD: &str = "journal::tests::kill::child_that_appends_until_it_is_killed";
const THREADS: u8 = 4;
/// Enough for several segments and several syncs.
const ACKNOWLEDGED_BEFORE_KILL: usize = 4_000;
const ROUNDS: usize = 3;

fn config(dir: &Path) -> JournalConfig {
    JournalConfig { segment_bytes: 64 << 10, max_bytes: 256 << 20, ..JournalConfig::new(dir) }
}

#[test]
fn kill_nine_loses_no_acknowledged_record() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut all_finished: BTreeMap<u64, String> = BTreeMap::new();
    for round in 0..ROUNDS {
        let (admitted, finished) = run_and_kill(dir.path());
        let (journal, recovery) = Journal::open(config(dir.path())).expect("the journal opens");
        assert_eq!(recovery.damaged_records, 0, "a killed process damages nothing");
        all_finished.extend(finished);
        let found: BTreeMap<u64, String> =
            events(&journal).into_iter().map(|(sequence, payload)| (sequence.get(), text(payload))).collect();
        for (sequence, payload) in &all_finished {
            assert_eq!(found.get(sequence), Some(payload), "finished record {sequence} of round {round}");
        }
        let interrupted: BTreeMap<u64, String> = recovery
            .interrupted
            .iter()
            .map(|open| (open.admission.sequence().get(), text(open.payload.clone())))
            .collect();
        let finished_payloads: std::collections::BTreeSet<&String> = found.values().collect();
        for (sequence, payload) in &admitted {
            let is_open = interrupted.get(sequence) == Some(payload);
            assert!(
                is_open || finished_payloads.contains(payload),
                "admitted record {sequence} of round {round}"
            );
        }
        assert!(interrupted.len() <= THREADS.into(), "each thread had at most one open request");
        for open in recovery.interrupted {
            let payload = open.payload.clone();
            let sequence = journal.append_finished(open.admission, &payload).expect("room");
            all_finished.insert(sequence.get(), text(payload));
        }
    }
}

fn text(payload: Vec<u8>) -> String {
    String::from_utf8(payload).expect("text")
}

/// Runs the child until it has acknowledged enough, kills it, and returns what it acknowledged.
fn run_and_kill(dir: &Path) -> (BTreeMap<u64, String>, BTreeMap<u64, String>) {
    let mut child = Command::new(std::env::current_exe().expect("this binary"))
        .args(["--exact", CHILD, "--nocapture", "--test-threads=1"])
        .env(CHILD_FOLDER, dir)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the child starts");
    let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let (mut admitted, mut finished) = (BTreeMap::new(), BTreeMap::new());
    let mut killed = false;
    for line in lines {
        let line = line.expect("the pipe holds");
        let mut words = line.splitn(3, ' ');
        let (kind, sequence, payload) = (words.next(), words.next(), words.next());
        let acknowledged = match kind {
            Some("admitted") => &mut admitted,
            Some("finished") => &mut finished,
            _ => continue, // the test harness's own lines
        };
        // A line that the kill cut in two is not an acknowledgement.
        let Some((payload, "end")) = payload.and_then(|payload| payload.rsplit_once(' ')) else { continue };
        let sequence = sequence.and_then(|number| number.parse().ok()).expect("a sequence");
        acknowledged.insert(sequence, payload.to_owned());
        if !killed && admitted.len() + finished.len() >= ACKNOWLEDGED_BEFORE_KILL {
            child.kill().expect("the child lives");
            killed = true;
        }
    }
    assert!(killed, "the child ended by itself");
    child.wait().expect("the child is gone");
    (admitted, finished)
}

/// Not a test of its own: does nothing unless the test above started it.
#[test]
fn child_that_appends_until_it_is_killed() {
    let Some(dir) = std::env::var_os(CHILD_FOLDER) else { return };
    let (journal, recovery) = Journal::open(config(Path::new(&dir))).expect("the journal opens");
    drop(recovery);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let journal = journal.clone();
            scope.spawn(move || append_for_ever(&journal, thread));
        }
    });
}

fn append_for_ever(journal: &Journal, thread: u8) {
    for number in 0_u64.. {
        let payload = format!(
            "{}-{thread}-{number}-{}",
            std::process::id(),
            "x".repeat((number % 700).try_into().expect("small"))
        );
        let admission = journal.append_admitted([thread; 16], payload.as_bytes()).expect("room");
        acknowledge("admitted", admission.sequence(), &payload);
        let sequence = journal.append_finished(admission, payload.as_bytes()).expect("room");
        acknowledge("finished", sequence, &payload);
    }
}

fn acknowledge(kind: &str, sequence: Sequence, payload: &str) {
    let mut out = io::stdout().lock();
    writeln!(out, "{kind} {sequence} {payload} end").expect("the parent reads");
    out.flush().expect("the parent reads");
}
