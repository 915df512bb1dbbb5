//! The facts themselves.

use std::fmt;
use std::sync::Arc;

use super::prompt::{INPUT_ESTIMATE_BOUND, INPUT_ESTIMATE_SLACK};

/// How many tools are listed. Agents with many MCP servers send a few hundred.
pub const MAX_TOOLS: usize = 1024;

/// How many MCP servers are listed. The connector's own limit is 20.
pub const MAX_MCP_SERVERS: usize = 128;

/// How many different models, tiers and the like are listed of a batch.
pub const MAX_DISTINCT_VALUES: usize = 64;

/// What a request asks for, as far as somebody decides on it. Holds no prompt.
///
/// A batch is read as the sum of its items: lists hold what any item has, `max_tokens` is the largest, and a
/// fact of which there is only one holds a value only when all items agree on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestFacts {
    /// The model asked for.
    pub model: Option<Arc<str>>,
    /// Every model that may serve: the one asked for (for a batch each), those of `fallbacks` and those of advisor tools.
    pub models: Vec<Arc<str>>,
    /// Whether a stream is asked for.
    pub stream: bool,
    /// Whether the API may choose other models itself when the one asked for declines (`"fallbacks": "default"`).
    pub has_default_fallback: bool,
    /// The largest answer asked for, in tokens; that of a fallback included.
    pub max_tokens: Option<u64>,
    /// All answers together: the same, but for batches, where it is the sum over the items.
    pub max_tokens_sum: Option<u64>,
    /// Prompt tokens (uncached, read from and written to the cache together), estimated from the body; all items of a
    /// batch together. `None` when the body could not be read to its end. See [`crate::INPUT_ESTIMATE_BOUND`].
    pub estimated_input_tokens: Option<u64>,
    /// The longest cache lifetime that any `cache_control` asks for.
    pub cache_write: Option<CacheTtl>,
    /// `metadata.user_id`, verbatim.
    pub user_id: Option<Arc<str>>,
    /// The client's session, where `user_id` tells it (Claude Code).
    pub session_id: Option<Arc<str>>,
    /// The tools offered to the model, in order, those that messages bring along included; for batches each once.
    pub tools: Vec<RequestedTool>,
    /// The servers that the API's MCP connector shall use, in order; for batches each once.
    pub mcp_servers: Vec<RequestedMcpServer>,
    /// How many messages, all items of a batch together.
    pub message_count: u64,
    /// `service_tier` (`auto`, `standard_only`).
    pub service_tier: Option<Arc<str>>,
    /// Every `service_tier` asked for.
    pub service_tiers: Vec<Arc<str>>,
    /// `speed` (`standard`, `fast`): priced.
    pub speed: Option<Arc<str>>,
    /// Every `speed` asked for.
    pub speeds: Vec<Arc<str>>,
    /// `inference_geo`: priced, and a matter of data residency.
    pub inference_geo: Option<Arc<str>>,
    /// Every `inference_geo` asked for.
    pub inference_geos: Vec<Arc<str>>,
    /// Whether a code execution container is named.
    pub has_container: bool,
    /// Whether context management is configured.
    pub has_context_management: bool,
    /// How many items a batch has; 0 for anything else.
    pub batch_requests: u64,
    /// Whether one of the lists reached its bound: it then does not hold everything that the body asks for.
    pub truncated: bool,
}

impl RequestFacts {
    /// The prompt tokens that the estimate allows for: what to go by where too little would let a budget be overrun.
    pub fn input_tokens_at_most(&self) -> Option<u64> {
        let estimate = self.estimated_input_tokens?;
        let more = estimate.saturating_mul(INPUT_ESTIMATE_BOUND) / 100;
        let slack = INPUT_ESTIMATE_SLACK.saturating_mul(self.batch_requests.max(1));
        Some(estimate.saturating_add(more).saturating_add(slack))
    }
}

/// How long a prompt prefix shall be kept in the cache; writing it has a price by this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CacheTtl {
    /// `5m`, or no `ttl`.
    FiveMinutes,
    /// `1h`.
    OneHour,
}

/// A tool offered to the model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RequestedTool {
    /// Its name; MCP toolsets have none.
    pub name: Option<Arc<str>>,
    /// Its type: versioned for the API's own tools (`web_search_20260318`), `custom` or absent for the client's.
    pub kind: Option<Arc<str>>,
    /// The connector's server that an `mcp_toolset` opens.
    pub mcp_server: Option<Arc<str>>,
}

/// A server that the API's MCP connector shall use.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct RequestedMcpServer {
    /// The name that toolsets and answers use for it.
    pub name: Option<Arc<str>>,
    /// Its address. May hold a secret in path or query, as some providers hand them out: not for logs.
    pub url: Option<Arc<str>>,
}

impl fmt::Debug for RequestedMcpServer {
    /// Without the address.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestedMcpServer").field("name", &self.name).finish_non_exhaustive()
    }
}
