//! The resources of the API, its refusals and the simulator's own pages.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod support;

use mindweave_simulator::{ResultsOrigin, Simulator, SimulatorConfig, StartError};
use serde_json::{Value, json};
use support::{get, message, question, request, send, start};

async fn post(simulator: &Simulator, target: &str, steering: &str, body: &Value) -> support::Reply {
    send(simulator, &request("POST", target, &[("x-simulate", steering)], body.to_string().as_bytes())).await
}

fn error_type(reply: &support::Reply) -> String {
    reply.json()["error"]["type"].as_str().expect("an error type").to_owned()
}

#[tokio::test]
async fn wrong_steering_is_answered_with_400_naming_the_key() {
    let simulator = start("").await;
    let reply = message(&simulator, "events=lots", &question(false)).await;
    assert_eq!(reply.status, 400);
    assert!(reply.json()["error"]["message"].as_str().unwrap().contains("`events`"));
    let config = SimulatorConfig { defaults: "colour=red".to_owned(), ..SimulatorConfig::default() };
    assert!(matches!(Simulator::start(config).await, Err(StartError::Defaults(_))));
}

#[tokio::test]
async fn credentials_are_taken_from_either_header_and_bad_ones_refused() {
    let simulator = start("").await;
    let body = question(false).to_string();
    let ask = |headers: &[(&str, &str)]| request("POST", "/v1/messages", headers, body.as_bytes());
    let cases: [(&[(&str, &str)], u16); 7] = [
        (&[("x-api-key", "sk-ant-api03-a")], 200),
        (&[("x-api-key", ""), ("authorization", "Bearer sk-ant-api03-a")], 200),
        (&[("x-api-key", "")], 401),
        (&[("x-api-key", "invalid")], 401),
        (&[("x-api-key", "mw_live_leaked")], 401),
        (&[("x-api-key", ""), ("authorization", "Bearer sk-ant-oat01-a")], 401),
        (
            &[
                ("x-api-key", ""),
                ("authorization", "Bearer sk-ant-oat01-a"),
                ("anthropic-beta", "oauth-2025-04-20"),
            ],
            200,
        ),
    ];
    for (headers, status) in cases {
        let reply = send(&simulator, &ask(headers)).await;
        assert_eq!(reply.status, status, "{headers:?}");
        if status == 401 {
            assert_eq!(error_type(&reply), "authentication_error");
            assert_eq!(reply.header("anthropic-organization-id"), None);
        }
    }
    let config =
        SimulatorConfig { accepted_keys: vec!["sk-ant-right".to_owned()], ..SimulatorConfig::default() };
    let strict = Simulator::start(config).await.unwrap();
    assert_eq!(send(&strict, &ask(&[("x-api-key", "sk-ant-right")])).await.status, 200);
    assert_eq!(send(&strict, &ask(&[("x-api-key", "sk-ant-wrong")])).await.status, 401);
    // An answer that is kept ready is not given to somebody without a key.
    assert_eq!(send(&strict, &ask(&[("x-api-key", "")])).await.status, 401);
}

#[tokio::test]
async fn both_api_versions_are_served_and_sampling_is_refused_by_the_new_one() {
    let simulator = start("").await;
    let mut body = question(false);
    body["temperature"] = json!(0.5);
    let ask = |version: &str, body: &Value| {
        request("POST", "/v1/messages", &[("anthropic-version", version)], body.to_string().as_bytes())
    };
    assert_eq!(send(&simulator, &ask("2023-06-01", &body)).await.status, 200);
    let refused = send(&simulator, &ask("2026-10-21", &body)).await;
    assert_eq!((refused.status, error_type(&refused).as_str()), (400, "invalid_request_error"));
    assert_eq!(send(&simulator, &ask("2026-10-21", &question(false))).await.status, 200);
    assert_eq!(send(&simulator, &ask("", &question(false))).await.status, 400);
}

