//! From the end of an answer until a query has it.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use hdrhistogram::Histogram;
use mindweave_test_servers::{Kafka, Postgres};
use serde_json::{Value, json};

use super::Effort;
use crate::process::{Part, Simulator};
use crate::report;

/// Requests measured; more would only take longer.
const MOST_REQUESTS: usize = 500;
/// Pause between requests, so that each is measured by itself, as most are in a company's day.
const PAUSE: Duration = Duration::from_millis(35);
/// Pause between two looks at the ledger: the precision.
const LOOK: Duration = Duration::from_millis(1);
/// How long one event may take before the run is given up.
const DEADLINE: Duration = Duration::from_secs(30);
/// Under which both kinds of process seal.
const MASTER_KEY: &str = "4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d";

/// Measures the way through Kafka and PostgreSQL, and the one within a single process.
pub(crate) fn run(effort: &Effort) -> anyhow::Result<String> {
    let requests = effort.events.min(MOST_REQUESTS);
    let simulator = Simulator::start()?;
    let mut text = format!(
        "# Delay: from the end of an answer until a query has it\n\n{requests} requests one after the other, each awaited in `GET /v1/usage/summary`; milliseconds.\n\n{}\n\n",
        report::machine()
    );
    writeln!(text, "| Way | p50 | p90 | p99 | longest |\n|---|---|---|---|---|")?;
    let (kafka, postgres) = (Kafka::start(), Postgres::start());
    let database = postgres.create_database();
    let brokers = kafka.brokers();
    let shared =
        [("MINDWEAVE_EVENTS__KAFKA__BROKERS", brokers.as_str()), ("MINDWEAVE_MASTER_KEY", MASTER_KEY)];
    let mut settings = shared.to_vec();
    settings.push(("MINDWEAVE_CONTROL_PLANE__DATABASE", &database));
    let control_plane = Part::start("control-plane", &settings)?;
    let url = control_plane.api_url()?;
    let mut settings = shared.to_vec();
    settings.extend([
        ("MINDWEAVE_PROXY__UPSTREAM", simulator.url.as_str()),
        ("MINDWEAVE_PROXY__CONTROL_PLANE", &url),
    ]);
    let proxy = Part::start("proxy", &settings)?;
    row(
        &mut text,
        "proxy, Kafka, control plane, PostgreSQL",
        &measure(&control_plane, proxy.proxy()?, requests)?,
    )?;
    drop((proxy, control_plane));
    let serve = Part::start("serve", &[("MINDWEAVE_PROXY__UPSTREAM", &simulator.url)])?;
    row(&mut text, "`serve`, SQLite", &measure(&serve, serve.proxy()?, requests)?)?;
    Ok(text)
}

fn row(text: &mut String, way: &str, delays: &Histogram<u64>) -> anyhow::Result<()> {
    let millis =
        |quantile: f64| Duration::from_micros(delays.value_at_quantile(quantile)).as_secs_f64() * 1e3;
    writeln!(
        text,
        "| {way} | {:.0} | {:.0} | {:.0} | {:.0} |",
        millis(0.5),
        millis(0.9),
        millis(0.99),
        millis(1.0)
    )?;
    Ok(())
}

/// Delays in microseconds.
fn measure(control_plane: &Part, proxy: SocketAddr, requests: usize) -> anyhow::Result<Histogram<u64>> {
    let project = control_plane.post("/projects", &json!({ "name": "delay" }))?;
    let id = project.get("id").and_then(Value::as_str).context("a project has an id")?.to_owned();
    control_plane.put(&format!("/projects/{id}/upstream"), &json!({ "api_key": "sk-ant-api03-bench" }))?;
    let key = control_plane.post(&format!("/projects/{id}/keys"), &json!({ "name": "delay" }))?;
    let key = key.get("secret").and_then(Value::as_str).context("a key shows its secret")?.to_owned();
    let agent = ureq::Agent::new_with_defaults();
    let ask = || -> anyhow::Result<()> {
        let body = json!({ "model": "claude-opus-5", "max_tokens": 16, "messages": [{ "role": "user", "content": "Hello" }] });
        let request = agent.post(format!("http://{proxy}/v1/messages")).header("x-api-key", &key);
        request.header("anthropic-version", "2023-06-01").send_json(body)?.body_mut().read_to_vec()?;
        Ok(())
    };
    let begun = Instant::now();
    while ask().is_err() {
        if begun.elapsed() > DEADLINE {
            bail!("the proxy does not learn of its key");
        }
        std::thread::sleep(LOOK);
    }
    let mut delays = Histogram::new(3)?;
    let mut known = await_more(control_plane, 0)?;
    for _ in 0..requests {
        ask()?;
        let ended = Instant::now();
        known = await_more(control_plane, known)?;
        delays.record(u64::try_from(ended.elapsed().as_micros())?)?;
        std::thread::sleep(PAUSE);
    }
    Ok(delays)
}

/// Waits until the ledger has more requests than this, and returns how many.
fn await_more(control_plane: &Part, known: u64) -> anyhow::Result<u64> {
    let began = Instant::now();
    loop {
        let summary =
            control_plane.get("/v1/usage/summary?from=2020-01-01T00:00:00Z&to=2040-01-01T00:00:00Z")?;
        let requests = summary.get("requests").and_then(Value::as_u64).context("a summary has requests")?;
        if requests > known {
            return Ok(requests);
        }
        if began.elapsed() > DEADLINE {
            bail!("an event is not in the ledger after {DEADLINE:?}");
        }
        std::thread::sleep(LOOK);
    }
}
