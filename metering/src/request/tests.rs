use super::*;

mod bypasses;
mod oracle;
mod prompts;
mod recorded;

fn read(kind: EndpointKind, body: &[u8]) -> RequestReading {
    read_chunks(kind, Encoding::Identity, [body])
}

fn read_chunks<'a>(
    kind: EndpointKind,
    encoding: Encoding,
    chunks: impl IntoIterator<Item = &'a [u8]>,
) -> RequestReading {
    let mut scan = RequestScan::new(kind, encoding).unwrap();
    for chunk in chunks {
        scan.feed(chunk);
    }
    scan.finish()
}

fn read_message(body: &str) -> RequestReading {
    read(EndpointKind::Messages, body.as_bytes())
}

const BATCH: EndpointKind = EndpointKind::Batches(BatchCall::Create);

/// With the order that costs most: what decides stands behind everything else, and keys are escaped.
const FULL: &str = r#"{
  "messages": [{"role":"user","content":[{"type":"text","text":"model\":\"no\\"}]}, {"role":"assistant","content":"x"}],
  "system": {"model": "not this one", "stream": false},
  "tools": [
    {"name":"get_weather","input_schema":{"type":"object","name":"nor this"}},
    {"type":"web_search_20260318","name":"web_search","max_uses":3},
    {"type":"mcp_toolset","mcp_server_name":"linear","default_config":{"enabled":false}}
  ],
  "mcp_servers": [{"type":"url","url":"https://mcp.linear.app/sse?key=s3cret","name":"linear","authorization_token":"t0ken"}],
  "metadata": {"user_id": "user_0a1b_account__session_9d3c0d1e-0000-4000-8000-000000000001", "x": 1},
  "service_tier": "auto", "speed": "fast", "inference_geo": "us",
  "container": "container_01", "context_management": {"edits": []},
  "max_tokens": 1024, "str\u0065am": true, "mod\u0065l": "claude-\u006fpus-5"
}"#;

#[test]
fn every_fact_of_a_message_is_read() {
    let reading = read_message(FULL);
    assert_eq!(reading.fault, None);
    assert_eq!((reading.bytes, reading.decoded_bytes), (length(FULL.len()), length(FULL.len())));
    let tool = |name: Option<&str>, kind: Option<&str>, server: Option<&str>| RequestedTool {
        name: name.map(Into::into),
        kind: kind.map(Into::into),
        mcp_server: server.map(Into::into),
    };
    let expected = RequestFacts {
        model: Some("claude-opus-5".into()),
        models: vec!["claude-opus-5".into()],
        stream: true,
        max_tokens: Some(1024),
        max_tokens_sum: Some(1024),
        estimated_input_tokens: reading.facts.estimated_input_tokens, // see `prompts`
        cache_write: None,
        has_default_fallback: false,
        user_id: Some("user_0a1b_account__session_9d3c0d1e-0000-4000-8000-000000000001".into()),
        session_id: Some("9d3c0d1e-0000-4000-8000-000000000001".into()),
        tools: vec![
            tool(Some("get_weather"), None, None),
            tool(Some("web_search"), Some("web_search_20260318"), None),
            tool(None, Some("mcp_toolset"), Some("linear")),
        ],
        mcp_servers: vec![RequestedMcpServer {
            name: Some("linear".into()),
            url: Some("https://mcp.linear.app/sse?key=s3cret".into()),
        }],
        message_count: 2,
        service_tier: Some("auto".into()),
        service_tiers: vec!["auto".into()],
        speed: Some("fast".into()),
        speeds: vec!["fast".into()],
        inference_geo: Some("us".into()),
        inference_geos: vec!["us".into()],
        has_container: true,
        has_context_management: true,
        batch_requests: 0,
        truncated: false,
    };
    assert_eq!(reading.facts, expected);
    let debug = format!("{reading:?}");
    assert!(!debug.contains("s3cret") && !debug.contains("t0ken"), "{debug}");
}

