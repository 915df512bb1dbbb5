//! Steering: what a test or an operator asks of one answer, in one header or as the configured default.
//!
//! `x-simulate: shape=tools; output_tokens=50` - the keys are listed in the crate's README.

use crate::encoding::Encoding;
use crate::shape::Shape;

/// Longest delay or stall that can be asked for: beyond it a test hangs rather than waits.
const MAX_DELAY_MS: u64 = 3_600_000;
/// Most deltas one stream may have: 300 000 output tokens is the longest answer of the service.
const MAX_EVENTS: u64 = 300_000;
/// Largest answer body held in memory.
const MAX_RESPONSE_BYTES: u64 = 256 << 20;
/// Most tokens of one kind: larger than any context window, small enough never to overflow a sum.
const MAX_TOKENS: u64 = 1_000_000_000;

/// A key or value that means nothing to the simulator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SteeringError {
    /// Something between two semicolons is not `key=value`.
    #[error("x-simulate: `{0}` is not of the form key=value")]
    NotAPair(String),
    /// No such key.
    #[error("x-simulate: there is no key `{0}`")]
    UnknownKey(String),
    /// The key does not take this value.
    #[error("x-simulate: `{key}` does not take `{value}`: {expected}")]
    BadValue {
        /// The key.
        key: String,
        /// What was given.
        value: String,
        /// What would have been right.
        expected: &'static str,
    },
    /// The header is not text.
    #[error("x-simulate: the header is not ASCII text")]
    NotText,
}

/// How an answer breaks off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// The connection is reset (RST) in the middle of a chunk.
    Reset,
    /// The connection is closed (FIN) in the middle of a chunk.
    Close,
    /// The body ends as if it were whole, too early.
    Clean,
}

/// How the pieces of an answer become writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writes {
    /// A chunk per event, as many chunks per write as are ready.
    Burst,
    /// A chunk and a write per event.
    Event,
    /// One chunk for everything.
    Whole,
}

/// How the length of an answer is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// `transfer-encoding: chunked`, as the real service does for JSON as well.
    Chunked,
    /// `content-length`.
    Length,
}

/// Which coding an answer gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EncodingChoice {
    /// What the real service does: gzip for JSON when the client allows it, nothing for streams.
    Natural,
    /// The densest one the client accepts, for streams as well.
    Accept,
    /// This one, whatever the client accepts.
    Forced(Encoding),
}

/// Which generation of usage fields an answer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UsageFields {
    /// Everything that today's models report.
    Current,
    /// Two input fields in `message_start`, only `output_tokens` in `message_delta`.
    Old,
}

/// What the body of an HTTP error looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ErrorBody {
    /// The envelope of the API; HTML for what Cloudflare answers itself (413, 502, 504 and 520 to 527).
    Natural,
    /// The envelope.
    Json,
    /// A page of Cloudflare.
    Html,
    /// Nothing.
    Empty,
}

/// Everything that can be asked of an answer. `None` means "as the real service would".
#[derive(Clone, Debug)]
pub(crate) struct Steering {
    pub(crate) shape: Shape,
    pub(crate) model: Option<String>,
    pub(crate) seed: Option<u64>,
    pub(crate) input_tokens: Option<u64>,
    pub(crate) output_tokens: Option<u64>,
    pub(crate) cache_read: Option<u64>,
    pub(crate) cache_write_5m: Option<u64>,
    pub(crate) cache_write_1h: Option<u64>,
    pub(crate) thinking_tokens: Option<u64>,
    pub(crate) searches: u64,
    pub(crate) fetches: u64,
    pub(crate) tool: Option<String>,
    pub(crate) tool_calls: u64,
    pub(crate) usage: UsageFields,
    pub(crate) speed: Option<String>,
    pub(crate) geo: Option<String>,
    pub(crate) service_tier: Option<String>,
    pub(crate) stop_sequence: Option<String>,
    pub(crate) events: Option<u64>,
    pub(crate) response_bytes: Option<u64>,
    pub(crate) bytes: Option<u64>,
    pub(crate) ping_every: Option<u64>,
    pub(crate) comment_every: Option<u64>,
    pub(crate) first_byte_delay_ms: u64,
    pub(crate) chunk_delay_ms: u64,
    pub(crate) stall_after_events: Option<u64>,
    pub(crate) stall_ms: u64,
    pub(crate) writes: Writes,
    pub(crate) chunk_bytes: Option<u64>,
    pub(crate) framing: Framing,
    pub(crate) encoding: EncodingChoice,
    pub(crate) status: Option<u16>,
    pub(crate) error_type: Option<String>,
    pub(crate) error_code: Option<String>,
    pub(crate) message: Option<String>,
    pub(crate) error_body: ErrorBody,
    pub(crate) retry_after: Option<u64>,
    pub(crate) until_retry: Option<u64>,
    pub(crate) error_after_events: Option<u64>,
    pub(crate) cut: Option<Cut>,
    pub(crate) cut_after_events: u64,
    pub(crate) batch_polls: u64,
    pub(crate) batch_errored: u64,
    pub(crate) batch_canceled: u64,
    pub(crate) batch_expired: u64,
}

