//! The shapes of answers: which content blocks a simulated message has, and what its usage looks like.

mod counts;
mod draft;
mod passes;
mod plain;
mod schema;
mod server_tools;
mod tools;

pub(crate) use counts::Counts;
pub(crate) use draft::{Draft, draft};

/// The kind of answer to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Shape {
    /// What the request itself calls for: a tool when one is forced, else text.
    Auto,
    Text,
    Thinking,
    RedactedThinking,
    Tools,
    Mcp,
    WebSearch,
    WebFetch,
    CodeExecution,
    Compaction,
    Advisor,
    Fallback,
    Refusal,
    RefusalMidstream,
    PauseTurn,
    StopSequence,
    MaxTokens,
    /// Plain text of a size: JSON of 1024 bytes unless `response_bytes` says otherwise.
    Json,
    /// Plain text of a length: 100 deltas unless `events` says otherwise.
    Stream,
}

impl Shape {
    /// What `shape=` takes, for error texts.
    pub(crate) const NAMES: &'static str = "auto, text, thinking, redacted_thinking, tools, mcp, web_search, \
        web_fetch, code_execution, compaction, advisor, fallback, refusal, refusal_midstream, pause_turn, \
        stop_sequence, max_tokens, json or stream";

    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "auto" => Self::Auto,
            "text" => Self::Text,
            "thinking" => Self::Thinking,
            "redacted_thinking" => Self::RedactedThinking,
            "tools" => Self::Tools,
            "mcp" => Self::Mcp,
            "web_search" => Self::WebSearch,
            "web_fetch" => Self::WebFetch,
            "code_execution" => Self::CodeExecution,
            "compaction" => Self::Compaction,
            "advisor" => Self::Advisor,
            "fallback" => Self::Fallback,
            "refusal" => Self::Refusal,
            "refusal_midstream" => Self::RefusalMidstream,
            "pause_turn" => Self::PauseTurn,
            "stop_sequence" => Self::StopSequence,
            "max_tokens" => Self::MaxTokens,
            "json" => Self::Json,
            "stream" => Self::Stream,
            _ => return None,
        })
    }
}
