//! The estimate of the prompt, and what the cache is asked to keep.

use super::*;

fn estimate(body: &str) -> u64 {
    let reading = read_message(body);
    assert_eq!(reading.fault, None, "{body}");
    reading.facts.estimated_input_tokens.unwrap()
}

fn with_content(content: &str) -> u64 {
    estimate(&format!(r#"{{"messages":[{{"role":"user","content":{content}}}]}}"#))
}

#[test]
fn text_counts_alike_wherever_the_model_reads_it() {
    let text = "word ".repeat(2_000);
    let block = format!(r#"[{{"type":"text","text":"{text}"}}]"#);
    let plain = with_content(&format!(r#""{text}""#));
    assert!((3_000..4_000).contains(&plain), "{plain}");
    assert_eq!(with_content(&block), plain);
    let result = with_content(&format!(r#"[{{"type":"tool_result","content":{block}}}]"#));
    assert_eq!(result, plain);
    let document = format!(r#"[{{"type":"document","source":{{"type":"content","content":{block}}}}}]"#);
    assert_eq!(with_content(&document), plain);
    let data = format!(r#"[{{"source":{{"data":"{text}","media_type":"text/plain"}},"type":"document"}}]"#);
    assert_eq!(with_content(&data), plain);
    let system = estimate(&format!(r#"{{"system":{block},"messages":[{{"content":""}}]}}"#));
    assert!(system.abs_diff(plain) <= 1, "{system} {plain}");
    let complete = read(EndpointKind::Complete, format!(r#"{{"prompt":"{text}"}}"#).as_bytes());
    assert!(complete.facts.estimated_input_tokens.unwrap().abs_diff(plain) <= 10);
}

#[test]
fn the_data_of_images_and_documents_is_not_text() {
    let with_data = |kind: &str, media: &str, bytes: usize| {
        let data = "A".repeat(bytes);
        with_content(&format!(
            r#"[{{"type":"{kind}","source":{{"type":"base64","media_type":"{media}","data":"{data}"}}}}]"#
        ))
    };
    let small = with_data("image", "image/png", 10_000);
    assert!((100..1_000).contains(&small), "{small}");
    let large = with_data("image", "image\\/jpeg", 5_000_000);
    assert!((4_784..4_850).contains(&large), "{large}");
    let page = with_data("document", "application/pdf", 1_000);
    assert!((1_700..2_000).contains(&page), "{page}");
    let book = with_data("document", "application/pdf", 20_000_000);
    assert!((300_000..300_100).contains(&book), "{book}");
    let elsewhere =
        with_content(r#"[{"type":"image","source":{"type":"url","url":"https://example.com/a.png"}}]"#);
    assert!((1_000..4_000).contains(&elsewhere), "{elsewhere}");
}

/// The second sentence has as many characters and half as many bytes.
#[test]
fn scripts_with_many_tokens_for_a_character_count_more() {
    let latin = with_content(&format!(r#""{}""#, "a".repeat(30_000)));
    let chinese = with_content(&format!(r#""{}""#, "\u{4e2d}".repeat(10_000)));
    assert!(chinese * 10 > latin * 15, "{chinese} {latin}");
    assert!(chinese >= 15_000, "{chinese}");
    let escaped = with_content(&format!(r#""{}""#, "\\u4e2d".repeat(10_000)));
    assert!(escaped >= 15_000, "{escaped}");
}

#[test]
fn tools_schemas_and_thinking_add_what_the_api_says_about_them() {
    let bare = estimate(r#"{"messages":[]}"#);
    let tool = r#"{"name":"t","description":"d","input_schema":{"type":"object"}}"#;
    let one = estimate(&format!(r#"{{"tools":[{tool}],"messages":[]}}"#));
    assert!(one > bare + 500, "{one}");
    let two = estimate(&format!(r#"{{"messages":[],"tools":[{tool},{tool}]}}"#));
    assert!(two > one && two < one + 100, "{two}");
    let of_api = estimate(r#"{"tools":[{"type":"bash_20250124","name":"bash"}]}"#);
    assert!(of_api > one + 500, "{of_api}");
    assert!(estimate(r#"{"thinking":{"type":"adaptive"}}"#) > bare);
    assert!(estimate(r#"{"output_config":{"format":{"type":"json_schema","schema":{}}}}"#) > bare + 20);
    assert_eq!(estimate(r#"{"metadata":{"user_id":"someone"},"stop_sequences":["a","b"]}"#), bare);
}

#[test]
fn a_batch_is_estimated_as_the_sum_of_its_items() {
    let item =
        |text: &str| format!(r#"{{"max_tokens":7,"messages":[{{"role":"user","content":"{text}"}}]}}"#);
    let (short, long) = (item("hello"), item(&"hello ".repeat(50)));
    let batch = format!(r#"{{"requests":[{{"params":{short}}},{{"params":{long}}},{{"params":{long}}}]}}"#);
    let facts = read(BATCH, batch.as_bytes()).facts;
    assert_eq!(facts.estimated_input_tokens, Some(estimate(&short) + 2 * estimate(&long)));
    assert_eq!(facts.max_tokens_sum, Some(21));
}

#[test]
fn a_body_that_was_not_read_to_its_end_has_no_estimate() {
    assert_eq!(read_message(r#"{"messages":[{"content":"hello"}]"#).facts.estimated_input_tokens, None);
    assert_eq!(read_message(r#"{"stream":1}"#).facts.estimated_input_tokens, None);
    assert_eq!(read_message("").facts.estimated_input_tokens, None);
}

#[test]
fn the_longest_lifetime_is_found_wherever_a_cache_control_may_stand() {
    let hour = r#""cache_control":{"type":"ephemeral","ttl":"1h"}"#;
    let minutes = r#""cache_control":{"type":"ephemeral"}"#;
    let bodies = [
        format!(r#"{{{hour}}}"#),
        format!(r#"{{"system":[{{"type":"text","text":"s",{hour}}}],{minutes}}}"#),
        format!(r#"{{"tools":[{{"name":"t",{hour}}},{{"name":"u",{minutes}}}]}}"#),
        format!(r#"{{"messages":[{{"content":[{{{minutes}}},{{"type":"image",{hour}}}]}}]}}"#),
        format!(
            r#"{{"messages":[{{"content":[{{"type":"tool_result","content":[{{{hour}}}]}}]}}],{minutes}}}"#
        ),
        r#"{"cache_control":{"ttl":"5m","ttl":"\u0031h"}}"#.to_owned(),
    ];
    for body in bodies {
        assert_eq!(read_message(&body).facts.cache_write, Some(CacheTtl::OneHour), "{body}");
    }
    let of = |body: &str| read_message(body).facts.cache_write;
    assert_eq!(of(&format!("{{{minutes}}}")), Some(CacheTtl::FiveMinutes));
    assert_eq!(of(r#"{"cache_control":null}"#), None);
    let in_data = r#"{"messages":[{"content":[{"type":"tool_use","input":{"cache_control":{"ttl":"1h"}}}]}],
        "tools":[{"input_schema":{"cache_control":{"ttl":"1h"}}}],"metadata":{"cache_control":{"ttl":"1h"}}}"#;
    assert_eq!(of(in_data), None, "what tools are given asks the cache for nothing");
}
