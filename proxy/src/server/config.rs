//! What can be set about the listeners, and why each default is what it is.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// How many client connections may be open. An idle one costs about 20 KB and a file descriptor; the limit keeps a flood
/// from taking the descriptors that upstream connections need. Beyond it connections wait in the kernel's backlog.
pub const DEFAULT_MAX_CONNECTIONS: usize = 16_384;
/// From accepting a connection until its first request head is complete, TLS handshake included, and from the first byte of any
/// later head until its last.
pub const DEFAULT_HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a connection may be open without a request: above the 60 s for which load balancers commonly keep theirs, so
/// that they close first and none of their requests meets a closing connection.
pub const DEFAULT_IDLE_TIMEOUT: Duration = Duration::from_secs(120);
/// How long a connection with a request under way may move no byte in either direction. Above the upstream's own limits, whose
/// errors are to reach the client first; this one is for clients that neither send nor read.
pub const DEFAULT_STALL_TIMEOUT: Duration = Duration::from_secs(960);
/// How large a request head may be. Agents send long metadata and traces; the API itself takes less.
pub const DEFAULT_MAX_HEADER_BYTES: usize = 320 * 1024;
/// How many header fields a request may have: what no client sends, at a cost no attacker gains from.
pub const DEFAULT_MAX_HEADERS: usize = 256;
/// How many requests one HTTP/2 connection may have under way.
pub const DEFAULT_HTTP2_MAX_STREAMS: u32 = 256;
/// How often certificate files are looked at.
pub const DEFAULT_TLS_RELOAD_INTERVAL: Duration = Duration::from_secs(5);

/// Where and how clients connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// Addresses to listen on; port 0 takes a free one.
    pub listen: Vec<SocketAddr>,
    /// With it every listener speaks TLS, without it none does.
    pub tls: Option<TlsConfig>,
    /// See [`DEFAULT_MAX_CONNECTIONS`].
    pub max_connections: usize,
    /// See [`DEFAULT_HEADER_TIMEOUT`].
    pub header_timeout: Duration,
    /// See [`DEFAULT_IDLE_TIMEOUT`].
    pub idle_timeout: Duration,
    /// See [`DEFAULT_STALL_TIMEOUT`].
    pub stall_timeout: Duration,
    /// See [`DEFAULT_MAX_HEADER_BYTES`].
    pub max_header_bytes: usize,
    /// See [`DEFAULT_MAX_HEADERS`].
    pub max_headers: usize,
    /// See [`DEFAULT_HTTP2_MAX_STREAMS`].
    pub http2_max_streams: u32,
}

/// A certificate to show to clients. The files are read again when they change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfig {
    /// PEM: the server's certificate first, then the intermediates.
    pub certificate_file: PathBuf,
    /// PEM: its private key.
    pub key_file: PathBuf,
    /// See [`DEFAULT_TLS_RELOAD_INTERVAL`].
    pub reload_interval: Duration,
}

impl ServerConfig {
    /// The defaults, listening on `address`.
    pub fn new(address: SocketAddr) -> Self {
        Self {
            listen: vec![address],
            tls: None,
            max_connections: DEFAULT_MAX_CONNECTIONS,
            header_timeout: DEFAULT_HEADER_TIMEOUT,
            idle_timeout: DEFAULT_IDLE_TIMEOUT,
            stall_timeout: DEFAULT_STALL_TIMEOUT,
            max_header_bytes: DEFAULT_MAX_HEADER_BYTES,
            max_headers: DEFAULT_MAX_HEADERS,
            http2_max_streams: DEFAULT_HTTP2_MAX_STREAMS,
        }
    }
}

impl TlsConfig {
    /// The certificate in these files, looked at in the default interval.
    pub fn new(certificate_file: impl Into<PathBuf>, key_file: impl Into<PathBuf>) -> Self {
        Self {
            certificate_file: certificate_file.into(),
            key_file: key_file.into(),
            reload_interval: DEFAULT_TLS_RELOAD_INTERVAL,
        }
    }
}

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Nothing to listen on.
    #[error("no address to listen on")]
    NoAddress,
    /// The address is taken or not this machine's.
    #[error("cannot listen on {address}")]
    Bind {
        /// As configured.
        address: SocketAddr,
        /// What the kernel says.
        #[source]
        cause: std::io::Error,
    },
    /// A certificate or key file cannot be read.
    #[error("cannot read {path:?}")]
    TlsFile {
        /// As configured.
        path: PathBuf,
        /// What went wrong.
        #[source]
        cause: rustls_pki_types::pem::Error,
    },
    /// Certificate and key do not belong together, or are not supported.
    #[error("certificate and key cannot be used")]
    TlsKey(#[source] rustls::Error),
}
