//! From the scanner's questions to facts.

use crate::json::{Action, Captured, ValueKind, Visitor};

use super::ScanFault;
use super::distinct::{Distinct, Listed};
use super::facts::{CacheTtl, MAX_MCP_SERVERS, MAX_TOOLS, RequestFacts, RequestedMcpServer, RequestedTool};
use super::fields::{Dialect, Field, Node, Shape};
use super::place::{Place, place};
use super::prompt::{NonAscii, Prompt, Source, Weight};
use super::session::session_id;

/// The type of a tool that the client runs itself, where it is written at all.
const CLIENT_TOOL_KINDS: [&str; 2] = ["custom", "function"];

/// Collects facts until the first fault, after which it asks for nothing more.
#[derive(Debug)]
pub(super) struct FactsReader {
    dialect: Dialect,
    fault: Option<ScanFault>,
    facts: RequestFacts,
    models: Distinct,
    user_ids: Distinct,
    service_tiers: Distinct,
    speeds: Distinct,
    inference_geos: Distinct,
    tools: Listed<RequestedTool>,
    mcp_servers: Listed<RequestedMcpServer>,
    /// The element of `tools` or `mcp_servers` that is being read.
    tool: RequestedTool,
    mcp_server: RequestedMcpServer,
    /// Message bodies begun: 1, or one for each item of a batch.
    bodies: u64,
    /// `max_tokens` and the prompt of the body that is being read.
    max_tokens: Option<u64>,
    prompt: Prompt,
    /// Of all bodies before it.
    prompt_tokens: u64,
    source: Source,
    seen: Seen,
}

/// Which fields the open object of each level has shown, one bit each. Metadata, tools, servers and fallbacks share a
/// level: they are never inside each other.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    batch: u32,
    request: u32,
    body: u32,
    part: u32,
    function: u32,
}

impl Seen {
    fn level(&mut self, parent: Node) -> &mut u32 {
        match parent {
            Node::Batch => &mut self.batch,
            Node::Request => &mut self.request,
            Node::Body => &mut self.body,
            Node::Function => &mut self.function,
            _ => &mut self.part,
        }
    }
}

