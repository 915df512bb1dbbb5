use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use mindweave_metering::{Effect, EventType, KeyId, Outcome, ProjectId, UsageEvent, UserId};
use serde_json::{Value, json};
use socket2::SockRef;

use super::*;
use crate::testing::{HOUR, MINUTE, NOON, SECOND, event, record};

/// Books events as a proxy's journal would deliver them.
pub(super) async fn deliver(server: &Server, source: &str, events: &[UsageEvent]) {
    let ingest = &server.control_plane.ingest;
    let (mut claim, position) = ingest.claim(source).await.unwrap();
    let first = position.unwrap_or(0) + 1;
    let records: Vec<_> = (first..).zip(events).map(|(sequence, event)| record(sequence, event)).collect();
    let last = records.last().unwrap().sequence;
    ingest.apply(&mut claim, &records, last).await.unwrap();
}

fn numbers(events: &[Value]) -> Vec<u64> {
    events.iter().map(|event| event["input_tokens"].as_u64().unwrap()).collect()
}

async fn events_are_listed_whole_and_newest_first() {
    let server = Server::start().await;
    let (old, new) = (event(1, NOON, 1), event(2, NOON + SECOND, 2));
    deliver(&server, "journal", &[new.clone(), old.clone()]).await;
    let answer = server.client.get("/v1/usage/events").body;
    assert_eq!(numbers(answer["data"].as_array().unwrap()), [2, 1]);
    assert_eq!(answer["next_cursor"], Value::Null);
    let mut expected = serde_json::to_value(&new).unwrap();
    expected["sequence"] = 1.into();
    assert_eq!(answer["data"][0], expected);
    let oldest_first = server.client.get("/v1/usage/events?order=asc").body;
    assert_eq!(numbers(oldest_first["data"].as_array().unwrap()), [1, 2]);
}

async fn events_are_found_by_each_filter() {
    let server = Server::start().await;
    let mut special = event(7, NOON, 7);
    special.project_id = ProjectId::new("prj_special");
    special.key_id = Some(KeyId::new("key_special"));
    special.user_id = Some(UserId::new("usr_special"));
    special.model = Some("claude-special".into());
    special.outcome = Outcome::ClientGone;
    let mut failed = event(8, NOON + HOUR, 8);
    (failed.model, failed.requested_model) = (None, Some("claude-failed".into()));
    deliver(&server, "journal", &[event(1, NOON - HOUR, 1), special.clone(), failed]).await;
    let by_id = format!("event_id={}", special.event_id);
    let cases = [
        ("project_id=prj_special", vec![7]),
        ("key_id=key_special", vec![7]),
        ("user_id=usr_special", vec![7]),
        ("model=claude-special", vec![7]),
        ("model=claude-failed", vec![8]),
        ("outcome=client_gone", vec![7]),
        ("request_id=req_7", vec![7]),
        (&by_id, vec![7]),
        ("from=2026-01-15T12:00:00Z&to=2026-01-15T13:00:00Z", vec![7]),
        ("from=2026-01-15T13:00:00+01:00&to=2026-01-15T14:00:00+01:00", vec![7]),
        ("from=2026-01-15T12:00:00Z", vec![8, 7]),
        ("project_id=prj_special&model=claude-failed", vec![]),
    ];
    for (query, expected) in cases {
        let answer = server.client.get(&format!("/v1/usage/events?{query}")).body;
        assert_eq!(numbers(answer["data"].as_array().unwrap()), expected, "{query}");
    }
}

