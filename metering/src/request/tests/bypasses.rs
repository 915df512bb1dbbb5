//! Ways around a policy: whatever the API would obey is either a fact or a fault.

use super::*;

fn models(body: &str) -> Vec<String> {
    let reading = read_message(body);
    assert_eq!(reading.fault, None, "{body}");
    reading.facts.models.iter().map(ToString::to_string).collect()
}

#[test]
fn a_fallback_is_a_model_that_may_serve_with_limits_of_its_own() {
    let body = r#"{"fallbacks":[{"model":"claude-fable-5","max_tokens":64000,"speed":"fast"},{"model":"claude-opus-5"}],
        "model":"claude-haiku-4-5","max_tokens":100}"#;
    let facts = read_message(body).facts;
    assert_eq!(facts.model.as_deref(), Some("claude-haiku-4-5"), "what is asked for first");
    assert_eq!(models(body), ["claude-fable-5", "claude-opus-5", "claude-haiku-4-5"]);
    assert_eq!((facts.max_tokens, facts.max_tokens_sum), (Some(64_000), Some(64_000)));
    assert_eq!((facts.speed, facts.speeds), (None, vec!["fast".into()]));
    assert!(!facts.has_default_fallback);
    let chosen_by_the_api = read_message(r#"{"model":"claude-opus-5","fallbacks":"default"}"#);
    assert_eq!(chosen_by_the_api.fault, None);
    assert!(chosen_by_the_api.facts.has_default_fallback);
    assert!(!read_message(r#"{"fallbacks":null}"#).facts.has_default_fallback);
    for (body, field) in [
        (r#"{"fallbacks":[{"model":"a","model":"b"}]}"#, "fallbacks.model"),
        (r#"{"fallbacks":[],"fallb\u0061cks":[]}"#, "fallbacks"),
        (r#"{"fallbacks":[{"speed":"fast","speed":"standard"}]}"#, "fallbacks.speed"),
        (r#"{"fallbacks":[{"max_tokens":1,"max_tokens":2}]}"#, "fallbacks.max_tokens"),
    ] {
        assert_eq!(read_message(body).fault, Some(ScanFault::DuplicateField { field }), "{body}");
    }
    for body in [r#"{"fallbacks":{"model":"a"}}"#, r#"{"fallbacks":["a"]}"#, r#"{"fallbacks":true}"#] {
        assert_eq!(
            read_message(body).fault,
            Some(ScanFault::UnexpectedType { field: "fallbacks" }),
            "{body}"
        );
    }
}

#[test]
fn an_advisor_is_a_model_that_may_serve() {
    let body = r#"{"model":"claude-haiku-4-5","tools":[{"type":"advisor_20260301","name":"advisor","mod\u0065l":"claude-fable-5"}]}"#;
    assert_eq!(models(body), ["claude-haiku-4-5", "claude-fable-5"]);
    let twice = r#"{"tools":[{"model":"a","model":"b"}]}"#;
    assert_eq!(read_message(twice).fault, Some(ScanFault::DuplicateField { field: "tools.model" }));
}

#[test]
fn a_tool_defined_in_the_middle_of_the_conversation_is_a_tool() {
    let addition = |definition: &str| {
        format!(
            r#"{{"messages":[{{"role":"system","content":[{{"tool":{{"type":"tool_definition","definition":{definition}}},
            "type":"tool_addition"}}]}}],"tools":[{{"name":"first"}}]}}"#
        )
    };
    let facts = read_message(&addition(r#"{"name":"mcp__prod__drop","input_schema":{}}"#)).facts;
    let names: Vec<_> = facts.tools.iter().filter_map(|tool| tool.name.as_deref()).collect();
    assert_eq!(names, ["mcp__prod__drop", "first"]);
    let facts = read_message(&addition(r#"{"type":"mcp_toolset","mcp_server_name":"prod"}"#)).facts;
    assert_eq!(facts.tools[0].mcp_server.as_deref(), Some("prod"));
    let advisor = addition(r#"{"type":"advisor_20260301","name":"advisor","model":"claude-fable-5"}"#);
    assert_eq!(models(&advisor), ["claude-fable-5"]);
    let twice = read_message(&addition(r#"{"name":"a","name":"b"}"#)).fault;
    assert_eq!(twice, Some(ScanFault::DuplicateField { field: "tools.name" }));
    let history = r#"{"messages":[{"content":[{"type":"tool_use","name":"x","input":{"tool":{"definition":{"name":"y"}}}}]}]}"#;
    assert_eq!(read_message(history).facts.tools, [], "a call of the past offers nothing");
}

#[test]
fn a_name_that_only_looks_like_a_model_is_a_fault() {
    for name in [
        " claude-opus-5",
        "claude-opus-5 ",
        r"claude-opus-5\n",
        r"claude-opus-5\u0000",
        r"claude-opus-5\u200b",
        "claude opus-5",
        "Claude-Opus-5",
        "anthropic/CLAUDE-opus-5",
        "cl\u{430}ude-opus-5",
        "\u{ff43}laude-opus-5",
    ] {
        for (body, field) in [
            (format!(r#"{{"model":"{name}"}}"#), "model"),
            (format!(r#"{{"fallbacks":[{{"model":"{name}"}}]}}"#), "fallbacks.model"),
            (format!(r#"{{"tools":[{{"model":"{name}"}}]}}"#), "tools.model"),
        ] {
            let fault = read_message(&body).fault;
            assert_eq!(fault, Some(ScanFault::Spelling { field }), "{body}");
            assert_eq!(fault.map(|fault| fault.reason()), Some("request_field_spelling"));
        }
    }
    for name in ["claude-opus-5", "anthropic.claude-3-haiku-20240307-v1:0", "claude-opus-4@20250514", "GPT-X"]
    {
        assert_eq!(models(&format!(r#"{{"model":"{name}"}}"#)), [name]);
    }
}

#[test]
fn servers_and_toolsets_are_listed_even_where_they_do_not_fit_together() {
    let body = r#"{"mcp_servers":[{"name":"a"},{"url":"https://b"},{}],
        "tools":[{"type":"mcp_toolset","mcp_server_name":"unlisted"},{"type":"mcp_toolset"}]}"#;
    let facts = read_message(body).facts;
    let servers: Vec<_> =
        facts.mcp_servers.iter().map(|server| (server.name.as_deref(), server.url.as_deref())).collect();
    assert_eq!(servers, [(Some("a"), None), (None, Some("https://b")), (None, None)]);
    let toolsets: Vec<_> = facts.tools.iter().map(|tool| tool.mcp_server.as_deref()).collect();
    assert_eq!(toolsets, [Some("unlisted"), None]);
    let escaped = r#"{"mcp\u005fservers":[{"\u0075rl":"https:\/\/evil.example"}]}"#;
    assert_eq!(read_message(escaped).facts.mcp_servers[0].url.as_deref(), Some("https://evil.example"));
}

#[test]
fn an_address_in_which_parsers_find_different_hosts_is_a_fault() {
    for url in [
        r"https://approved.example\\@evil.example/mcp",
        "https:evil.example://approved.example/mcp",
        "https:/evil.example",
        "https:evil.example",
        "//evil.example",
        " https://evil.example",
        r"https://evil.exam\tple",
        r"https://evil.example\n",
        "https://\u{ff45}vil.example",
        "file:///etc/passwd",
        "approved.example",
        "",
    ] {
        let body = format!(r#"{{"mcp_servers":[{{"type":"url","name":"m","url":"{url}"}}]}}"#);
        let fault = read_message(&body).fault;
        assert_eq!(fault, Some(ScanFault::Spelling { field: "mcp_servers.url" }), "{body}");
    }
    for url in
        ["https://a.example", "HTTPS://a.example:8443/p?q#f", "http://[::1]/", "https://user@a.example/%5c"]
    {
        let body = format!(r#"{{"mcp_servers":[{{"url":"{url}"}}]}}"#);
        assert_eq!(read_message(&body).fault, None, "{url}");
    }
}

/// A parser that ends keys at a zero byte, or joins look-alikes, would see `model` here; the API's does not, and names
/// that differ are different members.
#[test]
fn keys_are_compared_as_they_are() {
    let body = r#"{"model\u0000":"a","Model":"b","mоdel":"c","model ":"d","model":"e"}"#;
    assert_eq!(models(body), ["e"]);
}

#[test]
fn a_body_encoded_more_than_once_is_a_fault_not_a_body_without_facts() {
    for header in ["gzip, gzip", "gzip,br", "identity, gzip, deflate", "gzip;q=1", "aws-chunked"] {
        let encoding = Encoding::from_header(Some(header));
        let fault = read_chunks(EndpointKind::Messages, encoding, [FULL.as_bytes()]).fault;
        assert!(matches!(fault, Some(ScanFault::Encoding(_))), "{header}: {fault:?}");
    }
    for header in ["", "identity", " Identity "] {
        let encoding = Encoding::from_header(Some(header));
        assert_eq!(
            read_chunks(EndpointKind::Messages, encoding, [FULL.as_bytes()]).fault,
            None,
            "{header:?}"
        );
    }
}

#[test]
fn the_openai_compatible_endpoint_has_facts_as_well() {
    let body = r#"{"messages":[{"role":"system","content":"be kind"},{"role":"user","content":[{"type":"text","text":"hi"}]}],
        "tools":[{"type":"function","function":{"description":"d","name":"mcp__github__create_issue"}}],
        "functions":[{"name":"old"}],"max_tokens":5,"max_completion_tokens":90000,"stream":true,"user":"u","n":1,
        "model":"claude-opus-5"}"#;
    let reading = read(EndpointKind::ChatCompletions, body.as_bytes());
    assert_eq!(reading.fault, None);
    let facts = reading.facts;
    assert_eq!((facts.model.as_deref(), facts.stream, facts.message_count), (Some("claude-opus-5"), true, 2));
    assert_eq!((facts.max_tokens, facts.max_tokens_sum), (Some(90_000), Some(90_000)));
    let names: Vec<_> = facts.tools.iter().filter_map(|tool| tool.name.as_deref()).collect();
    assert_eq!(names, ["mcp__github__create_issue", "old"]);
    assert!(facts.estimated_input_tokens.unwrap() > 500);
    for (body, field) in [
        (r#"{"model":"a","model":"b"}"#, "model"),
        (r#"{"max_completion_tokens":1,"max_completion_tokens":2}"#, "max_completion_tokens"),
        (r#"{"tools":[{"function":{"name":"a","name":"b"}}]}"#, "tools.function.name"),
        (r#"{"tools":[{"function":{"name":"a"},"function":{"name":"b"}}]}"#, "tools.function"),
        (r#"{"tools":[{"type":"function","function":{"name":"a"},"type":"x"}]}"#, "tools.type"),
        (r#"{"tools":[{"name":"a","function":{"name":"b"}}]}"#, "tools.name"),
        (r#"{"functions":[],"functions":[]}"#, "functions"),
    ] {
        let fault = read(EndpointKind::ChatCompletions, body.as_bytes()).fault;
        assert_eq!(fault, Some(ScanFault::DuplicateField { field }), "{body}");
    }
    let wrong = read(EndpointKind::ChatCompletions, br#"{"stream":"true"}"#).fault;
    assert_eq!(wrong, Some(ScanFault::UnexpectedType { field: "stream" }));
}