#[tokio::test]
async fn every_status_comes_with_its_type_and_its_headers() {
    let simulator = start("").await;
    let types = [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (402, "billing_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (409, "conflict_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (529, "overloaded_error"),
    ];
    for (status, kind) in types {
        let reply = message(&simulator, &format!("status={status}"), &question(true)).await;
        assert_eq!((reply.status, error_type(&reply).as_str()), (status, kind));
        assert_eq!(reply.json()["request_id"].as_str(), reply.header("request-id"));
    }
    let throttled = message(&simulator, "status=429; retry_after=17", &question(true)).await;
    assert_eq!(throttled.header("retry-after"), Some("17"));
    assert_eq!(throttled.header("anthropic-ratelimit-requests-remaining"), Some("0"));
    let capped =
        message(&simulator, "status=429; error_code=enforced_spend_limit_reached", &question(true)).await;
    assert_eq!((capped.header("retry-after"), capped.header("x-should-retry")), (None, Some("false")));
    assert_eq!(capped.json()["error"]["details"]["error_code"], "enforced_spend_limit_reached");
    let edge = message(&simulator, "status=413", &question(true)).await;
    assert_eq!((edge.header("content-type"), edge.header("request-id")), (Some("text/html"), None));
    assert!(edge.text().starts_with("<html>"));
}

#[tokio::test]
async fn a_steered_error_goes_away_with_the_retry_it_was_told() {
    let simulator = start("status=529; until_retry=2").await;
    let body = question(false).to_string();
    for (attempt, status) in [("0", 529), ("1", 529), ("2", 200)] {
        let headers = [("x-stainless-retry-count", attempt)];
        let reply = send(&simulator, &request("POST", "/v1/messages", &headers, body.as_bytes())).await;
        assert_eq!(reply.status, status, "attempt {attempt}");
    }
}

#[tokio::test]
async fn requests_are_validated_like_the_real_ones() {
    let simulator = start("").await;
    let ask = |body: &str| request("POST", "/v1/messages", &[], body.as_bytes());
    let cases = [
        ("{", 400),
        (r#"{"max_tokens":1,"messages":[{"role":"user","content":"a"}]}"#, 400),
        (r#"{"model":"claude-opus-5-5","messages":[{"role":"user","content":"a"}]}"#, 400),
        (r#"{"model":"claude-opus-5-5","max_tokens":1,"messages":[]}"#, 400),
        (r#"{"model":"gpt-4","max_tokens":1,"messages":[{"role":"user","content":"a"}]}"#, 404),
    ];
    for (body, status) in cases {
        assert_eq!(send(&simulator, &ask(body)).await.status, status, "{body}");
    }
    assert_eq!(get(&simulator, "/v1/messages").await.status, 405);
    assert_eq!(get(&simulator, "/v1/nothing").await.status, 404);
    let unknown = request("POST", "/v1/messages", &[("content-encoding", "rot13")], b"x");
    let reply = send(&simulator, &unknown).await;
    assert_eq!(reply.json()["error"]["details"]["error_code"], "request_body_encoding_unsupported");
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_by_the_edge_after_it_was_sent() {
    let simulator = start("").await;
    let mut body = vec![b' '; (32 << 20) + 1];
    body[0] = b'{';
    let reply = send(&simulator, &request("POST", "/v1/messages", &[], &body)).await;
    assert_eq!((reply.status, reply.header("content-type")), (413, Some("text/html")));
    assert_eq!(reply.error, None);
    let packed = zstd::encode_all(body.as_slice(), 1).unwrap();
    let headers = [("content-encoding", "zstd")];
    let reply = send(&simulator, &request("POST", "/v1/messages", &headers, &packed)).await;
    assert_eq!(reply.json()["error"]["details"]["error_code"], "request_body_too_large_after_decoding");
}

#[tokio::test]
async fn an_agent_loop_ends_after_one_tool_call() {
    let simulator = start("shape=tools").await;
    let mut body = question(false);
    let schema = json!({"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}});
    body["tools"] = json!([
        {"type": "web_search_20260209", "name": "web_search"},
        {"name": "mcp__db__query", "input_schema": schema},
        {"name": "Bash", "input_schema": {"type": "object"}},
    ]);
    let call = message(&simulator, "", &body).await.json();
    assert_eq!(call["stop_reason"], "tool_use");
    assert_eq!(call["content"][1]["name"], "Bash");
    let steered = message(&simulator, "tool=mcp__db__query", &body).await.json();
    assert_eq!(steered["content"][1]["name"], "mcp__db__query");
    assert_eq!(steered["content"][1]["input"], json!({"a": 1}));
    let id = &call["content"][1]["id"];
    let result =
        json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": id, "content": "ok"}]});
    body["messages"].as_array_mut().unwrap().push(result);
    let last = message(&simulator, "", &body).await.json();
    assert_eq!(last["stop_reason"], "end_turn");
}

#[tokio::test]
async fn token_figures_are_as_steered_and_follow_the_request_otherwise() {
    let simulator = start("").await;
    let steering = "input_tokens=11; output_tokens=12; cache_read=13; cache_write_5m=14; cache_write_1h=15; \
        geo=us; speed=fast; service_tier=priority";
    let usage = message(&simulator, steering, &question(false)).await.json()["usage"].clone();
    assert_eq!((&usage["input_tokens"], &usage["output_tokens"]), (&json!(11), &json!(12)));
    assert_eq!(
        (&usage["cache_read_input_tokens"], &usage["cache_creation_input_tokens"]),
        (&json!(13), &json!(29))
    );
    assert_eq!(usage["cache_creation"]["ephemeral_1h_input_tokens"], 15);
    assert_eq!((&usage["inference_geo"], &usage["speed"]), (&json!("us"), &json!("fast")));
    assert_eq!(usage["service_tier"], "priority");

    let mut marked = question(false);
    marked["system"] =
        json!([{"type": "text", "text": "x".repeat(4_000), "cache_control": {"type": "ephemeral"}}]);
    let usage = message(&simulator, "", &marked).await.json()["usage"].clone();
    assert!(usage["cache_read_input_tokens"].as_u64().unwrap() > usage["input_tokens"].as_u64().unwrap());

    let mut warming = question(false);
    warming["max_tokens"] = json!(0);
    let warmed = message(&simulator, "", &warming).await.json();
    assert_eq!((&warmed["stop_reason"], &warmed["content"]), (&json!("max_tokens"), &json!([])));
    assert_eq!(warmed["usage"]["output_tokens"], 0);
}

#[tokio::test]
async fn searches_make_the_input_grow_between_the_start_and_the_end_of_a_stream() {
    let simulator = start("").await;
    let events = message(&simulator, "shape=web_search; searches=3", &question(true)).await.events();
    let delta = events.iter().find(|(name, _)| name == "message_delta").unwrap();
    let opened = events[0].1["message"]["usage"]["input_tokens"].as_u64().unwrap();
    assert!(delta.1["usage"]["input_tokens"].as_u64().unwrap() >= opened + 6_000);
    assert_eq!(delta.1["usage"]["server_tool_use"]["web_search_requests"], 3);
}

#[tokio::test]
async fn a_batch_runs_through_its_states_and_its_results_come_line_by_line() {
    let simulator = start("").await;
    let params = question(false);
    let items: Vec<Value> =
        (0..6).map(|n| json!({"custom_id": format!("item-{n}"), "params": params})).collect();
    let steering = "batch_polls=1; batch_errored=1; batch_canceled=1; batch_expired=1";
    let created =
        post(&simulator, "/v1/messages/batches", steering, &json!({"requests": items})).await.json();
    assert_eq!(
        (&created["processing_status"], &created["results_url"]),
        (&json!("in_progress"), &Value::Null)
    );
    let path = format!("/v1/messages/batches/{}", created["id"].as_str().unwrap());
    assert_eq!(get(&simulator, &format!("{path}/results")).await.status, 404);
    assert_eq!(get(&simulator, &path).await.header("retry-after"), Some("10"));
    let ended = get(&simulator, &path).await.json();
    assert_eq!(ended["results_url"], format!("https://api.anthropic.com{path}/results"));
    assert_eq!(
        ended["request_counts"],
        json!({"processing":0,"succeeded":3,"errored":1,"canceled":1,"expired":1})
    );
    let results = get(&simulator, &format!("{path}/results")).await;
    assert_eq!(results.header("content-type"), Some("application/x-jsonl"));
    let lines: Vec<Value> = results.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines.len(), results.chunks.len()), (6, 6));
    assert_eq!(lines[0]["result"]["message"]["usage"]["service_tier"], "batch");
    assert_eq!(lines[5]["result"]["error"]["type"], "error");
    let listed = get(&simulator, "/v1/messages/batches").await.json();
    assert_eq!(listed["first_id"], created["id"]);
    let deleted = send(&simulator, &request("DELETE", &path, &[], b"")).await.json();
    assert_eq!(deleted["type"], "message_batch_deleted");
    assert_eq!(get(&simulator, &path).await.status, 404);
}

#[tokio::test]
async fn a_canceled_batch_ends_with_everything_canceled() {
    let config = SimulatorConfig { results_origin: ResultsOrigin::Own, ..SimulatorConfig::default() };
    let simulator = Simulator::start(config).await.unwrap();
    let items = json!({"requests": [{"custom_id": "a", "params": question(false)}]});
    let created = post(&simulator, "/v1/messages/batches", "batch_polls=9", &items).await.json();
    let path = format!("/v1/messages/batches/{}", created["id"].as_str().unwrap());
    let canceling = post(&simulator, &format!("{path}/cancel"), "", &json!({})).await.json();
    assert_eq!(canceling["processing_status"], "canceling");
    get(&simulator, &path).await;
    let ended = get(&simulator, &path).await.json();
    assert_eq!(
        (&ended["processing_status"], &ended["request_counts"]["canceled"]),
        (&json!("ended"), &json!(1))
    );
    assert_eq!(ended["results_url"], format!("http://{}{path}/results", simulator.local_addr()));
    assert_eq!(post(&simulator, &format!("{path}/cancel"), "", &json!({})).await.status, 400);
}

#[tokio::test]
async fn an_uploaded_file_is_listed_downloaded_and_deleted() {
    let simulator = start("").await;
    let content: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    let mut body = b"--b0\r\nContent-Disposition: form-data; name=\"file\"; filename=\"bytes.bin\"\r\n\
        Content-Type: application/x-thing\r\n\r\n"
        .to_vec();
    body.extend_from_slice(&content);
    body.extend_from_slice(b"\r\n--b0--\r\n");
    let headers = [("content-type", "multipart/form-data; boundary=b0")];
    let file = send(&simulator, &request("POST", "/v1/files", &headers, &body)).await.json();
    assert_eq!((&file["filename"], &file["size_bytes"]), (&json!("bytes.bin"), &json!(70_000)));
    let path = format!("/v1/files/{}", file["id"].as_str().unwrap());
    assert_eq!(get(&simulator, &path).await.json(), file);
    assert_eq!(get(&simulator, "/v1/files?limit=1").await.json()["data"], json!([file]));
    let download = get(&simulator, &format!("{path}/content")).await;
    assert_eq!((download.header("content-type"), download.whole), (Some("application/x-thing"), true));
    assert!(download.body == content);
    assert_eq!(send(&simulator, &request("DELETE", &path, &[], b"")).await.json()["type"], "file_deleted");
    assert_eq!(get(&simulator, &format!("{path}/content")).await.status, 404);
    let skill = send(&simulator, &request("POST", "/v1/skills", &headers, &body)).await;
    assert_eq!(skill.json()["type"], "skill");
}

#[tokio::test]
async fn the_legacy_stream_has_crlf_line_ends_and_no_usage() {
    let simulator = start("").await;
    let mut body = json!({"model": "claude-2.1", "prompt": "hi", "max_tokens_to_sample": 40});
    assert!(post(&simulator, "/v1/complete", "", &body).await.json().get("usage").is_none());
    body["stream"] = json!(true);
    let reply = post(&simulator, "/v1/complete", "", &body).await;
    let text = reply.text();
    assert_eq!(text.matches('\n').count(), text.matches("\r\n").count());
    assert!(text.ends_with("\r\n\r\n") && text.contains("event: ping\r\n"));
    let new = [("anthropic-version", "2026-10-21")];
    let refused = send(&simulator, &request("POST", "/v1/complete", &new, body.to_string().as_bytes())).await;
    assert_eq!(refused.status, 404);
}

#[tokio::test]
async fn the_smaller_resources_answer() {
    let simulator = start("").await;
    let models = get(&simulator, "/v1/models?limit=2").await.json();
    assert_eq!((models["data"].as_array().unwrap().len(), &models["has_more"]), (2, &json!(true)));
    assert_eq!(
        get(&simulator, "/v1/models/claude-haiku-4-5").await.json()["id"],
        "claude-haiku-4-5-20251001"
    );
    assert_eq!(get(&simulator, "/v1/models/gpt-4").await.status, 404);
    assert_eq!(get(&simulator, "/v1/organizations/me").await.json()["type"], "organization");
    let counted =
        post(&simulator, "/v1/messages/count_tokens?beta=true", "input_tokens=77", &question(false)).await;
    assert_eq!(counted.json(), json!({"input_tokens": 77}));
    let session = get(&simulator, "/v1/sessions/sesn_1/events/stream").await;
    assert_eq!(session.header("content-type"), Some("text/event-stream; charset=utf-8"));
    assert!(session.events().iter().any(|(name, data)| {
        name == "span.model_request_end" && data["model_usage"]["input_tokens"].as_u64() > Some(0)
    }));
    let chat = post(&simulator, "/v1/chat/completions", "output_tokens=9", &question(true)).await;
    assert!(chat.text().ends_with("data: [DONE]\n\n"));
    let hello = send(&simulator, &request("HEAD", "/api/hello", &[("x-api-key", "")], b"")).await;
    assert_eq!((hello.status, hello.body.len()), (200, 0));
}

#[tokio::test]
async fn the_request_log_shows_what_was_sent_and_forgets_the_oldest() {
    let config = SimulatorConfig { log_capacity: 3, ..SimulatorConfig::default() };
    let simulator = Simulator::start(config).await.unwrap();
    let body = question(false).to_string();
    let headers = [("anthropic-beta", "one"), ("anthropic-beta", "two,three"), ("x-odd", "  spaced")];
    send(&simulator, &request("POST", "/v1/messages?beta=true", &headers, body.as_bytes())).await;
    let listed = get(&simulator, "/_simulator/requests?last=1").await.json();
    let logged = &listed[0];
    assert_eq!((&logged["method"], &logged["target"]), (&json!("POST"), &json!("/v1/messages?beta=true")));
    assert_eq!(logged["body_bytes"], body.len());
    let digest = ring::digest::digest(&ring::digest::SHA256, body.as_bytes());
    let wanted: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(logged["body_sha256"], wanted);
    let betas = logged["headers"].as_array().unwrap().iter().filter(|pair| pair[0] == "anthropic-beta");
    assert_eq!(betas.map(|pair| pair[1].as_str().unwrap()).collect::<Vec<_>>(), ["one", "two,three"]);
    for _ in 0..5 {
        get(&simulator, "/v1/models").await;
    }
    assert_eq!(simulator.requests().len(), 3);
    assert_eq!(get(&simulator, "/_simulator/counts").await.json()["total"], 6);
    send(&simulator, &request("DELETE", "/_simulator/requests", &[], b"")).await;
    assert!(simulator.requests().is_empty());
}

#[tokio::test]
async fn a_compressed_request_is_understood() {
    let simulator = start("").await;
    let body = question(false).to_string();
    let packed = zstd::encode_all(body.as_bytes(), 3).unwrap();
    let headers = [("content-encoding", "zstd")];
    assert_eq!(send(&simulator, &request("POST", "/v1/messages", &headers, &packed)).await.status, 200);
}

#[tokio::test]
async fn structured_output_follows_the_schema_of_the_request() {
    let simulator = start("").await;
    let mut body = question(false);
    let schema =
        json!({"type": "object", "required": ["title"], "properties": {"title": {"type": "string"}}});
    body["output_config"] = json!({"format": {"type": "json_schema", "schema": schema}});
    let answer = message(&simulator, "", &body).await.json();
    let text = answer["content"][0]["text"].as_str().unwrap();
    assert!(serde_json::from_str::<Value>(text).unwrap()["title"].is_string());
}