async fn pages_of_events_are_complete_and_stable_while_events_land() {
    let server = Server::start().await;
    // Several events share a time, so that the order among equals matters.
    let old: Vec<_> =
        (1..=23_u64).map(|number| event(number, NOON + i64::try_from(number / 4).unwrap(), number)).collect();
    deliver(&server, "journal", &old).await;
    for order in ["desc", "asc"] {
        let runtime = tokio::runtime::Handle::current();
        let mut next = if order == "desc" { 1_000 } else { 2_000 };
        let listed = server.client.pages(&format!("/v1/usage/events?order={order}"), 5, || {
            if next % 1_000 < 4 {
                next += 1;
                let landing = event(next, NOON + HOUR, next);
                tokio::task::block_in_place(|| runtime.block_on(deliver(&server, "journal", &[landing])));
            }
        });
        let mut seen: Vec<_> = numbers(&listed).into_iter().filter(|number| *number <= 23).collect();
        seen.sort_unstable();
        assert_eq!(seen, (1..=23).collect::<Vec<_>>(), "{order}");
        let mut all = numbers(&listed);
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), listed.len(), "{order}: no event comes twice");
    }
}

async fn a_cursor_of_one_direction_is_refused_in_the_other() {
    let server = Server::start().await;
    deliver(&server, "journal", &[event(1, NOON, 1), event(2, NOON, 2)]).await;
    let answer = server.client.get("/v1/usage/events?limit=1").body;
    let cursor = answer["next_cursor"].as_str().unwrap();
    let turned = server.client.get(&format!("/v1/usage/events?limit=1&order=asc&cursor={cursor}"));
    assert_eq!((turned.status, turned.code()), (400, "invalid_cursor"));
}

async fn usage_is_summed_by_interval_and_dimension() {
    let server = Server::start().await;
    let mut other = event(2, NOON + MINUTE, 20);
    other.model = Some("claude-haiku-4-5".into());
    let mut unknown = event(3, NOON + HOUR, 5);
    (unknown.cost_nano_usd, unknown.status) = (None, 500);
    deliver(&server, "journal", &[event(1, NOON, 10), other, unknown]).await;
    let range = "from=2026-01-15T12:00:00Z&to=2026-01-15T14:00:00Z";
    let by_hour = server.client.get(&format!("/analytics/usage?{range}&interval=hour")).body;
    let rows = by_hour["data"].as_array().unwrap();
    assert_eq!(numbers(rows), [30, 5]);
    assert_eq!(rows[0]["bucket"], "2026-01-15T12:00:00Z");
    assert_eq!((&rows[0]["requests"], &rows[0]["errors"]), (&json!(2), &json!(0)));
    assert_eq!((&rows[0]["cost_nano_usd"], &rows[0]["cost_usd"]), (&json!(90_000), &json!("0.000090000")));
    assert_eq!((&rows[1]["unknown_cost_events"], &rows[1]["errors"]), (&json!(1), &json!(1)));
    assert!(rows[0].get("model").is_none());
    let path = format!("/analytics/usage?{range}&interval=day&group_by=model,project,user,key");
    let by_model = server.client.get(&path).body;
    let rows = by_model["data"].as_array().unwrap();
    assert_eq!(rows[0]["model"], "claude-haiku-4-5");
    assert_eq!(rows[0]["project_id"], "prj_1");
    assert_eq!((&rows[0]["user_id"], &rows[0]["key_id"]), (&Value::Null, &Value::Null));
    assert_eq!(numbers(rows), [20, 15]);
    let by_minute = server.client.get(&format!("/analytics/usage?{range}&interval=minute")).body;
    assert_eq!(numbers(by_minute["data"].as_array().unwrap()), [10, 20, 5]);
    let only = server.client.get(&format!("/analytics/usage?{range}&model=claude-haiku-4-5")).body;
    assert_eq!(numbers(only["data"].as_array().unwrap()), [20]);
}

