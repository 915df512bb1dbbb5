//! Calls of MCP tools in answers become events of their own.

use mindweave_metering::{Certainty, EventType, NanoUsd, Outcome, ToolKind};

use crate::governed::{body_for, post};
use crate::proxy::TestProxy;
use crate::wire::{Upstream, call};

fn answer(blocks: &str) -> String {
    let body = format!(
        r#"{{"id":"msg_1","type":"message","role":"assistant","model":"claude-sonnet-4-6","content":[{blocks}],"stop_reason":"tool_use","usage":{{"input_tokens":100,"output_tokens":20}}}}"#
    );
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nrequest-id: req_9\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[tokio::test]
async fn each_call_is_linked_to_its_request_and_costs_nothing_again() {
    let blocks = r#"{"type":"mcp_tool_use","id":"mcptoolu_1","name":"search","server_name":"docs","input":{"q":"hidden"}},
        {"type":"tool_use","id":"toolu_2","name":"mcp__git__push","input":{}},
        {"type":"tool_use","id":"toolu_3","name":"plain","input":{}},
        {"type":"server_tool_use","id":"srvtoolu_4","name":"web_search","input":{}}"#;
    let upstream = Upstream::answering(answer(blocks)).await;
    let proxy = TestProxy::start(upstream.address).await;
    let request = post(&body_for("claude-sonnet-4-6", 64))
        .replace("Host: h", "Host: h\r\nX-Claude-Code-Session-Id: session-1");
    assert_eq!(call(proxy.address, request).await.status(), 200);
    let mut events = proxy.event_stream();
    let request = events.next().await;
    assert_eq!((request.event_type, request.tool_calls.len()), (EventType::ApiCall, 4));
    for (tool, server, kind) in
        [("search", "docs", ToolKind::Mcp), ("mcp__git__push", "git", ToolKind::Client)]
    {
        let envelope = events.next_envelope().await;
        assert_eq!((&*envelope.kind, &*envelope.correlation_id), ("usage.mcp_tool", "req_9"));
        let event = envelope.data;
        assert_ne!(event.event_id, request.event_id);
        assert_eq!((event.event_type, event.parent_event_id), (EventType::McpTool, Some(request.event_id)));
        let [call] = event.tool_calls.as_slice() else { panic!("one call, not {:?}", event.tool_calls) };
        assert_eq!((&*call.name, call.server.as_deref(), call.kind), (tool, Some(server), kind));
        assert_eq!((event.cost_nano_usd, event.certainty), (Some(NanoUsd(0)), Certainty::Exact));
        assert_eq!((event.input_tokens, event.output_tokens, event.buckets.len()), (0, 0, 0));
        assert_eq!((event.outcome, &event.request), (Outcome::Complete, &None));
        assert_eq!((&event.project_id, &event.session_id), (&request.project_id, &request.session_id));
        assert_eq!(mindweave_policy::Charge::of(&event), mindweave_policy::Charge::default());
    }
    assert_eq!(proxy.record_count(), 4, "an admission, the request, and two calls");
}

#[tokio::test]
async fn an_answer_with_too_many_calls_books_the_first_of_them() {
    let block = |number: usize| {
        format!(r#"{{"type":"mcp_tool_use","id":"m{number}","name":"t","server_name":"s","input":{{}}}}"#)
    };
    let blocks: Vec<String> = (0..300).map(block).collect();
    let upstream = Upstream::answering(answer(&blocks.join(","))).await;
    let proxy = TestProxy::start(upstream.address).await;
    call(proxy.address, post(&body_for("claude-sonnet-4-6", 64))).await;
    let calls = proxy.events_of_all_kinds(1 + 256).await;
    assert!(calls[1..].iter().all(|event| event.event_type == EventType::McpTool));
    assert_eq!(proxy.record_count(), 2 + 256);
}
