//! What `/metrics` shows, held against what `docs/operations.md` says and what happened.
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod harness;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use harness::apart::ControlPlane;
use harness::server::MindWeave;
use harness::simulator::Simulator;
use harness::{eventually, http};
use mindweave_test_servers::Kafka;
use serde_json::Value;

/// Where the metrics of each crate stand.
const METRICS_SOURCES: [&str; 7] = [
    "proxy/src/metrics.rs",
    "proxy/src/metrics",
    "eventlog/src/metrics.rs",
    "kafka/src/metrics.rs",
    "kafka/src/consume/metrics.rs",
    "control-plane/src/metrics.rs",
    "identity/src/metrics.rs",
];

/// The operators' table: each metric with its labels.
fn documented() -> BTreeMap<String, BTreeSet<String>> {
    let text = include_str!("../docs/operations.md");
    let rows = text.lines().filter(|line| line.starts_with("| `mindweave_"));
    let mut table = BTreeMap::new();
    for row in rows {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 6, "a row has four cells: {row}");
        let labels = cells[2].split(',').map(|label| label.trim().trim_matches('`').to_owned());
        let labels = labels.filter(|label| !label.is_empty()).collect();
        assert!(!cells[3].is_empty(), "every metric has a meaning: {row}");
        let before = table.insert(cells[1].trim_matches('`').to_owned(), labels);
        assert!(before.is_none(), "listed twice: {row}");
    }
    table
}

/// A scrape: each metric's type, the label names that its samples have, and the samples themselves.
#[derive(Debug, Default)]
struct Scrape {
    types: BTreeMap<String, String>,
    labels: BTreeMap<String, BTreeSet<String>>,
    samples: BTreeMap<String, f64>,
}

fn scrape(admin: SocketAddr) -> Scrape {
    let answer = http::exchange(admin, b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .expect("the admin port answers");
    let text = String::from_utf8(answer.body).expect("text");
    let mut scrape = Scrape::default();
    for line in text.lines() {
        if let Some(described) = line.strip_prefix("# TYPE ") {
            let (name, kind) = described.split_once(' ').expect("a name and a type");
            scrape.types.insert(name.to_owned(), kind.to_owned());
        }
    }
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').expect("a series and a value");
        scrape.samples.insert(series.to_owned(), value.parse().expect("a number"));
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
        let family = family.filter(|family| scrape.types.contains_key(*family)).unwrap_or(name);
        let names = labels.trim_end_matches('}').split(',').filter_map(|label| label.split_once('='));
        let names = names.map(|(name, _)| name.to_owned()).filter(|name| name != "le");
        scrape.labels.entry(family.to_owned()).or_default().extend(names);
    }
    scrape
}

#[test]
fn the_operators_table_and_the_code_name_the_same_metrics() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut named = BTreeSet::new();
    for file in METRICS_SOURCES.iter().flat_map(|source| files(&root.join(source))) {
        let code = std::fs::read_to_string(&file).expect("a source file");
        let literals = code.split('"').filter(|text| text.starts_with("mindweave_"));
        named.extend(literals.filter(|text| is_name(text)).map(str::to_owned));
    }
    let documented: BTreeSet<String> = documented().into_keys().collect();
    let missing: Vec<_> = named.difference(&documented).collect();
    let gone: Vec<_> = documented.difference(&named).collect();
    assert!(missing.is_empty(), "docs/operations.md does not list {missing:?}");
    assert!(gone.is_empty(), "docs/operations.md lists what the code does not have: {gone:?}");
}

#[test]
fn a_running_server_shows_every_documented_metric_and_no_other() {
    let simulator = Simulator::start();
    let brokers = Kafka::shared().brokers(); // some metrics are only there with a Kafka
    let server = MindWeave::start_with(&simulator.url(), &[("MINDWEAVE_EVENTS__KAFKA__BROKERS", &brokers)]);
    call(server.proxy);
    server.ledger().await_events("", 1);
    let documented = documented();
    // Shown as soon as there is something to show.
    let late =
        ["mindweave_control_plane_ingest_transaction_seconds", "mindweave_kafka_consumer_lag_messages"];
    let shown = eventually("the ledger and the consumer have reported", || {
        let shown = scrape(server.admin);
        late.iter().all(|name| shown.types.contains_key(*name)).then_some(shown)
    });
    let missing: Vec<_> =
        documented.keys().filter(|name| !shown.labels.contains_key(*name)).map(String::as_str).collect();
    assert!(missing.is_empty(), "documented and not shown: {missing:?}");
    for (name, labels) in &shown.labels {
        let expected = documented.get(name);
        assert_eq!(Some(labels), expected, "labels of {name} as shown and as documented");
        let kind = shown.types[name].as_str();
        assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
        let is_moment = name.ends_with("_age_seconds") || name.ends_with("_timestamp_seconds");
        let is_time = name.ends_with("_seconds") && !is_moment;
        assert_eq!(kind == "histogram", is_time, "{name} is a {kind}");
    }
}

