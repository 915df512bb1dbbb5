//! However an exchange ends, it makes exactly one event, and that event says how.

use std::sync::Arc;
use std::time::Duration;

use mindweave_metering::{Certainty, NanoUsd, Outcome};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::proxy::TestProxy;
use crate::wire::{DEADLINE, Kind, Step, Upstream, call, open, send};

const MESSAGES: &str = "POST /v1/messages?beta=true HTTP/1.1\r\nHost: h\r\nX-Api-Key: sk-ant-x\r\n\
    X-Claude-Code-Session-Id: session-1\r\nX-Claude-Code-Agent-Id: agent-1\r\n\
    X-Claude-Code-Parent-Agent-Id: agent-0\r\nX-Claude-Code-Request-Class: subagent\r\nX-Stainless-Retry-Count: 2\r\n\
    Content-Length: 46\r\n\r\n{\"model\":\"claude-sonnet-4-6\",\"max_tokens\":100}";

const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nrequest-id: req_1\r\n\
    Transfer-Encoding: chunked\r\n\r\n";

const START: &str = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\
    \"role\":\"assistant\",\"model\":\"claude-sonnet-4-6\",\"content\":[],\"stop_reason\":null,\
    \"usage\":{\"input_tokens\":1000,\"output_tokens\":1}}}\n\n\
    event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n\
    event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hello\"}}\n\n";

const REST: &str = "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n\
    event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":50}}\n\n";

const STOP: &str = "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";

fn chunk(text: &str) -> Step {
    send(format!("{:x}\r\n{text}\r\n", text.len()))
}

fn last_chunk() -> Step {
    send("0\r\n\r\n")
}

#[tokio::test]
async fn a_finished_stream_is_booked_with_all_that_is_known_of_it() {
    let upstream =
        Upstream::start(vec![send(HEAD), chunk(START), chunk(REST), chunk(STOP), last_chunk()]).await;
    let proxy = TestProxy::start(upstream.address).await;
    let answer = call(proxy.address, MESSAGES).await;
    assert_eq!(answer.body, format!("{START}{REST}{STOP}").as_bytes());
    let event = proxy.event().await;
    assert_eq!(event.outcome, Outcome::Complete);
    assert_eq!(
        (event.status, event.streamed, &*event.method, &*event.endpoint),
        (200, true, "POST", "/v1/messages")
    );
    assert_eq!(event.requested_model.as_deref(), Some("claude-sonnet-4-6"));
    assert_eq!(event.model.as_deref(), Some("claude-sonnet-4-6"));
    assert_eq!((event.input_tokens, event.output_tokens), (1_000, 50));
    assert_eq!(event.certainty, Certainty::Exact);
    // 1 000 tokens at 3 dollars and 50 at 15 dollars per million.
    assert_eq!(event.cost_nano_usd, Some(NanoUsd(3_750_000)));
    assert_eq!(event.cost_usd.as_deref(), Some("0.003750000"));
    assert_eq!(event.stop_reason.as_deref(), Some("end_turn"));
    assert_eq!((event.request_id.as_deref(), event.message_id.as_deref()), (Some("req_1"), Some("msg_1")));
    assert_eq!(
        (event.session_id.as_deref(), event.agent_id.as_deref()),
        (Some("session-1"), Some("agent-1"))
    );
    assert_eq!(event.parent_agent_id.as_deref(), Some("agent-0"));
    assert_eq!((event.request_class.as_deref(), event.retry_count), (Some("subagent"), 2));
    assert_eq!(event.metadata.get("cost_centre").map(|label| &**label), Some("42"));
    assert_eq!(event.snapshot_revision, 7);
    assert!(event.proxy_id.as_str().contains(proxy.journal.id()));
    assert!(event.ttft_ms.is_some_and(|ttft| ttft <= event.latency_ms));
    assert!(event.overhead_us < 1_000_000);
}

