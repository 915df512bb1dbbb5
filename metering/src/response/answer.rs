//! The facts of an answer, read out of its JSON while it streams by: nothing of its size is ever held.

use std::sync::Arc;

use crate::certainty::{CertaintyReason, Knowledge};
use crate::event::{ToolCall, ToolKind};
use crate::json::{Action, Captured, ValueKind, Visitor};
use crate::metered::MeteredResponse;
use crate::usage::{Models, UsageNode, UsageReport};

/// The most tool calls an event lists; further ones are only counted. Answers have a handful, a runaway loop must not
/// make an event that no store takes.
pub const MAX_TOOL_CALLS: usize = 256;
/// Longest model id that is believed; the API's have about 30 bytes.
const MAX_MODEL_BYTES: usize = 256;
/// Longest id of a message, tool call or batch item. The API allows 64 bytes for the ids that clients choose.
const MAX_ID_BYTES: usize = 256;
/// Longest tool or server name. The API allows 128 bytes for a tool, 256 leave room for escapes.
const MAX_NAME_BYTES: usize = 512;
/// Longest block type, stop reason or error type.
const MAX_WORD_BYTES: usize = 128;

/// What a JSON text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Document {
    /// A whole `message`.
    Message,
    /// Data of `message_start`: `{"message": ...}`.
    MessageStart,
    /// Data of `message_delta`: `{"delta": ..., "usage": ...}`.
    MessageDelta,
    /// Data of `content_block_start`: `{"content_block": ...}`.
    BlockStart,
    /// An error envelope, as a body or as data of `error`.
    Error,
    /// A legacy completion, as a body or as data of `completion`.
    Completion,
    /// A line of a batch's results.
    BatchLine,
}

/// A place in one of the documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Node {
    Root,
    Message,
    Delta,
    Content,
    Block,
    FallbackFrom,
    FallbackTo,
    Error,
    Result,
    Usage(UsageNode),
    Text(Text),
}

/// A text that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Text {
    Model,
    MessageId,
    StopReason,
    BlockType,
    BlockName,
    BlockId,
    BlockServer,
    FromModel,
    ToModel,
    ErrorType,
    CustomId,
    ResultType,
}

/// What the documents of one answer said so far.
pub(super) struct Answer {
    document: Document,
    model: Option<Arc<str>>,
    message_id: Option<Arc<str>>,
    pub(super) stop_reason: Option<Arc<str>>,
    /// All complete reports, combined.
    pub(super) usage: UsageReport,
    /// The report of the document being read.
    report: UsageReport,
    block: Block,
    /// Content blocks, all of them.
    pub(super) blocks: u64,
    fallback_blocks: u64,
    tool_calls: Vec<ToolCall>,
    pub(super) tool_calls_left_out: u64,
    server_tools: bool,
    fallback_from: Option<Arc<str>>,
    fallback_to: Option<Arc<str>>,
    error_type: Option<Arc<str>>,
    pub(super) custom_id: Option<Arc<str>>,
    pub(super) succeeded: bool,
}

/// The content block being read.
#[derive(Debug, Default)]
struct Block {
    kind: BlockKind,
    name: Option<Arc<str>>,
    id: Option<Arc<str>>,
    server: Option<Arc<str>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum BlockKind {
    Tool(ToolKind),
    Fallback,
    #[default]
    Other,
}

impl Answer {
    pub(super) fn new(document: Document) -> Self {
        Self {
            document,
            model: None,
            message_id: None,
            stop_reason: None,
            usage: UsageReport::default(),
            report: UsageReport::default(),
            block: Block::default(),
            blocks: 0,
            fallback_blocks: 0,
            tool_calls: Vec::new(),
            tool_calls_left_out: 0,
            server_tools: false,
            fallback_from: None,
            fallback_to: None,
            error_type: None,
            custom_id: None,
            succeeded: false,
        }
    }

    /// The next document begins.
    pub(super) fn begin(&mut self, document: Document) {
        self.document = document;
        self.report = UsageReport::default();
    }

    /// The document was complete: its usage counts.
    pub(super) fn commit(&mut self) {
        let report = std::mem::take(&mut self.report);
        self.usage.overwrite(report);
    }

    pub(super) fn tool_call_count(&self) -> u64 {
        u64::try_from(self.tool_calls.len()).unwrap_or(u64::MAX).saturating_add(self.tool_calls_left_out)
    }

