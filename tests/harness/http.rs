//! Raw HTTP/1.1 over a socket: sends exactly the bytes given and keeps exactly the bytes received.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::DEADLINE;

/// A received message with its head as it stood on the wire and its body without framing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Request or status line, without line end.
    pub start_line: String,
    /// Header lines in order, names in their original letter case.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body, chunk framing removed.
    pub body: Vec<u8>,
    /// Trailer lines.
    pub trailers: Vec<(String, Vec<u8>)>,
    /// Whether the body ended the way its framing says it must.
    pub complete: bool,
}

impl Message {
    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<String> {
        let (_, value) = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?;
        Some(String::from_utf8_lossy(value).into_owned())
    }

    /// The status code of a response.
    pub fn status(&self) -> u16 {
        self.start_line.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
    }

    /// The headers that are the business of both ends: all but those of the one hop, in the order in which each name
    /// first appears. Values of a repeated name stand together: their order matters, that between names does not
    /// (RFC 9110, section 5.3).
    pub fn end_to_end_headers(&self) -> Vec<(String, Vec<u8>)> {
        const HOP_BY_HOP: [&str; 5] =
            ["connection", "keep-alive", "transfer-encoding", "proxy-connection", "upgrade"];
        let mut names: Vec<String> = Vec::new();
        for (name, _) in &self.headers {
            let name = name.to_ascii_lowercase();
            if !HOP_BY_HOP.contains(&name.as_str()) && !names.contains(&name) {
                names.push(name);
            }
        }
        let of = |wanted: &String| {
            self.headers
                .iter()
                .filter(|(name, _)| name.eq_ignore_ascii_case(wanted))
                .cloned()
                .collect::<Vec<_>>()
        };
        names.iter().flat_map(of).collect()
    }
}

/// Opens a connection, sends the bytes, and reads one response.
pub fn exchange(to: SocketAddr, request: &[u8]) -> io::Result<Message> {
    let mut stream = connect(to)?;
    stream.write_all(request)?;
    let head = request.starts_with(b"HEAD ");
    read_response(&mut BufReader::new(stream), head)
}

/// A connection whose reads and writes give up at the harness's deadline.
pub fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(to)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.set_write_timeout(Some(DEADLINE))?;
    Ok(stream)
}

/// Reads one response; `to_head` when it answers a HEAD request and so has no body.
pub fn read_response(reader: &mut impl BufRead, to_head: bool) -> io::Result<Message> {
    loop {
        let mut message = read_head(reader)?;
        if (100..200).contains(&message.status()) {
            continue; // an interim response; the final one follows
        }
        if !to_head && !matches!(message.status(), 204 | 304) {
            read_body(reader, &mut message, Framing::UntilClose)?;
        }
        return Ok(message);
    }
}

/// Reads one request; a request without framing headers has no body.
pub fn read_request(reader: &mut impl BufRead) -> io::Result<Message> {
    let mut message = read_head(reader)?;
    read_body(reader, &mut message, Framing::Empty)?;
    Ok(message)
}

/// What a body is when no header frames it.
#[derive(Clone, Copy)]
enum Framing {
    Empty,
    UntilClose,
}

fn read_head(reader: &mut impl BufRead) -> io::Result<Message> {
    let start_line = read_line(reader)?;
    let headers = read_fields(reader)?;
    Ok(Message {
        start_line: String::from_utf8_lossy(&start_line).into_owned(),
        headers,
        body: Vec::new(),
        trailers: Vec::new(),
        complete: true,
    })
}

fn read_fields(reader: &mut impl BufRead) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut fields = Vec::new();
    loop {
        let line = read_line(reader)?;
        if line.is_empty() {
            return Ok(fields);
        }
        let colon = line.iter().position(|byte| *byte == b':').ok_or(io::ErrorKind::InvalidData)?;
        let name = String::from_utf8_lossy(&line[..colon]).into_owned();
        fields.push((name, line[colon + 1..].trim_ascii().to_vec()));
    }
}

fn read_line(reader: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line)?;
    if line.pop() != Some(b'\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(line)
}

fn read_body(reader: &mut impl BufRead, message: &mut Message, unframed: Framing) -> io::Result<()> {
    let chunked = message
        .header("transfer-encoding")
        .is_some_and(|value| value.to_ascii_lowercase().contains("chunked"));
    if chunked {
        message.complete = read_chunks(reader, message).is_ok();
    } else if let Some(length) = message.header("content-length") {
        let length: u64 = length.parse().map_err(|_| io::ErrorKind::InvalidData)?;
        let read = reader.take(length).read_to_end(&mut message.body);
        message.complete = read.is_ok_and(|read| u64::try_from(read) == Ok(length));
    } else if matches!(unframed, Framing::UntilClose) {
        message.complete = reader.read_to_end(&mut message.body).is_ok();
    }
    Ok(())
}

fn read_chunks(reader: &mut impl BufRead, message: &mut Message) -> io::Result<()> {
    loop {
        let line = read_line(reader)?;
        let size =
            std::str::from_utf8(&line).ok().and_then(|line| line.split(';').next()?.trim().parse_hex());
        let size = size.ok_or(io::ErrorKind::InvalidData)?;
        if size == 0 {
            message.trailers = read_fields(reader)?;
            return Ok(());
        }
        let before = message.body.len();
        reader.take(size).read_to_end(&mut message.body)?;
        if u64::try_from(message.body.len() - before) != Ok(size) || !read_line(reader)?.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

trait ParseHex {
    fn parse_hex(&self) -> Option<u64>;
}

impl ParseHex for str {
    fn parse_hex(&self) -> Option<u64> {
        u64::from_str_radix(self, 16).ok()
    }
}
