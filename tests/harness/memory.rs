//! How much memory a process holds, as the kernel counts it (proc(5)).

use super::server::MindWeave;

/// Resident bytes now, and at most since [`forget_peak`].
#[derive(Clone, Copy, Debug)]
pub struct Resident {
    pub now: u64,
    pub peak: u64,
}

/// What the server holds.
pub fn resident(server: &MindWeave) -> Resident {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("the server runs");
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a field of every process");
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number of KiB");
        kib * 1024
    };
    Resident { now: field("VmRSS:"), peak: field("VmHWM:") }
}

/// Makes the server's peak what it holds now.
pub fn forget_peak(server: &MindWeave) {
    std::fs::write(format!("/proc/{}/clear_refs", server.pid()), "5").expect("our own child");
}
