//! What a request holds of limits and budgets is settled exactly once, with the figures of its event, however it ends.

use std::sync::Arc;
use std::time::Duration;

use mindweave_metering::{Outcome, UsageEvent};
use mindweave_policy::{Charge, LimitMetric, QuotaSpec, QuotaUnit, Reserve};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::governed::{REVISION, body_for, budget, budgets, limit, message, post};
use crate::proxy::TestProxy;
use crate::wire::{DEADLINE, Kind, Step, Upstream, call, open, send};

const MODEL: &str = "claude-sonnet-4-6";
const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
const START: &str = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\
    \"role\":\"assistant\",\"model\":\"claude-sonnet-4-6\",\"content\":[],\"stop_reason\":null,\
    \"usage\":{\"input_tokens\":1000,\"output_tokens\":1}}}\n\n\
    event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n\
    event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hello\"}}\n\n";

fn chunk(text: &str) -> Step {
    send(format!("{:x}\r\n{text}\r\n", text.len()))
}

fn charged(events: &[UsageEvent], unit: QuotaUnit) -> i64 {
    events.iter().map(|event| Charge::of(event).amount(unit)).sum()
}

/// Waits until nothing is reserved any more; what is used then.
async fn settled(proxy: &TestProxy) -> i64 {
    let settling = async {
        loop {
            match proxy.budget_usage() {
                (used, 0) => return used,
                _ => tokio::time::sleep(Duration::from_millis(2)).await,
            }
        }
    };
    timeout(DEADLINE, settling).await.expect("something stays reserved")
}

#[tokio::test]
async fn however_a_request_ends_its_event_is_charged_and_nothing_stays_reserved() {
    let cut = vec![send(HEAD), chunk(START), Step::Close];
    let failing = "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 2\r\n\r\n{}";
    for (steps, outcome) in [
        (vec![send(message(700, 30))], Outcome::Complete),
        (vec![send(failing)], Outcome::UpstreamError),
        (vec![Step::Close], Outcome::UpstreamError),
        (vec![send("no http\r\n\r\n"), Step::Close], Outcome::UpstreamError),
        (cut, Outcome::UpstreamCut),
        (vec![Step::Hang], Outcome::Deadline),
    ] {
        for unit in [QuotaUnit::Cost, QuotaUnit::Tokens, QuotaUnit::Requests] {
            let upstream = Upstream::start(steps.clone()).await;
            let proxy = TestProxy::with(upstream.address, "", |config| {
                config.upstream.response_timeout = Duration::from_millis(200);
            })
            .await;
            proxy.govern(REVISION, budgets(vec![budget(unit, i64::MAX)]));
            call(proxy.address, post(&body_for(MODEL, 100))).await;
            let event = proxy.event().await;
            assert_eq!(event.outcome, outcome);
            assert_eq!(settled(&proxy).await, charged(&[event], unit), "{outcome:?} {unit:?}");
        }
    }
}

#[tokio::test]
async fn streams_that_their_clients_leave_are_settled_with_what_they_delivered() {
    let mut upstream = Upstream::start(vec![send(HEAD), chunk(START), Step::Hang]).await;
    let proxy =
        TestProxy::governed(upstream.address, budgets(vec![budget(QuotaUnit::Cost, 100_000_000_000)])).await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = open(proxy.address, post(&body_for(MODEL, 1_000))).await;
        upstream.request().await;
        client.until(b"Hello").await;
        clients.push(client);
    }
    let (used, reserved) = proxy.budget_usage();
    assert_eq!(used, 0);
    assert!(reserved >= 20 * 15_000 * 1_000, "1 000 tokens of output at $15 a million each: {reserved}");
    drop(clients);
    let events = proxy.events(20).await;
    assert!(events.iter().all(|event| event.outcome == Outcome::ClientGone && event.input_tokens == 1_000));
    assert_eq!(settled(&proxy).await, charged(&events, QuotaUnit::Cost));
}

