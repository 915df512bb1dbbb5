use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use mindweave_eventlog::{Batch, DELIVERY_CONTENT_TYPE, Delivery, Record};
use mindweave_metering::UsageEvent;
use mindweave_policy::{Snapshot, SnapshotWire, WatchLine};
use serde_json::{Value, json};
use std::time::Instant;

use super::*;
use crate::testing::{NOON, event, record};

const PROXY_TOKEN: &str = "the-proxy-token-of-the-tests";
const WATCH: &str = "/internal/v1/watch";
const CLAIM: &str = "/internal/v1/events/claim";
const EVENTS: &str = "/internal/v1/events";
const DEMAND: &str = "/internal/v1/demand";

async fn start_in(folder: TempDir) -> Server {
    let config = ControlPlaneConfig {
        proxy_token: Some(Secret::new(PROXY_TOKEN.into())),
        ..config(folder.path(), "11")
    };
    let control_plane = ControlPlane::start(config).await.unwrap();
    let client = Client::new(control_plane.local_addr());
    Server { control_plane, client, folder }
}

async fn start() -> Server {
    start_in(tempfile::tempdir().unwrap()).await
}

/// A proxy's connection.
struct Watcher {
    lines: BufReader<TcpStream>,
    snapshot: Option<Snapshot>,
    lineage: Arc<str>,
}

impl Watcher {
    fn connect(server: &Server, query: &str) -> Self {
        let mut stream = TcpStream::connect(server.control_plane.local_addr()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        write!(
            stream,
            "GET {WATCH}?journal=journal-1{query} HTTP/1.0\r\nhost: x\r\nauthorization: Bearer {PROXY_TOKEN}\r\n\r\n"
        )
        .unwrap();
        let mut lines = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(tokio::task::block_in_place(|| lines.read_line(&mut head)).unwrap() > 0, "{head}");
        }
        assert!(head.starts_with("HTTP/1.0 200") || head.starts_with("HTTP/1.1 200"), "{head}");
        assert!(head.contains("content-type: application/x-ndjson"), "{head}");
        Self { lines, snapshot: None, lineage: "".into() }
    }

    /// The next line; `None` at the end.
    fn line(&mut self) -> Option<WatchLine> {
        let mut line = Vec::new();
        let read = tokio::task::block_in_place(|| self.lines.read_until(b'\n', &mut line)).unwrap();
        (read > 0).then(|| WatchLine::decode(&line).unwrap())
    }

    /// The next line about what is in force, taken over.
    fn snapshot(&mut self) -> WatchLine {
        loop {
            let line = self.line().expect("the watch goes on");
            match &line {
                WatchLine::Snapshot(wire) => {
                    self.lineage = Arc::clone(&wire.lineage);
                    self.snapshot = Some(wire.clone().into_snapshot(self.snapshot.as_ref()));
                }
                WatchLine::Change(diff) => {
                    let base = self.snapshot.as_ref().expect("a change follows a snapshot");
                    self.snapshot = Some(diff.clone().apply(base).unwrap());
                }
                _ => continue,
            }
            return line;
        }
    }

    /// Takes lines over until this revision is in force here.
    fn catch_up(&mut self, revision: u64) {
        while self.snapshot.as_ref().is_none_or(|snapshot| snapshot.revision < revision) {
            self.snapshot();
        }
    }

    fn content(&self) -> SnapshotWire {
        content(self.snapshot.as_ref().unwrap())
    }
}

fn content(snapshot: &Snapshot) -> SnapshotWire {
    SnapshotWire::of(snapshot, "any".into())
}

fn in_force(server: &Server) -> Arc<Snapshot> {
    server.control_plane.snapshots().load()
}

