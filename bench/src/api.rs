//! How quick the API stays: reads and changes at a fixed rate, beside traffic whose events are booked at the same time.
//!
//! An open loop: requests are due at fixed moments, and latency counts from the moment a request was due, so that a stall is seen by
//! all the requests that it held up.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use hdrhistogram::Histogram;
use mindweave_test_servers::Postgres;
use serde_json::{Value, json};

use crate::process::{Part, Simulator};
use crate::report;

/// Requests of the API a second.
const RATE: u32 = 200;
/// How long they are sent.
const LENGTH: Duration = Duration::from_secs(30);
/// Threads that send them; enough that none is late when each takes as long as the goal.
const SENDERS: u32 = 16;
/// Calls through the proxy a second, each an event to book.
const TRAFFIC: u32 = 300;
/// Threads that make them.
const CALLERS: u32 = 8;
/// Under which the processes seal.
const MASTER_KEY: &str = "4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d";
/// What is measured, in the order in which a sender does it with each key.
const KINDS: [&str; 6] = ["create a key", "read it", "change it", "list keys", "read a budget", "revoke it"];

/// Measures both forms: one process with its file, and a control plane with PostgreSQL.
pub(crate) fn run() -> anyhow::Result<String> {
    let simulator = Simulator::start()?;
    let mut text = format!(
        "# The API beside ingest\n\n{RATE} requests a second for {} s, each by a service account's token, beside {TRAFFIC} calls a second through the proxy that are booked meanwhile; milliseconds from the moment at which a request was due. Goal: p95 below 50.\n\n{}\n\n",
        LENGTH.as_secs(),
        report::machine()
    );
    writeln!(text, "| Where | What | requests | p50 | p95 | p99 | longest |\n|---|---|---|---|---|---|---|")?;
    let upstream = ("MINDWEAVE_PROXY__UPSTREAM", simulator.url.as_str());
    let serve = Part::start("serve", &[upstream])?;
    rows(&mut text, "`serve`, SQLite", &measure(&serve, serve.proxy()?)?)?;
    drop(serve);
    let postgres = Postgres::start();
    let database = postgres.create_database();
    let sealed = ("MINDWEAVE_MASTER_KEY", MASTER_KEY);
    let control_plane =
        Part::start("control-plane", &[sealed, ("MINDWEAVE_CONTROL_PLANE__DATABASE", &database)])?;
    let url = control_plane.api_url()?;
    let proxy = Part::start("proxy", &[sealed, upstream, ("MINDWEAVE_PROXY__CONTROL_PLANE", &url)])?;
    rows(&mut text, "proxy and control plane, PostgreSQL", &measure(&control_plane, proxy.proxy()?)?)?;
    Ok(text)
}

fn rows(text: &mut String, place: &str, latencies: &[Histogram<u64>]) -> anyhow::Result<()> {
    let mut all = Histogram::<u64>::new(3)?;
    for (kind, latency) in KINDS.iter().zip(latencies) {
        row(text, place, kind, latency)?;
        all.add(latency)?;
    }
    row(text, place, "**all**", &all)
}

fn row(text: &mut String, place: &str, kind: &str, latency: &Histogram<u64>) -> anyhow::Result<()> {
    let millis =
        |quantile: f64| Duration::from_micros(latency.value_at_quantile(quantile)).as_secs_f64() * 1e3;
    let (p50, p95, p99, longest) = (millis(0.5), millis(0.95), millis(0.99), millis(1.0));
    writeln!(
        text,
        "| {place} | {kind} | {} | {p50:.1} | {p95:.1} | {p99:.1} | {longest:.1} |",
        latency.len()
    )?;
    Ok(())
}

/// Whoever asks, and what about.
struct Scene {
    url: String,
    token: String,
    project: String,
    quota: String,
    key: String,
}

/// Makes an organisation's usual things.
fn scene(control_plane: &Part) -> anyhow::Result<Scene> {
    let text = |value: &Value, field: &str| {
        value
            .get(field)
            .and_then(Value::as_str)
            .map(str::to_owned)
            .with_context(|| format!("an answer has {field}"))
    };
    let project = control_plane.post("/projects", &json!({ "name": "api" }))?;
    let (org, project) = (text(&project, "org_id")?, text(&project, "id")?);
    control_plane
        .put(&format!("/projects/{project}/upstream"), &json!({ "api_key": "sk-ant-api03-bench" }))?;
    let key = control_plane.post(&format!("/projects/{project}/keys"), &json!({ "name": "traffic" }))?;
    let quota = json!({ "name": "api", "unit": "cost", "window": "month", "limit_usd": "1000000" });
    let quota = control_plane.post("/governance/quotas", &quota)?;
    let accounts = format!("/orgs/{org}/service-accounts");
    let account = control_plane.post(&accounts, &json!({ "name": "bench", "role": "admin" }))?;
    let tokens = format!("{accounts}/{}/tokens", text(&account, "id")?);
    let token = control_plane.post(&tokens, &json!({ "name": "bench", "scopes": ["*"] }))?;
    Ok(Scene {
        url: control_plane.api_url()?,
        token: text(&token, "token")?,
        project,
        quota: text(&quota, "id")?,
        key: text(&key, "secret")?,
    })
}

