//! Events a second, and what one costs.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use jiff::Timestamp;
use mindweave_eventlog::{Journal, JournalConfig, ShipConfig, ShipEnd, ship_with};
use mindweave_kafka::{Consumer, ConsumerConfig, KafkaConfig, KafkaSink, prepare_topics};
use mindweave_test_servers::Kafka;
use serde_json::Value;

use super::Effort;
use super::events::payload;
use super::ledgers::{ADMIN_TOKEN, Ledger};
use crate::{cpu, report};

/// How long a run may take.
const DEADLINE: Duration = Duration::from_secs(600);

/// What one way took.
struct Run {
    name: String,
    events: usize,
    took: Duration,
    own: Duration,
    /// Name and CPU time of the server that was involved.
    servers: Vec<(&'static str, Duration)>,
}

/// Runs every way and returns the table.
pub(crate) fn run(effort: &Effort) -> anyhow::Result<String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let kafka = Kafka::start();
    let config = KafkaConfig::new(kafka.brokers());
    runtime.block_on(prepare_topics(&config))?;
    let folder = tempfile::tempdir()?;
    let journals = journals(effort, folder.path())?;
    let mut runs = vec![runtime.block_on(to_kafka(effort, &config, &kafka, journals))?];
    for make in Ledger::all() {
        let ledger = make()?;
        let direct = self::journals(effort, tempfile::tempdir()?.path())?;
        runs.push(runtime.block_on(straight(effort, &make()?, direct))?);
        runs.push(runtime.block_on(from_kafka(effort, &config, &kafka, &ledger))?);
    }
    table(effort, &runs)
}

fn journals(effort: &Effort, folder: &Path) -> anyhow::Result<Vec<(Journal, PathBuf)>> {
    let started = Timestamp::now();
    let mut journals = Vec::new();
    for proxy in 0..effort.proxies {
        let folder = folder.join(proxy.to_string());
        let (journal, _) = Journal::open(JournalConfig::new(&folder))?;
        for number in (proxy..effort.events).step_by(effort.proxies) {
            journal.append_event(&payload(u64::try_from(number)?, started))?;
        }
        journals.push((journal, folder));
    }
    Ok(journals)
}

async fn to_kafka(
    effort: &Effort,
    config: &KafkaConfig,
    kafka: &Kafka,
    journals: Vec<(Journal, PathBuf)>,
) -> anyhow::Result<Run> {
    let broker = kafka.pid().context("a running broker")?;
    let (began, own, server) = (Instant::now(), cpu::of(std::process::id())?, cpu::of_tree(broker)?);
    let mut shipping = tokio::task::JoinSet::new();
    for (journal, folder) in journals {
        let sink = KafkaSink::new(config.clone(), &folder);
        let ship = ShipConfig { drain_deadline: DEADLINE, ..ShipConfig::default() };
        shipping.spawn(ship_with(ship, journal, sink, std::future::ready(())));
    }
    while let Some(end) = shipping.join_next().await {
        if end? != ShipEnd::Drained {
            bail!("a journal was not shipped in time");
        }
    }
    Ok(Run {
        name: "journals to Kafka".to_owned(),
        events: effort.events,
        took: began.elapsed(),
        own: cpu::of(std::process::id())?.saturating_sub(own),
        servers: vec![("broker", cpu::of_tree(broker)?.saturating_sub(server))],
    })
}

/// From journals into the ledger in the same process, without Kafka.
async fn straight(
    effort: &Effort,
    ledger: &Ledger,
    journals: Vec<(Journal, PathBuf)>,
) -> anyhow::Result<Run> {
    let control_plane = ledger.control_plane().await?;
    let began = Began::now(ledger)?;
    let mut shipping = tokio::task::JoinSet::new();
    for (journal, _) in journals {
        let ship = ShipConfig { drain_deadline: DEADLINE, ..ShipConfig::default() };
        shipping.spawn(ship_with(ship, journal, control_plane.usage_sink(), std::future::ready(())));
    }
    while let Some(end) = shipping.join_next().await {
        if end? != ShipEnd::Drained {
            bail!("a journal was not booked in time");
        }
    }
    let run = began.run(format!("journals to {}", ledger.name), effort, ledger)?;
    control_plane.shutdown().await;
    Ok(run)
}