async fn a_proxy_gets_everything_and_then_each_change_within_a_second() {
    let server = start().await;
    let project = server.project("checkout");
    let upstream = format!("/projects/{project}/upstream");
    assert!(server.client.put(&upstream, &json!({ "api_key": "sk-ant-api03-upstream" })).status < 300);
    let mut watcher = Watcher::connect(&server, "&proxy_id=pxy_1");
    assert!(matches!(watcher.snapshot(), WatchLine::Snapshot(_)));
    assert_eq!(watcher.content(), content(&in_force(&server)));
    let figures = loop {
        match watcher.line().unwrap() {
            WatchLine::Usage(figures) => break figures,
            WatchLine::Heartbeat(_) => {}
            line => panic!("nothing changed: {line:?}"),
        }
    };
    assert!(figures.full && figures.live_proxies == 1);
    let keys = format!("/projects/{project}/keys");
    for name in ["one", "two"] {
        assert_eq!(server.client.post(&keys, &json!({ "name": name })).status, 201);
        let changed = Instant::now();
        let revision = in_force(&server).revision;
        watcher.catch_up(revision);
        assert!(changed.elapsed() < Duration::from_secs(1));
        assert_eq!(watcher.content(), content(&in_force(&server)));
    }
    let removed = server.client.delete(&upstream);
    assert!(removed.status < 300, "{}", removed.body);
    assert!(matches!(watcher.snapshot(), WatchLine::Change(_)));
    assert_eq!(watcher.content(), content(&in_force(&server)));
}

async fn a_proxy_that_comes_back_gets_only_what_it_missed() {
    let server = start().await;
    let mut watcher = Watcher::connect(&server, "");
    watcher.snapshot();
    let (lineage, revision) = (Arc::clone(&watcher.lineage), in_force(&server).revision);
    let known = format!("&revision={revision}&lineage={lineage}");
    let mut same = Watcher::connect(&server, &known);
    assert!(matches!(same.line(), Some(WatchLine::Usage(_) | WatchLine::Heartbeat(_))), "it lacks nothing");
    server.project("checkout");
    let mut behind = Watcher::connect(&server, &known);
    behind.snapshot = watcher.snapshot.clone();
    assert!(matches!(behind.snapshot(), WatchLine::Change(_)));
    assert_eq!(behind.content(), content(&in_force(&server)));
    for unknown in [
        format!("&revision={revision}"),
        format!("&revision={revision}&lineage=another"),
        format!("&revision=999&lineage={lineage}"),
    ] {
        assert!(
            matches!(Watcher::connect(&server, &unknown).snapshot(), WatchLine::Snapshot(_)),
            "{unknown}"
        );
    }
    for number in 0..10 {
        server.project(&format!("project {number}"));
    }
    let mut long_away = Watcher::connect(&server, &known);
    assert!(matches!(long_away.snapshot(), WatchLine::Snapshot(_)));
    assert_eq!(long_away.content(), content(&in_force(&server)));
}

async fn another_run_of_the_control_plane_sends_everything_even_under_the_same_revision() {
    let server = start().await;
    let mut watcher = Watcher::connect(&server, "");
    watcher.snapshot();
    let known = format!("&revision={}&lineage={}", in_force(&server).revision, watcher.lineage);
    drop(watcher);
    server.control_plane.shutdown().await;
    let server = start_in(server.folder).await;
    assert!(matches!(Watcher::connect(&server, &known).snapshot(), WatchLine::Snapshot(_)));
}

async fn figures_and_heartbeats_come_every_second() {
    let server = start().await;
    let mut watcher = Watcher::connect(&server, "");
    let mut other = Watcher::connect(&server, "&proxy_id=pxy_2");
    other.snapshot();
    let (mut figures, mut beats, began) = (0, 0, Instant::now());
    while figures < 4 || beats < 4 {
        match watcher.line().unwrap() {
            WatchLine::Usage(_) => figures += 1,
            WatchLine::Heartbeat(beat) => {
                beats += 1;
                assert_eq!((beat.revision, beat.live_proxies), (in_force(&server).revision, 1));
            }
            _ => {}
        }
    }
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
}