impl FactsReader {
    pub(super) fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            fault: None,
            facts: RequestFacts::default(),
            models: Distinct::default(),
            user_ids: Distinct::default(),
            service_tiers: Distinct::default(),
            speeds: Distinct::default(),
            inference_geos: Distinct::default(),
            tools: Listed::new(dialect == Dialect::Batch, MAX_TOOLS),
            mcp_servers: Listed::new(dialect == Dialect::Batch, MAX_MCP_SERVERS),
            tool: RequestedTool::default(),
            mcp_server: RequestedMcpServer::default(),
            bodies: 0,
            max_tokens: None,
            prompt: Prompt::default(),
            prompt_tokens: 0,
            source: Source::default(),
            seen: Seen::default(),
        }
    }

    pub(super) fn fault(&self) -> Option<ScanFault> {
        self.fault
    }

    /// The facts; of a body that was read to its end with what lies outside ASCII, of another without an estimate.
    pub(super) fn into_facts(self, non_ascii: Option<NonAscii>) -> RequestFacts {
        let user_id = self.user_ids.agreed(self.bodies);
        let distinct = [&self.models, &self.service_tiers, &self.speeds, &self.inference_geos];
        let truncated = distinct.iter().any(|distinct| distinct.overflowed())
            || self.tools.overflowed()
            || self.mcp_servers.overflowed();
        RequestFacts {
            max_tokens: self.facts.max_tokens.max(self.max_tokens),
            model: self.models.agreed(self.bodies),
            models: self.models.into_values(),
            session_id: user_id.as_deref().and_then(session_id),
            user_id,
            estimated_input_tokens: non_ascii
                .map(|non_ascii| self.prompt_tokens.saturating_add(non_ascii.tokens())),
            service_tier: self.service_tiers.agreed(self.bodies),
            service_tiers: self.service_tiers.into_values(),
            speed: self.speeds.agreed(self.bodies),
            speeds: self.speeds.into_values(),
            inference_geo: self.inference_geos.agreed(self.bodies),
            inference_geos: self.inference_geos.into_values(),
            truncated,
            tools: self.tools.into_values(),
            mcp_servers: self.mcp_servers.into_values(),
            batch_requests: if self.dialect == Dialect::Batch { self.facts.batch_requests } else { 0 },
            ..self.facts
        }
    }

    fn fail(&mut self, fault: ScanFault) -> Action<Node> {
        self.fault = Some(fault);
        Action::Skip
    }

    /// An object or array of ours begins.
    fn enter(&mut self, node: Node) -> Action<Node> {
        *self.seen.level(node) = 0;
        if node == Node::Body {
            self.bodies += 1;
            self.max_tokens = None;
            self.prompt = Prompt::default();
        }
        Action::Enter(node)
    }

    /// A message body is complete.
    fn end_body(&mut self) {
        self.prompt_tokens = self.prompt_tokens.saturating_add(self.prompt.tokens());
        self.facts.max_tokens = self.facts.max_tokens.max(self.max_tokens);
        if let Some(max_tokens) = self.max_tokens {
            let sum = self.facts.max_tokens_sum.unwrap_or_default();
            self.facts.max_tokens_sum = Some(sum.saturating_add(max_tokens));
        }
    }

    /// A tool is complete.
    fn end_tool(&mut self) {
        let tool = std::mem::take(&mut self.tool);
        let of_api = tool.kind.as_deref().is_some_and(|kind| !CLIENT_TOOL_KINDS.contains(&kind));
        self.prompt.tool(of_api);
        self.tools.add(tool);
    }

    /// A member that is no fact begins.
    fn weigh(&mut self, parent: Node, key: &str, kind: ValueKind) -> Action<Node> {
        match place(parent, key, kind) {
            Place::Do(Action::Enter(Node::Tool)) => {
                self.tool = RequestedTool::default();
                return self.enter(Node::Tool);
            }
            Place::Do(Action::Enter(Node::CacheControl)) => {
                self.facts.cache_write = self.facts.cache_write.max(Some(CacheTtl::FiveMinutes));
                return Action::Enter(Node::CacheControl);
            }
            Place::Do(Action::Enter(Node::Source)) => {
                self.source = Source::default();
                return Action::Enter(Node::Source);
            }
            Place::Do(action) => return action,
            Place::Thinking => self.prompt.thinking(),
            Place::Citations => self.prompt.citations(),
            Place::Remote => self.source.remote(),
        }
        Action::Skip
    }

    /// An element that must be an object.
    fn enter_element(&mut self, node: Node, kind: ValueKind, list: Field) -> Action<Node> {
        match kind {
            ValueKind::Object => self.enter(node),
            _ => self.fail(ScanFault::UnexpectedType { field: list.name() }),
        }
    }

    fn keep(&mut self, field: Field, value: Captured<'_>) -> Option<()> {
        match field {
            Field::Stream => self.facts.stream |= value.boolean()?,
            Field::MaxTokens
            | Field::MaxTokensToSample
            | Field::MaxCompletionTokens
            | Field::FallbackMaxTokens => {
                self.max_tokens = self.max_tokens.max(Some(value.unsigned()?));
            }
            Field::Model => {
                let name = value.text()?;
                self.check_spelling(field, &name);
                self.models.add(&name);
            }
            Field::FallbackModel | Field::ModelOfTool => {
                let name = value.text()?;
                self.check_spelling(field, &name);
                self.models.note(&name);
            }
            Field::Fallbacks => {
                value.text()?;
                self.facts.has_default_fallback = true;
            }
            Field::UserId => self.user_ids.add(&value.text()?),
            Field::ServiceTier => self.service_tiers.add(&value.text()?),
            Field::Speed => self.speeds.add(&value.text()?),
            Field::FallbackSpeed => self.speeds.note(&value.text()?),
            Field::InferenceGeo => self.inference_geos.add(&value.text()?),
            Field::ToolName | Field::FunctionName => {
                let name = value.text()?;
                if self.tool.name.is_some() {
                    self.fail(ScanFault::DuplicateField { field: Field::ToolName.name() });
                }
                self.tool.name = Some(name.into());
            }
            Field::ToolType => self.tool.kind = Some(value.text()?.into()),
            Field::McpServerOfTool => self.tool.mcp_server = Some(value.text()?.into()),
            Field::McpServerName => self.mcp_server.name = Some(value.text()?.into()),
            Field::McpServerUrl => {
                let url = value.text()?;
                if !is_plain_address(&url) {
                    self.fail(ScanFault::Spelling { field: field.name() });
                }
                self.mcp_server.url = Some(url.into());
            }
            Field::Requests
            | Field::Params
            | Field::Metadata
            | Field::Messages
            | Field::Tools
            | Field::Functions
            | Field::Function
            | Field::McpServers
            | Field::Container
            | Field::ContextManagement => {}
        }
        Some(())
    }

    /// The API's ids are lower case without blanks. Whether it would take a name that only looks like one of them for
    /// that model is not documented, and who forbids a model must not depend on it.
    fn check_spelling(&mut self, field: Field, name: &str) {
        let plain = name.bytes().all(|byte| byte.is_ascii_graphic());
        let upper = name.bytes().any(|byte| byte.is_ascii_uppercase());
        if !plain || (upper && name.to_ascii_lowercase().contains("claude")) {
            self.fail(ScanFault::Spelling { field: field.name() });
        }
    }
}

