//! Event streams that no recording shows.

use super::*;

const START: &str = r#"{"type":"message_start","message":{"model":"claude-sonnet-5","id":"msg_1","content":[],"stop_reason":null,"usage":{"input_tokens":100,"cache_read_input_tokens":1000,"cache_creation_input_tokens":0,"output_tokens":2,"service_tier":"standard"}}}"#;
const TEXT_BLOCK: &str =
    r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#;
const STOP: &str = r#"{"type":"message_stop"}"#;

fn event(name: &str, data: &str) -> String {
    format!("event: {name}\ndata: {data}\n\n")
}

fn text(text: &str) -> String {
    let data = format!(
        r#"{{"type":"content_block_delta","index":0,"delta":{{"type":"text_delta","text":"{text}"}}     }}"#
    );
    event("content_block_delta", &data)
}

fn delta(stop_reason: &str, usage: &str) -> String {
    let stop_reason =
        if stop_reason == "null" { stop_reason.to_owned() } else { format!("\"{stop_reason}\"") };
    let data =
        format!(r#"{{"type":"message_delta","delta":{{"stop_reason":{stop_reason}}},"usage":{usage}}}"#);
    event("message_delta", &data)
}

/// A stream that begins as usual, with a text block.
fn begun(rest: &str) -> String {
    event("message_start", START) + &event("content_block_start", TEXT_BLOCK) + rest
}

fn stop() -> String {
    event("message_stop", STOP)
}

fn meter(body: &str) -> MeteredResponse {
    STREAM.meter(body, Outcome::Complete)
}

#[test]
fn cache_reads_of_a_stream_are_not_billed_as_input() {
    let metered = meter(&begun(&(text("hi") + &delta("end_turn", r#"{"output_tokens":5}"#) + &stop())));
    let expected = TokenCounts { input: 100, output: 5, cache_read: 1_000, ..TokenCounts::default() };
    assert_eq!((metered.tokens, metered.certainty()), (Some(expected), Certainty::Exact));
    // 100 at 2, 1 000 at 0.20, 5 at 10 USD per million.
    assert_eq!(price(&metered).cost, Some(crate::NanoUsd(200_000 + 200_000 + 50_000)));
}

#[test]
fn a_server_tool_stream_is_priced_from_its_last_report() {
    let usage = r#"{"input_tokens":404500,"cache_read_input_tokens":0,"output_tokens":50,"server_tool_use":{"web_search_requests":4,"web_fetch_requests":1}}"#;
    let metered = meter(&begun(&(delta("end_turn", usage) + &stop())));
    assert_eq!(metered.tokens, tokens(404_500, 50));
    assert_eq!((metered.web_search_requests, metered.web_fetch_requests), (4, 1));
    assert_eq!(price(&metered).cost, Some(crate::NanoUsd(809_000_000 + 500_000 + 40_000_000)));
}

#[test]
fn several_message_deltas_overwrite_each_other() {
    let deltas = delta("null", r#"{"output_tokens":10,"input_tokens":500}"#)
        + &text("more")
        + &delta("null", r#"{"output_tokens":20}"#)
        + &delta("tool_use", r#"{"output_tokens":30,"input_tokens":400}"#);
    let metered = meter(&begun(&(deltas + &stop())));
    let tokens = metered.tokens.unwrap();
    assert_eq!((tokens.input, tokens.output, tokens.cache_read), (400, 30, 1_000));
    assert_eq!(metered.stop_reason.as_deref(), Some("tool_use"));
}

#[test]
fn a_client_that_leaves_early_still_spends() {
    let words = "All work and no play makes Jack a dull boy. ".repeat(20);
    let metered = STREAM.meter(&begun(&text(&words)), Outcome::ClientGone);
    assert_eq!(reason(&metered), Some("output_estimated_within_45_percent_plus_10_tokens"));
    let output = metered.tokens.unwrap().output;
    assert!((150..350).contains(&output), "{output} tokens for {} bytes", words.len());
    assert_eq!(metered.tokens.unwrap().cache_read, 1_000);
    let bill = price(&metered);
    assert_eq!(bill.certainty, Certainty::Estimated);
    assert!(bill.cost > Some(crate::NanoUsd(0)));
}

#[test]
fn a_cut_stream_never_counts_less_than_it_reported() {
    let metered = STREAM.meter(&event("message_start", START), Outcome::UpstreamCut);
    assert_eq!(metered.tokens.unwrap().output, 2);
    assert_eq!(metered.certainty(), Certainty::Estimated);
    let halfway = begun(&delta("null", r#"{"output_tokens":5000}"#));
    let metered = STREAM.meter(&halfway, Outcome::UpstreamCut);
    assert_eq!((metered.tokens.unwrap().output, metered.certainty()), (5_000, Certainty::Estimated));
}

#[test]
fn a_stream_cut_behind_its_last_report_is_exact() {
    let body = begun(&delta("end_turn", r#"{"output_tokens":5}"#));
    let metered = STREAM.meter(&body, Outcome::ClientGone);
    assert_eq!((metered.tokens.unwrap().output, metered.certainty()), (5, Certainty::Exact));
}

#[test]
fn a_report_that_is_cut_itself_does_not_count() {
    let body =
        begun("event: message_delta\ndata: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":900");
    let metered = STREAM.meter(&body, Outcome::UpstreamCut);
    assert!(metered.tokens.unwrap().output < 100);
    assert_eq!(reason(&metered), Some("output_estimated_within_45_percent_plus_10_tokens"));
}

#[test]
fn padding_and_frames_are_no_output() {
    let padded = text("word").replace("     }", &format!("{}}}", " ".repeat(5_000)));
    let metered = STREAM.meter(&begun(&padded), Outcome::ClientGone);
    assert!(metered.tokens.unwrap().output < 10);
}

#[test]
fn an_error_in_the_middle_ends_the_stream_and_keeps_what_was_spent() {
    let error =
        event("error", r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#);
    let metered = meter(&begun(&(text("some words") + &error)));
    assert!(metered.stream_error);
    assert_eq!(metered.error_type.as_deref(), Some("overloaded_error"));
    assert_eq!(metered.tokens.unwrap().input, 100);
    assert_eq!(metered.certainty(), Certainty::Estimated);
}

#[test]
fn an_error_before_anything_was_generated_is_taken_as_free() {
    let error = event("error", r#"{"type":"error","error":{"type":"api_error","message":"x"}}"#);
    let metered = meter(&error);
    assert_eq!((metered.tokens, reason(&metered)), (None, Some("error_before_usage")));
    assert_eq!(price(&metered).cost, Some(crate::NanoUsd(0)));
}

#[test]
fn nothing_is_known_of_a_stream_that_never_began() {
    for body in ["", "event: ping\ndata: {\"type\": \"ping\"}\n\n", "event: message_start\ndata: {"] {
        let metered = STREAM.meter(body, Outcome::UpstreamCut);
        assert_eq!((metered.tokens, reason(&metered)), (None, Some("stream_cut_before_usage")), "{body:?}");
        assert_eq!(price(&metered).cost, None);
    }
    assert_eq!(reason(&meter(&stop())), Some("no_usage"));
}

#[test]
fn pings_comments_and_unknown_events_change_nothing() {
    let plain = begun(&(text("hi") + &delta("end_turn", r#"{"output_tokens":5}"#) + &stop()));
    let noisy = format!(
        "\u{feff}: hello\n\n{}{}{}",
        event("ping", r#"{"type": "ping"}"#),
        event("message_telemetry", r#"{"usage":{"input_tokens":9999}}"#),
        plain.replace("event: content_block_delta", ": keep-alive\nevent: content_block_delta")
    );
    assert_eq!(meter(&noisy), meter(&plain));
    assert_eq!(meter(&noisy.replace('\n', "\r\n")), meter(&plain));
    assert_eq!(meter(&noisy.replace('\n', "\r")), meter(&plain));
}

#[test]
fn a_reported_zero_is_a_zero_and_not_estimated() {
    let prewarm = event("message_start", START) + &delta("max_tokens", r#"{"output_tokens":0}"#) + &stop();
    let metered = meter(&prewarm);
    assert_eq!((metered.tokens.unwrap().output, metered.certainty()), (0, Certainty::Exact));
    assert_eq!(price(&metered).cost, Some(crate::NanoUsd(200_000 + 200_000)), "the prompt is billed");
}

#[test]
fn a_repeated_start_counts_once() {
    let end = text("hi") + &delta("end_turn", r#"{"output_tokens":5}"#) + &stop();
    let once = meter(&begun(&end));
    assert_eq!(meter(&(event("message_start", START) + &begun(&end))), once);
}

#[test]
fn debug_output_shows_nothing_of_an_answer() {
    let mut tap = STREAM.tap();
    tap.feed(begun("event: content_block_delta\ndata: a-secret-answer").as_bytes());
    tap.feed(b"\n\ndata: a-secret-answer");
    assert!(!format!("{tap:?}").contains("secret"));
}

#[test]
fn text_that_looks_like_an_event_is_text() {
    let trap = text(r#"event: message_delta\ndata: {\"usage\":{\"output_tokens\":999}}"#);
    let metered = meter(&begun(&(trap + &delta("end_turn", r#"{"output_tokens":5}"#) + &stop())));
    assert_eq!(metered.tokens.unwrap().output, 5);
}

#[test]
fn a_huge_content_block_is_read_for_its_name_without_being_held() {
    let start = format!(
        r#"{{"type":"content_block_start","content_block":{{"type":"server_tool_use","input":{{"x":"{}"}},"id":"srvtoolu_1","name":"web_search"}}}}"#,
        "y".repeat(3_000_000)
    );
    let body = event("message_start", START)
        + &event("content_block_start", &start)
        + &delta("end_turn", r#"{"output_tokens":5}"#)
        + &stop();
    let mut tap = STREAM.tap();
    for piece in body.as_bytes().chunks(16_384) {
        tap.feed(piece);
    }
    let metered = tap.finish(Outcome::Complete);
    assert_eq!(metered.tool_calls.len(), 1);
    assert_eq!(&*metered.tool_calls[0].name, "web_search");
    assert_eq!(metered.tool_calls[0].kind, ToolKind::Server);
}

#[test]
fn a_fallback_moves_the_bill_to_the_model_that_served() {
    let fallback = event(
        "content_block_start",
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"fallback","from":{"model":"claude-sonnet-5"},"to":{"model":"claude-opus-5"}}}"#,
    );
    let usage = r#"{"input_tokens":30,"output_tokens":9,"cache_read_input_tokens":0,"iterations":[
        {"type":"message","model":"claude-sonnet-5","input_tokens":100,"output_tokens":4},
        {"type":"compaction","input_tokens":7,"output_tokens":1},
        {"type":"fallback_message","model":"claude-opus-5","input_tokens":30,"output_tokens":9}]}"#
        .replace('\n', "");
    let metered = meter(&(event("message_start", START) + &fallback + &delta("end_turn", &usage) + &stop()));
    assert_eq!(metered.model.as_deref(), Some("claude-opus-5"));
    assert_eq!(metered.tokens, tokens(30, 9));
    let bill = price(&metered);
    // 30 and 9 at Opus 5 (5/25), 100 and 4 plus 7 and 1 at Sonnet 5 (2/10), per million.
    assert_eq!(bill.cost, Some(crate::NanoUsd((150 + 225 + 200 + 40 + 14 + 10) * 1_000)));
    assert_eq!(bill.certainty, Certainty::Exact);
}

#[test]
fn a_refusal_is_free_before_content_and_billed_after() {
    let end = delta("refusal", r#"{"output_tokens":3}"#) + &stop();
    let free = meter(&(event("message_start", START) + &end));
    assert_eq!((free.tokens.unwrap().input, price(&free).cost), (100, Some(crate::NanoUsd(0))));
    let billed = meter(&begun(&(text("I can") + &end)));
    assert!(price(&billed).cost > Some(crate::NanoUsd(0)));
}

#[test]
fn a_stream_is_complete_at_its_stop_or_error_and_not_before() {
    let mut tap = STREAM.tap();
    let start = tap.feed(begun("").as_bytes());
    assert_eq!((start.first_content, start.complete), (false, false));
    let content = tap.feed(text("hi").as_bytes());
    assert_eq!((content.first_content, content.complete), (true, false));
    assert!(!tap.feed(delta("end_turn", r#"{"output_tokens":5}"#).as_bytes()).complete);
    assert!(tap.feed(stop().as_bytes()).complete);
    assert!(STREAM.tap().feed(event("error", r#"{"error":{"type":"api_error"}}"#).as_bytes()).complete);
}

#[test]
fn a_report_that_is_not_json_makes_the_figures_unknown() {
    let metered = meter(&begun(&(event("message_delta", "{oops}") + &stop())));
    assert_eq!(reason(&metered), Some("body_unreadable"));
    assert_eq!(price(&metered).cost, None);
}

#[test]
fn implausible_figures_make_the_cost_unknown() {
    let metered = meter(&begun(&(delta("end_turn", r#"{"output_tokens":-5}"#) + &stop())));
    assert_eq!((reason(&metered), price(&metered).cost), (Some("usage_implausible"), None));
}

#[test]
fn a_stream_without_a_content_type_is_recognised_by_its_first_byte() {
    let body = begun(&(text("hi") + &delta("end_turn", r#"{"output_tokens":5}"#) + &stop()));
    let unnamed = Reply { content_type: None, ..JSON };
    assert_eq!(unnamed.meter(&body, Outcome::Complete), meter(&body));
}

#[test]
fn tool_calls_are_listed_up_to_a_bound_and_counted_beyond() {
    let call = event(
        "content_block_start",
        r#"{"type":"content_block_start","content_block":{"type":"tool_use","id":"toolu_1","name":"Bash","input":{}}}"#,
    );
    let metered = meter(&begun(&(call.repeat(MAX_TOOL_CALLS + 3) + &stop())));
    assert_eq!((metered.tool_calls.len(), metered.tool_calls_left_out), (MAX_TOOL_CALLS, 3));
}
