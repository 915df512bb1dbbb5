//! A closed loop: so many connections, each sends its next request when it has the whole answer to the last.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use hdrhistogram::Histogram;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Longest head of an answer.
const MAX_HEAD_BYTES: usize = 64 * 1_024;
/// Latencies are kept to the microsecond up to this, with three digits.
const MAX_LATENCY_US: u64 = 60_000_000;
const DIGITS: u8 = 3;

/// What came of a round.
#[derive(Debug)]
pub(crate) struct Round {
    /// Answers with status 200.
    pub(crate) answers: u64,
    /// Microseconds from the first byte sent to the last byte read.
    pub(crate) latency_us: Histogram<u64>,
}

/// Sends this request over and over for a while.
pub(crate) async fn closed_loop(
    to: SocketAddr,
    request: &[u8],
    connections: usize,
    length: Duration,
) -> anyhow::Result<Round> {
    let end = Instant::now() + length;
    let mut workers = JoinSet::new();
    for _ in 0..connections {
        let request = request.to_vec();
        workers.spawn(async move { connection(to, &request, end).await });
    }
    let mut round = Round { answers: 0, latency_us: Histogram::new_with_max(MAX_LATENCY_US, DIGITS)? };
    while let Some(worker) = workers.join_next().await {
        let latencies = worker??;
        for latency in latencies {
            round.latency_us.saturating_record(latency);
            round.answers = round.answers.saturating_add(1);
        }
    }
    Ok(round)
}

async fn connection(to: SocketAddr, request: &[u8], end: Instant) -> anyhow::Result<Vec<u64>> {
    let mut stream = TcpStream::connect(to).await?;
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(MAX_HEAD_BYTES);
    let mut latencies = Vec::new();
    while Instant::now() < end {
        let sent = Instant::now();
        stream.write_all(request).await?;
        answer(&mut stream, &mut buffer).await?;
        latencies.push(u64::try_from(sent.elapsed().as_micros()).unwrap_or(u64::MAX));
    }
    Ok(latencies)
}

/// Reads one answer whole; it must be a 200 with chunked framing or a length.
async fn answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> anyhow::Result<()> {
    buffer.clear();
    let head_end = loop {
        if let Some(at) = find(buffer, b"\r\n\r\n") {
            break at.saturating_add(4);
        }
        if buffer.len() > MAX_HEAD_BYTES || stream.read_buf(buffer).await? == 0 {
            bail!("the answer has no end of its head");
        }
    };
    let head = String::from_utf8_lossy(buffer.get(..head_end).unwrap_or_default()).to_ascii_lowercase();
    if !head.starts_with("http/1.1 200") {
        let reason = head.lines().find(|line| line.starts_with("mindweave-reason")).unwrap_or_default();
        bail!("not a success: {} {reason}", head.lines().next().unwrap_or_default());
    }
    buffer.drain(..head_end);
    let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    if let Some(length) = field("content-length:") {
        let length: usize = length.parse().context("content-length")?;
        while buffer.len() < length {
            more(stream, buffer).await?;
        }
        return Ok(());
    }
    let mut chunks = Chunks::default();
    while !chunks.feed(buffer)? {
        buffer.clear();
        more(stream, buffer).await?;
    }
    Ok(())
}

async fn more(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> anyhow::Result<()> {
    if stream.read_buf(buffer).await? == 0 {
        bail!("the answer ends too early");
    }
    Ok(())
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// Follows chunked framing (RFC 9112, section 7.1) to its end; contents are skipped. Trailers are not expected.
#[derive(Debug, Default)]
struct Chunks {
    /// Bytes of the current chunk and its line end that are still to come.
    left: usize,
    /// The size line so far.
    line: Vec<u8>,
    last: bool,
}

impl Chunks {
    /// Takes the next bytes. Returns whether the body has ended.
    fn feed(&mut self, mut bytes: &[u8]) -> anyhow::Result<bool> {
        while !bytes.is_empty() {
            let skipped = self.left.min(bytes.len());
            self.left = self.left.saturating_sub(skipped);
            bytes = bytes.get(skipped..).unwrap_or_default();
            if self.last && self.left == 0 {
                return Ok(true);
            }
            let Some((first, rest)) = bytes.split_first() else { break };
            bytes = rest;
            if *first != b'\n' {
                self.line.push(*first);
                continue;
            }
            let text = String::from_utf8_lossy(&self.line);
            let digits = text.trim().split(';').next().unwrap_or_default();
            let size = usize::from_str_radix(digits, 16).context("a chunk size")?;
            self.line.clear();
            self.left = size.saturating_add(2);
            self.last = size == 0;
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_chunked_body_is_found_however_it_is_cut() {
        let body = b"5\r\nhello\r\n1a;x=y\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\n\r\n";
        for size in 1..=body.len() {
            let mut chunks = Chunks::default();
            let pieces: Vec<_> = body.chunks(size).collect();
            let (last, before) = pieces.split_last().unwrap();
            assert!(before.iter().all(|piece| !chunks.feed(piece).unwrap()), "{size}");
            assert!(chunks.feed(last).unwrap(), "{size}");
        }
    }
}