#[test]
fn only_endpoints_with_facts_are_scanned() {
    for kind in [EndpointKind::Messages, EndpointKind::Complete, EndpointKind::ChatCompletions, BATCH] {
        assert!(RequestScan::new(kind, Encoding::Gzip).is_some());
    }
    for kind in [
        EndpointKind::CountTokens,
        EndpointKind::Batches(BatchCall::Cancel),
        EndpointKind::BatchResults,
        EndpointKind::Files,
        EndpointKind::Other,
    ] {
        assert!(RequestScan::new(kind, Encoding::Identity).is_none(), "{kind:?}");
    }
}

#[test]
fn a_legacy_completion_has_its_own_name_for_max_tokens() {
    let body = r#"{"prompt":"\n\nHuman: hi","model":"claude-2.1","max_tokens_to_sample":7,"max_tokens":9}"#;
    let facts = read(EndpointKind::Complete, body.as_bytes()).facts;
    assert_eq!((facts.model.as_deref(), facts.max_tokens), (Some("claude-2.1"), Some(7)));
    assert_eq!(read_message(body).facts.max_tokens, Some(9));
}

#[test]
fn null_is_as_good_as_absent() {
    let reading = read_message(
        r#"{"model":null,"stream":null,"max_tokens":null,"tools":null,"metadata":null,"messages":null,
        "container":null,"mcp_servers":[{"name":null}]}"#,
    );
    assert_eq!(reading.fault, None);
    let expected = RequestFacts {
        mcp_servers: vec![RequestedMcpServer::default()],
        estimated_input_tokens: reading.facts.estimated_input_tokens,
        ..RequestFacts::default()
    };
    assert_eq!(reading.facts, expected);
}