    /// The answer as metered; `knowledge` is what its framing lets us know.
    pub(super) fn into_metered(self, mut knowledge: Knowledge) -> MeteredResponse {
        let mut metered = MeteredResponse::without_usage(None);
        if self.usage.is_present() {
            let settlement = self.usage.settle(self.models(), self.server_tools);
            knowledge.lower_all(settlement.knowledge);
            metered.tokens = Some(settlement.tokens);
            metered.passes = settlement.passes;
            metered.model = settlement.model;
        } else {
            metered.model = self.fallback_to.or(self.model);
        }
        metered.message_id = self.message_id;
        metered.web_search_requests = self.usage.web_search_requests();
        metered.web_fetch_requests = self.usage.web_fetch_requests();
        metered.thinking_tokens = self.usage.thinking_tokens();
        metered.stop_reason = self.stop_reason;
        metered.service_tier = self.usage.service_tier;
        metered.inference_geo = self.usage.inference_geo;
        metered.speed = self.usage.speed;
        metered.tool_calls = self.tool_calls;
        metered.tool_calls_left_out = self.tool_calls_left_out;
        metered.error_type = self.error_type;
        metered.content_is_empty = self.blocks == self.fallback_blocks;
        metered.certainty_reason = knowledge.reason();
        metered
    }

    fn models(&self) -> Models {
        let Some(to) = &self.fallback_to else {
            return Models { serving: self.model.clone(), asked: self.model.clone() };
        };
        // A stream starts with the model that was asked; a whole message may already name the one that served.
        let first = self.model.as_ref().filter(|model| *model != to);
        Models { serving: Some(Arc::clone(to)), asked: self.fallback_from.as_ref().or(first).cloned() }
    }

    fn finish_block(&mut self) {
        let block = std::mem::take(&mut self.block);
        self.blocks = self.blocks.saturating_add(1);
        let kind = match block.kind {
            BlockKind::Tool(kind) => kind,
            BlockKind::Fallback => {
                self.fallback_blocks = self.fallback_blocks.saturating_add(1);
                return;
            }
            BlockKind::Other => return,
        };
        self.server_tools |= kind != ToolKind::Client;
        let Some(name) = block.name.filter(|_| self.tool_calls.len() < MAX_TOOL_CALLS) else {
            self.tool_calls_left_out = self.tool_calls_left_out.saturating_add(1);
            return;
        };
        let server = match kind {
            ToolKind::Client => mcp_server(&name).map(Arc::from),
            ToolKind::Mcp => block.server,
            ToolKind::Server => None,
        };
        self.tool_calls.push(ToolCall { name, kind, server, id: block.id });
    }

    fn keep(&mut self, place: Text, value: Captured<'_>) {
        let Some(text) = value.text() else { return };
        let kept = || Some(Arc::from(text.as_ref()));
        match place {
            Text::Model => self.model = kept(),
            Text::MessageId => self.message_id = kept(),
            Text::StopReason => self.stop_reason = kept(),
            Text::BlockType => self.block.kind = BlockKind::of(&text),
            Text::BlockName => self.block.name = kept(),
            Text::BlockId => self.block.id = kept(),
            Text::BlockServer => self.block.server = kept(),
            Text::FromModel if self.fallback_from.is_none() => self.fallback_from = kept(),
            Text::FromModel => {} // the first hop left the model that was asked
            Text::ToModel => self.fallback_to = kept(),
            Text::ErrorType => self.error_type = kept(),
            Text::CustomId => self.custom_id = kept(),
            Text::ResultType => self.succeeded = text == "succeeded",
        }
    }

