//! The way of events behind the proxy: journals, Kafka, the ledger on each engine.
//!
//! Everything runs on this machine: the producers, the broker, the database and the process that is measured share its
//! cores. CPU time is shown for each of them, because that is what carries over to other machines.

mod delay;
mod events;
mod growth;
mod ledgers;
mod throughput;

use clap::Args;

pub(crate) use delay::run as delay;
pub(crate) use growth::run as growth;
pub(crate) use throughput::run as throughput;

/// How much is measured.
#[derive(Args, Clone, Debug)]
pub(crate) struct Effort {
    /// Events of each run; with `delay`, requests
    #[arg(long, default_value_t = 200_000)]
    events: usize,
    /// Proxies, which is journals, which is partitions
    #[arg(long, default_value_t = 4)]
    proxies: usize,
    /// Rows of sums that the largest table has, with `growth`
    #[arg(long, default_value_t = 10_000_000)]
    rows: u64,
}