/// Whether every parser of addresses finds the same host in it. `https://a\@b` is at `a` to some and at `b` to others, and
/// so is `https:b://a`; blanks and line ends are dropped by some and kept by others. The API takes web addresses only.
fn is_plain_address(url: &str) -> bool {
    let scheme = url.split_once("://").map(|(scheme, _)| scheme);
    let of_the_web =
        scheme.is_some_and(|scheme| ["https", "http"].iter().any(|web| scheme.eq_ignore_ascii_case(web)));
    of_the_web && url.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
}

impl Visitor for FactsReader {
    type Node = Node;

    fn root(&mut self, kind: ValueKind) -> Action<Node> {
        match (kind, self.dialect) {
            (ValueKind::Object, Dialect::Batch) => self.enter(Node::Batch),
            (ValueKind::Object, _) => self.enter(Node::Body),
            _ => self.fail(ScanFault::NotAnObject),
        }
    }

    fn member(&mut self, parent: Node, key: &str, kind: ValueKind) -> Action<Node> {
        if self.fault.is_some() {
            return Action::Skip;
        }
        // Most members of a body are the blocks' and the messages', which are no facts.
        let field = match parent {
            Node::Block | Node::Message | Node::Source => None,
            _ => Field::find(self.dialect, parent, key),
        };
        let Some(field) = field else { return self.weigh(parent, key, kind) };
        let seen = self.seen.level(parent);
        if *seen & field.bit() != 0 {
            return self.fail(ScanFault::DuplicateField { field: field.name() });
        }
        *seen |= field.bit();
        match (field.shape(), kind) {
            (_, ValueKind::Null) => Action::Skip,
            (Shape::Text(limit) | Shape::ArrayOrText(_, limit), ValueKind::String)
            | (Shape::Unsigned(limit), ValueKind::Number) => Action::Capture(Node::Value(field), limit),
            (Shape::Boolean, ValueKind::Boolean) => Action::Capture(Node::Value(field), "false".len()),
            (Shape::Object(node), ValueKind::Object)
            | (Shape::Array(node) | Shape::ArrayOrText(node, _), ValueKind::Array) => self.enter(node),
            (Shape::Any, _) => {
                self.facts.has_container |= field == Field::Container;
                self.facts.has_context_management |= field == Field::ContextManagement;
                Action::Skip
            }
            _ => self.fail(ScanFault::UnexpectedType { field: field.name() }),
        }
    }

    fn element(&mut self, parent: Node, kind: ValueKind) -> Action<Node> {
        if self.fault.is_some() {
            return Action::Skip;
        }
        match parent {
            Node::Messages => {
                self.facts.message_count += 1;
                self.prompt.message();
                if kind == ValueKind::Object { Action::Enter(Node::Message) } else { Action::Skip }
            }
            Node::Content if kind == ValueKind::Object => Action::Enter(Node::Block),
            Node::Fallbacks => self.enter_element(Node::Fallback, kind, Field::Fallbacks),
            Node::Requests => {
                self.facts.batch_requests += 1;
                self.enter_element(Node::Request, kind, Field::Requests)
            }
            Node::Tools => {
                self.tool = RequestedTool::default();
                self.enter_element(Node::Tool, kind, Field::Tools)
            }
            Node::McpServers => {
                self.mcp_server = RequestedMcpServer::default();
                self.enter_element(Node::McpServer, kind, Field::McpServers)
            }
            _ => Action::Skip,
        }
    }

    fn captured(&mut self, node: Node, value: Captured<'_>) {
        match node {
            Node::Measured(Weight::Data) => self.source.data(value.length),
            Node::Measured(weight) => self.prompt.add(weight, value.length),
            Node::MediaType => {
                if let Some(name) = value.text() {
                    self.source.media_type(&name);
                }
            }
            Node::Ttl if value.text().as_deref() == Some("1h") => {
                self.facts.cache_write = Some(CacheTtl::OneHour);
            }
            Node::Value(field) if value.cut => {
                self.fail(ScanFault::TooLong { field: field.name() });
            }
            Node::Value(field) if self.keep(field, value).is_none() => {
                self.fail(ScanFault::UnexpectedType { field: field.name() });
            }
            _ => {}
        }
    }

    fn leave(&mut self, node: Node) {
        if self.fault.is_some() {
            return;
        }
        match node {
            Node::Tool => self.end_tool(),
            Node::McpServer => self.mcp_servers.add(std::mem::take(&mut self.mcp_server)),
            Node::Source => self.prompt.source(std::mem::take(&mut self.source)),
            Node::Body => self.end_body(),
            _ => {}
        }
    }
}