async fn refused_requests_and_tool_calls_are_told_apart_in_lists_and_sums() {
    let server = Server::start().await;
    let mut denied = event(2, NOON, 20);
    (denied.outcome, denied.status, denied.cost_nano_usd) = (Outcome::Denied, 403, None);
    denied.decision.effect = Effect::Deny;
    let mut tool = event(3, NOON, 0);
    (tool.event_type, tool.cost_nano_usd, tool.latency_ms) = (EventType::McpTool, None, 9_000);
    tool.parent_event_id = Some(event(1, NOON, 10).event_id);
    let mut warned = event(4, NOON, 40);
    warned.decision.shadow = vec!["model_not_allowed".into()];
    deliver(&server, "journal", &[event(1, NOON, 10), denied, tool, warned]).await;
    for (query, expected) in [
        ("event_type=api_call", vec![40, 20, 10]),
        ("event_type=mcp_tool", vec![0]),
        ("event_type=session", vec![]),
        ("outcome=denied", vec![20]),
        ("flagged=true", vec![40, 20]),
        ("flagged=true&outcome=complete", vec![40]),
        ("", vec![40, 0, 20, 10]),
    ] {
        let answer = server.client.get(&format!("/v1/usage/events?{query}")).body;
        assert_eq!(numbers(answer["data"].as_array().unwrap()), expected, "{query}");
    }
    let range = "from=2026-01-15T12:00:00Z&to=2026-01-15T13:00:00Z";
    let sums = server.client.get(&format!("/analytics/usage?{range}&interval=hour")).body;
    let row = &sums["data"][0];
    for (field, expected) in [
        ("requests", 3),
        ("denied", 1),
        ("mcp_tool_calls", 1),
        ("errors", 1),
        ("input_tokens", 50), // what was refused used nothing
        ("unknown_cost_events", 0),
        ("latency_ms_sum", 300),
        ("latency_ms_max", 100),
    ] {
        assert_eq!(row[field], expected, "{field}");
    }
    let refused = server.client.get("/v1/usage/events?event_type=other");
    assert_eq!((refused.status, refused.code()), (400, "invalid_parameter"));
}

async fn the_defaults_of_every_interval_include_what_has_just_happened() {
    let server = Server::start().await;
    let now = clock::now().as_microsecond();
    deliver(&server, "journal", &[event(1, now, 10)]).await;
    for interval in ["", "?interval=minute", "?interval=hour", "?interval=day"] {
        let answer = server.client.get(&format!("/analytics/usage{interval}")).body;
        assert_eq!(numbers(answer["data"].as_array().unwrap()), [10], "{interval}");
    }
    // The event may have ended just before midnight: the summary of its own day is asked for.
    let day = crate::testing::at(now);
    let summary = server.client.get(&format!("/v1/usage/summary?from={day}&to={day}")).body;
    assert_eq!((&summary["input_tokens"], &summary["requests"]), (&json!(10), &json!(1)));
}

/// A subscriber that reads lines from its own connection.
pub(super) struct Subscriber(BufReader<TcpStream>);

