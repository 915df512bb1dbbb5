//! What the tests share: a simulator on a free port and a client that sees every byte.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "every test binary uses its own part")]

use std::time::Duration;

use mindweave_simulator::{Simulator, SimulatorConfig};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long anything may take before a test gives up.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// An answer as it stood on the wire.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    /// The body with chunk framing removed.
    pub body: Vec<u8>,
    /// Sizes of the chunks, in order.
    pub chunks: Vec<usize>,
    /// Whether the framing says that the body is whole.
    pub whole: bool,
    /// How reading ended: `None` for an orderly close.
    pub error: Option<std::io::ErrorKind>,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a JSON body")
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a UTF-8 body")
    }

    /// The events of a stream: name and data.
    pub fn events(&self) -> Vec<(String, Value)> {
        events(self.text())
    }
}

/// Splits a stream into named events.
pub fn events(text: &str) -> Vec<(String, Value)> {
    let blocks = text.split("\n\n").filter(|block| block.starts_with("event: "));
    let parse = |block: &str| {
        let (name, data) = block.split_once("\ndata: ").expect("an event has a name and data");
        let name = name.strip_prefix("event: ").expect("a name").to_owned();
        (name, serde_json::from_str(data).expect("data is JSON"))
    };
    blocks.map(parse).collect()
}

pub async fn start(defaults: &str) -> Simulator {
    let config = SimulatorConfig { defaults: defaults.to_owned(), ..SimulatorConfig::default() };
    Simulator::start(config).await.expect("the simulator starts")
}

/// The bytes of a request that is alone on its connection.
pub fn request(method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut bytes =
        format!("{method} {target} HTTP/1.1\r\nhost: simulator\r\nconnection: close\r\n").into_bytes();
    let given = |name: &str| headers.iter().any(|(key, _)| *key == name);
    for (name, value) in [("x-api-key", "sk-ant-api03-test"), ("anthropic-version", "2023-06-01")] {
        if !given(name) {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
    }
    for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
        bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    bytes.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// Sends raw bytes and reads until the connection ends.
pub async fn send(simulator: &Simulator, bytes: &[u8]) -> Reply {
    let exchange = async {
        let mut socket = TcpStream::connect(simulator.local_addr()).await.expect("the simulator listens");
        socket.write_all(bytes).await.expect("the request is taken");
        let (mut wire, mut buffer, mut error) = (Vec::new(), vec![0; 64 << 10], None);
        loop {
            match socket.read(&mut buffer).await {
                Ok(0) => break,
                Ok(read) => wire.extend_from_slice(&buffer[..read]),
                Err(failed) => {
                    error = Some(failed.kind());
                    break;
                }
            }
        }
        parse(&wire, error)
    };
    tokio::time::timeout(DEADLINE, exchange).await.expect("an answer in time")
}

/// A Messages request with one steering header.
pub async fn message(simulator: &Simulator, steering: &str, body: &Value) -> Reply {
    let headers = [("x-simulate", steering)];
    send(simulator, &request("POST", "/v1/messages", &headers, body.to_string().as_bytes())).await
}

pub async fn get(simulator: &Simulator, target: &str) -> Reply {
    send(simulator, &request("GET", target, &[], b"")).await
}

/// The body of a plain question.
pub fn question(stream: bool) -> Value {
    serde_json::json!({
        "model": "claude-opus-5-5", "max_tokens": 1000, "stream": stream,
        "messages": [{"role": "user", "content": "What changed between the two reports?"}],
    })
}

fn parse(wire: &[u8], error: Option<std::io::ErrorKind>) -> Reply {
    let end = memchr::memmem::find(wire, b"\r\n\r\n").expect("a whole head");
    let head = std::str::from_utf8(&wire[..end]).expect("an ASCII head");
    let mut lines = head.split("\r\n");
    let status =
        lines.next().expect("a status line").split(' ').nth(1).expect("a status").parse().expect("a number");
    let pair = |line: &str| {
        let (name, value) = line.split_once(": ").expect("a header");
        (name.to_owned(), value.to_owned())
    };
    let headers: Vec<(String, String)> = lines.map(pair).collect();
    let rest = &wire[end + 4..];
    let value =
        |wanted: &str| headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    let (body, chunks, whole) = if value("transfer-encoding") == Some("chunked") {
        unchunked(rest)
    } else {
        let length: Option<usize> = value("content-length").map(|length| length.parse().expect("a length"));
        (rest.to_vec(), Vec::new(), length.is_none_or(|length| rest.len() == length))
    };
    Reply { status, headers, body, chunks, whole, error }
}

fn unchunked(mut rest: &[u8]) -> (Vec<u8>, Vec<usize>, bool) {
    let (mut body, mut chunks) = (Vec::new(), Vec::new());
    while let Some(end) = memchr::memmem::find(rest, b"\r\n") {
        let line = std::str::from_utf8(&rest[..end]).expect("a chunk size");
        let size = usize::from_str_radix(line, 16).expect("a hexadecimal chunk size");
        if size == 0 {
            return (body, chunks, true);
        }
        let data = &rest[end + 2..];
        chunks.push(size);
        if data.len() < size + 2 {
            body.extend_from_slice(&data[..size.min(data.len())]);
            return (body, chunks, false);
        }
        body.extend_from_slice(&data[..size]);
        rest = &data[size + 2..];
    }
    (body, chunks, false)
}