/// Latencies in microseconds, one histogram for each of [`KINDS`].
fn measure(control_plane: &Part, proxy: SocketAddr) -> anyhow::Result<Vec<Histogram<u64>>> {
    let scene = scene(control_plane)?;
    let (over, calls) = (AtomicBool::new(false), AtomicU64::new(0));
    let latencies = std::thread::scope(|scope| {
        for caller in 0..CALLERS {
            let (scene, over, calls) = (&scene, &over, &calls);
            scope.spawn(move || traffic(scene, proxy, caller, over, calls));
        }
        let begun = Instant::now();
        let senders: Vec<_> = (0..SENDERS)
            .map(|sender| {
                scope.spawn({
                    let scene = &scene;
                    move || send(scene, sender, begun)
                })
            })
            .collect();
        let sent: anyhow::Result<Vec<_>> = senders
            .into_iter()
            .map(|sender| sender.join().map_err(|_| anyhow::anyhow!("a sender has failed"))?)
            .collect();
        over.store(true, Ordering::Relaxed);
        sent
    })?;
    let least = u64::from(TRAFFIC) * LENGTH.as_secs() / 2;
    let made = calls.load(Ordering::Relaxed);
    ensure!(made >= least, "only {made} calls went through beside: this machine is too busy to say anything");
    let mut sums = KINDS.map(|_| Histogram::<u64>::new(3)).into_iter().collect::<Result<Vec<_>, _>>()?;
    for sender in latencies {
        for (sum, latency) in sums.iter_mut().zip(sender) {
            sum.add(latency)?;
        }
    }
    Ok(sums)
}

/// Calls through the proxy at a fixed rate.
fn traffic(scene: &Scene, proxy: SocketAddr, caller: u32, over: &AtomicBool, calls: &AtomicU64) {
    let agent = ureq::Agent::new_with_defaults();
    let body = json!({ "model": "claude-opus-5", "max_tokens": 16, "messages": [{ "role": "user", "content": "Hello" }] });
    let (begun, pause) = (Instant::now(), Duration::from_secs(1) * CALLERS / TRAFFIC);
    let mut due = begun + pause * caller / CALLERS;
    while !over.load(Ordering::Relaxed) {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        due += pause;
        let request = agent.post(format!("http://{proxy}/v1/messages")).header("x-api-key", &scene.key);
        let answer = request.header("anthropic-version", "2023-06-01").send_json(&body);
        // The first ones may come before the proxy knows the key.
        if answer.is_ok_and(|mut answer| answer.body_mut().read_to_vec().is_ok()) {
            calls.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// One of the senders: makes a key, looks at it, changes it, and so on, each when it is due.
fn send(scene: &Scene, sender: u32, begun: Instant) -> anyhow::Result<Vec<Histogram<u64>>> {
    let agent = ureq::Agent::new_with_defaults();
    let mut latencies = KINDS.map(|_| Histogram::<u64>::new(3)).into_iter().collect::<Result<Vec<_>, _>>()?;
    let pause = Duration::from_secs(1) * SENDERS / RATE;
    let mut due = begun + pause * sender / SENDERS;
    let keys = format!("{}/projects/{}/keys", scene.url, scene.project);
    let bearer = format!("Bearer {}", scene.token);
    let mut key = String::new();
    while due < begun + LENGTH {
        for (kind, latency) in latencies.iter_mut().enumerate() {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let one = format!("{keys}/{key}");
            let answer = match kind {
                0 => agent.post(&keys).header("authorization", &bearer).send_json(json!({ "name": "bench" })),
                1 => agent.get(&one).header("authorization", &bearer).call(),
                2 => {
                    agent.patch(&one).header("authorization", &bearer).send_json(json!({ "name": "changed" }))
                }
                3 => agent.get(format!("{keys}?limit=50")).header("authorization", &bearer).call(),
                4 => {
                    let quota = format!("{}/governance/quotas/{}", scene.url, scene.quota);
                    agent.get(quota).header("authorization", &bearer).call()
                }
                _ => agent.delete(&one).header("authorization", &bearer).call(),
            };
            let body = answer
                .with_context(|| KINDS.get(kind).copied().unwrap_or_default())?
                .body_mut()
                .read_to_vec()?;
            latency.record(u64::try_from(due.elapsed().as_micros())?)?;
            if kind == 0 {
                let made: Value = serde_json::from_slice(&body)?;
                key = made.get("id").and_then(Value::as_str).context("a key has an id")?.to_owned();
            }
            due += pause;
        }
    }
    Ok(latencies)
}
