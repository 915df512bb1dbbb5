//! Conditions with a deadline, and a look at processes.
#![allow(dead_code, reason = "every test binary uses its own part")]

use std::time::{Duration, Instant};

/// How long a condition may take to come true. Generous: the machine may be busy.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// How long nothing must come from a frozen server; one that runs answers in a hundredth of this.
pub(crate) const SILENCE: Duration = Duration::from_millis(500);

/// Waits until `condition` gives a value, or fails naming what was waited for.
pub(crate) fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < end, "gave up after {DEADLINE:?} waiting for: {what}");
        std::thread::sleep(Duration::from_millis(10)); // the pause between two looks
    }
}

/// The kernel's letter for what a process does: `T` stands still, `Z` has ended; `None` when there is no such process.
pub(crate) fn process_state(pid: u32) -> Option<char> {
    stat(pid).map(|(state, _)| state)
}

/// The processes that `pid` started and that were not taken away.
pub(crate) fn children(pid: u32) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").expect("a list of processes").flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.filter(|id| stat(*id).is_some_and(|(_, parent)| parent == pid)).collect()
}

/// State and parent.
fn stat(pid: u32) -> Option<(char, u32)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = text.rsplit_once(") ")?.1.split(' ');
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}