    /// Which place of which size a member is; `None` when it does not matter.
    fn place(&self, parent: Node, key: &str) -> Option<(Node, usize)> {
        let text = |text, limit| Some((Node::Text(text), limit));
        let container = |node| Some((node, 0));
        match (parent, key) {
            (Node::Root, _) => match (self.document, key) {
                (Document::MessageStart, "message") => container(Node::Message),
                (Document::MessageDelta, "delta") => container(Node::Delta),
                (Document::BlockStart, "content_block") => container(Node::Block),
                (Document::Error, "error") => container(Node::Error),
                (Document::Completion, "model") => text(Text::Model, MAX_MODEL_BYTES),
                (Document::Completion, "id") => text(Text::MessageId, MAX_ID_BYTES),
                (Document::Completion, "stop_reason") => text(Text::StopReason, MAX_WORD_BYTES),
                (Document::BatchLine, "custom_id") => text(Text::CustomId, MAX_ID_BYTES),
                (Document::BatchLine, "result") => container(Node::Result),
                _ => None,
            },
            (Node::Result, "type") => text(Text::ResultType, MAX_WORD_BYTES),
            (Node::Result, "message") => container(Node::Message),
            (Node::Message, "model") => text(Text::Model, MAX_MODEL_BYTES),
            (Node::Message, "id") => text(Text::MessageId, MAX_ID_BYTES),
            (Node::Message | Node::Delta, "stop_reason") => text(Text::StopReason, MAX_WORD_BYTES),
            (Node::Message, "content") => container(Node::Content),
            (Node::Block, "type") => text(Text::BlockType, MAX_WORD_BYTES),
            (Node::Block, "name") => text(Text::BlockName, MAX_NAME_BYTES),
            (Node::Block, "id") => text(Text::BlockId, MAX_ID_BYTES),
            (Node::Block, "server_name") => text(Text::BlockServer, MAX_NAME_BYTES),
            (Node::Block, "from") => container(Node::FallbackFrom),
            (Node::Block, "to") => container(Node::FallbackTo),
            (Node::FallbackFrom, "model") => text(Text::FromModel, MAX_MODEL_BYTES),
            (Node::FallbackTo, "model") => text(Text::ToModel, MAX_MODEL_BYTES),
            (Node::Error, "type") => text(Text::ErrorType, MAX_WORD_BYTES),
            _ => None,
        }
    }
}

impl Visitor for Answer {
    type Node = Node;

    fn root(&mut self, kind: ValueKind) -> Action<Node> {
        self.block = Block::default();
        match (kind, self.document) {
            (ValueKind::Object, Document::Message) => Action::Enter(Node::Message),
            (ValueKind::Object, _) => Action::Enter(Node::Root),
            _ => Action::Skip,
        }
    }

    fn member(&mut self, parent: Node, key: &str, kind: ValueKind) -> Action<Node> {
        if let Node::Usage(parent) = parent {
            return usage_action(self.report.member(parent, key, kind));
        }
        let has_usage =
            parent == Node::Message || (parent, self.document) == (Node::Root, Document::MessageDelta);
        if has_usage && key == "usage" {
            return usage_action(self.report.begin(kind));
        }
        match (self.place(parent, key), kind) {
            (Some((node @ Node::Text(_), limit)), ValueKind::String) => Action::Capture(node, limit),
            (Some((Node::Text(_), _)) | None, _) => Action::Skip,
            (Some((Node::Content, _)), ValueKind::Array) => Action::Enter(Node::Content),
            (Some((Node::Content, _)), _) => Action::Skip,
            (Some((node, _)), ValueKind::Object) => Action::Enter(node),
            (Some(_), _) => Action::Skip,
        }
    }

    fn element(&mut self, parent: Node, kind: ValueKind) -> Action<Node> {
        match (parent, kind) {
            (Node::Usage(parent), _) => usage_action(self.report.element(parent, kind)),
            (Node::Content, ValueKind::Object) => {
                self.block = Block::default();
                Action::Enter(Node::Block)
            }
            _ => Action::Skip,
        }
    }

    fn captured(&mut self, node: Node, value: Captured<'_>) {
        match node {
            Node::Usage(node) => self.report.captured(node, value),
            Node::Text(place) => self.keep(place, value),
            _ => {}
        }
    }

    fn leave(&mut self, node: Node) {
        if node == Node::Block {
            self.finish_block();
        }
    }
}

impl BlockKind {
    fn of(text: &str) -> Self {
        match text {
            "tool_use" => Self::Tool(ToolKind::Client),
            "server_tool_use" => Self::Tool(ToolKind::Server),
            "mcp_tool_use" => Self::Tool(ToolKind::Mcp),
            "fallback" => Self::Fallback,
            _ => Self::Other,
        }
    }
}

fn usage_action(action: Action<UsageNode>) -> Action<Node> {
    match action {
        Action::Skip => Action::Skip,
        Action::Enter(node) => Action::Enter(Node::Usage(node)),
        Action::Capture(node, limit) => Action::Capture(Node::Usage(node), limit),
    }
}

/// The server in Claude Code's name for an MCP tool, `mcp__<server>__<tool>`: up to the first `__` behind the prefix,
/// which names of servers cannot contain. Servers of plugins are called `plugin_<plugin>_<server>`.
fn mcp_server(name: &str) -> Option<&str> {
    let (server, tool) = name.strip_prefix("mcp__")?.split_once("__")?;
    (!server.is_empty() && !tool.is_empty()).then_some(server)
}

/// Why an answer that ended without usage has none.
pub(super) fn no_usage(metered: &mut MeteredResponse, reason: CertaintyReason) {
    if metered.tokens.is_none() && metered.certainty_reason.is_none() {
        metered.certainty_reason = Some(reason);
    }
}
