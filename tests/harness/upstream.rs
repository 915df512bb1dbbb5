//! A scripted upstream on a real socket: answers with exact bytes and remembers every request as it stood on the wire.

use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::http::{self, Message};

/// What the upstream does with a request: the bytes to send back, and whether the connection stays open afterwards.
pub struct Answer {
    /// Written one after the other, each flushed.
    pub parts: Vec<Vec<u8>>,
    /// What happens to the connection then.
    pub then: Then,
}

/// What happens to a connection after an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// The next request is read.
    KeepAlive,
    /// It is closed.
    Close,
}

impl Answer {
    /// An answer in one piece that keeps the connection.
    pub fn whole(bytes: impl Into<Vec<u8>>) -> Self {
        Self { parts: vec![bytes.into()], then: Then::KeepAlive }
    }

    /// An answer in one piece, then the connection is closed.
    pub fn then_close(bytes: impl Into<Vec<u8>>) -> Self {
        Self { parts: vec![bytes.into()], then: Then::Close }
    }
}

/// A running scripted upstream. Its threads end with the test process.
pub struct Upstream {
    /// Where it listens.
    pub addr: SocketAddr,
    seen: Arc<Mutex<Vec<Message>>>,
    closed: Arc<AtomicUsize>,
}

impl Upstream {
    /// Starts it on a free port; `script` is asked for every request, from several threads at once.
    pub fn start(script: impl Fn(&Message) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = listener.local_addr().expect("a bound socket has an address");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let script = Arc::new(script);
        let log = Arc::clone(&seen);
        let closed = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&closed);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (script, log, count) = (Arc::clone(&script), Arc::clone(&log), Arc::clone(&count));
                std::thread::spawn(move || {
                    serve(stream, &*script, &log);
                    count.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        Self { addr, seen, closed }
    }

    /// The base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// How many connections have ended so far.
    pub fn closed(&self) -> usize {
        self.closed.load(Ordering::SeqCst)
    }

    /// Every request so far, oldest first.
    pub fn seen(&self) -> Vec<Message> {
        self.seen.lock().expect("no test panics while it holds this").clone()
    }
}

/// Serves one connection until either side closes it; a broken connection only ends its own thread.
fn serve(stream: TcpStream, script: &dyn Fn(&Message) -> Answer, log: &Mutex<Vec<Message>>) {
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let Ok(mut writer) = stream.try_clone() else { return };
    let mut reader = BufReader::new(stream);
    while let Ok(request) = http::read_request(&mut reader) {
        let answer = script(&request);
        log.lock().expect("no test panics while it holds this").push(request);
        for part in &answer.parts {
            if writer.write_all(part).is_err() {
                return;
            }
        }
        if answer.then == Then::Close {
            return;
        }
    }
}
