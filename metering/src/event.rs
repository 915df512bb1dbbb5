//! The usage event: one ledger row for one exchange, and the envelope it travels in.
//!
//! Field names are a contract (`golden/` holds every version ever shipped). Prompt and answer text never enter an event.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ids::{EventId, KeyId, OrgId, PolicyId, ProjectId, ProxyId, TeamId, UserId};
use crate::money::{NanoUsd, PicoUsd};

/// The version of [`UsageEvent`] that this build writes, in the envelope's `version`.
pub const EVENT_VERSION: &str = "1.0";

/// What kind of thing an event counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventType {
    /// One HTTP exchange with the Claude API.
    ApiCall,
    /// One tool call on an MCP server.
    McpTool,
    /// A managed session's own figures.
    Session,
}

/// How an event's figures are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Certainty {
    /// Every figure was reported by the API, or the exchange is free by rule.
    Exact,
    /// At least one figure was estimated; `certainty_reason` says which and how well.
    Estimated,
    /// Tokens or cost could not be known; `certainty_reason` says why. Never shown as zero.
    Unknown,
}

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The whole answer was passed on.
    Complete,
    /// The API answered with an error status, or a stream carried an `error` event, or the API could not be reached.
    UpstreamError,
    /// The client went away before the end.
    ClientGone,
    /// The upstream connection broke in the middle of the answer.
    UpstreamCut,
    /// One of our deadlines passed.
    Deadline,
    /// Policy, a limit or a budget refused it; nothing was sent upstream.
    Denied,
    /// The proxy died while the request was open; found in the journal at the next start.
    Interrupted,
}

/// Which part of an exchange a bucket pays for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BucketSource {
    /// The message itself: the top level of `usage`.
    Message,
    /// A context compaction pass, billed beside the top level.
    Compaction,
    /// An advisor pass, billed at the advisor's own model.
    Advisor,
    /// A hop of a server-side fallback that was declined after it had produced output.
    FallbackHop,
}

/// What a bucket counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BucketKind {
    /// See [`crate::TokenKind::Input`].
    Input,
    /// See [`crate::TokenKind::Output`].
    Output,
    /// See [`crate::TokenKind::CacheRead`].
    CacheRead,
    /// See [`crate::TokenKind::CacheWrite5m`].
    #[serde(rename = "cache_write_5m")]
    CacheWrite5m,
    /// See [`crate::TokenKind::CacheWrite1h`].
    #[serde(rename = "cache_write_1h")]
    CacheWrite1h,
    /// Web searches, billed per request.
    WebSearch,
}

/// One line of an event's bill. The amounts of all buckets add up to the cost before its single rounding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    /// Which part of the exchange this pays for.
    pub source: BucketSource,
    /// The model whose price applies.
    pub model: Arc<str>,
    /// What is counted.
    pub kind: BucketKind,
    /// How many.
    pub quantity: u64,
    /// Price of one, all multipliers included; `None` when the model has no known price.
    pub unit_price_pico_usd: Option<PicoUsd>,
    /// `quantity` times the unit price; `None` when the price is.
    pub amount_pico_usd: Option<PicoUsd>,
}

/// Where a tool in an answer runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolKind {
    /// `tool_use`: the client runs it (also `mcp__server__tool` names, which then have a `server`).
    Client,
    /// `server_tool_use`: the API runs it.
    Server,
    /// `mcp_tool_use`: the API's MCP connector runs it.
    Mcp,
}

/// A tool call that an answer asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolCall {
    /// The name as the API gave it.
    pub name: Arc<str>,
    /// Where it runs.
    pub kind: ToolKind,
    /// The MCP server, for connector calls and for `mcp__server__tool` names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<Arc<str>>,
    /// The block's id (`toolu_`, `srvtoolu_`, `mcptoolu_`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Arc<str>>,
}