async fn a_watch_ends_when_the_control_plane_stops() {
    let server = start().await;
    let mut watcher = Watcher::connect(&server, "");
    watcher.snapshot();
    let began = Instant::now();
    server.control_plane.shutdown().await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    while watcher.line().is_some() {}
}

async fn a_proxy_that_has_gone_is_no_longer_alive() {
    let server = start().await;
    let mut stays = server.control_plane.usage_feed().subscribe("in-process");
    let mut watcher = Watcher::connect(&server, "");
    watcher.snapshot();
    alive(&mut stays, 2).await;
    drop(watcher);
    alive(&mut stays, 1).await;
}

/// Waits until the figures say that so many proxies are alive.
async fn alive(subscription: &mut crate::UsageSubscription, live: u32) {
    let told = async { while subscription.next().await.unwrap().live_proxies != live {} };
    tokio::time::timeout(Duration::from_secs(20), told).await.unwrap();
}

fn with_token(
    server: &Server,
    token: &str,
    method: &str,
    path: &str,
    content_type: &str,
    body: &[u8],
) -> Answer {
    let headers = [("authorization", format!("Bearer {token}")), ("content-type", content_type.to_owned())];
    server.client.call_with(method, path, &headers, (method == "POST").then_some(body))
}

async fn each_token_opens_its_own_side_only() {
    let server = start().await;
    let calls = [("GET", WATCH), ("POST", DEMAND), ("POST", CLAIM), ("POST", EVENTS)];
    for (method, path) in calls {
        for token in [TOKEN, "wrong", ""] {
            let answer = with_token(&server, token, method, path, "application/json", b"{}");
            assert_eq!((answer.status, answer.code()), (401, "unauthorized"), "{path} {token}");
        }
        let answer = server.client.call_with(method, path, &[], (method == "POST").then_some(b"{}"));
        assert_eq!(answer.status, 401, "{path}");
    }
    for path in ["/projects", "/v1/usage/events", "/nowhere"] {
        let answer = with_token(&server, PROXY_TOKEN, "GET", path, "application/json", b"");
        assert_eq!((answer.status, answer.code()), (401, "unauthorized"), "{path}");
    }
    let without = Server::start().await;
    for (method, path) in calls {
        for token in [PROXY_TOKEN, TOKEN, ""] {
            let answer = with_token(&without, token, method, path, "application/json", b"{}");
            assert_eq!((answer.status, answer.code()), (401, "unauthorized"), "{path} {token}");
        }
    }
}

async fn a_report_of_demand_is_answered_and_what_is_none_is_refused() {
    let server = start().await;
    let report = |body: &Value| {
        with_token(&server, PROXY_TOKEN, "POST", DEMAND, "application/json", body.to_string().as_bytes())
    };
    let said = |journal: &str, number: u64, demand: u64| {
        let limit = json!({ "limit_id": "lim_1", "subject": "prj_1", "demand": demand, "pieces": 600 });
        json!({ "journal": journal, "number": number, "live_proxies": 2, "limits": [limit] })
    };
    report(&json!({ "journal": "journal-2", "number": 1, "live_proxies": 2, "limits": [] }));
    let answer = report(&said("journal-1", 1, 900));
    assert_eq!(answer.status, 200, "{}", answer.body);
    let portion = json!([{ "limit_id": "lim_1", "subject": "prj_1", "portion": [1, 2] }]);
    assert_eq!(answer.body, json!({ "live_proxies": 2, "shares": portion }));
    assert_eq!(report(&said("journal-2", 2, 0)).body["shares"][0]["portion"], json!([15, 600]));
    let overtaken = report(&said("journal-1", 1, 900));
    assert_eq!((overtaken.status, overtaken.code()), (409, "changed_meanwhile"));
    let none = json!({ "journal": "", "number": 3, "live_proxies": 1, "limits": [] });
    let many = json!({ "journal": "j", "number": u64::MAX, "live_proxies": 1, "limits": [] });
    for (body, status) in [(json!([]), 400), (json!({ "journal": "j" }), 400), (none, 422), (many, 422)] {
        assert_eq!(report(&body).status, status, "{body}");
    }
}

