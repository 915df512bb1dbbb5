//! What can be set about the upstream, and why each default is what it is.

use std::path::PathBuf;
use std::time::Duration;

/// From the decision to connect until the connection can carry a request: name look-up, TCP and TLS together.
/// The Python SDK gives its own connections as long.
pub const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the upstream may be silent before its response head. SDKs wait 600 s; ending first would turn their timeout into an
/// error of ours.
pub const DEFAULT_RESPONSE_TIMEOUT: Duration = Duration::from_secs(610);
/// How long the upstream may be silent within a response body. Longer than any client waits, so the client decides.
pub const DEFAULT_BODY_IDLE_TIMEOUT: Duration = Duration::from_secs(900);
/// How long an unused HTTP/1.1 connection is kept: below the 60 s after which common servers and balancers close theirs,
/// because a request sent into a closing connection is lost.
pub const DEFAULT_POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(45);
/// How many unused HTTP/1.1 connections are kept. Beyond it the upstream would hold more idle sockets than a burst reuses.
pub const DEFAULT_POOL_MAX_IDLE: usize = 512;
/// How many streams share one HTTP/2 connection before another is opened, where the upstream allows more: one lost packet
/// stalls all streams of its connection.
pub const DEFAULT_HTTP2_MAX_STREAMS: usize = 100;
/// How many HTTP/2 connections are opened before requests queue for a stream.
pub const DEFAULT_HTTP2_MAX_CONNECTIONS: usize = 32;

/// Which protocol carries requests to the upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UpstreamProtocol {
    /// HTTP/1.1 on pooled connections: the cheapest by CPU, because a connection is polled by the response body it carries.
    #[default]
    Http1,
    /// HTTP/2 only: by ALPN over TLS, with prior knowledge over plain TCP.
    Http2,
    /// What the upstream prefers by ALPN; HTTP/1.1 over plain TCP.
    Auto,
}

/// When the circuit opens and how it closes again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerConfig {
    /// This many transport failures within `window` open the circuit.
    pub failures: usize,
    /// See `failures`.
    pub window: Duration,
    /// How long the open circuit refuses everything.
    pub open_for: Duration,
    /// How many trial requests may be under way once `open_for` is over. One success closes the circuit.
    pub trials: usize,
}

impl Default for BreakerConfig {
    /// 5 failures in 30 s open it; 30 s later 3 trials.
    fn default() -> Self {
        Self { failures: 5, window: Duration::from_secs(30), open_for: Duration::from_secs(30), trials: 3 }
    }
}

/// Where requests go and how patient we are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamConfig {
    /// `http://` or `https://`, a host, optionally a port and a path that goes in front of every request's path.
    pub url: String,
    /// See [`UpstreamProtocol`].
    pub protocol: UpstreamProtocol,
    /// A PEM file of certificate authorities trusted beside the machine's own.
    pub extra_ca_file: Option<PathBuf>,
    /// See [`DEFAULT_CONNECT_TIMEOUT`].
    pub connect_timeout: Duration,
    /// See [`DEFAULT_RESPONSE_TIMEOUT`].
    pub response_timeout: Duration,
    /// See [`DEFAULT_BODY_IDLE_TIMEOUT`].
    pub body_idle_timeout: Duration,
    /// See [`DEFAULT_POOL_IDLE_TIMEOUT`].
    pub pool_idle_timeout: Duration,
    /// See [`DEFAULT_POOL_MAX_IDLE`].
    pub pool_max_idle: usize,
    /// See [`DEFAULT_HTTP2_MAX_STREAMS`].
    pub http2_max_streams: usize,
    /// See [`DEFAULT_HTTP2_MAX_CONNECTIONS`].
    pub http2_max_connections: usize,
    /// See [`BreakerConfig`].
    pub breaker: BreakerConfig,
}

impl UpstreamConfig {
    /// The defaults, for the upstream at `url`.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            protocol: UpstreamProtocol::default(),
            extra_ca_file: None,
            connect_timeout: DEFAULT_CONNECT_TIMEOUT,
            response_timeout: DEFAULT_RESPONSE_TIMEOUT,
            body_idle_timeout: DEFAULT_BODY_IDLE_TIMEOUT,
            pool_idle_timeout: DEFAULT_POOL_IDLE_TIMEOUT,
            pool_max_idle: DEFAULT_POOL_MAX_IDLE,
            http2_max_streams: DEFAULT_HTTP2_MAX_STREAMS,
            http2_max_connections: DEFAULT_HTTP2_MAX_CONNECTIONS,
            breaker: BreakerConfig::default(),
        }
    }
}

/// Why an upstream cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamConfigError {
    /// Not a URL that names a server.
    #[error("upstream url {url:?} {fault}")]
    Url {
        /// As configured.
        url: String,
        /// What is wrong with it; completes the sentence.
        fault: &'static str,
    },
    /// The extra CA file cannot be used.
    #[error("certificate authorities in {path:?} cannot be read")]
    ExtraCa {
        /// As configured.
        path: PathBuf,
        /// What went wrong.
        #[source]
        cause: rustls_pki_types::pem::Error,
    },
    /// The extra CA file holds no usable certificate.
    #[error("{path:?} holds no usable certificate")]
    NoExtraCa {
        /// As configured.
        path: PathBuf,
    },
    /// The certificate to show and its key do not belong together, or are not supported.
    #[error("certificate and key cannot be used together")]
    Identity(#[source] rustls::Error),
    /// The TLS library refuses the settings.
    #[error("tls cannot be set up")]
    Tls(#[source] rustls::Error),
}
