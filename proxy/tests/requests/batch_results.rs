//! Batches: the one byte change, and the booking of results.

use std::io::Write;

use mindweave_metering::{Certainty, NanoUsd, Outcome};
use mindweave_proxy::BatchResults;

use crate::proxy::TestProxy;
use crate::wire::{Message, Upstream, call, send};

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: gateway.example:8000\r\n\r\n")
}

fn batch(results_url: &str) -> String {
    format!(
        "{{\"id\": \"msgbatch_1\",  \"type\":\"message_batch\",\"processing_status\":\"ended\",\n\"results_url\" : {results_url},\
         \"note\":\"results_url\",\"archived_at\":null}}"
    )
}

const CLAUDE_URL: &str = "\"https://api.anthropic.com/v1/messages/batches/msgbatch_1/results\"";
const OUR_URL: &str = "\"http://gateway.example:8000/v1/messages/batches/msgbatch_1/results\"";

fn json(body: &[u8], headers: &str) -> Vec<u8> {
    let mut answer = format!(
        "HTTP/1.1 200 OK\r\nX-First: 1\r\nContent-Type: application/json\r\n{headers}Content-Length: {}\r\nX-Last: 1\r\n\r\n",
        body.len()
    )
    .into_bytes();
    answer.extend_from_slice(body);
    answer
}

async fn through(path: &str, answer: Vec<u8>) -> Message {
    let upstream = Upstream::answering(answer).await;
    let proxy = TestProxy::start(upstream.address).await;
    let answer = call(proxy.address, get(path)).await;
    let event = proxy.event().await;
    assert_eq!((event.outcome, event.cost_nano_usd), (Outcome::Complete, Some(NanoUsd(0))));
    answer
}

