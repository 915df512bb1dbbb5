//! Calls as governed apps make them: steered through the simulator, one connection each, from many threads at once.

use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::{Value, json};

use super::http::{self, Message};
use super::ledger::Ledger;
use super::server::MindWeave;

/// The model of most calls. List price: 5 dollars a million input tokens, 25 a million output tokens.
pub const MODEL: &str = "claude-opus-5";
/// Nano-dollars of one input token of [`MODEL`].
pub const INPUT_NANO: i64 = 5_000;
/// Nano-dollars of one output token of [`MODEL`].
pub const OUTPUT_NANO: i64 = 25_000;

/// A call to be made.
#[derive(Clone, Debug)]
pub struct Call {
    to: SocketAddr,
    credential: (String, String),
    method: &'static str,
    path: String,
    body: Value,
    steering: String,
    headers: Vec<(String, String)>,
}

impl Call {
    /// A short message with a virtual key.
    pub fn new(server: &MindWeave, key: &str) -> Self {
        Self::to(server.proxy, key)
    }

    /// The same to a proxy at this address.
    pub fn to(to: SocketAddr, key: &str) -> Self {
        let body = json!({
            "model": MODEL, "max_tokens": 64, "messages": [{ "role": "user", "content": "Say hello." }],
        });
        let credential = ("x-api-key".to_owned(), key.to_owned());
        let path = "/v1/messages".to_owned();
        Self { to, credential, method: "POST", path, body, steering: String::new(), headers: Vec::new() }
    }

    /// With a MindWeave key beside the client's own Claude key.
    #[must_use]
    pub fn with_own_key(mut self) -> Self {
        let key = std::mem::replace(&mut self.credential.1, "sk-ant-api03-the-developers-own".to_owned());
        self.header("x-mindweave-key", &key)
    }

    /// A further header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A field of the body.
    #[must_use]
    pub fn field(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.body[name] = value.into();
        self
    }

    /// Another body, for another endpoint.
    #[must_use]
    pub fn post(mut self, path: &str, body: Value) -> Self {
        (self.path, self.body) = (path.to_owned(), body);
        self
    }

    /// Asks for this.
    #[must_use]
    pub fn get(mut self, path: &str) -> Self {
        (self.method, self.path, self.body) = ("GET", path.to_owned(), Value::Null);
        self
    }

    /// What the simulator does: `input_tokens=10; output_tokens=20`.
    #[must_use]
    pub fn simulate(mut self, steering: &str) -> Self {
        self.steering = steering.to_owned();
        self
    }

    /// The request as it goes over the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let body = if self.body.is_null() { String::new() } else { self.body.to_string() };
        let mut head = format!(
            "{} {} HTTP/1.1\r\nhost: proxy\r\nanthropic-version: 2023-06-01\r\ncontent-type: application/json\r\n\
             {}: {}\r\ncontent-length: {}\r\n",
            self.method,
            self.path,
            self.credential.0,
            self.credential.1,
            body.len()
        );
        if !self.steering.is_empty() {
            head.push_str(&format!("x-simulate: {}\r\n", self.steering));
        }
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        [head.as_bytes(), b"\r\n", body.as_bytes()].concat()
    }

    /// Makes the call and reads the whole answer.
    pub fn send(&self) -> Message {
        http::exchange(self.to, &self.bytes()).expect("the proxy answers")
    }

    /// Makes the call and returns once the head of the answer is there; the rest can be read, or the connection dropped.
    pub fn open(&self) -> OpenCall {
        let mut stream = http::connect(self.to).expect("the proxy accepts");
        stream.write_all(&self.bytes()).expect("the proxy reads");
        OpenCall { reader: BufReader::new(stream) }
    }
}

/// A call whose answer is still to be read.
pub struct OpenCall {
    reader: BufReader<TcpStream>,
}

impl OpenCall {
    /// Waits for the first byte of the answer.
    pub fn answered(mut self) -> Self {
        use std::io::BufRead;
        assert!(!self.reader.fill_buf().expect("the proxy answers").is_empty(), "the proxy hung up");
        self
    }

    /// Reads the answer to its end.
    pub fn finish(mut self) -> Message {
        http::read_response(&mut self.reader, false).expect("the answer can be read")
    }
}

/// Makes calls from so many threads at once, each this often, and returns every answer.
pub fn storm(call: &Call, threads: usize, each: usize) -> Vec<Message> {
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| scope.spawn(move || (0..each).map(|_| call.send()).collect::<Vec<_>>()))
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("no worker panics")).collect()
    })
}

/// How many answers have this status.
pub fn count(answers: &[Message], status: u16) -> usize {
    answers.iter().filter(|answer| answer.status() == status).count()
}

/// The JSON body of an answer.
pub fn json_of(answer: &Message) -> Value {
    serde_json::from_slice(&answer.body)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&answer.body)))
}

/// The message of an error in Claude's shape.
pub fn error_message(answer: &Message) -> String {
    json_of(answer)["error"]["message"].as_str().expect("an error has a message").to_owned()
}

/// What the ledger says that a project cost, in nano-dollars, from its single events.
pub fn cost_of(ledger: &Ledger, project: &str) -> i64 {
    let events = ledger.events(&format!("project_id={project}"));
    events.iter().filter_map(|event| event["cost_nano_usd"].as_i64()).sum()
}

/// Waits until the ledger has an event for every one of these calls.
pub fn await_settled(ledger: &Ledger, project: &str, calls: usize) -> Vec<Value> {
    ledger.await_events(&format!("project_id={project}"), calls)
}

/// The `state` of a budget, once it says that this much is used.
pub fn await_used(ledger: &Ledger, quota: &str, used: i64) -> Value {
    let mut last = Value::Null;
    super::eventually(&format!("{used} used of {quota}"), || {
        last = ledger.get(&format!("/governance/quotas/{quota}"))["state"].clone();
        (last["used"].as_i64() == Some(used)).then(|| last.clone())
    })
}
