//! Measures whole requests through the real binary in front of the simulator, everything on one machine.
//!
//! Two variants take turns in short rounds and the medians are compared: this way a busy machine slows both. What counts is
//! CPU time of the proxy's process for a request (user and system, from `/proc`); latency is shown beside it.

mod api;
mod cpu;
mod governance;
mod load;
mod pipeline;
mod process;
mod report;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};

/// Measures a running MindWeave. Build everything with `cargo build --release --workspace` first.
#[derive(Debug, Parser)]
#[command(name = "mindweave-bench")]
struct Cli {
    #[command(subcommand)]
    suite: Suite,
    /// Rounds of each variant
    #[arg(long, global = true, default_value_t = 7)]
    rounds: usize,
    /// Seconds of one round
    #[arg(long, global = true, default_value_t = 2)]
    seconds: u64,
    /// Connections at a time
    #[arg(long, global = true, default_value_t = 32)]
    connections: usize,
    /// Folder for the table; only printed without it
    #[arg(long, global = true, value_name = "FOLDER")]
    results: Option<PathBuf>,
}

#[derive(Clone, Debug, Subcommand)]
enum Suite {
    /// What policies, limits and budgets add to a request: all of them on against none, in one process
    Governance,
    /// The way of events from journals through Kafka into the ledger, on each engine
    Pipeline(pipeline::Effort),
    /// How long after the end of an answer a query sees it, with everything as processes of their own
    Delay(pipeline::Effort),
    /// How quick the API of the control plane stays beside ingest, at a fixed rate
    Api,
    /// Whether queries over sums slow down as the tables grow
    Growth(pipeline::Effort),
}

/// How hard and how long each round is.
#[derive(Clone, Copy, Debug)]
struct Effort {
    rounds: usize,
    round: Duration,
    connections: usize,
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let effort =
        Effort { rounds: cli.rounds, round: Duration::from_secs(cli.seconds), connections: cli.connections };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let results = cli.results.as_deref();
    match cli.suite {
        Suite::Governance => runtime.block_on(governance::run(effort))?.publish(results),
        Suite::Pipeline(effort) => report::publish("pipeline", &pipeline::throughput(&effort)?, results),
        Suite::Delay(effort) => report::publish("delay", &pipeline::delay(&effort)?, results),
        Suite::Api => report::publish("api", &api::run()?, results),
        Suite::Growth(effort) => report::publish("growth", &pipeline::growth(&effort)?, results),
    }
}
