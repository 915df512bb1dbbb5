//! CPU time and memory of processes, as the kernel counts them (proc(5)).

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use anyhow::Context;

/// CPU time that a process has used, user and system, of all its threads.
pub(crate) fn of(pid: u32) -> anyhow::Result<Duration> {
    Ok(stat(pid)?.cpu)
}

/// CPU time of a process and of all that it started, also of those that have ended and were waited for.
pub(crate) fn of_tree(root: u32) -> anyhow::Result<Duration> {
    let mut stats = HashMap::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
        if let Some((pid, stat)) = pid.and_then(|pid| Some((pid, stat(pid).ok()?))) {
            stats.insert(pid, stat);
        }
    }
    let (mut total, mut open) = (Duration::ZERO, vec![root]);
    while let Some(pid) = open.pop() {
        let Some(stat) = stats.remove(&pid) else { continue };
        total = total.saturating_add(stat.cpu).saturating_add(stat.ended_children);
        open.extend(stats.iter().filter(|(_, stat)| stat.parent == pid).map(|(pid, _)| *pid));
    }
    Ok(total)
}

/// Resident memory in bytes.
pub(crate) fn resident_bytes(pid: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib.saturating_mul(1_024))
}

struct Stat {
    parent: u32,
    cpu: Duration,
    ended_children: Duration,
}

fn stat(pid: u32) -> anyhow::Result<Stat> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // Fields 4 and 14 to 17; the second field may hold blanks and parentheses.
    let fields: Vec<_> = stat.rsplit_once(')').context("a stat line")?.1.split_whitespace().collect();
    let field =
        |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok()).context("a stat line");
    let a_second = rustix::param::clock_ticks_per_second().max(1);
    let time = |ticks: u64| Duration::from_micros(ticks.saturating_mul(1_000_000) / a_second);
    Ok(Stat {
        parent: u32::try_from(field(1)?)?,
        cpu: time(field(11)?.saturating_add(field(12)?)),
        ended_children: time(field(13)?.saturating_add(field(14)?)),
    })
}