fn gzip(plain: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(plain.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn results_urls_point_to_the_proxy_and_no_other_byte_changes() {
    let answer = through("/v1/messages/batches/msgbatch_1", json(batch(CLAUDE_URL).as_bytes(), "")).await;
    assert_eq!(String::from_utf8_lossy(&answer.body), batch(OUR_URL));
    assert_eq!(answer.header("content-length"), Some(batch(OUR_URL).len().to_string()));
    assert_eq!(answer.names(), ["X-First", "Content-Type", "Content-Length", "X-Last"]);
}

#[tokio::test]
async fn every_batch_of_a_page_is_rewritten() {
    let page = |url: &str| {
        format!("{{\"data\":[{},{},{}],\"has_more\":false}}", batch(url), batch("null"), batch(url))
    };
    let answer = through("/v1/messages/batches?limit=20", json(page(CLAUDE_URL).as_bytes(), "")).await;
    assert_eq!(String::from_utf8_lossy(&answer.body), page(OUR_URL));
}

#[tokio::test]
async fn a_compressed_batch_is_answered_plain_when_it_had_to_be_changed() {
    let answer =
        through("/v1/messages/batches/b", json(&gzip(&batch(CLAUDE_URL)), "Content-Encoding: gzip\r\n"))
            .await;
    assert_eq!(String::from_utf8_lossy(&answer.body), batch(OUR_URL));
    assert_eq!(answer.names(), ["X-First", "Content-Type", "Content-Length", "X-Last"]);

    let unchanged = gzip(&batch("null"));
    let answer = through("/v1/messages/batches/b", json(&unchanged, "Content-Encoding: gzip\r\n")).await;
    assert_eq!(answer.body, unchanged);
    assert_eq!(answer.header("content-encoding").as_deref(), Some("gzip"));
}

#[tokio::test]
async fn other_urls_other_endpoints_and_broken_answers_pass_unchanged() {
    for (path, body) in [
        ("/v1/messages/batches/b", batch("null")),
        ("/v1/messages/batches/b", batch("\"https://elsewhere.example/x\"")),
        ("/v1/messages/batches/b", batch("\"https://api.anthropic.com.evil.example/x\"")),
        ("/v1/messages/batches/b", batch("17")),
        ("/v1/messages/batches/b", "{\"results_url\":\"https://api.anthropic.com/v1".to_owned()),
        ("/v1/files/f", batch(CLAUDE_URL)),
        ("/v1/models", batch(CLAUDE_URL)),
    ] {
        let answer = through(path, json(body.as_bytes(), "")).await;
        assert_eq!(String::from_utf8_lossy(&answer.body), body, "{path}");
    }
    let not_gzip = batch(CLAUDE_URL);
    let answer =
        through("/v1/messages/batches/b", json(not_gzip.as_bytes(), "Content-Encoding: gzip\r\n")).await;
    assert_eq!(answer.body, not_gzip.as_bytes());
}

#[tokio::test]
async fn a_configured_upstream_and_public_url_are_obeyed() {
    let upstream = Upstream::knowing_itself(|address| {
        let own = format!("\"http://{address}/base/v1/messages/batches/b/results\"");
        vec![send(json(batch(&own).as_bytes(), ""))]
    })
    .await;
    let proxy = TestProxy::with(upstream.address, "/base", |config| {
        config.public_url = Some("https://claude.corp.example/gw/".to_owned());
    })
    .await;
    let answer = call(proxy.address, get("/v1/messages/batches/b")).await;
    let expected = batch("\"https://claude.corp.example/gw/v1/messages/batches/b/results\"");
    assert_eq!(String::from_utf8_lossy(&answer.body), expected);
}

#[tokio::test]
async fn batch_objects_stay_as_they_are_where_the_configuration_says_so() {
    let upstream = Upstream::answering(json(batch(CLAUDE_URL).as_bytes(), "")).await;
    let proxy =
        TestProxy::with(upstream.address, "", |config| config.batch_results = BatchResults::Leave).await;
    let answer = call(proxy.address, get("/v1/messages/batches/msgbatch_1")).await;
    assert_eq!(String::from_utf8_lossy(&answer.body), batch(CLAUDE_URL));
}

#[tokio::test]
async fn a_chunked_batch_object_stays_without_a_length() {
    let body = batch(CLAUDE_URL);
    let answer = through(
        "/v1/messages/batches/b",
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
            body.len()
        )
        .into_bytes(),
    )
    .await;
    assert_eq!(String::from_utf8_lossy(&answer.body), batch(OUR_URL));
    assert_eq!(answer.header("content-length"), None);
}

fn line(item: usize) -> String {
    format!(
        "{{\"custom_id\":\"item-{item}\",\"result\":{{\"type\":\"succeeded\",\"message\":{{\"id\":\"msg_{item}\",\"type\":\"message\",\
         \"model\":\"claude-sonnet-4-6\",\"content\":[{{\"type\":\"text\",\"text\":\"x\"}}],\"stop_reason\":\"end_turn\",\
         \"usage\":{{\"input_tokens\":100,\"output_tokens\":10,\"service_tier\":\"batch\"}}}}}}}}\n"
    )
}

#[tokio::test]
async fn a_download_of_many_results_is_booked_in_events_of_bounded_size() {
    const ITEMS: usize = 2_500;
    let body: String = (0..ITEMS).map(line).collect();
    let upstream = Upstream::answering(format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/x-jsonl\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ))
    .await;
    let proxy = TestProxy::start(upstream.address).await;
    let answer = call(proxy.address, get("/v1/messages/batches/msgbatch_7/results")).await;
    assert_eq!(answer.body, body.as_bytes());
    let events = proxy.events(3).await;
    assert_eq!(proxy.record_count(), 4, "one admission, three events");
    let mut ids = std::collections::HashSet::new();
    let mut items = std::collections::HashSet::new();
    let mut tokens = 0;
    for event in &events {
        assert!(ids.insert(event.event_id));
        assert_eq!(
            (event.certainty, &*event.endpoint),
            (Certainty::Exact, "/v1/messages/batches/{id}/results")
        );
        let batch = event.batch.as_ref().unwrap();
        assert_eq!(&*batch.batch_id, "msgbatch_7");
        assert!(batch.items.len() <= 1_000);
        assert_eq!(event.input_tokens, 100 * u64::try_from(batch.items.len()).unwrap());
        tokens += event.input_tokens;
        items.extend(batch.items.iter().map(|item| item.custom_id.clone()));
    }
    assert_eq!((items.len(), tokens), (ITEMS, 100 * u64::try_from(ITEMS).unwrap()));
}

#[tokio::test]
async fn an_answer_longer_than_any_page_of_batches_passes_unchanged() {
    let body = format!("{{\"results_url\":{CLAUDE_URL},\"padding\":\"{}\"}}", "x".repeat(5 * 1024 * 1024));
    let answer = through("/v1/messages/batches/b", json(body.as_bytes(), "")).await;
    assert!(answer.whole);
    assert!(answer.body == body.as_bytes());
}