impl Default for Steering {
    fn default() -> Self {
        Self {
            shape: Shape::Auto,
            model: None,
            seed: None,
            input_tokens: None,
            output_tokens: None,
            cache_read: None,
            cache_write_5m: None,
            cache_write_1h: None,
            thinking_tokens: None,
            searches: 1,
            fetches: 1,
            tool: None,
            tool_calls: 1,
            usage: UsageFields::Current,
            speed: None,
            geo: None,
            service_tier: None,
            stop_sequence: None,
            events: None,
            response_bytes: None,
            bytes: None,
            ping_every: None,
            comment_every: None,
            first_byte_delay_ms: 0,
            chunk_delay_ms: 0,
            stall_after_events: None,
            stall_ms: 0,
            writes: Writes::Burst,
            chunk_bytes: None,
            framing: Framing::Chunked,
            encoding: EncodingChoice::Natural,
            status: None,
            error_type: None,
            error_code: None,
            message: None,
            error_body: ErrorBody::Natural,
            retry_after: None,
            until_retry: None,
            error_after_events: None,
            cut: None,
            cut_after_events: 0,
            batch_polls: 0,
            batch_errored: 0,
            batch_canceled: 0,
            batch_expired: 0,
        }
    }
}

impl Steering {
    /// These settings with those of `text` on top.
    pub(crate) fn with(&self, text: &str) -> Result<Self, SteeringError> {
        let mut steering = self.clone();
        for pair in text.split(';').map(str::trim).filter(|pair| !pair.is_empty()) {
            let (key, value) =
                pair.split_once('=').ok_or_else(|| SteeringError::NotAPair(pair.to_owned()))?;
            let (key, value) = (key.trim(), value.trim());
            if !steering.set_content(key, value)? && !steering.set_delivery(key, value)? {
                return Err(SteeringError::UnknownKey(key.to_owned()));
            }
        }
        Ok(steering)
    }