#[test]
fn a_field_that_decides_may_occur_only_once_in_its_object_however_it_is_written() {
    let cases = [
        (r#"{"model":"a","model":"b"}"#, "model"),
        (r#"{"model":"a","mod\u0065l":"b"}"#, "model"),
        (r#"{"model":null,"model":"b"}"#, "model"),
        (r#"{"stream":true,"x":0,"stream":true}"#, "stream"),
        (r#"{"max_tokens":1,"max_tokens":1}"#, "max_tokens"),
        (r#"{"messages":[],"messages":[]}"#, "messages"),
        (r#"{"tools":[],"tools":[]}"#, "tools"),
        (r#"{"mcp_servers":[],"mcp_servers":[]}"#, "mcp_servers"),
        (r#"{"metadata":{},"metadata":{}}"#, "metadata"),
        (r#"{"speed":"fast","speed":"standard"}"#, "speed"),
        (r#"{"service_tier":"auto","service_tier":"auto"}"#, "service_tier"),
        (r#"{"inference_geo":"us","inference_geo":"global"}"#, "inference_geo"),
        (r#"{"container":"a","container":"b"}"#, "container"),
        (r#"{"context_management":{},"context_management":{}}"#, "context_management"),
        (r#"{"metadata":{"user_id":"a","user_id":"b"}}"#, "metadata.user_id"),
        (r#"{"tools":[{"name":"a","name":"b"}]}"#, "tools.name"),
        (r#"{"tools":[{"type":"a","type":"b"}]}"#, "tools.type"),
        (r#"{"tools":[{"mcp_server_name":"a","mcp_server_name":"b"}]}"#, "tools.mcp_server_name"),
        (r#"{"mcp_servers":[{"name":"a","name":"b"}]}"#, "mcp_servers.name"),
        (r#"{"mcp_servers":[{"url":"https://a","url":"https://b"}]}"#, "mcp_servers.url"),
    ];
    for (body, field) in cases {
        assert_eq!(read_message(body).fault, Some(ScanFault::DuplicateField { field }), "{body}");
    }
    let batches = [
        (r#"{"requests":[],"requests":[]}"#, "requests"),
        (r#"{"requests":[{"params":{},"params":{}}]}"#, "params"),
        (r#"{"requests":[{"params":{"model":"a","model":"b"}}]}"#, "model"),
    ];
    for (body, field) in batches {
        let fault = read(BATCH, body.as_bytes()).fault;
        assert_eq!(fault, Some(ScanFault::DuplicateField { field }), "{body}");
    }
    let siblings =
        r#"{"tools":[{"name":"a"},{"name":"a"}],"x":1,"x":2,"metadata":{"model":"a"},"model":"b"}"#;
    assert_eq!(read_message(siblings).fault, None, "same names in different objects are no duplicates");
    assert_eq!(
        read(BATCH, br#"{"requests":[{"params":{"model":"a"}},{"params":{"model":"b"}}]}"#).fault,
        None
    );
}

#[test]
fn a_field_of_another_type_is_a_fault_because_the_api_might_coerce_it() {
    let cases = [
        (r#"{"model":["a"]}"#, "model"),
        (r#"{"model":"\ud800"}"#, "model"),
        (r#"{"stream":"true"}"#, "stream"),
        (r#"{"stream":1}"#, "stream"),
        (r#"{"max_tokens":"10"}"#, "max_tokens"),
        (r#"{"max_tokens":10.5}"#, "max_tokens"),
        (r#"{"max_tokens":-1}"#, "max_tokens"),
        (r#"{"max_tokens":18446744073709551616}"#, "max_tokens"),
        (r#"{"tools":{"name":"a"}}"#, "tools"),
        (r#"{"tools":["a"]}"#, "tools"),
        (r#"{"mcp_servers":[null]}"#, "mcp_servers"),
        (r#"{"metadata":"user"}"#, "metadata"),
        (r#"{"metadata":{"user_id":7}}"#, "metadata.user_id"),
    ];
    for (body, field) in cases {
        assert_eq!(read_message(body).fault, Some(ScanFault::UnexpectedType { field }), "{body}");
    }
    assert_eq!(read_message("[]").fault, Some(ScanFault::NotAnObject));
    assert_eq!(read_message("\"model\"").fault, Some(ScanFault::NotAnObject));
    let not_unicode = read(EndpointKind::Messages, b"{\"model\":\"\xff\"}").fault;
    assert_eq!(not_unicode, Some(ScanFault::UnexpectedType { field: "model" }));
}

#[test]
fn hostile_bodies_are_named_in_a_sentence_for_the_client() {
    let deep = "[".repeat(1_000_000);
    let nested = format!(r#"{{"messages":{}"#, "[".repeat(20_000));
    let cases: [(&[u8], &str); 10] = [
        (b"", "the request body is not valid JSON at byte 0: unexpected end"),
        (b"\xef\xbb\xbf{}", "the request body is not valid JSON at byte 0: expected a value"),
        (deep.as_bytes(), "the request body is not a JSON object"),
        (nested.as_bytes(), "the request body is not valid JSON at byte 1035: nested too deep"),
        (
            br#"{"model":"a" "stream":true}"#,
            "the request body is not valid JSON at byte 13: expected a comma or the end of the container",
        ),
        (br#"{"model":"a"} {}"#, "the request body is not valid JSON at byte 14: trailing bytes"),
        (br#"{"model":"a""#, "the request body is not valid JSON at byte 12: unexpected end"),
        (br#"{"model":"a","model":"b"}"#, "the request body has more than one `model` in one object"),
        (br#"{"stream":"yes"}"#, "`stream` in the request body is not of the expected type"),
        (
            b"{\"model\":\"\n\"}",
            "the request body is not valid JSON at byte 10: control character in a string",
        ),
    ];
    for (body, sentence) in cases {
        let fault = read(EndpointKind::Messages, body).fault.map(|fault| fault.to_string());
        assert_eq!(fault.as_deref(), Some(sentence));
    }
}

#[test]
fn the_first_fault_stands_and_later_bytes_change_nothing() {
    let whole = read_message(r#"{"max_tokens":1,"stream":1,"model":"a","model":"b"]"#);
    assert_eq!(whole.fault, Some(ScanFault::UnexpectedType { field: "stream" }));
    assert_eq!((whole.facts.max_tokens, whole.facts.model), (Some(1), None));
    assert_eq!((whole.bytes, whole.decoded_bytes), (51, 0));
}

#[test]
fn a_batch_is_the_sum_of_its_items() {
    let body = r#"{"requests":[
        {"custom_id":"1","params":{"model":"a","max_tokens":5,"messages":[{}],"speed":"fast","inference_geo":"us",
            "metadata":{"user_id":"u"},"tools":[{"name":"t"},{"name":"s"}],"mcp_servers":[{"name":"m","url":"https://v"}]}},
        {"params":{"tools":[{"name":"s"}],"mcp_servers":[{"name":"m","url":"https://w"}],"metadata":{"user_id":"u"},
            "messages":[{},{}],"inference_geo":"us","model":"b","max_tokens":3},"custom_id":"2"},
        {"custom_id":"3","params":{"model":"a","inference_geo":"us","metadata":{"user_id":"u"}}}
    ]}"#;
    let reading = read(BATCH, body.as_bytes());
    assert_eq!(reading.fault, None);
    let facts = reading.facts;
    assert_eq!((facts.batch_requests, facts.message_count), (3, 3));
    assert_eq!((facts.max_tokens, facts.max_tokens_sum), (Some(5), Some(8)));
    assert_eq!((facts.model, facts.models), (None, vec!["a".into(), "b".into()]));
    assert_eq!((facts.inference_geo, facts.inference_geos), (Some("us".into()), vec!["us".into()]));
    assert_eq!((facts.speed, facts.speeds), (None, vec!["fast".into()]), "not all items ask for it");
    assert_eq!(facts.user_id, Some("u".into()));
    let tools: Vec<_> = facts.tools.iter().filter_map(|tool| tool.name.as_deref()).collect();
    assert_eq!(tools, ["t", "s"]);
    let urls: Vec<_> = facts.mcp_servers.iter().filter_map(|server| server.url.as_deref()).collect();
    assert_eq!(urls, ["https://v", "https://w"]);
    assert!(!facts.truncated);
}

#[test]
fn lists_stop_at_their_bounds_and_say_so() {
    let tools: Vec<String> = (0..=MAX_TOOLS).map(|n| format!(r#"{{"name":"t{n}"}}"#)).collect();
    let full = read_message(&format!(r#"{{"tools":[{}]}}"#, tools[..MAX_TOOLS].join(","))).facts;
    assert_eq!((full.tools.len(), full.truncated), (MAX_TOOLS, false));
    let over = read_message(&format!(r#"{{"tools":[{}]}}"#, tools.join(","))).facts;
    assert_eq!((over.tools.len(), over.truncated), (MAX_TOOLS, true));

    let servers = vec![r#"{"name":"s"}"#; MAX_MCP_SERVERS + 1].join(",");
    let over = read_message(&format!(r#"{{"mcp_servers":[{servers}]}}"#)).facts;
    assert_eq!((over.mcp_servers.len(), over.truncated), (MAX_MCP_SERVERS, true));

    let models: Vec<String> =
        (0..=MAX_DISTINCT_VALUES).map(|n| format!(r#"{{"params":{{"model":"m{n}"}}}}"#)).collect();
    let over = read(BATCH, format!(r#"{{"requests":[{}]}}"#, models.join(",")).as_bytes()).facts;
    assert_eq!((over.models.len(), over.truncated), (MAX_DISTINCT_VALUES, true));
    let repeated = vec![models[0].as_str(); 1000].join(",");
    let same = read(BATCH, format!(r#"{{"requests":[{repeated}]}}"#).as_bytes()).facts;
    assert_eq!((same.model, same.truncated), (Some("m0".into()), false));
}

#[test]
fn a_field_beyond_its_bound_is_a_fault_not_a_prefix() {
    let name = "m".repeat(MAX_NAME_BYTES - 2);
    assert_eq!(*read_message(&format!(r#"{{"model":"{name}"}}"#)).facts.model.unwrap(), *name);
    for (body, field) in [
        (format!(r#"{{"model":"{name}x"}}"#), "model"),
        (format!(r#"{{"metadata":{{"user_id":"{}"}}}}"#, "u".repeat(MAX_USER_ID_BYTES)), "metadata.user_id"),
        (format!(r#"{{"mcp_servers":[{{"url":"{}"}}]}}"#, "u".repeat(MAX_URL_BYTES)), "mcp_servers.url"),
        (format!(r#"{{"max_tokens":{}}}"#, "1".repeat(100)), "max_tokens"),
    ] {
        assert_eq!(read_message(&body).fault, Some(ScanFault::TooLong { field }));
    }
}

#[test]
fn the_session_is_found_in_both_forms_and_invented_in_none() {
    let id = "9d3c0d1e-0000-4000-8000-000000000001";
    let long = "a".repeat(MAX_SESSION_ID_BYTES + 1);
    let cases = [
        (format!("user_00ff_account_0000-1_session_{id}"), Some(id)),
        (format!("user_00ff_account__session_{id}"), Some(id)),
        (format!(r#"{{"device_id":"d","account_uuid":"","session_id":"{id}"}}"#), Some(id)),
        (format!(r#"{{"session_id":"{id}","new_field":[1,{{}}]}}"#), Some(id)),
        ("user_00ff_account_1".to_owned(), None),
        ("customer_session_7".to_owned(), None),
        ("user_1_session_".to_owned(), None),
        ("user_1_session_a b".to_owned(), None),
        (format!("user_1_session_{long}"), None),
        (r#"{"session_id":7}"#.to_owned(), None),
        (r#"{"session_id":"a"#.to_owned(), None),
        (r#"{"device_id":"d"}"#.to_owned(), None),
        (String::new(), None),
    ];
    for (user_id, session) in cases {
        let body = serde_json::json!({ "metadata": { "user_id": user_id } }).to_string();
        let facts = read_message(&body).facts;
        assert_eq!(facts.session_id.as_deref(), session, "{user_id}");
        assert_eq!(facts.user_id.as_deref(), Some(user_id.as_str()));
    }
}

#[test]
fn a_compressed_body_is_read_like_a_plain_one() {
    let mut gzip = flate2::Compress::new_gzip(flate2::Compression::default(), 15);
    let mut packed = Vec::with_capacity(FULL.len() + 100);
    gzip.compress_vec(FULL.as_bytes(), &mut packed, flate2::FlushCompress::Finish).unwrap();
    let plain = read_message(FULL);
    let reading = read_chunks(EndpointKind::Messages, Encoding::Gzip, packed.chunks(7));
    assert_eq!(reading.facts, plain.facts);
    assert_eq!((reading.bytes, reading.decoded_bytes), (length(packed.len()), length(FULL.len())));

    let zstd = ::zstd::encode_all(FULL.as_bytes(), 3).unwrap();
    assert_eq!(read_chunks(EndpointKind::Messages, Encoding::Zstd, [&zstd[..]]).facts, plain.facts);

    let fault = |encoding, body: &[u8]| read_chunks(EndpointKind::Messages, encoding, [body]).fault;
    let corrupt = Some(ScanFault::Encoding(DecodeError::Corrupt));
    assert_eq!(fault(Encoding::Gzip, FULL.as_bytes()), corrupt);
    let truncated = Some(ScanFault::Encoding(DecodeError::Truncated));
    assert_eq!(fault(Encoding::Gzip, &packed[..packed.len() - 4]), truncated);
    let unsupported = Some(ScanFault::Encoding(DecodeError::Unsupported));
    assert_eq!(fault(Encoding::Unknown, FULL.as_bytes()), unsupported);
    assert!(matches!(fault(Encoding::Identity, &packed), Some(ScanFault::Json { .. })));
}

#[test]
fn a_body_that_is_too_long_when_it_is_decoded_is_not_read_on() {
    let packed = ::zstd::encode_all(FULL.as_bytes(), 3).unwrap();
    let read = |limit: usize| {
        let mut scan =
            RequestScan::new(EndpointKind::Messages, Encoding::Zstd).unwrap().at_most(length(limit));
        scan.feed(&packed);
        scan.finish()
    };
    assert_eq!(read(FULL.len()).fault, None);
    let cut = read(FULL.len() - 1);
    assert_eq!(cut.fault, Some(ScanFault::Encoding(DecodeError::TooLarge)));
    assert_eq!(cut.bytes, length(packed.len()), "its bytes are counted all the same");
}
