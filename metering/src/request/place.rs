//! Members that are no facts: what they are to the prompt's size, and where facts may stand inside them.

use crate::json::{Action, ValueKind};

use super::fields::Node;
use super::prompt::Weight;

/// The longest media type that is looked at; a longer one is taken for a document's.
const MAX_MEDIA_TYPE_BYTES: usize = 128;

/// Enough for every documented `ttl`, written with escapes.
const MAX_TTL_BYTES: usize = 32;

/// What to do with a member.
pub(super) enum Place {
    Do(Action<Node>),
    /// The request asks for thinking.
    Thinking,
    /// A document shall be cited.
    Citations,
    /// The source is somewhere else.
    Remote,
}

/// Where `key` in an object at `parent` belongs.
#[inline]
pub(super) fn place(parent: Node, key: &str, kind: ValueKind) -> Place {
    match parent {
        Node::Block => in_block(key, kind),
        Node::Message => in_message(key, kind),
        Node::Source => in_source(key, kind),
        Node::Tool | Node::Function => in_tool(key, kind),
        Node::Body => in_body(key, kind),
        Node::ToolChange if key == "definition" && kind == ValueKind::Object => enter(Node::Tool),
        Node::CacheControl if key == "ttl" && kind == ValueKind::String => {
            Place::Do(Action::Capture(Node::Ttl, MAX_TTL_BYTES))
        }
        _ => skip(),
    }
}

fn in_body(key: &str, kind: ValueKind) -> Place {
    match (key, kind) {
        ("system" | "prompt", ValueKind::String) => measure(Weight::Text),
        ("system", ValueKind::Array) => enter(Node::Content),
        ("output_config" | "output_format" | "response_format", ValueKind::Object) => measure(Weight::Schema),
        ("cache_control", ValueKind::Object) => enter(Node::CacheControl),
        ("thinking", ValueKind::Object) => Place::Thinking,
        _ => skip(),
    }
}

fn in_message(key: &str, kind: ValueKind) -> Place {
    match (key, kind) {
        ("content", ValueKind::String) => measure(Weight::Text),
        ("content", ValueKind::Array) => enter(Node::Content),
        ("tool_calls" | "function_call", ValueKind::Array | ValueKind::Object) => measure(Weight::Json),
        _ => skip(),
    }
}

fn in_block(key: &str, kind: ValueKind) -> Place {
    match (key, kind) {
        ("type" | "signature" | "is_error" | "caller", _) => skip(),
        ("text" | "content" | "thinking" | "title" | "context" | "source", ValueKind::String) => {
            measure(Weight::Text)
        }
        ("content", ValueKind::Array) => enter(Node::Content),
        ("content", ValueKind::Object) => enter(Node::Block),
        ("source", ValueKind::Object) => enter(Node::Source),
        ("tool", ValueKind::Object) => enter(Node::ToolChange),
        ("cache_control", ValueKind::Object) => enter(Node::CacheControl),
        ("citations", ValueKind::Object) => Place::Citations,
        ("citations", _) => skip(),
        ("image_url", _) => measure(Weight::ImageUrl),
        _ => measure(Weight::Json),
    }
}

fn in_source(key: &str, kind: ValueKind) -> Place {
    match (key, kind) {
        ("data", ValueKind::String) => measure(Weight::Data),
        ("media_type", ValueKind::String) => {
            Place::Do(Action::Capture(Node::MediaType, MAX_MEDIA_TYPE_BYTES))
        }
        ("content", ValueKind::String) => measure(Weight::Text),
        ("content", ValueKind::Array) => enter(Node::Content),
        ("url" | "file_id", ValueKind::String) => Place::Remote,
        _ => skip(),
    }
}

fn in_tool(key: &str, kind: ValueKind) -> Place {
    match (key, kind) {
        ("cache_control", ValueKind::Object) => enter(Node::CacheControl),
        _ => measure(Weight::Tool),
    }
}

fn enter(node: Node) -> Place {
    Place::Do(Action::Enter(node))
}

fn measure(weight: Weight) -> Place {
    Place::Do(Action::Capture(Node::Measured(weight), 0))
}

fn skip() -> Place {
    Place::Do(Action::Skip)
}
