//! Whole bodies that no recording shows.

use super::*;

fn message(content: &str, stop_reason: &str, usage: &str) -> String {
    format!(
        r#"{{"id":"msg_1","type":"message","model":"claude-sonnet-5","content":{content},"stop_reason":"{stop_reason}","usage":{usage}}}"#
    )
}

fn get<'a>(path: &'a str, content_type: &'a str) -> Reply<'a> {
    Reply { status: 200, content_type: Some(content_type), method: "GET", path }
}

#[test]
fn tool_calls_name_their_servers() {
    let content = r#"[
        {"type":"tool_use","id":"toolu_1","name":"mcp__git_hub-x__create_issue","input":{"name":"no"}},
        {"type":"tool_use","id":"toolu_2","name":"mcp__plugin_tools_web__search__all","input":{}},
        {"type":"mcp_tool_use","id":"mcptoolu_1","name":"echo","server_name":"deepwiki","input":{}},
        {"name":"web_search","id":"srvtoolu_1","input":{"type":"tool_use"},"type":"server_tool_use"},
        {"type":"mcp_tool_result","tool_use_id":"mcptoolu_1","content":[{"type":"tool_use","name":"inner"}]},
        {"type":"tool_use","id":"toolu_3","name":"mcp__odd","input":{}},
        {"type":"text","text":"{\"type\":\"tool_use\"}"}
    ]"#;
    let metered = JSON.meter(&message(content, "tool_use", r#"{"input_tokens":1}"#), Outcome::Complete);
    let calls: Vec<_> =
        metered.tool_calls.iter().map(|call| (&*call.name, call.kind, call.server.as_deref())).collect();
    let expected = [
        ("mcp__git_hub-x__create_issue", ToolKind::Client, Some("git_hub-x")),
        ("mcp__plugin_tools_web__search__all", ToolKind::Client, Some("plugin_tools_web")),
        ("echo", ToolKind::Mcp, Some("deepwiki")),
        ("web_search", ToolKind::Server, None),
        ("mcp__odd", ToolKind::Client, None),
    ];
    assert_eq!(calls, expected);
    assert_eq!(metered.tool_calls[2].id.as_deref(), Some("mcptoolu_1"));
}

#[test]
fn one_hour_writes_are_billed_at_their_own_rate_and_once() {
    let usage = r#"{"input_tokens":0,"cache_creation_input_tokens":1000,"cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":1000},"output_tokens":0}"#;
    let metered = JSON.meter(&message("[]", "max_tokens", usage), Outcome::Complete);
    let bill = price(&metered);
    assert_eq!(bill.cost, Some(crate::NanoUsd(4_000_000))); // 1 000 at 4 USD per million
    assert_eq!(bill.buckets.len(), 1);
}

#[test]
fn fast_and_us_inference_are_read_from_the_answer() {
    let usage = r#"{"input_tokens":1000,"output_tokens":0,"speed":"fast","inference_geo":"us"}"#;
    let body = message("[]", "end_turn", usage).replace("claude-sonnet-5", "claude-opus-5-5");
    let bill = price(&JSON.meter(&body, Outcome::Complete));
    assert_eq!((bill.cost, bill.certainty), (Some(crate::NanoUsd(8_800_000)), Certainty::Exact));
}

#[test]
fn a_refusal_without_content_is_free() {
    let usage = r#"{"input_tokens":50,"output_tokens":2}"#;
    let free = JSON.meter(&message("[]", "refusal", usage), Outcome::Complete);
    assert_eq!((free.tokens, price(&free).cost), (tokens(50, 2), Some(crate::NanoUsd(0))));
    let content = r#"[{"type":"text","text":"no"}]"#;
    let billed = JSON.meter(&message(content, "refusal", usage), Outcome::Complete);
    assert_eq!(price(&billed).cost, Some(crate::NanoUsd(120_000)));
}

#[test]
fn a_cut_body_is_unknown_and_a_complete_one_is_complete_at_its_last_brace() {
    let body = message("[]", "end_turn", r#"{"input_tokens":50,"output_tokens":2}"#);
    for end in 0..body.len() {
        let metered = JSON.meter(body.split_at(end).0, Outcome::UpstreamCut);
        assert_eq!((metered.tokens, reason(&metered)), (None, Some("body_cut")), "cut at {end}");
    }
    let mut tap = JSON.tap();
    assert!(!tap.feed(&body.as_bytes()[..body.len() - 1]).complete);
    assert!(tap.feed(b"}").complete);
    assert_eq!(tap.finish(Outcome::ClientGone).certainty(), Certainty::Exact);
}

#[test]
fn a_body_that_is_no_message_is_unknown() {
    for (body, expected) in [
        ("<html>", "body_unreadable"),
        ("", "body_unreadable"),
        ("[]", "no_usage"),
        ("{}", "no_usage"),
        (r#"{"usage":null}"#, "no_usage"),
        (r#"{"usage":7}"#, "no_usage"),
    ] {
        let metered = JSON.meter(body, Outcome::Complete);
        assert_eq!(reason(&metered), Some(expected), "{body}");
        assert_eq!(price(&metered).cost, None);
    }
}

#[test]
fn errors_are_free_whatever_their_body() {
    let envelope =
        r#"{"type":"error","error":{"type":"rate_limit_error","message":"slow"},"request_id":"req_1"}"#;
    for (body, error_type) in [(envelope, Some("rate_limit_error")), ("<h1>413</h1>", None), ("", None)] {
        for status in [400, 413, 429, 500, 529] {
            let metered = Reply { status, ..JSON }.meter(body, Outcome::UpstreamError);
            assert_eq!(metered.error_type.as_deref(), error_type);
            assert_eq!((metered.tokens, metered.certainty()), (None, Certainty::Exact));
            assert_eq!(price(&metered).cost, Some(crate::NanoUsd(0)));
        }
    }
}

#[test]
fn what_cannot_be_decoded_is_unknown() {
    for (encoding, expected) in
        [("gzip", "content_decoding_failed"), ("compress", "unknown_content_encoding")]
    {
        for (method, path, content_type) in [
            ("POST", "/v1/messages", "application/json"),
            ("POST", "/v1/messages", "text/event-stream"),
            ("POST", "/v1/messages", "text/plain"),
            ("GET", "/v1/messages/batches/msgbatch_1/results", "application/x-jsonl"),
        ] {
            let endpoint = Endpoint::of(method, path);
            let mut tap = ResponseTap::new(&ResponseHead {
                endpoint: &endpoint,
                status: 200,
                content_type: Some(content_type),
                content_encoding: Some(encoding),
            });
            tap.feed(b"this was never compressed");
            let metered = tap.finish(Outcome::Complete);
            assert_eq!(reason(&metered), Some(expected), "{content_type}");
            assert_eq!(price(&metered).cost, None);
        }
    }
}

#[test]
fn endpoints_that_are_not_billed_are_free_and_the_ones_we_cannot_meter_say_so() {
    let body = r#"{"input_tokens":1000,"usage":{"input_tokens":9}}"#;
    for (method, path, expected) in [
        ("POST", "/v1/messages/count_tokens", None),
        ("GET", "/v1/models", None),
        ("GET", "/v1/files/file_1/content", None),
        ("POST", "/v1/messages/batches", None),
        ("GET", "/v1/agents", None),
        ("HEAD", "/api/hello", None),
        ("GET", "/v1/sessions/sesn_1/events/stream", Some("managed_agents_not_metered")),
        ("GET", "/v1/sessions/sesn_1", Some("managed_agents_not_metered")),
        ("POST", "/v1/dreams", Some("managed_agents_not_metered")),
        ("POST", "/v1/chat/completions", Some("chat_completions_not_metered")),
        ("POST", "/v1/complete", Some("complete_reports_no_usage")),
    ] {
        let metered = Reply { method, path, ..JSON }.meter(body, Outcome::Complete);
        assert_eq!((metered.tokens, reason(&metered)), (None, expected), "{path}");
        let cost = if expected.is_some() { None } else { Some(crate::NanoUsd(0)) };
        assert_eq!(price(&metered).cost, cost, "{path}");
    }
}

#[test]
fn only_succeeded_items_of_a_batch_are_billed() {
    let usage = r#"{"input_tokens":1000,"output_tokens":10,"service_tier":"batch"}"#;
    let succeeded = |id: &str| {
        let message = message("[]", "end_turn", usage);
        format!(r#"{{"custom_id":"{id}","result":{{"message":{message},"type":"succeeded"}}}}"#)
    };
    let body = [
        succeeded("a"),
        r#"{"custom_id":"b","result":{"type":"errored","error":{"type":"error","error":{"type":"x"}}}}"#
            .into(),
        r#"{"custom_id":"c","result":{"type":"canceled"}}"#.into(),
        r#"{"custom_id":"d","result":{"type":"expired"}}"#.into(),
        String::new(),
        succeeded("e"),
    ]
    .join("\n");
    let results = get("/v1/messages/batches/msgbatch_1/results", "application/x-jsonl");
    let metered = results.meter(&body, Outcome::Complete);
    let ids: Vec<&str> = metered.items.iter().map(|item| &*item.custom_id).collect();
    assert_eq!(ids, ["a", "e"]);
    assert_eq!((metered.tokens, metered.certainty()), (tokens(2_000, 20), Certainty::Exact));
    // Half of 2 and 10 USD per million.
    assert_eq!(price(&metered).cost, Some(crate::NanoUsd(2_000_000 + 100_000)));
    let cut = results.meter(body.split_at(body.len() - 1).0, Outcome::ClientGone);
    assert_eq!((cut.items.len(), cut.certainty()), (1, Certainty::Exact));
    let broken = results.meter(&body.replacen("\"result\"", "result", 1), Outcome::Complete);
    assert_eq!((broken.items.len(), reason(&broken)), (1, Some("batch_line_unreadable")));
    let nothing = results.meter("{\n[]\n", Outcome::Complete);
    assert_eq!((price(&nothing).cost, reason(&nothing)), (None, Some("body_unreadable")));
    let none = results.meter("", Outcome::Complete);
    assert_eq!((none.tokens, price(&none).cost), (None, Some(crate::NanoUsd(0))));
}

#[test]
fn a_long_batch_is_taken_an_event_at_a_time() {
    let line = |id: usize| {
        let usage = r#"{"input_tokens":1,"output_tokens":0}"#;
        format!(
            "{{\"custom_id\":\"{id}\",\"result\":{{\"type\":\"succeeded\",\"message\":{}}}}}\n",
            message("[]", "end_turn", usage)
        )
    };
    let mut tap = get("/v1/messages/batches/msgbatch_1/results", "application/x-jsonl").tap();
    let mut taken = Vec::new();
    for id in 0..2_500 {
        if tap.feed(line(id).as_bytes()).batch_items_full {
            taken.push(tap.take_batch_items());
        }
    }
    let rest = tap.finish(Outcome::Complete);
    assert_eq!(taken.iter().map(Vec::len).collect::<Vec<_>>(), [1_000, 1_000]);
    assert_eq!((rest.items.len(), rest.tokens), (500, tokens(500, 0)));
    assert_eq!(&*rest.items[0].custom_id, "2000");
    assert_eq!(MeteredResponse::of_batch(taken.remove(0), None).tokens, tokens(1_000, 0));
}

#[test]
fn redirects_and_empty_answers_are_not_billed() {
    let metered = Reply { status: 304, ..JSON }.meter("", Outcome::Complete);
    assert_eq!((metered.tokens, metered.certainty()), (None, Certainty::Exact));
}
