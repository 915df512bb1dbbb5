//! Nothing lost, nothing twice: the proxy is killed again and again under load, and the ledger still tells the truth.
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod harness;

use std::collections::BTreeSet;

use harness::eventually;
use harness::numbered::{Traffic, number_in};
use harness::server::MindWeave;

/// How often the process is killed.
const KILLS: usize = 12;
/// Clients that keep requests open all the time.
const CLIENTS: usize = 8;
/// Answers that a round waits for before the kill, so that every round has finished and open requests.
const ANSWERS_BEFORE_KILL: usize = 60;

#[test]
fn a_dozen_kills_under_load_lose_nothing_and_double_nothing() {
    let traffic = Traffic::new();
    let mut server = MindWeave::start(&traffic.url());
    for _ in 0..KILLS {
        traffic.go();
        let before = traffic.answered();
        let proxy = server.proxy;
        std::thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| traffic.keep_asking(|| proxy, None));
            }
            eventually("enough answers in this round", || {
                (traffic.answered() >= before + ANSWERS_BEFORE_KILL).then_some(())
            });
            server.kill();
            traffic.stop();
        });
        server.restart();
    }

    let forwarded = traffic.forwarded();
    let events = eventually("every forwarded request is in the ledger", || {
        let events = server.ledger().events("");
        let known: BTreeSet<u64> = events.iter().map(number_in).collect();
        known.is_superset(&forwarded).then_some(events)
    });
    traffic.check(&events);
}
