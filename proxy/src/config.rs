//! What a proxy can be told. Plain data: reading files and the environment is the binary's business.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use mindweave_metering::EndpointKind;

use crate::governance::IpRange;
use crate::server::ServerConfig;
use crate::upstream::UpstreamConfig;

/// Messages, token counting and everything else that is JSON: the API's limit, with `MB` read as the larger unit, so that
/// we never refuse what the API would take.
pub const MAX_MESSAGES_BODY_BYTES: u64 = 32 * 1024 * 1024;
/// Creation of a batch.
pub const MAX_BATCHES_BODY_BYTES: u64 = 256 * 1024 * 1024;
/// Uploads, and paths we do not know: the largest limit that the API has anywhere.
pub const MAX_FILES_BODY_BYTES: u64 = 500 * 1024 * 1024;
/// Bodies that are held until somebody has decided on them, all together: two of the largest batches, or thousands of usual
/// messages.
pub const DEFAULT_HELD_BODY_BYTES: u64 = 512 * 1024 * 1024;
/// Where clients connect unless told otherwise: this machine only.
pub const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8000);
/// Where health and metrics are served unless told otherwise.
pub const DEFAULT_ADMIN_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9090);
/// The API behind it.
pub const CLAUDE_API: &str = "https://api.anthropic.com";
/// How long a drain waits for answers under way: as long as clients wait for one, so that only what nobody reads is cut.
pub const DEFAULT_DRAIN_LIMIT: Duration = Duration::from_secs(600);

/// Everything about a proxy that is decided before it starts.
#[derive(Clone, Debug)]
pub struct ProxyConfig {
    /// Where clients connect, and how connections are held.
    pub server: ServerConfig,
    /// Where health and metrics are served, never where clients connect.
    pub admin_listen: SocketAddr,
    /// Where requests go, and how patiently.
    pub upstream: UpstreamConfig,
    /// How long a drain waits for answers under way before it cuts them.
    pub drain_limit: Duration,
    /// What happens to credentials that nobody registered.
    pub unregistered: Unregistered,
    /// How long request bodies may be.
    pub body_limits: BodyLimits,
    /// What happens while the journal has no room.
    pub journal_full: JournalFull,
    /// What happens to `results_url` in batch objects.
    pub batch_results: BatchResults,
    /// The origin under which clients know this proxy, where `host` does not say it (behind a TLS-terminating load
    /// balancer, for example).
    pub public_url: Option<String>,
    /// Proxies in front of this one, whose word in `x-forwarded-for` counts. Elsewhere the peer is the client.
    pub trusted_proxies: Vec<IpRange>,
}

impl ProxyConfig {
    /// The defaults, in front of the API at `upstream`.
    pub fn new(upstream: impl Into<String>) -> Self {
        Self {
            server: ServerConfig::new(DEFAULT_LISTEN),
            admin_listen: DEFAULT_ADMIN_LISTEN,
            upstream: UpstreamConfig::new(upstream),
            drain_limit: DEFAULT_DRAIN_LIMIT,
            unregistered: Unregistered::default(),
            body_limits: BodyLimits::default(),
            journal_full: JournalFull::default(),
            batch_results: BatchResults::default(),
            public_url: None,
            trusted_proxies: Vec::new(),
        }
    }
}

/// What happens to credentials that nobody registered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unregistered {
    /// Their requests are passed on and belong to the default project. For one team with one project.
    DefaultProject,
    /// They are refused with 401. For everybody else.
    #[default]
    Reject,
}

/// What happens while the journal has no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum JournalFull {
    /// Requests are refused with 503: nothing is forwarded that could not be recorded.
    #[default]
    Refuse,
    /// Requests are forwarded; those whose usage cannot be recorded are counted and lost to the ledger.
    Drop,
}

/// What happens to `results_url` in batch objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BatchResults {
    /// It is made to point to the proxy, so that results are downloaded, and metered, through it.
    #[default]
    Rewrite,
    /// It stays as the API gave it: every byte of every answer is the API's, and batches go unmetered.
    Leave,
}

/// How many bytes request bodies may have. Longer ones are refused with 413, as the API would.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyLimits {
    /// See [`MAX_MESSAGES_BODY_BYTES`].
    pub messages: u64,
    /// See [`MAX_BATCHES_BODY_BYTES`].
    pub batches: u64,
    /// See [`MAX_FILES_BODY_BYTES`].
    pub files: u64,
    /// All bodies together that are held back until policies, limits or budgets have been asked. Requests that find no room
    /// are refused with 529. See [`DEFAULT_HELD_BODY_BYTES`].
    pub held: u64,
}

impl Default for BodyLimits {
    fn default() -> Self {
        Self {
            messages: MAX_MESSAGES_BODY_BYTES,
            batches: MAX_BATCHES_BODY_BYTES,
            files: MAX_FILES_BODY_BYTES,
            held: DEFAULT_HELD_BODY_BYTES,
        }
    }
}

impl BodyLimits {
    pub(crate) fn of(&self, kind: EndpointKind) -> u64 {
        match kind {
            EndpointKind::Messages
            | EndpointKind::CountTokens
            | EndpointKind::Complete
            | EndpointKind::ChatCompletions
            | EndpointKind::ManagedAgents
            | EndpointKind::SessionStream => self.messages,
            EndpointKind::Batches(_) => self.batches,
            EndpointKind::BatchResults
            | EndpointKind::Models
            | EndpointKind::Files
            | EndpointKind::Skills
            | EndpointKind::UserProfiles
            | EndpointKind::Organization
            | EndpointKind::OAuth
            | EndpointKind::Other => self.files,
        }
    }
}
