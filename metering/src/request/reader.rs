//! From the scanner's questions to facts.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;

use crate::json::{Action, Captured, ValueKind, Visitor};

use super::ScanFault;
use super::facts::{
    MAX_DISTINCT_VALUES, MAX_MCP_SERVERS, MAX_TOOLS, RequestFacts, RequestedMcpServer, RequestedTool,
};
use super::fields::{Dialect, Field, Node, Shape};
use super::session::session_id;

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
    seen: Seen,
}

/// Which fields the open object of each level has shown, one bit each. Metadata, tools and servers share a level: they
/// are never inside each other.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    batch: u32,
    request: u32,
    body: u32,
    part: u32,
}

impl Seen {
    fn level(&mut self, parent: Node) -> &mut u32 {
        match parent {
            Node::Batch => &mut self.batch,
            Node::Request => &mut self.request,
            Node::Body => &mut self.body,
            _ => &mut self.part,
        }
    }
}

/// The different values of one fact over all bodies.
#[derive(Debug, Default)]
struct Distinct {
    values: Vec<Arc<str>>,
    /// How many bodies have the fact.
    present: u64,
    overflowed: bool,
}

impl Distinct {
    fn add(&mut self, value: &str) {
        self.present += 1;
        if self.values.iter().any(|known| **known == *value) {
            return;
        }
        if self.values.len() < MAX_DISTINCT_VALUES {
            self.values.push(value.into());
        } else {
            self.overflowed = true;
        }
    }

    /// The value that each of so many bodies has.
    fn agreed(&self, bodies: u64) -> Option<Arc<str>> {
        match self.values.as_slice() {
            [only] if self.present == bodies && !self.overflowed => Some(Arc::clone(only)),
            _ => None,
        }
    }
}

/// A bounded list in the order of the body; a batch's items repeat each other, so there each value is listed once.
#[derive(Debug)]
struct Listed<T> {
    values: Vec<T>,
    known: Option<HashSet<T>>,
    limit: usize,
    overflowed: bool,
}

impl<T: Clone + Eq + Hash> Listed<T> {
    fn new(dialect: Dialect, limit: usize) -> Self {
        let known = (dialect == Dialect::Batch).then(HashSet::new);
        Self { values: Vec::new(), known, limit, overflowed: false }
    }

    fn add(&mut self, value: T) {
        if self.known.as_ref().is_some_and(|known| known.contains(&value)) {
            return;
        }
        if self.values.len() >= self.limit {
            self.overflowed = true;
            return;
        }
        if let Some(known) = &mut self.known {
            known.insert(value.clone());
        }
        self.values.push(value);
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
            tools: Listed::new(dialect, MAX_TOOLS),
            mcp_servers: Listed::new(dialect, MAX_MCP_SERVERS),
            tool: RequestedTool::default(),
            mcp_server: RequestedMcpServer::default(),
            bodies: 0,
            seen: Seen::default(),
        }
    }

    pub(super) fn fault(&self) -> Option<ScanFault> {
        self.fault
    }

    pub(super) fn into_facts(self) -> RequestFacts {
        let user_id = self.user_ids.agreed(self.bodies);
        let overflowed = [&self.models, &self.service_tiers, &self.speeds, &self.inference_geos]
            .iter()
            .any(|distinct| distinct.overflowed);
        RequestFacts {
            model: self.models.agreed(self.bodies),
            models: self.models.values,
            session_id: user_id.as_deref().and_then(session_id),
            user_id,
            service_tier: self.service_tiers.agreed(self.bodies),
            service_tiers: self.service_tiers.values,
            speed: self.speeds.agreed(self.bodies),
            speeds: self.speeds.values,
            inference_geo: self.inference_geos.agreed(self.bodies),
            inference_geos: self.inference_geos.values,
            truncated: overflowed || self.tools.overflowed || self.mcp_servers.overflowed,
            tools: self.tools.values,
            mcp_servers: self.mcp_servers.values,
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
        }
        Action::Enter(node)
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
            Field::MaxTokens | Field::MaxTokensToSample => {
                self.facts.max_tokens = self.facts.max_tokens.max(Some(value.unsigned()?));
            }
            Field::Model => self.models.add(&value.text()?),
            Field::UserId => self.user_ids.add(&value.text()?),
            Field::ServiceTier => self.service_tiers.add(&value.text()?),
            Field::Speed => self.speeds.add(&value.text()?),
            Field::InferenceGeo => self.inference_geos.add(&value.text()?),
            Field::ToolName => self.tool.name = Some(value.text()?.into()),
            Field::ToolType => self.tool.kind = Some(value.text()?.into()),
            Field::McpServerOfTool => self.tool.mcp_server = Some(value.text()?.into()),
            Field::McpServerName => self.mcp_server.name = Some(value.text()?.into()),
            Field::McpServerUrl => self.mcp_server.url = Some(value.text()?.into()),
            Field::Requests
            | Field::Params
            | Field::Metadata
            | Field::Messages
            | Field::Tools
            | Field::McpServers
            | Field::Container
            | Field::ContextManagement => {}
        }
        Some(())
    }
}

impl Visitor for FactsReader {
    type Node = Node;

    fn root(&mut self, kind: ValueKind) -> Action<Node> {
        match (kind, self.dialect) {
            (ValueKind::Object, Dialect::Batch) => self.enter(Node::Batch),
            (ValueKind::Object, Dialect::Messages | Dialect::Complete) => self.enter(Node::Body),
            _ => self.fail(ScanFault::NotAnObject),
        }
    }

    fn member(&mut self, parent: Node, key: &str, kind: ValueKind) -> Action<Node> {
        if self.fault.is_some() {
            return Action::Skip;
        }
        let Some(field) = Field::find(self.dialect, parent, key) else { return Action::Skip };
        let seen = self.seen.level(parent);
        if *seen & field.bit() != 0 {
            return self.fail(ScanFault::DuplicateField { field: field.name() });
        }
        *seen |= field.bit();
        match (field.shape(), kind) {
            (_, ValueKind::Null) => Action::Skip,
            (Shape::Text(limit), ValueKind::String) | (Shape::Unsigned(limit), ValueKind::Number) => {
                Action::Capture(Node::Value(field), limit)
            }
            (Shape::Boolean, ValueKind::Boolean) => Action::Capture(Node::Value(field), "false".len()),
            (Shape::Object(node), ValueKind::Object) | (Shape::Array(node), ValueKind::Array) => {
                self.enter(node)
            }
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
                Action::Skip
            }
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
        let Node::Value(field) = node else { return };
        if value.cut {
            self.fail(ScanFault::TooLong { field: field.name() });
        } else if self.keep(field, value).is_none() {
            self.fail(ScanFault::UnexpectedType { field: field.name() });
        }
    }

    fn leave(&mut self, node: Node) {
        if self.fault.is_some() {
            return;
        }
        match node {
            Node::Tool => self.tools.add(std::mem::take(&mut self.tool)),
            Node::McpServer => self.mcp_servers.add(std::mem::take(&mut self.mcp_server)),
            _ => {}
        }
    }
}
