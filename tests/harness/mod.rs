//! What the end-to-end tests share: the real binary, scripted upstreams, raw HTTP, the recordings and the ledger.
//!
//! Every test starts its own processes on free ports with its own data folder, so that tests run in parallel.
#![allow(
    clippy::print_stdout,
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "every test binary uses its own part of the harness"
)]

pub mod apart;
pub mod clients;
pub mod cluster;
pub mod governed;
pub mod http;
pub mod ledger;
pub mod memory;
pub mod numbered;
pub mod recordings;
pub mod server;
pub mod simulator;
pub mod upstream;

use std::time::{Duration, Instant};

/// How long a condition may take to come true before a test gives up. Generous: the machine may be busy.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Waits until `condition` gives a value, or fails naming what was waited for.
pub fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < end, "gave up after {DEADLINE:?} waiting for: {what}");
        std::thread::sleep(Duration::from_millis(10)); // the pause between two looks, not a wait for luck
    }
}
