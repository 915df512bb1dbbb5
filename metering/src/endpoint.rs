//! Which API endpoint is this? Decides what is scanned, what is metered and what name a ledger row carries.

mod path;
mod routes;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use path::Segments;
use routes::{Family, ROUTES};

/// How much of an unknown path a ledger row keeps: enough to recognise it, too little to fill the ledger with it.
pub const MAX_UNKNOWN_PATH_BYTES: usize = 128;

/// The longest batch id that is believed; the API's have about 35 characters.
pub const MAX_BATCH_ID_BYTES: usize = 128;

/// A kind of call, as far as metering and policy tell them apart. Where an endpoint is named, only the method that the
/// API documents for it counts: any other method on its path is [`Self::Other`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndpointKind {
    /// `POST /v1/messages`: billed.
    Messages,
    /// `POST /v1/messages/count_tokens`: free, and never booked as tokens.
    CountTokens,
    /// A batch is created or managed: free, its results are billed.
    Batches(BatchCall),
    /// `GET /v1/messages/batches/{id}/results`: one billed message per line.
    BatchResults,
    /// `POST /v1/complete`, legacy: billed but reports no usage.
    Complete,
    /// `POST /v1/chat/completions`, the OpenAI-compatible endpoint: billed, in another usage shape.
    ChatCompletions,
    /// Models and their listing.
    Models,
    /// Files; uploads are multipart and can have 500 MB.
    Files,
    /// Skills; uploads are multipart.
    Skills,
    /// User profiles.
    UserProfiles,
    /// The event stream of a managed session or thread: a stream on GET.
    SessionStream,
    /// Managed agents and what belongs to them: sessions, environments, vaults, memory stores, dreams, tunnels.
    ManagedAgents,
    /// The organisation's administration and reports.
    Organization,
    /// Token exchange: bodies are secrets.
    OAuth,
    /// Everything else: passed through.
    Other,
}

/// What is done with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BatchCall {
    /// `POST /v1/messages/batches`
    Create,
    /// `GET /v1/messages/batches`
    List,
    /// `GET /v1/messages/batches/{id}`
    Get,
    /// `POST /v1/messages/batches/{id}/cancel`
    Cancel,
    /// `DELETE /v1/messages/batches/{id}`
    Delete,
}

impl EndpointKind {
    /// A short snake_case name, for metric labels.
    pub fn label(self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::CountTokens => "count_tokens",
            Self::Batches(_) => "batches",
            Self::BatchResults => "batch_results",
            Self::Complete => "complete",
            Self::ChatCompletions => "chat_completions",
            Self::Models => "models",
            Self::Files => "files",
            Self::Skills => "skills",
            Self::UserProfiles => "user_profiles",
            Self::SessionStream => "session_stream",
            Self::ManagedAgents => "managed_agents",
            Self::Organization => "organization",
            Self::OAuth => "oauth",
            Self::Other => "other",
        }
    }
}

/// The endpoint that a request is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// What kind of call it is.
    pub kind: EndpointKind,
    /// The path with `{id}` in place of ids, so that it has few values; an unknown path as it came, cut to
    /// [`MAX_UNKNOWN_PATH_BYTES`].
    pub template: Arc<str>,
    /// The batch that a batch call names.
    pub batch_id: Option<Arc<str>>,
}

impl Endpoint {
    /// Classifies a request by its method and path; a query is ignored.
    ///
    /// Spellings of a path that servers commonly take for the same resource (`%6d` for `m`, doubled slashes, dot
    /// segments, a slash at the end) are classified alike, or they would lead around the policy. A path prefix is not
    /// looked through: the API itself would not either.
    pub fn of(method: &str, path: &str) -> Self {
        let path = path.split(['?', '#']).next().unwrap_or_default();
        let normal = path::normalize(path);
        let known = Segments::of(&normal).and_then(|segments| {
            let route = ROUTES.iter().find(|route| segments.match_template(&route.segments))?;
            let kind = route.family.kind(method);
            let batch_id = match route.family {
                Family::Batch | Family::BatchCancel | Family::BatchResults => batch_id(&segments),
                _ => None,
            };
            Some(Self { kind, template: Arc::clone(&route.template), batch_id })
        });
        known.unwrap_or_else(|| Self { kind: EndpointKind::Other, template: unknown(path), batch_id: None })
    }
}

/// The fourth segment of `/v1/messages/batches/{id}`.
fn batch_id(segments: &Segments<'_>) -> Option<Arc<str>> {
    segments.get(3).filter(|id| id.len() <= MAX_BATCH_ID_BYTES).map(Arc::from)
}

fn unknown(path: &str) -> Arc<str> {
    let end = path.floor_char_boundary(MAX_UNKNOWN_PATH_BYTES);
    path.get(..end).unwrap_or_default().into()
}