async fn tokens_that_protect_nothing_are_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    for (token, expected) in [(" ", "empty"), (TOKEN, "one of their own")] {
        let proxy_token = Some(Secret::new(token.into()));
        let config = ControlPlaneConfig { proxy_token, ..config(folder.path(), "11") };
        let error = ControlPlane::start(config).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

fn claim(server: &Server) -> (i64, Value) {
    let body = json!({ "source": "journal-1" }).to_string();
    let answer = with_token(server, PROXY_TOKEN, "POST", CLAIM, "application/json", body.as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.body);
    (answer.body["epoch"].as_i64().unwrap(), answer.body["position"].clone())
}

fn batch(records: Vec<Record>) -> Batch {
    let (first, last) = (records[0].sequence, records[records.len() - 1].sequence);
    Batch { source: "journal-1".into(), first, last, records }
}

fn deliver(server: &Server, epoch: i64, batch: &Batch) -> Answer {
    with_token(server, PROXY_TOKEN, "POST", EVENTS, DELIVERY_CONTENT_TYPE, &Delivery::encode(epoch, batch))
}

fn records(events: &[(u64, UsageEvent)]) -> Vec<Record> {
    events.iter().map(|(sequence, event)| record(*sequence, event)).collect()
}

fn booked(server: &Server) -> usize {
    server.client.get("/v1/usage/events").body["data"].as_array().unwrap().len()
}

async fn a_journal_is_delivered_once_however_often_it_is_sent() {
    let server = start().await;
    let (epoch, position) = claim(&server);
    assert_eq!(position, Value::Null);
    let first = batch(records(&[(3, event(1, NOON, 1)), (5, event(2, NOON, 2))]));
    for new in [2, 0] {
        let answer = deliver(&server, epoch, &first);
        assert_eq!((answer.status, &answer.body["new"]), (200, &json!(new)), "{}", answer.body);
    }
    let second = batch(records(&[(5, event(2, NOON, 2)), (7, event(3, NOON, 3))]));
    assert_eq!(deliver(&server, epoch, &second).body["new"], 1);
    // A straggler of before moves nothing back.
    assert_eq!(deliver(&server, epoch, &first).status, 200);
    let (next, position) = claim(&server);
    assert_eq!((position, next > epoch), (json!(7), true));
    assert_eq!(booked(&server), 3);
}

async fn a_claim_outlives_a_restart_of_the_control_plane_but_not_the_next_claim() {
    let server = start().await;
    let (epoch, _) = claim(&server);
    server.control_plane.shutdown().await;
    let server = start_in(server.folder).await;
    let answer = deliver(&server, epoch, &batch(records(&[(3, event(1, NOON, 1))])));
    assert_eq!(answer.status, 200, "{}", answer.body);
    let (next, position) = claim(&server);
    assert_eq!(position, 3);
    for stale in [epoch, epoch - 1, next + 1] {
        let answer = deliver(&server, stale, &batch(records(&[(4, event(2, NOON, 2))])));
        assert_eq!((answer.status, answer.code()), (409, "fenced"), "{}", answer.body);
    }
    assert_eq!(deliver(&server, next, &batch(records(&[(4, event(2, NOON, 2))]))).status, 200);
    assert_eq!(booked(&server), 2);
}

async fn a_record_that_can_never_be_booked_is_named_and_the_others_are_taken_without_it() {
    let server = start().await;
    let (epoch, _) = claim(&server);
    let mut batch = batch(records(&[(1, event(1, NOON, 1)), (2, event(2, NOON, 2)), (3, event(3, NOON, 3))]));
    batch.records[1].payload = b"\xff\x00 secret".to_vec();
    let answer = deliver(&server, epoch, &batch);
    assert_eq!((answer.status, answer.code()), (422, "undecodable_record"), "{}", answer.body);
    assert_eq!((answer.body["sequence"].clone(), answer.body["reason"].is_string()), (json!(2), true));
    assert!(!answer.body.to_string().contains("secret"));
    batch.records.remove(1);
    assert_eq!(deliver(&server, epoch, &batch).status, 200);
    assert_eq!(booked(&server), 2);
}

async fn the_longest_delivery_of_a_shipper_is_taken_and_what_is_none_is_refused() {
    let server = start().await;
    let (epoch, _) = claim(&server);
    let large: Vec<_> = (1..=8_u64)
        .map(|number| {
            let mut event = event(number, NOON, number);
            event.metadata.insert("note".into(), "x".repeat(1_000_000).into());
            (number, event)
        })
        .collect();
    let answer = deliver(&server, epoch, &batch(records(&large)));
    assert_eq!((answer.status, &answer.body["new"]), (200, &json!(8)), "{}", answer.body);
    let post = |content_type: &str, body: &[u8]| {
        with_token(&server, PROXY_TOKEN, "POST", EVENTS, content_type, body)
    };
    assert_eq!(post("application/json", b"{}").status, 415);
    assert_eq!(post(DELIVERY_CONTENT_TYPE, b"{}").status, 400);
    let (claimed, refused) = (json!({ "source": "" }), json!({ "source": "x".repeat(201) }));
    for body in [claimed.to_string(), refused.to_string(), "{}".to_owned(), "nonsense".to_owned()] {
        let answer = with_token(&server, PROXY_TOKEN, "POST", CLAIM, "application/json", body.as_bytes());
        assert!((400..=422).contains(&answer.status), "{body}");
    }
}

async fn a_body_beyond_the_limit_is_refused_without_being_read() {
    let server = start().await;
    let mut stream = TcpStream::connect(server.control_plane.local_addr()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(
        stream,
        "POST {EVENTS} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {PROXY_TOKEN}\r\ncontent-type: {DELIVERY_CONTENT_TYPE}\r\n\
         content-length: 1000000000\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    tokio::task::block_in_place(|| stream.read_to_string(&mut answer)).unwrap();
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

async fn a_watch_says_which_parameter_is_wrong() {
    let server = start().await;
    for (query, wrong) in
        [("", "journal"), ("?journal=a&revision=x", "revision"), ("?journal=a&colour=red", "colour")]
    {
        let answer = with_token(&server, PROXY_TOKEN, "GET", &format!("{WATCH}{query}"), "text/plain", b"");
        assert_eq!(answer.status, 400, "{query}");
        assert_eq!(answer.body["errors"][0]["field"], wrong, "{query}");
    }
}

on_every_engine!(
    a_proxy_gets_everything_and_then_each_change_within_a_second,
    a_proxy_that_comes_back_gets_only_what_it_missed,
    another_run_of_the_control_plane_sends_everything_even_under_the_same_revision,
    figures_and_heartbeats_come_every_second,
    a_watch_ends_when_the_control_plane_stops,
    a_proxy_that_has_gone_is_no_longer_alive,
    each_token_opens_its_own_side_only,
    a_report_of_demand_is_answered_and_what_is_none_is_refused,
    tokens_that_protect_nothing_are_refused_at_the_start,
    a_journal_is_delivered_once_however_often_it_is_sent,
    a_claim_outlives_a_restart_of_the_control_plane_but_not_the_next_claim,
    a_record_that_can_never_be_booked_is_named_and_the_others_are_taken_without_it,
    the_longest_delivery_of_a_shipper_is_taken_and_what_is_none_is_refused,
    a_body_beyond_the_limit_is_refused_without_being_read,
    a_watch_says_which_parameter_is_wrong,
);