#[tokio::test]
async fn the_event_is_in_the_journal_before_the_client_can_see_the_end_of_the_answer() {
    let gate = Arc::new(Notify::new());
    // The stream stays open behind `message_stop`: only the event of that name can have settled it.
    let upstream = Upstream::start(vec![
        send(HEAD),
        chunk(START),
        chunk(REST),
        chunk(STOP),
        Step::Await(Arc::clone(&gate)),
        last_chunk(),
    ])
    .await;
    let proxy = TestProxy::start(upstream.address).await;
    let mut client = open(proxy.address, MESSAGES).await;
    client.until(b"message_stop\"}").await;
    assert_eq!(proxy.record_count(), 2, "in the journal at the moment the client has read the end");
    gate.notify_one();
    client.until(b"0\r\n\r\n").await;
    assert_eq!(proxy.event().await.outcome, Outcome::Complete);
}

#[tokio::test]
async fn json_answers_of_every_framing_are_booked_before_their_last_byte_is_visible() {
    let body = "{\"id\":\"msg_1\",\"type\":\"message\",\"model\":\"claude-sonnet-4-6\",\"content\":[{\"type\":\"text\",\"text\":\"x\"}],\
        \"stop_reason\":\"end_turn\",\"usage\":{\"input_tokens\":10,\"output_tokens\":5}}";
    let length = body.len();
    for answer in [
        vec![send(format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        ))],
        vec![
            send("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"),
            chunk(body),
            last_chunk(),
        ],
        vec![send(format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{body}")), Step::Close],
    ] {
        let upstream = Upstream::start(answer).await;
        let proxy = TestProxy::start(upstream.address).await;
        let mut client = open(proxy.address, MESSAGES).await;
        client.until(b"\"output_tokens\":5}}").await;
        assert_eq!(proxy.record_count(), 2);
        let event = proxy.event().await;
        assert_eq!((event.outcome, event.input_tokens, event.output_tokens), (Outcome::Complete, 10, 5));
    }
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_is_booked_with_what_was_delivered() {
    let closed = Arc::new(Notify::new());
    let upstream =
        Upstream::start(vec![send(HEAD), chunk(START), Step::AwaitClose(Arc::clone(&closed))]).await;
    let proxy = TestProxy::start(upstream.address).await;
    let mut client = open(proxy.address, MESSAGES).await;
    client.until(b"Hello").await;
    drop(client);
    let event = proxy.event().await;
    assert_eq!((event.outcome, event.status), (Outcome::ClientGone, 200));
    assert_eq!(event.input_tokens, 1_000);
    assert_eq!(event.certainty, Certainty::Estimated);
    timeout(DEADLINE, closed.notified()).await.expect("the upstream connection is closed promptly");
}

#[tokio::test]
async fn a_client_that_leaves_before_the_answer_is_booked_as_unknown() {
    let closed = Arc::new(Notify::new());
    let mut upstream = Upstream::start(vec![Step::AwaitClose(Arc::clone(&closed))]).await;
    let proxy = TestProxy::start(upstream.address).await;
    let client = open(proxy.address, MESSAGES).await;
    upstream.request().await;
    drop(client);
    let event = proxy.event().await;
    assert_eq!((event.outcome, event.status, event.cost_nano_usd), (Outcome::ClientGone, 0, None));
    assert_eq!(event.certainty, Certainty::Unknown);
    assert_eq!(event.certainty_reason.as_deref(), Some("client_gone_before_answer"));
    assert_eq!(event.requested_model.as_deref(), Some("claude-sonnet-4-6"));
    timeout(DEADLINE, closed.notified()).await.expect("the upstream connection is closed promptly");
}

#[tokio::test]
async fn a_client_that_leaves_while_sending_costs_nothing() {
    let upstream = Upstream::start(vec![Step::Hang]).await;
    let proxy = TestProxy::start(upstream.address).await;
    let client =
        open(proxy.address, "POST /v1/messages HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n{\"mod")
            .await;
    drop(client);
    let event = proxy.event().await;
    assert_eq!((event.outcome, event.cost_nano_usd), (Outcome::ClientGone, Some(NanoUsd(0))));
    assert_eq!(event.certainty, Certainty::Exact);
}

#[tokio::test]
async fn an_answer_that_breaks_off_stays_broken_and_is_booked_as_cut() {
    for end in [Step::Close, Step::Reset] {
        let upstream = Upstream::start(vec![send(HEAD), chunk(START), end]).await;
        let proxy = TestProxy::start(upstream.address).await;
        let answer = call(proxy.address, MESSAGES).await;
        assert!(!answer.whole, "no clean end that could be taken for a complete answer");
        let event = proxy.event().await;
        assert_eq!((event.outcome, event.status, event.input_tokens), (Outcome::UpstreamCut, 200, 1_000));
        assert_eq!(event.certainty, Certainty::Estimated);
    }
    let upstream = Upstream::start(vec![
        send("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{\"id\""),
        Step::Close,
    ])
    .await;
    let proxy = TestProxy::start(upstream.address).await;
    assert!(!call(proxy.address, MESSAGES).await.whole);
    let event = proxy.event().await;
    assert_eq!(
        (event.outcome, event.certainty, event.cost_nano_usd),
        (Outcome::UpstreamCut, Certainty::Unknown, None)
    );
}

#[tokio::test]
async fn a_stream_that_ends_cleanly_but_too_early_is_booked_as_cut() {
    let upstream = Upstream::start(vec![send(HEAD), chunk(START), last_chunk()]).await;
    let proxy = TestProxy::start(upstream.address).await;
    assert!(call(proxy.address, MESSAGES).await.whole, "as the upstream sent it");
    assert_eq!(proxy.event().await.outcome, Outcome::UpstreamCut);
}

#[tokio::test]
async fn an_error_inside_a_stream_is_an_upstream_error() {
    let error = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n";
    let upstream = Upstream::start(vec![send(HEAD), chunk(START), chunk(error), last_chunk()]).await;
    let proxy = TestProxy::start(upstream.address).await;
    let answer = call(proxy.address, MESSAGES).await;
    assert_eq!(answer.body, format!("{START}{error}").as_bytes());
    let event = proxy.event().await;
    assert_eq!(
        (event.outcome, event.error_type.as_deref()),
        (Outcome::UpstreamError, Some("overloaded_error"))
    );
}

#[tokio::test]
async fn an_error_answer_is_passed_on_and_free() {
    let body = "{\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\",\"message\":\"slow down\"},\"request_id\":\"req_9\"}";
    let upstream = Upstream::answering(format!(
        "HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\nretry-after: 3\r\nrequest-id: req_9\r\n\
         x-should-retry: true\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ))
    .await;
    let proxy = TestProxy::start(upstream.address).await;
    let answer = call(proxy.address, MESSAGES).await;
    assert_eq!((answer.status(), answer.body.as_slice()), (429, body.as_bytes()));
    assert_eq!(answer.header("mindweave-reason"), None, "not ours");
    let event = proxy.event().await;
    assert_eq!(
        (event.outcome, event.status, event.cost_nano_usd),
        (Outcome::UpstreamError, 429, Some(NanoUsd(0)))
    );
    assert_eq!((event.error_type.as_deref(), event.certainty), (Some("rate_limit_error"), Certainty::Exact));
    assert_eq!(event.request_id.as_deref(), Some("req_9"));
}

#[tokio::test]
async fn silence_beyond_our_deadlines_is_booked_as_deadline() {
    // Before the head.
    let upstream = Upstream::start(vec![Step::Hang]).await;
    let proxy = TestProxy::with(upstream.address, "", |config| {
        config.upstream.response_timeout = Duration::from_millis(50);
    })
    .await;
    let answer = call(proxy.address, MESSAGES).await;
    assert_eq!(answer.status(), 504);
    assert_eq!(answer.header("mindweave-reason").as_deref(), Some("upstream_timeout"));
    assert_eq!(answer.header("x-should-retry").as_deref(), Some("false"), "it may have been billed");
    let event = proxy.event().await;
    assert_eq!((event.outcome, event.status, event.certainty), (Outcome::Deadline, 504, Certainty::Unknown));

    // Within the body.
    let upstream = Upstream::start(vec![send(HEAD), chunk(START), Step::Hang]).await;
    let proxy = TestProxy::with(upstream.address, "", |config| {
        config.upstream.body_idle_timeout = Duration::from_millis(50);
    })
    .await;
    assert!(!call(proxy.address, MESSAGES).await.whole);
    let event = proxy.event().await;
    assert_eq!(
        (event.outcome, event.status, event.certainty),
        (Outcome::Deadline, 200, Certainty::Estimated)
    );
}

#[tokio::test]
async fn answers_without_a_body_and_unmetered_paths_are_booked_as_free() {
    let rows = [
        ("HEAD /api/hello", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", "/api/hello", 200),
        ("DELETE /v1/files/file_1", "HTTP/1.1 204 No Content\r\n\r\n", "/v1/files/{id}", 204),
        ("GET /v1/models", "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n", "/v1/models", 304),
        ("GET /v1/models", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "/v1/models", 200),
        (
            "GET /v1/files/file_1/content",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n\x01\x02\x03",
            "/v1/files/{id}/content",
            200,
        ),
        (
            "PURGE /unknown?x=1",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "/unknown",
            200,
        ),
    ];
    for (line, answer, endpoint, status) in rows {
        let upstream = Upstream::answering(answer).await;
        let proxy = TestProxy::start(upstream.address).await;
        call(proxy.address, format!("{line} HTTP/1.1\r\nHost: h\r\n\r\n")).await;
        let event = proxy.event().await;
        assert_eq!(
            (event.outcome, event.status, &*event.endpoint),
            (Outcome::Complete, status, endpoint),
            "{line}"
        );
        assert_eq!((event.certainty, event.cost_nano_usd), (Certainty::Exact, Some(NanoUsd(0))), "{line}");
    }
}

#[tokio::test]
async fn an_answer_that_does_not_wait_for_the_request_is_passed_on_and_booked() {
    // The upstream answers after the head alone; the client is still sending.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut reader = crate::wire::Reader::new(stream);
        reader.until(b"\r\n\r\n").await;
        let answer = b"HTTP/1.1 413 Payload Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig";
        tokio::io::AsyncWriteExt::write_all(&mut reader.stream, answer).await.unwrap();
        std::future::pending::<()>().await;
    });
    let proxy = TestProxy::start(address).await;
    let mut client =
        open(proxy.address, "POST /v1/messages HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n{")
            .await;
    let answer = client.message(Kind::Response).await.unwrap();
    assert_eq!((answer.status(), answer.body.as_slice()), (413, &b"big"[..]));
    assert_eq!(proxy.event().await.outcome, Outcome::UpstreamError);
}

#[tokio::test]
async fn concurrent_requests_make_one_event_each() {
    const REQUESTS: usize = 200;
    let upstream =
        Upstream::start(vec![send(HEAD), chunk(START), chunk(REST), chunk(STOP), last_chunk()]).await;
    let proxy = TestProxy::start(upstream.address).await;
    let calls: Vec<_> = (0..REQUESTS).map(|_| tokio::spawn(call(proxy.address, MESSAGES))).collect();
    for call in calls {
        assert_eq!(call.await.unwrap().status(), 200);
    }
    let events = proxy.events(REQUESTS).await;
    let ids: std::collections::HashSet<_> = events.iter().map(|event| event.event_id).collect();
    assert_eq!(ids.len(), REQUESTS);
    assert_eq!(proxy.record_count(), 2 * u64::try_from(REQUESTS).unwrap());
}
