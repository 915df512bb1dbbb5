//! The demo's apps: a handful of ways in which Claude is used, at a pace that can be watched.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use ureq::Agent;

/// How often an app that pauses looks whether it should stop.
const NAP: Duration = Duration::from_millis(20);
/// An answer of the simulator takes a few seconds at most.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// A system prompt of this size is marked for the cache.
const CACHED_FROM_WORDS: usize = 100;
/// Every so many calls of an app, the API is "overloaded", as it is in real life.
const CALLS_PER_ERROR: u64 = 11;

/// One app of the demo. Each is a project of its own.
pub(super) struct App {
    /// Its project's name.
    pub(super) name: &'static str,
    /// The model that it asks for.
    model: &'static str,
    /// Whether it reads its answers as a stream.
    streams: bool,
    /// What its answers are like, in the words of the simulator; their length comes on top.
    steering: &'static str,
    /// How long its answers are on average.
    output_tokens: u64,
    /// Size of its system prompt, in words.
    system_words: usize,
    tools: bool,
    /// From the end of one call to the next.
    pause: Duration,
}

/// The apps.
pub(super) const APPS: [App; 4] = [
    App {
        name: "support-chat",
        model: "claude-haiku-4-5",
        streams: true,
        steering: "chunk_delay_ms=8",
        output_tokens: 60,
        system_words: 400,
        tools: false,
        pause: Duration::from_millis(700),
    },
    App {
        name: "code-review",
        model: "claude-opus-5-5",
        streams: true,
        steering: "shape=tools; chunk_delay_ms=10",
        output_tokens: 150,
        system_words: 3_000,
        tools: true,
        pause: Duration::from_millis(1_300),
    },
    App {
        name: "doc-search",
        model: "claude-sonnet-5-5",
        streams: false,
        steering: "shape=web_search; searches=2; first_byte_delay_ms=300",
        output_tokens: 200,
        system_words: 40,
        tools: false,
        pause: Duration::from_millis(1_700),
    },
    App {
        name: "nightly-report",
        model: "claude-sonnet-5",
        streams: true,
        steering: "shape=thinking; thinking_tokens=200; chunk_delay_ms=4",
        output_tokens: 500,
        system_words: 1_200,
        tools: false,
        pause: Duration::from_millis(2_300),
    },
];

/// What the apps and the one who watches them share.
#[derive(Default)]
pub(super) struct Traffic {
    stop: AtomicBool,
    /// Calls that were answered, well or not: each of them will be in the ledger.
    answered: AtomicU64,
}

impl Traffic {
    /// Asks every app to end after the call at hand.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }

    /// Calls answered so far.
    pub(super) fn answered(&self) -> u64 {
        self.answered.load(Ordering::SeqCst)
    }

    /// Lets an app call the proxy with its MindWeave key until it is stopped.
    pub(super) fn run(&self, app: &App, proxy: &str, key: &str) {
        let agent: Agent = Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .timeout_global(Some(ANSWER_TIMEOUT))
            .build()
            .new_agent();
        for number in 1.. {
            if self.stop.load(Ordering::SeqCst) {
                return;
            }
            match app.call(&agent, proxy, key, number) {
                Ok(()) => drop(self.answered.fetch_add(1, Ordering::SeqCst)),
                Err(error) => tracing::debug!(app = app.name, %error, "a call of the demo failed"),
            }
            self.rest(app.pause);
        }
    }

    fn rest(&self, pause: Duration) {
        let end = Instant::now() + pause;
        while Instant::now() < end && !self.stop.load(Ordering::SeqCst) {
            std::thread::sleep(NAP);
        }
    }
}

impl App {
    /// Makes one call and reads its answer to the end.
    fn call(&self, agent: &Agent, proxy: &str, key: &str, number: u64) -> Result<(), ureq::Error> {
        let varied = self.output_tokens * (75 + spread(number)) / 100;
        let steering = match number % CALLS_PER_ERROR {
            0 => "status=529".to_owned(),
            _ => format!("{}; output_tokens={varied}", self.steering),
        };
        let request = agent
            .post(format!("{proxy}/v1/messages"))
            .header("x-api-key", key)
            .header("anthropic-version", "2023-06-01")
            .header("user-agent", format!("mindweave-demo/{}", self.name))
            .header("x-simulate", steering);
        let mut answer = request.send_json(self.body(number))?;
        io::copy(&mut answer.body_mut().as_reader(), &mut io::sink())?;
        Ok(())
    }

    fn body(&self, number: u64) -> Value {
        let question = "detail ".repeat(usize::try_from(spread(number)).unwrap_or(0));
        let mut system = Map::new();
        system.insert("type".to_owned(), json!("text"));
        system.insert("text".to_owned(), json!("context ".repeat(self.system_words)));
        if self.system_words >= CACHED_FROM_WORDS {
            system.insert("cache_control".to_owned(), json!({ "type": "ephemeral" }));
        }
        let tools = if self.tools {
            let schema = json!({ "type": "object", "properties": { "path": { "type": "string" } } });
            json!([{ "name": "read_file", "description": "Reads a file.", "input_schema": schema }])
        } else {
            json!([])
        };
        json!({
            "model": self.model,
            "max_tokens": 1024,
            "stream": self.streams,
            "system": [system],
            "tools": tools,
            "messages": [{ "role": "user", "content": format!("Request {number}: {question}") }],
        })
    }
}

/// 0 to 50, all over the place: no two calls in a row are alike, as in real life.
fn spread(number: u64) -> u64 {
    number * 37 % 51
}