#[test]
fn a_control_plane_without_a_proxy_shows_none_of_a_proxys_metrics() {
    let control_plane = ControlPlane::start();
    let shown = scrape(control_plane.admin).labels;
    assert!(shown.contains_key("mindweave_server_connections_open"), "{shown:?}");
    let proxys = ["mindweave_proxy_", "mindweave_upstream_", "mindweave_control_plane_connected"];
    let strange: Vec<_> = shown.keys().filter(|name| proxys.iter().any(|of| name.starts_with(of))).collect();
    assert!(strange.is_empty(), "{strange:?}");
}

#[test]
fn the_metrics_say_what_the_answers_and_the_ledger_say() {
    let simulator = Simulator::start();
    let server = MindWeave::start(&simulator.url());
    let told = call(server.proxy);
    let refused = http::exchange(
        server.proxy,
        b"POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: mw_unknown\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}",
    );
    assert_eq!(refused.expect("the proxy answers").status(), 401);
    let event = server.ledger().await_events("", 1).remove(0);
    let shown = eventually("journal and control plane have reported", || {
        let shown = scrape(server.admin).samples;
        let ingested = shown.get("mindweave_control_plane_ingested_events_total{result=\"new\"}");
        let appended = shown.get("mindweave_journal_appended_records_total");
        (ingested == Some(&1.0) && appended >= Some(&2.0)).then_some(shown)
    });
    let figure = |value: &Value| value.as_f64().expect("a number");
    for (series, expected) in [
        ("mindweave_proxy_requests_total{endpoint=\"messages\",outcome=\"complete\"}", 1.0),
        ("mindweave_proxy_requests_total{endpoint=\"messages\",outcome=\"denied\"}", 0.0),
        ("mindweave_proxy_responses_total{status_class=\"2xx\"}", 1.0),
        ("mindweave_proxy_own_answers_total{reason=\"key_unknown\"}", 1.0),
        ("mindweave_proxy_events_total{certainty=\"exact\"}", 1.0),
        ("mindweave_proxy_events_total{certainty=\"unknown\"}", 0.0),
        ("mindweave_proxy_uncertain_events_total{reason=\"unknown_model\"}", 0.0),
        ("mindweave_proxy_tokens_total{kind=\"input\"}", figure(&told["usage"]["input_tokens"])),
        ("mindweave_proxy_tokens_total{kind=\"output\"}", figure(&told["usage"]["output_tokens"])),
        ("mindweave_proxy_cost_nano_usd_total", figure(&event["cost_nano_usd"])),
        ("mindweave_proxy_request_seconds_count", 1.0),
        ("mindweave_proxy_request_seconds_bucket{le=\"600\"}", 1.0),
        ("mindweave_proxy_time_to_first_content_seconds_count", 1.0),
        ("mindweave_proxy_overhead_seconds_count", 1.0),
        ("mindweave_journal_failed", 0.0),
    ] {
        assert_eq!(shown.get(series), Some(&expected), "{series} in {shown:#?}");
    }
    assert!(shown.contains_key("mindweave_proxy_overhead_seconds_bucket{le=\"0.00001\"}"), "{shown:#?}");
    let syncs = shown.get("mindweave_journal_sync_seconds_count");
    assert!(syncs > Some(&0.0), "the journal's syncs are timed: {shown:#?}");
}

/// One message; returns the answer.
fn call(proxy: SocketAddr) -> Value {
    let body =
        r#"{"model":"claude-haiku-4-5","max_tokens":64,"messages":[{"role":"user","content":"Hello"}]}"#;
    let request = format!(
        "POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: sk-ant-api03-own\r\nanthropic-version: 2023-06-01\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = http::exchange(proxy, request.as_bytes()).expect("the proxy answers");
    assert_eq!(answer.status(), 200, "{answer:?}");
    serde_json::from_slice(&answer.body).expect("a message")
}

fn is_name(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

fn files(source: &Path) -> Vec<PathBuf> {
    if source.is_file() {
        return vec![source.to_owned()];
    }
    let entries = std::fs::read_dir(source).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| files(&path)).collect()
}
