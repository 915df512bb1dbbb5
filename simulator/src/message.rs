//! The message object of the API: the fields and their order as the real service sends them.

use serde::Serialize;
use serde_json::Value;

/// A finished message.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Message {
    pub(crate) model: String,
    pub(crate) id: String,
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    pub(crate) role: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) container: Option<Value>,
    pub(crate) content: Vec<Block>,
    pub(crate) stop_reason: Option<&'static str>,
    pub(crate) stop_sequence: Option<String>,
    /// Absent in answers of the older generation, null where nothing is to be said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stop_details: Option<Option<StopDetails>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) context_management: Option<Value>,
    pub(crate) usage: Usage,
}

/// Why the model refused.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct StopDetails {
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    pub(crate) category: Option<&'static str>,
    pub(crate) explanation: Option<&'static str>,
}

/// The usage object. Every field may be absent: models of different ages report different sets.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Usage {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) input_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cache_creation_input_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cache_read_input_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cache_creation: Option<CacheCreation>,
    pub(crate) output_tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) output_tokens_details: Option<OutputDetails>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) service_tier: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) inference_geo: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) speed: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server_tool_use: Option<ServerToolUse>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) iterations: Option<Vec<Iteration>>,
}

impl Usage {
    /// What of this usage a `message_delta` repeats: the split, tier, geography and speed are told only once.
    pub(crate) fn for_delta(&self) -> Self {
        Self { cache_creation: None, service_tier: None, inference_geo: None, speed: None, ..self.clone() }
    }
}

/// The split of cache writes by lifetime.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct CacheCreation {
    pub(crate) ephemeral_5m_input_tokens: u64,
    pub(crate) ephemeral_1h_input_tokens: u64,
}

/// How much of the output was thinking.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct OutputDetails {
    pub(crate) thinking_tokens: u64,
}

/// Server tools that ran.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct ServerToolUse {
    pub(crate) web_search_requests: u64,
    pub(crate) web_fetch_requests: u64,
}

/// One pass of a model inside a request.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Iteration {
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) model: Option<String>,
    pub(crate) input_tokens: u64,
    pub(crate) output_tokens: u64,
    pub(crate) cache_creation_input_tokens: u64,
    pub(crate) cache_read_input_tokens: u64,
    pub(crate) cache_creation: CacheCreation,
}

/// A content block.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Block {
    Text {
        text: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        citations: Option<Vec<Value>>,
    },
    Thinking {
        thinking: String,
        signature: String,
    },
    RedactedThinking {
        data: String,
    },
    ToolUse {
        id: String,
        name: String,
        input: Value,
        caller: Value,
    },
    ServerToolUse {
        id: String,
        name: &'static str,
        input: Value,
    },
    McpToolUse {
        id: String,
        name: String,
        input: Value,
        server_name: String,
    },
    McpToolResult {
        tool_use_id: String,
        is_error: bool,
        content: Value,
    },
    WebSearchToolResult {
        tool_use_id: String,
        content: Value,
        caller: Value,
    },
    WebFetchToolResult {
        tool_use_id: String,
        content: Value,
    },
    BashCodeExecutionToolResult {
        tool_use_id: String,
        content: Value,
    },
    AdvisorToolResult {
        tool_use_id: String,
        content: Value,
    },
    Compaction {
        content: Option<String>,
    },
    Fallback {
        from: Value,
        to: Value,
        trigger: Value,
    },
}

impl Block {
    /// The block as it stands in `content_block_start`: what arrives in deltas is still empty.
    pub(crate) fn opening(&self) -> Self {
        let nothing = || Value::Object(serde_json::Map::new());
        match self.clone() {
            Self::Text { citations, .. } => {
                Self::Text { text: String::new(), citations: citations.map(|_| Vec::new()) }
            }
            Self::Thinking { .. } => Self::Thinking { thinking: String::new(), signature: String::new() },
            Self::ToolUse { id, name, caller, .. } => Self::ToolUse { id, name, input: nothing(), caller },
            Self::ServerToolUse { id, name, .. } => Self::ServerToolUse { id, name, input: nothing() },
            Self::McpToolUse { id, name, server_name, .. } => {
                Self::McpToolUse { id, name, input: nothing(), server_name }
            }
            Self::Compaction { .. } => Self::Compaction { content: None },
            whole @ (Self::RedactedThinking { .. }
            | Self::McpToolResult { .. }
            | Self::WebSearchToolResult { .. }
            | Self::WebFetchToolResult { .. }
            | Self::BashCodeExecutionToolResult { .. }
            | Self::AdvisorToolResult { .. }
            | Self::Fallback { .. }) => whole,
        }
    }
}