    /// Sets what the answer says; `false` when the key is not about that.
    fn set_content(&mut self, key: &str, value: &str) -> Result<bool, SteeringError> {
        let tokens = || number(key, value, MAX_TOKENS);
        match key {
            "shape" => self.shape = Shape::named(value).ok_or_else(|| bad(key, value, Shape::NAMES))?,
            "model" => self.model = Some(value.to_owned()),
            "seed" => self.seed = Some(number(key, value, u64::MAX)?),
            "input_tokens" => self.input_tokens = Some(tokens()?),
            "output_tokens" => self.output_tokens = Some(number(key, value, MAX_EVENTS)?),
            "cache_read" => self.cache_read = Some(tokens()?),
            "cache_write_5m" => self.cache_write_5m = Some(tokens()?),
            "cache_write_1h" => self.cache_write_1h = Some(tokens()?),
            "thinking_tokens" => self.thinking_tokens = Some(number(key, value, MAX_EVENTS)?),
            "searches" => self.searches = number(key, value, 100)?,
            "fetches" => self.fetches = number(key, value, 100)?,
            "tool" => self.tool = Some(value.to_owned()),
            "tool_calls" => self.tool_calls = number(key, value, 100)?,
            "usage" => {
                self.usage = choice(key, value, "current or old", |value| match value {
                    "current" => Some(UsageFields::Current),
                    "old" => Some(UsageFields::Old),
                    _ => None,
                })?;
            }
            "speed" => self.speed = Some(value.to_owned()),
            "geo" => self.geo = Some(value.to_owned()),
            "service_tier" => self.service_tier = Some(value.to_owned()),
            "stop_sequence" => self.stop_sequence = Some(value.to_owned()),
            "events" => self.events = Some(number(key, value, MAX_EVENTS)?),
            "response_bytes" => self.response_bytes = Some(number(key, value, MAX_RESPONSE_BYTES)?),
            "bytes" => self.bytes = Some(number(key, value, u64::MAX)?),
            "ping_every" => self.ping_every = Some(number(key, value, MAX_EVENTS)?),
            "comment_every" => self.comment_every = Some(number(key, value, MAX_EVENTS)?),
            "batch_polls" => self.batch_polls = number(key, value, 1_000_000)?,
            "batch_errored" => self.batch_errored = number(key, value, 100_000)?,
            "batch_canceled" => self.batch_canceled = number(key, value, 100_000)?,
            "batch_expired" => self.batch_expired = number(key, value, 100_000)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Sets how the answer travels or fails; `false` when the key is not about that.
    fn set_delivery(&mut self, key: &str, value: &str) -> Result<bool, SteeringError> {
        match key {
            "first_byte_delay_ms" => self.first_byte_delay_ms = number(key, value, MAX_DELAY_MS)?,
            "chunk_delay_ms" => self.chunk_delay_ms = number(key, value, MAX_DELAY_MS)?,
            "stall_after_events" => self.stall_after_events = Some(number(key, value, MAX_EVENTS)?),
            "stall_ms" => self.stall_ms = number(key, value, MAX_DELAY_MS)?,
            "writes" => self.writes = choice(key, value, "burst, event or whole", writes_named)?,
            "chunk_bytes" => self.chunk_bytes = Some(number(key, value, MAX_RESPONSE_BYTES)?),
            "framing" => {
                self.framing = choice(key, value, "chunked or length", |value| match value {
                    "chunked" => Some(Framing::Chunked),
                    "length" => Some(Framing::Length),
                    _ => None,
                })?;
            }
            "encoding" => {
                let expected = "natural, accept, identity, gzip, deflate, br or zstd";
                self.encoding = choice(key, value, expected, |value| match value {
                    "natural" => Some(EncodingChoice::Natural),
                    "accept" => Some(EncodingChoice::Accept),
                    named => Encoding::named(named).map(EncodingChoice::Forced),
                })?;
            }
            "status" => {
                let status = number(key, value, 599)?;
                let status = u16::try_from(status).ok().filter(|status| *status >= 400);
                self.status = Some(status.ok_or_else(|| bad(key, value, "400 to 599"))?);
            }
            "error_type" => self.error_type = Some(value.to_owned()),
            "error_code" => self.error_code = Some(value.to_owned()),
            "message" => self.message = Some(value.to_owned()),
            "error_body" => self.error_body = choice(key, value, "natural, json, html or empty", error_body)?,
            "retry_after" => self.retry_after = Some(number(key, value, 86_400)?),
            "until_retry" => self.until_retry = Some(number(key, value, 100)?),
            "error_after_events" => self.error_after_events = Some(number(key, value, MAX_EVENTS)?),
            "cut" => self.cut = Some(choice(key, value, "reset, close or clean", cut_named)?),
            "cut_after_events" => self.cut_after_events = number(key, value, MAX_EVENTS)?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn number(key: &str, value: &str, most: u64) -> Result<u64, SteeringError> {
    let parsed = value.parse::<u64>().map_err(|_| bad(key, value, "a whole number"))?;
    if parsed > most { Err(bad(key, value, "a smaller number")) } else { Ok(parsed) }
}

fn choice<T>(
    key: &str,
    value: &str,
    expected: &'static str,
    named: impl FnOnce(&str) -> Option<T>,
) -> Result<T, SteeringError> {
    named(value).ok_or_else(|| bad(key, value, expected))
}

fn bad(key: &str, value: &str, expected: &'static str) -> SteeringError {
    SteeringError::BadValue { key: key.to_owned(), value: value.to_owned(), expected }
}

fn writes_named(value: &str) -> Option<Writes> {
    match value {
        "burst" => Some(Writes::Burst),
        "event" => Some(Writes::Event),
        "whole" => Some(Writes::Whole),
        _ => None,
    }
}

fn cut_named(value: &str) -> Option<Cut> {
    match value {
        "reset" => Some(Cut::Reset),
        "close" => Some(Cut::Close),
        "clean" => Some(Cut::Clean),
        _ => None,
    }
}

fn error_body(value: &str) -> Option<ErrorBody> {
    match value {
        "natural" => Some(ErrorBody::Natural),
        "json" => Some(ErrorBody::Json),
        "html" => Some(ErrorBody::Html),
        "empty" => Some(ErrorBody::Empty),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_setting_wins_and_the_rest_is_inherited() {
        let defaults = Steering::default().with("output_tokens=7; chunk_delay_ms=3").unwrap();
        let steering = defaults.with("output_tokens = 9 ;; shape=tools;").unwrap();
        assert_eq!((steering.output_tokens, steering.chunk_delay_ms), (Some(9), 3));
        assert_eq!(steering.shape, Shape::Tools);
    }

    #[test]
    fn every_fault_names_its_key() {
        let fault = |text: &str| Steering::default().with(text).unwrap_err().to_string();
        assert!(fault("shap=text").contains("`shap`"));
        assert!(fault("events").contains("`events`"));
        assert!(fault("events=many").contains("`events` does not take `many`"));
        assert!(fault("status=200").contains("400 to 599"));
        assert!(fault("cut=hard").contains("reset, close or clean"));
        assert!(fault("first_byte_delay_ms=99999999999").contains("`first_byte_delay_ms`"));
    }
}
