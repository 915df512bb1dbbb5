//! What request headers say about where a request comes from: session, agents, class and retries.

use std::sync::Arc;

use http::header::{HeaderMap, HeaderName};
use serde::{Deserialize, Serialize};

use crate::request_metadata::{self, Metadata};

/// The longest header value that is copied into events. Ids are UUIDs; anything longer is not one of ours to keep.
const MAX_VALUE_BYTES: usize = 256;

const SESSION_ID: HeaderName = HeaderName::from_static("x-claude-code-session-id");
const AGENT_ID: HeaderName = HeaderName::from_static("x-claude-code-agent-id");
const PARENT_AGENT_ID: HeaderName = HeaderName::from_static("x-claude-code-parent-agent-id");
const REQUEST_CLASS: HeaderName = HeaderName::from_static("x-claude-code-request-class");
const RETRY_COUNT: HeaderName = HeaderName::from_static("x-stainless-retry-count");

/// The client's own account of a request. Unverified: good for showing cost as a tree, and never a reason to allow anything that
/// would be refused for who it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attribution {
    pub(crate) session_id: Option<Arc<str>>,
    pub(crate) agent_id: Option<Arc<str>>,
    pub(crate) parent_agent_id: Option<Arc<str>>,
    pub(crate) request_class: Option<Arc<str>>,
    /// Retries of the same logical call before this request; 0 when the client does not say.
    pub(crate) retry_count: u32,
    /// Free names and values, beside the labels of the key.
    #[serde(default, skip_serializing_if = "Metadata::is_empty")]
    pub(crate) metadata: Metadata,
}

impl Attribution {
    /// Reads it from a request's headers. Values that are not short printable ASCII are ignored.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        Self {
            session_id: text(headers, &SESSION_ID).map(Arc::from),
            agent_id: text(headers, &AGENT_ID).map(Arc::from),
            parent_agent_id: text(headers, &PARENT_AGENT_ID).map(Arc::from),
            request_class: text(headers, &REQUEST_CLASS).map(Arc::from),
            retry_count: text(headers, &RETRY_COUNT).and_then(|count| count.parse().ok()).unwrap_or(0),
            metadata: request_metadata::read(headers),
        }
    }
}

/// The first value of a field, where it is short printable ASCII and not empty.
pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let value = headers.get(name)?.to_str().ok()?.trim_ascii();
    (!value.is_empty() && value.len() <= MAX_VALUE_BYTES).then_some(value)
}