impl Subscriber {
    pub(super) fn connect(server: &Server, query: &str) -> Self {
        let mut stream = TcpStream::connect(server.control_plane.local_addr()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        write!(
            stream,
            "GET /v1/usage/live{query} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\n\r\n"
        )
        .unwrap();
        let mut subscriber = Self(BufReader::new(stream));
        assert!(subscriber.line_with("HTTP/1.1").contains("200"));
        assert!(subscriber.line_with("content-type").contains("text/event-stream"));
        subscriber.line_with(": subscribed");
        subscriber
    }

    /// The next line that starts with this.
    fn line_with(&mut self, start: &str) -> String {
        tokio::task::block_in_place(|| {
            loop {
                let mut line = String::new();
                assert!(self.0.read_line(&mut line).unwrap() > 0, "the stream ended before {start:?}");
                if line.starts_with(start) {
                    return line.trim_end().to_owned();
                }
            }
        })
    }

    /// Reads on until it is told that it missed something. `false`: the stream ended.
    fn is_told_that_it_lags(&mut self) -> bool {
        tokio::task::block_in_place(|| {
            let mut line = String::new();
            while self.0.read_line(&mut line).unwrap() > 0 {
                if line.starts_with("event: lagged") {
                    return true;
                }
                line.clear();
            }
            false
        })
    }

    pub(super) fn event(&mut self) -> Value {
        serde_json::from_str(self.line_with("data: ").strip_prefix("data: ").unwrap()).unwrap()
    }
}

async fn live_subscribers_see_events_as_they_land_and_repetitions_not_at_all() {
    let server = Server::start().await;
    let mut all = Subscriber::connect(&server, "");
    let mut one = Subscriber::connect(&server, "?project_id=prj_2");
    let mut tools = Subscriber::connect(&server, "?event_type=mcp_tool");
    let mut second = event(2, NOON, 2);
    second.project_id = ProjectId::new("prj_2");
    deliver(&server, "journal", &[event(1, NOON, 1), second.clone()]).await;
    deliver(&server, "elsewhere", &[event(1, NOON, 1), event(3, NOON, 3)]).await;
    assert_eq!(
        [all.event(), all.event(), all.event()].map(|event| event["input_tokens"].as_u64().unwrap()),
        [1, 2, 3]
    );
    assert_eq!(one.event()["event_id"], second.event_id.to_string());
    let mut tool = event(4, NOON, 4);
    tool.event_type = EventType::McpTool;
    deliver(&server, "journal", &[tool]).await;
    assert_eq!(tools.event()["input_tokens"], 4);
}

async fn a_live_subscriber_that_lags_is_told_how_many_events_it_missed() {
    let server = Server::start().await;
    let mut subscriber = Subscriber::connect(&server, "");
    // Little of what it does not read is in the kernel's hands, so that it falls behind soon.
    SockRef::from(subscriber.0.get_ref()).set_recv_buffer_size(16 * 1024).unwrap();
    let mut reader = Subscriber::connect(&server, "");
    let told = std::thread::spawn(move || {
        let mut line = String::new();
        while reader.0.read_line(&mut line).unwrap() > 0 && !line.contains("\"req_12000\"") {
            line.clear();
        }
    });
    // More than the backlog and every socket buffer on the way can hold, while nobody reads.
    let mut next = 0_u64;
    for _ in 0..6 {
        let batch: Vec<_> = (0..2_000)
            .map(|_| {
                next += 1;
                event(next, NOON, 1)
            })
            .collect();
        deliver(&server, "journal", &batch).await;
    }
    // Events may be told later than they are booked: until the last is, nobody can be known to have missed any.
    tokio::task::block_in_place(|| told.join()).unwrap();
    // On a server what was booked is looked up, for a while only: on a machine that is slow beyond that, the stream ends instead.
    if subscriber.is_told_that_it_lags() {
        let missed = subscriber.event()["missed_events"].as_u64().unwrap();
        assert!(missed > 0 && missed < next);
    } else {
        assert_eq!(ENGINE.get(), Engine::Postgres, "the stream ended");
    }
}

async fn a_shutdown_ends_live_streams_and_returns() {
    let server = Server::start().await;
    let mut subscriber = Subscriber::connect(&server, "");
    tokio::time::timeout(Duration::from_secs(5), server.control_plane.shutdown()).await.unwrap();
    let mut rest = String::new();
    tokio::task::block_in_place(|| Read::read_to_string(&mut subscriber.0, &mut rest)).unwrap();
}

on_every_engine!(
    events_are_listed_whole_and_newest_first,
    events_are_found_by_each_filter,
    pages_of_events_are_complete_and_stable_while_events_land,
    a_cursor_of_one_direction_is_refused_in_the_other,
    usage_is_summed_by_interval_and_dimension,
    refused_requests_and_tool_calls_are_told_apart_in_lists_and_sums,
    the_defaults_of_every_interval_include_what_has_just_happened,
    live_subscribers_see_events_as_they_land_and_repetitions_not_at_all,
    a_live_subscriber_that_lags_is_told_how_many_events_it_missed,
    a_shutdown_ends_live_streams_and_returns,
);
