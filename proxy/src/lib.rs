//! The hot path: a transparent proxy in front of the Claude API that meters and governs what it streams.
//!
//! # The life of a request
//!
//! `request.rs` reads in this order; each step is a module.
//!
//! 1. **Classify** (`mindweave_metering::Endpoint`). Method and path say what is scanned, metered and limited. Framing
//!    that could be read in two ways is refused before anything else is believed (`headers`).
//! 2. **Identify** (`identity`). Credentials lead to a principal in the one snapshot that the request keeps to its end; only
//!    one whose body has to be waited for is identified again when that is there.
//!    A MindWeave key never goes upstream; a client's own Claude credential goes on untouched.
//! 3. **Govern** (`governance`, `body`). Policies decide, limits and budgets count. The request body streams through while a
//!    scan taps it, and the scan takes the same memory for every size; only where something in force needs to know what the
//!    body asks for is it held until that is known. Bodies over the API's own limits are refused as the API would.
//! 4. **Admit** (`settle::AdmittedRecord`). A record in the journal: from here on the request will be in the ledger, also
//!    across kill -9 (`recovery`).
//! 5. **Forward** (`headers`, `upstream`). Every end-to-end header in value, order and letter case, one attempt
//!    at whatever could be billed.
//! 6. **Stream** (`tap`). Every frame goes on as it came, while metering reads along. `batches` makes the only change to
//!    bytes there is.
//! 7. **Settle** (`exchange`, `settle`). Exactly one event, whatever happens, in the journal before the client can see
//!    the end of the answer; the same figures are charged to limits and budgets.
//!
//! What the proxy answers itself is in `error`: one match from each fault to status, reason and message.
//!
//! # Known limits of transparency
//!
//! hyper keeps headers in a map, so repeated names are sent together where the first one stood. Trailers pass where a
//! `trailer` field announces them, as RFC 9110 has it, with names in lower case. A URI fragment, which no client may send,
//! is dropped. Protocol upgrades are not offered. A reason phrase survives HTTP/1.1 only, and only if it is ASCII.

mod admin;
mod attribution;
mod batch_items;
mod batches;
mod body;
mod certificate_expiry;
mod clock;
mod config;
mod control_plane;
mod error;
mod event_ids;
mod exchange;
mod governance;
mod headers;
mod held;
mod identity;
mod method;
mod metrics;
mod project_rules;
mod reach;
mod recovery;
mod request;
mod request_metadata;
mod server;
mod settle;
mod tap;
mod upstream;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mindweave_eventlog::{Journal, JournalError, Recovery};
use mindweave_metering::PriceBook;
use mindweave_policy::{AdmissionControl, SnapshotStore};
use tokio::task::JoinHandle;

pub use admin::AdminServer;
pub use config::{
    BatchResults, BodyLimits, CLAUDE_API, DEFAULT_ADMIN_LISTEN, DEFAULT_DRAIN_LIMIT, DEFAULT_HELD_BODY_BYTES,
    DEFAULT_LISTEN, JournalFull, MAX_BATCHES_BODY_BYTES, MAX_FILES_BODY_BYTES, MAX_MESSAGES_BODY_BYTES,
    ProxyConfig, Unregistered,
};
pub use control_plane::{
    CertificateError, ClientCertificate, ControlPlaneConfigError, ControlPlaneSink, Known, RemoteConfig,
    RemoteControlPlane, control_plane_in_process, restore_counters,
};
pub use governance::{IpRange, IpRangeError};
pub use metrics::{install_process_metrics, render as render_process_metrics};
pub use recovery::book_left_open;
pub use server::{
    DEFAULT_HEADER_TIMEOUT, DEFAULT_HTTP2_MAX_STREAMS, DEFAULT_IDLE_TIMEOUT, DEFAULT_MAX_CONNECTIONS,
    DEFAULT_MAX_HEADER_BYTES, DEFAULT_MAX_HEADERS, DEFAULT_STALL_TIMEOUT, DEFAULT_TLS_RELOAD_INTERVAL,
    ServerConfig, ServerError, TlsConfig,
};
pub use upstream::{
    BreakerConfig, DEFAULT_BODY_IDLE_TIMEOUT, DEFAULT_CONNECT_TIMEOUT, DEFAULT_HTTP2_MAX_CONNECTIONS,
    DEFAULT_HTTP2_MAX_STREAMS as DEFAULT_UPSTREAM_HTTP2_MAX_STREAMS, DEFAULT_POOL_IDLE_TIMEOUT,
    DEFAULT_POOL_MAX_IDLE, DEFAULT_RESPONSE_TIMEOUT, UpstreamConfig, UpstreamConfigError, UpstreamProtocol,
};

use admin::{NotReady, Readiness};
use batches::ResultsUrls;
use event_ids::EventIds;
use governance::Governance;
use request::RequestService;
use server::{Drained, Server};
use settle::Ledger;
use upstream::Upstream;

/// What a proxy works with. It owns none of it: who makes the snapshots and who ships the journal is the binary's choice.
#[derive(Debug)]
pub struct ProxyDeps {
    /// Keys, projects and whatever else requests are judged by; replaced at any time.
    pub snapshots: Arc<SnapshotStore>,
    /// Where events go.
    pub journal: Journal,
    /// What opening that journal found.
    pub recovery: Recovery,
    /// What tokens cost.
    pub prices: Arc<PriceBook>,
    /// Counts requests against limits and budgets. Made for this journal; whoever hears from the ledger feeds it. The proxy
    /// itself puts every snapshot in force there.
    pub admission: Arc<AdmissionControl>,
}

/// How often it is looked at whether the proxy should get traffic. Load balancers ask about as often.
const READINESS_INTERVAL: Duration = Duration::from_secs(1);

