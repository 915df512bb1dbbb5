//! Event streams bit by bit, whatever their coding, framing and pace.

use super::{Case, case, identical};
use crate::harness::upstream::{Answer, Then};

const EVENTS: &str = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"model\":\"claude-opus-5\",\"usage\":{\"input_tokens\":10,\"output_tokens\":1}}}\n\n\
event: ping\ndata: {\"type\": \"ping\"}\n\n\
event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":7}}\n\n\
event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";

/// A streaming message answered with this body, one part a chunk, in this coding.
fn stream(name: &str, coding: Option<&'static str>, chunks: Vec<Vec<u8>>) -> Case {
    let request = b"{\"stream\":true}";
    let lines =
        ["POST /v1/messages HTTP/1.1", "content-length: 15", "accept-encoding: gzip, deflate, br, zstd"];
    case(name, &lines, request, move || {
        let coding = coding.map(|name| format!("content-encoding: {name}\r\n")).unwrap_or_default();
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n{coding}transfer-encoding: chunked\r\n\r\n"
        );
        let mut parts = vec![head.into_bytes()];
        for chunk in &chunks {
            let mut part = format!("{:x}\r\n", chunk.len()).into_bytes();
            part.extend_from_slice(chunk);
            part.extend_from_slice(b"\r\n");
            parts.push(part);
        }
        parts.push(b"0\r\n\r\n".to_vec());
        Answer { parts, then: Then::KeepAlive }
    })
}

fn bytewise(bytes: &[u8]) -> Vec<Vec<u8>> {
    bytes.iter().map(|byte| vec![*byte]).collect()
}

#[test]
fn line_ends_comments_and_padding_pass_as_they_are() {
    identical(vec![
        stream("LF", None, vec![EVENTS.into()]),
        stream("CRLF", None, vec![EVENTS.replace('\n', "\r\n").into()]),
        stream("CR", None, vec![EVENTS.replace('\n', "\r").into()]),
        stream("comments", None, vec![EVENTS.replace("event: ping", ": a comment\n:\nevent: ping").into()]),
        stream("byte order mark", None, vec![format!("\u{feff}{EVENTS}").into()]),
        stream(
            "unknown fields",
            None,
            vec![EVENTS.replace("event: ping", "id: 7\nretry: 10\nnew\nevent: ping").into()],
        ),
        stream("data in lines", None, vec![EVENTS.replace("{\"type\": ", "{\ndata: \"type\": ").into()]),
        stream("no end of the last event", None, vec![EVENTS.trim_end().into()]),
        stream("bytes after the end", None, vec![format!("{EVENTS}event: new\ndata: x\n\n").into()]),
        stream("not UTF-8", None, vec![b"event: \xff\xfe\ndata: \x80\n\n".to_vec(), EVENTS.into()]),
        stream("NUL bytes", None, vec![b"data: \0\0\n\n".to_vec(), EVENTS.into()]),
        stream("nothing", None, vec![]),
        stream("a long line", None, vec![vec![b'x'; 2_000_000], EVENTS.into()]),
    ]);
}

#[test]
fn one_byte_a_chunk_arrives_byte_for_byte() {
    let split: Vec<Vec<u8>> = EVENTS.as_bytes().chunks(3).map(<[u8]>::to_vec).collect();
    identical(vec![
        stream("one byte a chunk", None, bytewise(EVENTS.as_bytes())),
        stream("three bytes a chunk", None, split),
        stream("CRLF, one byte a chunk", None, bytewise(EVENTS.replace('\n', "\r\n").as_bytes())),
    ]);
}

#[test]
fn compressed_streams_pass_in_their_coding() {
    let whole: [(&'static str, Vec<u8>); 4] = [
        ("gzip", compressed("gzip")),
        ("deflate", compressed("deflate")),
        ("br", compressed("br")),
        ("zstd", compressed("zstd")),
    ];
    let mut cases = Vec::new();
    for (coding, bytes) in &whole {
        cases.push(stream(coding, Some(coding), vec![bytes.clone()]));
        cases.push(stream("bytewise", Some(coding), bytewise(bytes)));
        cases.push(stream("cut inside the coding", Some(coding), vec![bytes[..bytes.len() / 2].to_vec()]));
        cases.push(stream("garbage after", Some(coding), vec![bytes.clone(), b"garbage".to_vec()]));
        cases.push(stream("not in this coding at all", Some(coding), vec![EVENTS.into()]));
    }
    cases.push(stream("two codings", Some("gzip, br"), vec![compressed("gzip")]));
    cases.push(stream("unknown coding", Some("x-new"), vec![EVENTS.into()]));
    identical(cases);
}

/// [`EVENTS`] in a coding.
fn compressed(coding: &str) -> Vec<u8> {
    use std::io::Write as _;
    match coding {
        "gzip" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(EVENTS.as_bytes()).expect("memory takes it");
            encoder.finish().expect("memory takes it")
        }
        "deflate" => {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(EVENTS.as_bytes()).expect("memory takes it");
            encoder.finish().expect("memory takes it")
        }
        "br" => {
            let mut compressed = Vec::new();
            let mut encoder = brotli::CompressorWriter::new(&mut compressed, 4096, 5, 20);
            encoder.write_all(EVENTS.as_bytes()).expect("memory takes it");
            drop(encoder);
            compressed
        }
        "zstd" => zstd::encode_all(EVENTS.as_bytes(), 1).expect("memory takes it"),
        other => panic!("no encoder for {other}"),
    }
}
