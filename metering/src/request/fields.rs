//! Which members of a body are facts, and what they must look like.

use super::prompt::Weight;

/// The longest model, tool or server name, tool type or tier, in bytes of JSON text. The API allows at most 128
/// characters.
pub const MAX_NAME_BYTES: usize = 1024;

/// The longest MCP server address.
pub const MAX_URL_BYTES: usize = 4096;

/// The longest `metadata.user_id`; the API allows 256 characters, which JSON may write in twelve bytes each.
pub const MAX_USER_ID_BYTES: usize = 4096;

/// Enough for every integer that fits 64 bits.
const MAX_NUMBER_BYTES: usize = 24;

/// What kind of body it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Messages,
    Batch,
    Complete,
    /// OpenAI-compatible.
    ChatCompletions,
}

/// A place in a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Node {
    /// The root of a batch.
    Batch,
    /// `requests` of a batch.
    Requests,
    /// An element of `requests`.
    Request,
    /// The root of a message, or `params` of a batch's item.
    Body,
    Metadata,
    Messages,
    Tools,
    Tool,
    /// `function` of an OpenAI-compatible tool.
    Function,
    McpServers,
    McpServer,
    Fallbacks,
    Fallback,
    /// An element of `messages`.
    Message,
    /// A list of content blocks: `system`, or `content` of a message, of a tool's result, of a document.
    Content,
    Block,
    /// `source` of an image or a document.
    Source,
    /// `tool` of a block that makes a tool available from there on.
    ToolChange,
    CacheControl,
    /// The value of a field.
    Value(Field),
    /// A value of which only the size counts.
    Measured(Weight),
    /// `media_type` of a source.
    MediaType,
    /// `ttl` of a cache control.
    Ttl,
}

/// A member that is a fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Requests,
    Params,
    Model,
    Stream,
    MaxTokens,
    MaxTokensToSample,
    Metadata,
    Messages,
    Tools,
    McpServers,
    ServiceTier,
    Speed,
    InferenceGeo,
    Container,
    ContextManagement,
    UserId,
    ToolName,
    ToolType,
    McpServerOfTool,
    McpServerName,
    McpServerUrl,
    Fallbacks,
    FallbackModel,
    FallbackMaxTokens,
    FallbackSpeed,
    ModelOfTool,
    MaxCompletionTokens,
    Functions,
    Function,
    FunctionName,
}

/// What a field's value must be; `null` stands for an absent one everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// A string of at most so many bytes.
    Text(usize),
    Unsigned(usize),
    Boolean,
    Object(Node),
    Array(Node),
    /// An array, or a string of at most so many bytes that stands for one.
    ArrayOrText(Node, usize),
    /// Only its presence counts.
    Any,
}

impl Field {
    /// The field that `key` is in an object at `parent`, if it is a fact there.
    pub(super) fn find(dialect: Dialect, parent: Node, key: &str) -> Option<Self> {
        Some(match (parent, key) {
            (Node::Batch, "requests") => Self::Requests,
            (Node::Request, "params") => Self::Params,
            (Node::Body, "model") => Self::Model,
            (Node::Body, "stream") => Self::Stream,
            (Node::Body, "max_tokens") if dialect != Dialect::Complete => Self::MaxTokens,
            (Node::Body, "max_tokens_to_sample") if dialect == Dialect::Complete => Self::MaxTokensToSample,
            (Node::Body, "max_completion_tokens") if dialect == Dialect::ChatCompletions => {
                Self::MaxCompletionTokens
            }
            (Node::Body, "functions") if dialect == Dialect::ChatCompletions => Self::Functions,
            (Node::Body, "fallbacks") => Self::Fallbacks,
            (Node::Body, "metadata") => Self::Metadata,
            (Node::Body, "messages") => Self::Messages,
            (Node::Body, "tools") => Self::Tools,
            (Node::Body, "mcp_servers") => Self::McpServers,
            (Node::Body, "service_tier") => Self::ServiceTier,
            (Node::Body, "speed") => Self::Speed,
            (Node::Body, "inference_geo") => Self::InferenceGeo,
            (Node::Body, "container") => Self::Container,
            (Node::Body, "context_management") => Self::ContextManagement,
            (Node::Metadata, "user_id") => Self::UserId,
            (Node::Tool, "name") => Self::ToolName,
            (Node::Tool, "type") => Self::ToolType,
            (Node::Tool, "mcp_server_name") => Self::McpServerOfTool,
            (Node::Tool, "model") => Self::ModelOfTool,
            (Node::Tool, "function") if dialect == Dialect::ChatCompletions => Self::Function,
            (Node::Function, "name") => Self::FunctionName,
            (Node::Fallback, "model") => Self::FallbackModel,
            (Node::Fallback, "max_tokens") => Self::FallbackMaxTokens,
            (Node::Fallback, "speed") => Self::FallbackSpeed,
            (Node::McpServer, "name") => Self::McpServerName,
            (Node::McpServer, "url") => Self::McpServerUrl,
            _ => return None,
        })
    }