#[tokio::test]
async fn many_requests_at_once_never_exceed_what_a_budget_allows() {
    // Each may use 100 tokens of output and uses all of them; the prompt's estimate is far above its 10 tokens.
    const LIMIT: i64 = 5_000;
    let gate = Arc::new(Notify::new());
    let upstream = Upstream::start(vec![Step::Await(Arc::clone(&gate)), send(message(10, 100))]).await;
    let proxy = TestProxy::governed(upstream.address, budgets(vec![budget(QuotaUnit::Tokens, LIMIT)])).await;
    let calls: Vec<_> = (0..200)
        .map(|_| {
            let address = proxy.address;
            tokio::spawn(async move { call(address, post(&body_for(MODEL, 100))).await.status() })
        })
        .collect();
    let opening = async {
        let mut stream = proxy.event_stream();
        // Those that do not fit are refused while the others are still open.
        stream.next().await
    };
    assert_eq!(timeout(DEADLINE, opening).await.expect("a refusal").outcome, Outcome::Denied);
    let mut statuses = Vec::new();
    for call in calls {
        let answered = async {
            let mut call = call;
            loop {
                gate.notify_waiters();
                gate.notify_one();
                match timeout(Duration::from_millis(10), &mut call).await {
                    Ok(status) => return status.unwrap(),
                    Err(_elapsed) => {}
                }
            }
        };
        statuses.push(timeout(DEADLINE, answered).await.expect("an answer"));
    }
    let events = proxy.events(200).await;
    let passed = events.iter().filter(|event| event.outcome == Outcome::Complete).count();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), passed);
    assert!(passed > 0 && passed < 200, "{passed}");
    let used = charged(&events, QuotaUnit::Tokens);
    assert!(used <= LIMIT, "{used}");
    assert_eq!(settled(&proxy).await, used);
    assert_eq!(
        proxy.record_count(),
        u64::try_from(200 + passed).unwrap(),
        "each request has one event, each admitted one two records"
    );
}

#[tokio::test]
async fn a_reservation_by_experience_is_corrected_by_what_was_used_debt_included() {
    let upstream = Upstream::answering(message(10, 4_000)).await;
    let quota = QuotaSpec { reserve: Reserve::Expected, ..budget(QuotaUnit::Tokens, 3_000) };
    let proxy = TestProxy::governed(upstream.address, budgets(vec![quota])).await;
    assert_eq!(call(proxy.address, post(&body_for(MODEL, 4_000))).await.status(), 200);
    assert_eq!(settled(&proxy).await, 4_010, "debt is not clipped");
    assert_eq!(call(proxy.address, post(&body_for(MODEL, 1))).await.status(), 429);
}

#[tokio::test]
async fn a_budget_that_begins_while_a_request_is_open_counts_it_at_its_end() {
    let gate = Arc::new(Notify::new());
    let mut upstream = Upstream::start(vec![Step::Await(Arc::clone(&gate)), send(message(70, 30))]).await;
    let proxy = TestProxy::start(upstream.address).await;
    let mut client = open(proxy.address, post(&body_for(MODEL, 100))).await;
    upstream.request().await;
    proxy.govern(REVISION, budgets(vec![budget(QuotaUnit::Tokens, 1_000)]));
    gate.notify_one();
    assert_eq!(client.message(Kind::Response).await.unwrap().status(), 200);
    proxy.event().await;
    assert_eq!(settled(&proxy).await, 100);
}

#[tokio::test]
async fn downloaded_batch_results_are_charged_with_every_event_that_they_make() {
    let line = |number: usize| {
        format!(
            "{{\"custom_id\":\"item-{number}\",\"result\":{{\"type\":\"succeeded\",\"message\":{{\"id\":\"msg_{number}\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"claude-haiku-4-5\",\"content\":[{{\"type\":\"text\",\"text\":\"x\"}}],\"stop_reason\":\"end_turn\",\"usage\":{{\"input_tokens\":3,\"output_tokens\":2}}}}}}}}\n"
        )
    };
    let body: String = (0..6_000).map(line).collect();
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/x-jsonl\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let upstream = Upstream::answering(answer).await;
    let proxy =
        TestProxy::governed(upstream.address, budgets(vec![budget(QuotaUnit::Tokens, i64::MAX)])).await;
    let get = "GET /v1/messages/batches/msgbatch_1/results HTTP/1.1\r\nHost: h\r\n\r\n";
    assert_eq!(call(proxy.address, get).await.status(), 200);
    let mut events = proxy.event_stream();
    let mut items = 0;
    let mut all = Vec::new();
    while items < 6_000 {
        let event = events.next().await;
        items += event.batch.as_ref().map_or(0, |batch| batch.items.len());
        all.push(event);
    }
    assert!(all.len() > 1, "more than one event's worth");
    assert_eq!(settled(&proxy).await, charged(&all, QuotaUnit::Tokens));
    assert_eq!(charged(&all, QuotaUnit::Tokens), 6_000 * 5);
}

#[tokio::test]
async fn a_request_that_cannot_be_admitted_gives_back_what_it_reserved() {
    let upstream = Upstream::answering(message(10, 5)).await;
    let proxy = crate::limits::with_small_journal(&upstream, mindweave_proxy::JournalFull::Refuse).await;
    proxy.govern(REVISION, limit(LimitMetric::ConcurrentRequests, 1));
    let request = post(&body_for(MODEL, 5));
    let filling = async { while call(proxy.address, &request).await.status() == 200 {} };
    timeout(DEADLINE, filling).await.expect("never full");
    for _ in 0..3 {
        let answer = call(proxy.address, &request).await;
        assert_eq!(answer.header("mindweave-reason").as_deref(), Some("journal_full"), "and not a limit");
    }
}
