//! What a simulator is started with.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// Requests kept for `GET /_simulator/requests` unless configured otherwise.
const DEFAULT_LOG_CAPACITY: usize = 1_000;

/// How to start a simulator. The default listens on a free local port and answers the same request always alike.
#[derive(Clone, Debug)]
pub struct SimulatorConfig {
    /// Where to listen; port 0 picks a free one.
    pub listen: SocketAddr,
    /// Where identifiers, texts and figures come from.
    pub seed: Seed,
    /// Steering for every request, in the form of the `x-simulate` header, which wins over it key by key.
    pub defaults: String,
    /// Serve TLS with these files (HTTP/2 and HTTP/1.1 by ALPN) instead of plain text.
    pub tls: Option<TlsFiles>,
    /// The origin of `results_url` in batch objects.
    pub results_origin: ResultsOrigin,
    /// The only credentials that are accepted; empty accepts all but the obviously wrong ones.
    pub accepted_keys: Vec<String>,
    /// How many of the latest requests are kept for inspection, credentials included; 0 keeps none.
    pub log_capacity: usize,
}

impl Default for SimulatorConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            seed: Seed::Fixed(1),
            defaults: String::new(),
            tls: None,
            results_origin: ResultsOrigin::Anthropic,
            accepted_keys: Vec::new(),
            log_capacity: DEFAULT_LOG_CAPACITY,
        }
    }
}

/// Where made-up content comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seed {
    /// The same request always gets the same bytes back, identifiers included.
    Fixed(u64),
    /// Every answer differs: identifiers are unique, as in real life.
    PerRequest,
}

/// A certificate chain and its key, both PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain, leaf first.
    pub certificates: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// The origin that batch objects name in `results_url`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResultsOrigin {
    /// `https://api.anthropic.com`, as the real service does whatever the client's base URL is.
    Anthropic,
    /// The simulator's own origin.
    Own,
    /// Another one, such as `http://127.0.0.1:8000`.
    Other(String),
}

impl ResultsOrigin {
    pub(crate) fn resolve(&self, own: &str) -> String {
        match self {
            Self::Anthropic => "https://api.anthropic.com".to_owned(),
            Self::Own => own.to_owned(),
            Self::Other(origin) => origin.trim_end_matches('/').to_owned(),
        }
    }
}