    /// A bit of its own.
    #[expect(clippy::as_conversions, reason = "the number of a fieldless variant, below 32")]
    pub(super) fn bit(self) -> u32 {
        1 << self as u32
    }

    /// The name in the body.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Params => "params",
            Self::Model => "model",
            Self::Stream => "stream",
            Self::MaxTokens => "max_tokens",
            Self::MaxTokensToSample => "max_tokens_to_sample",
            Self::Metadata => "metadata",
            Self::Messages => "messages",
            Self::Tools => "tools",
            Self::McpServers => "mcp_servers",
            Self::ServiceTier => "service_tier",
            Self::Speed => "speed",
            Self::InferenceGeo => "inference_geo",
            Self::Container => "container",
            Self::ContextManagement => "context_management",
            Self::UserId => "metadata.user_id",
            Self::ToolName => "tools.name",
            Self::ToolType => "tools.type",
            Self::McpServerOfTool => "tools.mcp_server_name",
            Self::McpServerName => "mcp_servers.name",
            Self::McpServerUrl => "mcp_servers.url",
            Self::Fallbacks => "fallbacks",
            Self::FallbackModel => "fallbacks.model",
            Self::FallbackMaxTokens => "fallbacks.max_tokens",
            Self::FallbackSpeed => "fallbacks.speed",
            Self::ModelOfTool => "tools.model",
            Self::MaxCompletionTokens => "max_completion_tokens",
            Self::Functions => "functions",
            Self::Function => "tools.function",
            Self::FunctionName => "tools.function.name",
        }
    }

    pub(super) fn shape(self) -> Shape {
        match self {
            Self::Requests => Shape::Array(Node::Requests),
            Self::Params => Shape::Object(Node::Body),
            Self::Stream => Shape::Boolean,
            Self::MaxTokens
            | Self::MaxTokensToSample
            | Self::MaxCompletionTokens
            | Self::FallbackMaxTokens => Shape::Unsigned(MAX_NUMBER_BYTES),
            Self::Fallbacks => Shape::ArrayOrText(Node::Fallbacks, MAX_NAME_BYTES),
            Self::Function => Shape::Object(Node::Function),
            Self::Metadata => Shape::Object(Node::Metadata),
            Self::Messages => Shape::Array(Node::Messages),
            Self::Tools | Self::Functions => Shape::Array(Node::Tools),
            Self::McpServers => Shape::Array(Node::McpServers),
            Self::Container | Self::ContextManagement => Shape::Any,
            Self::UserId => Shape::Text(MAX_USER_ID_BYTES),
            Self::McpServerUrl => Shape::Text(MAX_URL_BYTES),
            Self::Model
            | Self::ServiceTier
            | Self::Speed
            | Self::InferenceGeo
            | Self::ToolName
            | Self::ToolType
            | Self::McpServerOfTool
            | Self::ModelOfTool
            | Self::FunctionName
            | Self::FallbackModel
            | Self::FallbackSpeed
            | Self::McpServerName => Shape::Text(MAX_NAME_BYTES),
        }
    }
}