/// What was decided about a request before it was forwarded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecisionRecord {
    /// Whether the request was allowed.
    pub effect: Effect,
    /// Stable snake_case reasons of a denial.
    pub reasons: Vec<Arc<str>>,
    /// Revision of the policies that decided.
    pub policy_revision: u64,
    /// Reasons of policies in shadow mode.
    pub shadow: Vec<Arc<str>>,
    /// What each policy said that said anything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub verdicts: Vec<VerdictRecord>,
    /// The limit or budget that refused the request (`lim_..`, `quo_..`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused_by: Option<Arc<str>>,
}

/// What one policy said about a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerdictRecord {
    /// Which policy.
    pub policy_id: PolicyId,
    /// Which version of it.
    pub version: u64,
    /// Whether it counted.
    pub mode: VerdictMode,
    /// Whether it speaks against the request.
    pub kind: VerdictKind,
    /// Stable snake_case reason.
    pub reason: Arc<str>,
    /// For people; written by the policy's author.
    pub message: Arc<str>,
}

/// Whether a verdict counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerdictMode {
    /// It did.
    Enforce,
    /// It was recorded only.
    Shadow,
}

/// What a verdict says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerdictKind {
    /// The request must not pass.
    Deny,
    /// The request may pass, but somebody should know.
    Warn,
}

/// What a request asked for, as far as policies can decide on it again later. Holds no prompt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestDigest {
    /// Length of the body as sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Whether a stream was asked for.
    #[serde(default)]
    pub stream: bool,
    /// The largest answer asked for, in tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u64>,
    /// How many messages.
    #[serde(default)]
    pub message_count: u64,
    /// Prompt tokens as estimated from the body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimated_input_tokens: Option<u64>,
    /// Names of the MCP servers of the API's connector, and of those behind `mcp__server__tool` names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mcp_servers: Vec<Arc<str>>,
    /// `inference_geo`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inference_geo: Option<Arc<str>>,
    /// Entries of `anthropic-beta`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub betas: Vec<Arc<str>>,
    /// Where it came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_ip: Option<IpAddr>,
    /// What sent it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<Arc<str>>,
}

/// Allow or deny.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Forwarded.
    Allow,
    /// Refused by us.
    Deny,
}

impl DecisionRecord {
    /// An allow without anything to note: what a request gets when no policy is in force.
    pub fn allowed() -> Self {
        Self {
            effect: Effect::Allow,
            reasons: Vec::new(),
            policy_revision: 0,
            shadow: Vec::new(),
            verdicts: Vec::new(),
            refused_by: None,
        }
    }
}

/// One succeeded item of a downloaded batch (others are not billed), so that the ledger can book each item once however often its
/// results are downloaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchItem {
    /// The client's own id of the item; unique inside its batch.
    pub custom_id: Arc<str>,
    /// Input tokens, as in [`UsageEvent`]; the others alike.
    pub input_tokens: u64,
    /// Output tokens.
    pub output_tokens: u64,
    /// Cache reads.
    pub cache_read_tokens: u64,
    /// Five-minute cache writes.
    pub cache_write_5m_tokens: u64,
    /// One-hour cache writes.
    pub cache_write_1h_tokens: u64,
    /// Thinking tokens, a part of the output.
    pub thinking_tokens: u64,
    /// Web searches.
    pub web_search_requests: u64,
    /// The bill of this item.
    pub buckets: Vec<Bucket>,
}

/// The batch whose results an event booked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchResults {
    /// `msgbatch_...`
    pub batch_id: Arc<str>,
    /// The billed items of this event. Big downloads are spread over several events.
    pub items: Vec<BatchItem>,
}