async fn from_kafka(
    effort: &Effort,
    config: &KafkaConfig,
    kafka: &Kafka,
    ledger: &Ledger,
) -> anyhow::Result<Run> {
    let control_plane = ledger.control_plane().await?;
    let api = format!("http://{}", control_plane.local_addr());
    let broker = kafka.pid().context("a running broker")?;
    let group = ConsumerConfig { group: format!("bench-{}", ledger.name), ..ConsumerConfig::default() };
    let began = Began::now(ledger)?;
    let server = cpu::of_tree(broker)?;
    let sinks = control_plane.usage_sinks();
    let consumer = Consumer::start(config, group, move || sinks.sink())?;
    while booked(&api).await? < effort.events {
        if began.at.elapsed() > DEADLINE {
            bail!("{} of {} events were booked in time", booked(&api).await?, effort.events);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut run = began.run(format!("Kafka to {}", ledger.name), effort, ledger)?;
    run.servers.push(("broker", cpu::of_tree(broker)?.saturating_sub(server)));
    consumer.shutdown().await;
    control_plane.shutdown().await;
    Ok(run)
}

/// How many events the sums have.
async fn booked(api: &str) -> anyhow::Result<usize> {
    let url = format!("{api}/v1/usage/summary?from=2020-01-01T00:00:00Z&to=2040-01-01T00:00:00Z");
    tokio::task::spawn_blocking(move || {
        let answer = ureq::get(url).header("authorization", format!("Bearer {ADMIN_TOKEN}")).call();
        let body: Value = serde_json::from_str(&answer?.body_mut().read_to_string()?)?;
        let requests = body.get("requests").and_then(Value::as_u64).context("a summary has requests")?;
        Ok(usize::try_from(requests)?)
    })
    .await?
}

struct Began {
    at: Instant,
    own: Duration,
    server: Duration,
}

impl Began {
    fn now(ledger: &Ledger) -> anyhow::Result<Self> {
        Ok(Self { at: Instant::now(), own: cpu::of(std::process::id())?, server: database_cpu(ledger)? })
    }

    fn run(&self, name: String, effort: &Effort, ledger: &Ledger) -> anyhow::Result<Run> {
        let took = self.at.elapsed();
        let own = cpu::of(std::process::id())?.saturating_sub(self.own);
        let server = database_cpu(ledger)?.saturating_sub(self.server);
        let servers = if ledger.server.is_some() { vec![("database", server)] } else { Vec::new() };
        Ok(Run { name, events: effort.events, took, own, servers })
    }
}

fn database_cpu(ledger: &Ledger) -> anyhow::Result<Duration> {
    let pid = ledger.server.as_ref().and_then(|(_, server)| server.pid());
    pid.map_or(Ok(Duration::ZERO), cpu::of_tree)
}

fn table(effort: &Effort, runs: &[Run]) -> anyhow::Result<String> {
    let bytes = payload(1, Timestamp::now()).len();
    let mut text = format!(
        "# Pipeline: from journals to committed rows\n\n{} events of {bytes} bytes, {} journals. CPU time of MindWeave's process and of each server, a core's worth in microseconds for an event.\n\n{}\n\n",
        effort.events,
        effort.proxies,
        report::machine()
    );
    writeln!(
        text,
        "| Way | events/s | seconds | CPU us an event: MindWeave | servers |\n|---|---|---|---|---|"
    )?;
    for run in runs {
        let events = f64::from(u32::try_from(run.events)?);
        let each = |time: Duration| time.as_secs_f64() * 1e6 / events;
        let servers: Vec<_> =
            run.servers.iter().map(|(name, time)| format!("{name} {:.1}", each(*time))).collect();
        writeln!(
            text,
            "| {} | {:.0} | {:.1} | {:.1} | {} |",
            run.name,
            events / run.took.as_secs_f64(),
            run.took.as_secs_f64(),
            each(run.own),
            servers.join(", ")
        )?;
    }
    Ok(text)
}
