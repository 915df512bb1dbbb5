//! Streams that are open while an admin edits what is in force.

use std::sync::Arc;

use mindweave_metering::Outcome;
use mindweave_policy::QuotaUnit;
use tokio::sync::Semaphore;

use crate::governed::{
    FORBIDS_A_MODEL, REVISION, body_for, budget, budgets, message, policies, policy, post,
};
use crate::proxy::TestProxy;
use crate::wire::{Kind, Reader, call, open};

const STREAMS: u16 = 200;
const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
const FIRST: &str = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\
    \"role\":\"assistant\",\"model\":\"claude-sonnet-4-6\",\"content\":[],\"stop_reason\":null,\
    \"usage\":{\"input_tokens\":10,\"output_tokens\":1}}}\n\n";
const LAST: &str = "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":5}}\n\n\
    event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";

/// An upstream whose answers all end when the gate opens.
async fn gated(gate: Arc<Semaphore>) -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let gate = Arc::clone(&gate);
            tokio::spawn(async move {
                let mut reader = Reader::new(stream);
                while let Some(request) = reader.message(Kind::Request).await {
                    let writes = async |reader: &mut Reader, bytes: &[u8]| {
                        tokio::io::AsyncWriteExt::write_all(&mut reader.stream, bytes).await.unwrap();
                    };
                    if request.line().contains("quick") {
                        writes(&mut reader, message(1, 1).as_bytes()).await;
                        continue;
                    }
                    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
                    writes(&mut reader, format!("{HEAD}{}", chunk(FIRST)).as_bytes()).await;
                    drop(gate.acquire().await.unwrap());
                    writes(&mut reader, format!("{}0\r\n\r\n", chunk(LAST)).as_bytes()).await;
                }
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_open_stream_notices_an_edit_and_every_new_request_obeys_it() {
    let gate = Arc::new(Semaphore::new(0));
    let mut governance = budgets(vec![budget(QuotaUnit::Requests, 1_000_000)]);
    governance.policies =
        policies(&[policy("package none\ndeny contains {\"reason\": \"x\", \"message\": \"x\"} if false")])
            .policies;
    let proxy = TestProxy::governed(gated(Arc::clone(&gate)).await, governance.clone()).await;
    let mut streams = Vec::new();
    for _ in 0..STREAMS {
        let mut stream = open(proxy.address, post(&body_for("forbidden", 1))).await;
        stream.until(b"message_start\"").await;
        streams.push(stream);
    }
    let quick = |model: &str| post(&body_for(model, 1)).replace("/v1/messages", "/v1/messages?quick");
    assert_eq!(call(proxy.address, quick("forbidden")).await.status(), 200);
    for (revision, forbidding) in [(1, true), (2, false), (3, true)] {
        governance.policies = policies(&[policy(FORBIDS_A_MODEL)]).policies;
        if !forbidding {
            governance.policies.clear();
        }
        governance.quotas = budgets(vec![budget(QuotaUnit::Requests, 1_000_000 - revision)]).quotas;
        proxy.govern(REVISION + revision.unsigned_abs(), governance.clone());
        let status = call(proxy.address, quick("forbidden")).await.status();
        assert_eq!(status, if forbidding { 403 } else { 200 }, "the very next request obeys");
    }
    assert_eq!(proxy.budget_usage(), (2, STREAMS.into()), "edits keep what open streams hold");
    gate.add_permits(STREAMS.into());
    for stream in &mut streams {
        stream.until(b"message_stop\"}\n\n\r\n0\r\n\r\n").await;
    }
    let events = proxy.events(usize::from(STREAMS) + 4).await;
    let complete = events.iter().filter(|event| event.outcome == Outcome::Complete).count();
    assert_eq!(complete, usize::from(STREAMS) + 2);
    assert_eq!(events.iter().filter(|event| event.outcome == Outcome::Denied).count(), 2);
    assert_eq!(proxy.budget_usage(), (i64::from(STREAMS) + 2, 0));
}
