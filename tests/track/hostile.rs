//! Bodies that nobody should send: each gets a clear refusal, and the next sound event is taken.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;

use crate::harness::http;
use crate::harness::server::MindWeave;
use crate::{As, NOWHERE, event, post, try_post};

const JSON: &str = "content-type: application/json\r\n";
const GZIP: &str = "content-type: application/json\r\ncontent-encoding: gzip\r\n";

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).expect("a vector takes writes");
    encoder.finish().expect("a vector takes writes")
}

#[test]
fn hostile_bodies_are_refused_with_reasons_and_harm_nobody() {
    let server = MindWeave::start(NOWHERE);
    let (_, key) = server.ledger().project_with_key("jobs");
    let deep = "[".repeat(500_000);
    let nested = format!("[{{\"metadata\":{}1{}}}]", "{\"a\":".repeat(20_000), "}".repeat(20_000));
    let long = format!(r#"[{{"model":"{}","input_tokens":1,"output_tokens":1}}]"#, "x".repeat(1_000_000));
    let many = format!("[{}1]", "1,".repeat(400_000));
    let one = |fields: &str| format!(r#"[{{"model":"m","input_tokens":1,"output_tokens":1,{fields}}}]"#);
    let bomb = gzip(&vec![b' '; 64 << 20]);
    let cut = gzip(json!([event(1)]).to_string().as_bytes());
    let cases: Vec<(&str, &str, Vec<u8>, u16, &str)> = vec![
        ("unclosed arrays", JSON, deep.clone().into_bytes(), 400, "invalid_json"),
        ("unclosed arrays, compressed", GZIP, gzip(deep.as_bytes()), 400, "invalid_json"),
        ("deep nesting", JSON, nested.into_bytes(), 400, "invalid_event"),
        ("a text of a megabyte", JSON, long.into_bytes(), 400, "invalid_event"),
        ("too many events", JSON, many.into_bytes(), 413, "body_too_large"),
        ("a bomb", GZIP, bomb, 413, "body_too_large"),
        ("gzip that ends early", GZIP, cut[..cut.len() - 9].to_vec(), 400, "body_unreadable"),
        ("gzip that is none", GZIP, b"[]".to_vec(), 400, "body_unreadable"),
        ("no UTF-8", JSON, b"[{\"model\":\"\xff\"}]".to_vec(), 400, "invalid_json"),
        ("NaN", JSON, one("\"latency_ms\":NaN").into_bytes(), 400, "invalid_json"),
        (
            "a number without end",
            JSON,
            one(&format!("\"latency_ms\":{}", "9".repeat(10_000))).into_bytes(),
            400,
            "invalid_event",
        ),
        ("a number beyond all", JSON, one("\"latency_ms\":1e999").into_bytes(), 400, "invalid_event"),
        ("a negative count", JSON, one("\"cache_read_tokens\":-1").into_bytes(), 400, "invalid_event"),
        ("a name twice", JSON, one("\"model\":\"n\"").into_bytes(), 400, "invalid_event"),
        ("an object for a text", JSON, one("\"user_id\":{}").into_bytes(), 400, "invalid_event"),
        ("text that is no event", JSON, b"[\"a\",1,null,[],true]".to_vec(), 400, "invalid_event"),
        (
            "another coding",
            "content-type: application/json\r\ncontent-encoding: br\r\n",
            b"[]".to_vec(),
            415,
            "unsupported_media_type",
        ),
        (
            "a form",
            "content-type: application/x-www-form-urlencoded\r\n",
            b"a=1".to_vec(),
            415,
            "unsupported_media_type",
        ),
        (
            "a bad key",
            "content-type: application/json\r\nidempotency-key: a b\r\n",
            b"[]".to_vec(),
            422,
            "invalid_field",
        ),
    ];
    for (what, headers, body, status, code) in cases {
        let told = try_post(server.control_plane, "/v1/events", As::Key(&key), headers, &body);
        let told = told.unwrap_or_else(|| panic!("{what}: no answer"));
        assert_eq!(
            (told.status, told.body["code"].as_str()),
            (status, Some(code)),
            "{what}: {:.500}",
            told.body
        );
        let single = try_post(server.control_plane, "/v1/track", As::Key(&key), headers, &body);
        let single = single.unwrap_or_else(|| panic!("{what}, as a single event: no answer"));
        assert!((400..500).contains(&single.status), "{what}, as a single event: {}", single.status);
    }
    assert_eq!(post(server.control_plane, "/v1/track", As::Key(&key), &event(7)).status, 202);
    assert_eq!(server.ledger().await_events("", 1)[0]["session_id"], "7");
    assert!(!server.log().contains("panicked"), "{}", server.log());
}

#[test]
fn a_body_that_is_announced_too_large_is_refused_before_it_comes() {
    let server = MindWeave::start(NOWHERE);
    let (_, key) = server.ledger().project_with_key("jobs");
    let request = format!(
        "POST /v1/events HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\ncontent-type: application/json\r\ncontent-length: 99999999\r\n\r\n"
    );
    let answer =
        http::exchange(server.control_plane, request.as_bytes()).expect("an answer without the body");
    assert_eq!(answer.status(), 413);
}

#[test]
fn only_credentials_in_force_open_it() {
    let server = MindWeave::start(NOWHERE);
    let ledger = server.ledger();
    let (project, key) = ledger.project_with_key("jobs");
    let made = ledger.post(&format!("/projects/{project}/keys"), &json!({ "name": "gone" }));
    let (id, gone) = (made["id"].as_str().expect("an id"), made["secret"].as_str().expect("a secret"));
    let send = |key: &str| post(server.control_plane, "/v1/track", As::Key(key), &event(1)).status;
    assert_eq!((send(&key), send(gone), send("mw_unknown"), send("sk-ant-api03-own")), (202, 202, 401, 401));
    ledger.delete(&format!("/projects/{project}/keys/{id}"));
    assert_eq!(send(gone), 401);
    let (other, _) = ledger.project_with_key("other");
    let mut foreign = event(2);
    foreign["project_id"] = other.into();
    let told = post(server.control_plane, "/v1/track", As::Key(&key), &foreign);
    assert_eq!((told.status, &told.body["errors"][0]["field"]), (400, &json!("/project_id")), "{told:?}");
    assert_eq!(post(server.control_plane, "/v1/track", As::Admin, &foreign).status, 202);
}