/// One ledger row, version 1. Times are UTC with microseconds; tokens are counts; money is integer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageEvent {
    /// Made once, at admission.
    pub event_id: EventId,
    /// When the exchange ended.
    pub timestamp: Timestamp,
    /// The tenant.
    pub org_id: OrgId,
    /// The project that pays.
    pub project_id: ProjectId,
    /// The team of the key, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team_id: Option<TeamId>,
    /// The person of the key, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<UserId>,
    /// The MindWeave key, if one was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_id: Option<KeyId>,
    /// What is counted.
    pub event_type: EventType,
    /// HTTP method.
    pub method: Arc<str>,
    /// The path with ids replaced by `{id}` and without query, for example `/v1/messages`.
    pub endpoint: Arc<str>,
    /// The model that served, as the answer named it; absent where no model is involved.
    pub model: Option<Arc<str>>,
    /// The model that the request named.
    pub requested_model: Option<Arc<str>>,
    /// Final top-level figure, as are the other token fields; passes billed beside it are in `buckets`.
    pub input_tokens: u64,
    /// Output tokens, thinking included.
    pub output_tokens: u64,
    /// Cache reads.
    pub cache_read_tokens: u64,
    /// Five-minute cache writes.
    pub cache_write_5m_tokens: u64,
    /// One-hour cache writes.
    pub cache_write_1h_tokens: u64,
    /// The part of the output that was thinking, where reported.
    pub thinking_tokens: u64,
    /// Web searches, billed per request.
    pub web_search_requests: u64,
    /// The bill, line by line.
    pub buckets: Vec<Bucket>,
    /// The cost, rounded once; absent when it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_nano_usd: Option<NanoUsd>,
    /// The same in dollars, as a decimal string.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<String>,
    /// How the figures are known.
    pub certainty: Certainty,
    /// Why they are not exact, in snake_case, with the error bound of an estimate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certainty_reason: Option<Arc<str>>,
    /// How the exchange ended.
    pub outcome: Outcome,
    /// The HTTP status the client saw; 0 when it saw none.
    pub status: u16,
    /// The answer's stop reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_reason: Option<Arc<str>>,
    /// The `error.type` of an error answer or of a stream's `error` event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_type: Option<Arc<str>>,
    /// From the first byte of the request head to the end of the answer.
    pub latency_ms: u64,
    /// From the same moment to the first content of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttft_ms: Option<u64>,
    /// The part of the latency that we added.
    pub overhead_us: u64,
    /// Whether the answer was an event stream.
    pub streamed: bool,
    /// The API's `request-id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<Arc<str>>,
    /// The message's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<Arc<str>>,
    /// `standard`, `priority` or `batch`, where reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_tier: Option<Arc<str>>,
    /// The client's session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<Arc<str>>,
    /// The agent inside the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<Arc<str>>,
    /// The agent that started this agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_agent_id: Option<Arc<str>>,
    /// What the client says the request is for (`main`, `subagent`, `compaction`, ...).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_class: Option<Arc<str>>,
    /// The SDK's own count of retries before this request.
    pub retry_count: u32,
    /// Tool calls in the answer, in order.
    pub tool_calls: Vec<ToolCall>,
    /// What was decided before forwarding.
    pub decision: DecisionRecord,
    /// Version of the price book that priced it.
    pub price_book: Arc<str>,
    /// Revision of the snapshot that was in force.
    pub snapshot_revision: u64,
    /// Which proxy.
    pub proxy_id: ProxyId,
    /// Position in that proxy's journal; set by whoever reads the journal.
    #[serde(default)]
    pub sequence: u64,
    /// The request that this event belongs to, for events that are no request themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_event_id: Option<EventId>,
    /// What was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestDigest>,
    /// The batch items that this event books.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<BatchResults>,
    /// The key's labels.
    #[serde(default)]
    pub metadata: BTreeMap<Arc<str>, Arc<str>>,
}

/// The standard envelope of every message that MindWeave sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope<T> {
    /// The message's identity: for usage events the event id.
    pub id: EventId,
    /// For example `usage.api_call`.
    #[serde(rename = "type")]
    pub kind: Arc<str>,
    /// For example `mindweave-proxy/pxy_...`.
    pub source: Arc<str>,
    /// When it was made.
    pub timestamp: Timestamp,
    /// Version of `data`.
    pub version: Arc<str>,
    /// Links messages of one request: the API's `request-id` where there is one, else the event id.
    pub correlation_id: Arc<str>,
    /// The content.
    pub data: T,
    /// Free key-value pairs.
    #[serde(default)]
    pub metadata: BTreeMap<Arc<str>, Arc<str>>,
}
