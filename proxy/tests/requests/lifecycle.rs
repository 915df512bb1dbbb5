//! A proxy from its start to its drain, as an orchestrator sees it.

use std::sync::Arc;
use std::time::Duration;

use mindweave_metering::Outcome;
use mindweave_policy::{Snapshot, SnapshotStore};
use mindweave_proxy::{JournalFull, Proxy, ProxyConfig, ProxyDeps, StartError};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::proxy::{TestProxy, deps, open_snapshot};
use crate::wire::{DEADLINE, Kind, Step, Upstream, call, open, send};

const GET: &str = "GET /v1/models HTTP/1.1\r\nHost: h\r\n\r\n";

async fn admin(proxy: &Proxy, path: &str) -> (u16, String) {
    let answer = call(proxy.admin_addr(), format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n")).await;
    (answer.status(), String::from_utf8(answer.body).unwrap())
}

/// Asks until the answer is this one.
async fn ready_becomes(proxy: &Proxy, status: u16, text: &str) {
    let asking = async {
        loop {
            let (now, body) = admin(proxy, "/health/ready").await;
            if now == status && body.contains(text) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(DEADLINE, asking).await.expect("readiness never changed");
}

#[tokio::test]
async fn a_drain_lets_answers_end_and_takes_no_new_connections() {
    let gate = Arc::new(Notify::new());
    let mut upstream = Upstream::start(vec![
        send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n"),
        Step::Await(Arc::clone(&gate)),
        send("4\r\nlast\r\n0\r\n\r\n"),
    ])
    .await;
    let proxy = TestProxy::start(upstream.address).await;
    let mut client = open(proxy.address, GET).await;
    upstream.request().await;
    let TestProxy { proxy, address, journal, dir: _dir, .. } = proxy;
    let draining = tokio::spawn(proxy.drain());
    let refused = async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, refused).await.expect("still accepting");
    assert!(!draining.is_finished());
    gate.notify_one();
    let answer = client.message(Kind::Response).await.unwrap();
    assert!(answer.whole);
    assert_eq!(answer.body, b"firstlast");
    tokio::time::timeout(DEADLINE, draining).await.expect("drained").unwrap().unwrap();
    assert_eq!(journal.stats().open_admissions, 0);
}

#[tokio::test]
async fn answers_that_outlast_the_drain_are_cut_and_booked() {
    let mut upstream = Upstream::start(vec![
        send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n"),
        Step::Hang,
    ])
    .await;
    let proxy =
        TestProxy::with(upstream.address, "", |config| config.drain_limit = Duration::from_millis(50)).await;
    let mut client = open(proxy.address, GET).await;
    upstream.request().await;
    client.until(b"first").await;
    let mut events = proxy.event_stream();
    proxy.proxy.drain().await.unwrap();
    assert_eq!(events.next().await.outcome, Outcome::ClientGone);
}

#[tokio::test]
async fn readiness_tells_why_there_should_be_no_traffic() {
    let upstream = Upstream::answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let dir = tempfile::tempdir().unwrap();
    let mut config = ProxyConfig::new(format!("http://{}", upstream.address));
    config.server.listen = vec!["127.0.0.1:0".parse().unwrap()];
    config.admin_listen = "127.0.0.1:0".parse().unwrap();
    let snapshots = Arc::new(SnapshotStore::new(Snapshot::default()));
    let proxy = Proxy::start(config, deps(dir.path(), Arc::clone(&snapshots))).await.unwrap();
    ready_becomes(&proxy, 503, "no_snapshot").await;
    assert_eq!(admin(&proxy, "/health/live").await.0, 200);
    assert!(snapshots.publish(open_snapshot()));
    ready_becomes(&proxy, 200, "ready").await;
    let (status, metrics) = admin(&proxy, "/metrics").await;
    assert_eq!(status, 200);
    assert!(metrics.contains("mindweave_proxy_lost_events_total"), "{metrics}");
    assert_eq!(
        call(proxy.local_addr(), "GET /health/live HTTP/1.1\r\nHost: h\r\n\r\n").await.status(),
        401,
        "not ours there"
    );
}

#[tokio::test]
async fn a_full_journal_that_refuses_requests_is_not_ready() {
    let upstream = Upstream::answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let proxy = crate::limits::with_small_journal(&upstream, JournalFull::Refuse).await;
    let filling = async { while call(proxy.address, GET).await.status() == 200 {} };
    tokio::time::timeout(DEADLINE, filling).await.expect("never full");
    ready_becomes(&proxy.proxy, 503, "journal_full").await;
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused_at_the_start() {
    let start = async |adjust: fn(&mut ProxyConfig)| {
        let dir = tempfile::tempdir().unwrap();
        let mut config = ProxyConfig::new("http://127.0.0.1:1");
        config.server.listen = vec!["127.0.0.1:0".parse().unwrap()];
        config.admin_listen = "127.0.0.1:0".parse().unwrap();
        adjust(&mut config);
        let deps: ProxyDeps = deps(dir.path(), Arc::new(SnapshotStore::new(open_snapshot())));
        Proxy::start(config, deps).await.unwrap_err()
    };
    assert!(matches!(
        start(|config| config.upstream.url = "not a url".into()).await,
        StartError::Upstream(_)
    ));
    assert!(matches!(
        start(|config| config.public_url = Some("gateway.example".into())).await,
        StartError::PublicUrl { .. }
    ));
    assert!(matches!(start(|config| config.server.listen.clear()).await, StartError::Server(_)));
    assert!(matches!(
        start(|config| config.admin_listen = "203.0.113.1:1".parse().unwrap()).await,
        StartError::Admin(_)
    ));
}