/// A running proxy.
#[derive(Debug)]
pub struct Proxy {
    server: Server,
    admin: Server,
    readiness: Arc<Readiness>,
    readiness_watch: JoinHandle<()>,
    metrics_upkeep: JoinHandle<()>,
    admission_upkeep: JoinHandle<()>,
    journal: Journal,
    drain_limit: Duration,
    local_addr: SocketAddr,
    admin_addr: SocketAddr,
}

/// Why a proxy cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The upstream's settings cannot be used.
    #[error("the upstream cannot be set up")]
    Upstream(#[source] UpstreamConfigError),
    /// Clients cannot be served.
    #[error("clients cannot be served")]
    Server(#[source] ServerError),
    /// Health and metrics cannot be served.
    #[error("health and metrics cannot be served")]
    Admin(#[source] ServerError),
    /// The public URL names no origin.
    #[error("public url {url:?} is not a url that starts with http:// or https://")]
    PublicUrl {
        /// As configured.
        url: String,
    },
    /// The system gives no random bytes.
    #[error("the system has no randomness")]
    Randomness,
}

impl Proxy {
    /// Books what the last stop interrupted, then serves.
    ///
    /// # Errors
    ///
    /// When a setting cannot be used or an address cannot be listened on. Nothing is served then.
    pub async fn start(config: ProxyConfig, deps: ProxyDeps) -> Result<Self, StartError> {
        metrics::show_proxy();
        let ProxyDeps { snapshots, journal, recovery, prices, admission } = deps;
        let public_url = config.public_url.map(checked_origin).transpose()?;
        let upstream = Upstream::new(&config.upstream).map_err(StartError::Upstream)?;
        let event_ids = EventIds::from_system_randomness().map_err(|_| StartError::Randomness)?;
        governance::follow(&snapshots, &admission);
        let ledger = Arc::new(Ledger::new(journal.clone(), prices, Arc::clone(&admission), event_ids));
        recovery::book_interrupted(&ledger, recovery); // which counts them, too
        let readiness = Readiness::starting();
        let admin =
            admin::start(config.admin_listen, Arc::clone(&readiness)).await.map_err(StartError::Admin)?;
        let results_urls = match config.batch_results {
            BatchResults::Rewrite => Some(ResultsUrls::new(&config.upstream.url, public_url.as_deref())),
            BatchResults::Leave => None,
        };
        let service = Arc::new(RequestService {
            unregistered: config.unregistered,
            body_limits: config.body_limits,
            journal_full: config.journal_full,
            results_urls,
            host: upstream.host_header().clone(),
            trusted_proxies: config.trusted_proxies,
            governance: Governance::new(
                Arc::clone(&admission),
                Arc::clone(&ledger),
                config.body_limits.held,
                config.upstream.response_timeout,
            ),
            snapshots: Arc::clone(&snapshots),
            ledger,
            upstream,
        });
        let server = Server::start(&config.server, service).await.map_err(StartError::Server)?;
        let no_address = || StartError::Server(ServerError::NoAddress);
        let local_addr = server.local_addrs().first().copied().ok_or_else(no_address)?;
        let admin_addr = admin.local_addrs().first().copied().ok_or_else(no_address)?;
        let watch = watch_readiness(Arc::clone(&readiness), journal.clone(), snapshots, config.journal_full);
        let readiness_watch = tokio::spawn(watch);
        let metrics_upkeep = tokio::spawn(metrics::upkeep(metrics::UPKEEP_INTERVAL));
        let admission_upkeep = tokio::spawn(governance::upkeep(admission));
        let drain_limit = config.drain_limit;
        Ok(Self {
            server,
            admin,
            readiness,
            readiness_watch,
            metrics_upkeep,
            admission_upkeep,
            journal,
            drain_limit,
            local_addr,
            admin_addr,
        })
    }

    /// Where clients connect: the first address, where there are several.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Where health and metrics are served.
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin_addr
    }

    /// Stops accepting, lets answers under way end, and leaves nothing in memory that the journal should have.
    ///
    /// # Errors
    ///
    /// When the journal's disk failed. What was lost is then counted by the journal.
    pub async fn drain(self) -> Result<(), JournalError> {
        self.readiness.raise(NotReady::Draining);
        let Drained { aborted } = self.server.drain(self.drain_limit).await;
        if aborted > 0 {
            tracing::warn!(connections = aborted, "answers were cut at the deadline of the drain");
        }
        self.readiness_watch.abort();
        self.admission_upkeep.abort();
        let flushed = self.journal.flush().await;
        self.admin.drain(admin::DRAIN_LIMIT).await; // last, so that the drain could be watched
        self.metrics_upkeep.abort();
        flushed
    }
}

/// Keeps readiness true to what requests would find.
async fn watch_readiness(
    readiness: Arc<Readiness>,
    journal: Journal,
    snapshots: Arc<SnapshotStore>,
    journal_full: JournalFull,
) {
    let mut ticks = tokio::time::interval(READINESS_INTERVAL);
    loop {
        ticks.tick().await; // the first at once
        let stats = journal.stats();
        let refusing = journal_full == JournalFull::Refuse && (stats.full.is_some() || stats.failed);
        for (reason, holds) in [
            (NotReady::JournalFull, refusing),
            (NotReady::NoSnapshot, snapshots.load().revision == 0),
            (NotReady::Starting, false),
        ] {
            if holds {
                readiness.raise(reason);
            } else {
                readiness.clear(reason);
            }
        }
    }
}

/// An origin, perhaps with a path, to be put before paths.
fn checked_origin(url: String) -> Result<String, StartError> {
    let usable = url.parse::<http::Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.authority().is_some()
            && uri.query().is_none()
    });
    if usable { Ok(url) } else { Err(StartError::PublicUrl { url }) }
}
