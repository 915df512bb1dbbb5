//! Bodies of any size pass in constant memory. Alone in its binary: it watches the whole process.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod support;

use bytes::Bytes;
use support::start;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const SIZE: usize = 64 << 20;
/// What the process may grow by while 64 MB pass twice.
const ALLOWED_GROWTH: usize = 16 << 20;

/// Largest resident size of this process so far, in bytes.
fn peak_memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    let kilobytes: usize = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kilobytes << 10
}

#[tokio::test]
async fn uploads_and_downloads_of_64_mb_pass_in_constant_memory() {
    let simulator = start("").await;
    let piece = Bytes::from(vec![0xa5; 64 << 10]);
    let open = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"big\"\r\n\r\n";
    let close = "\r\n--b--\r\n";
    let length = open.len() + SIZE + close.len();
    let keys = "x-api-key: sk-ant-test\r\nanthropic-version: 2023-06-01\r\nconnection: close\r\nhost: s\r\n";
    let before = peak_memory();

    let mut socket = TcpStream::connect(simulator.local_addr()).await.unwrap();
    let kind = "multipart/form-data; boundary=b";
    let head = format!(
        "POST /v1/files HTTP/1.1\r\n{keys}content-type: {kind}\r\ncontent-length: {length}\r\n\r\n{open}"
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    for _ in 0..SIZE / piece.len() {
        socket.write_all(&piece).await.unwrap();
    }
    socket.write_all(close.as_bytes()).await.unwrap();
    let mut reply = String::new();
    socket.read_to_string(&mut reply).await.unwrap();
    assert!(reply.contains(&format!("\"size_bytes\":{SIZE}")), "{reply}");

    let mut socket = TcpStream::connect(simulator.local_addr()).await.unwrap();
    let ask = format!("GET /v1/files/file_made/content HTTP/1.1\r\n{keys}x-simulate: bytes={SIZE}\r\n\r\n");
    socket.write_all(ask.as_bytes()).await.unwrap();
    let (mut seen, mut buffer) = (0, vec![0; 64 << 10]);
    loop {
        match socket.read(&mut buffer).await.unwrap() {
            0 => break,
            read => seen += read,
        }
    }
    assert!((SIZE..SIZE + 4_096).contains(&seen), "{seen} bytes of head and body");

    let grown = peak_memory() - before;
    assert!(grown < ALLOWED_GROWTH, "grew by {grown} bytes");
}
