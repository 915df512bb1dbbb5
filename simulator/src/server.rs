//! Accepting connections: HTTP/1.1 and HTTP/2 on one port, plain or TLS, and an orderly end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use crate::config::{Seed, SimulatorConfig, TlsFiles};
use crate::endpoint::{BatchStore, FileStore};
use crate::request_log::{LoggedRequest, RequestCounts, RequestLog};
use crate::service;
use crate::state::{AnswerCache, State};
use crate::steering::{Steering, SteeringError};
use crate::wire::{CutSwitch, Socket, Wire};

/// More connections than any test opens; beyond it new ones are closed at once.
const MAX_CONNECTIONS: usize = 20_000;
/// An idle connection is kept this long, as the real edge does: pools of clients and proxies rely on it.
const HEAD_TIMEOUT: Duration = Duration::from_secs(600);
/// A client has this long to finish a TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// More headers than the service's clients send, and hyper's default is below what tests of proxies try.
const MAX_HEADERS: usize = 300;
/// How long answers under way may take when the simulator is shut down.
const DRAIN: Duration = Duration::from_secs(2);
/// Pause after an accept that failed for want of file descriptors, so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Why a simulator did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address of the configuration.
        address: SocketAddr,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// The steering defaults are wrong.
    #[error("the steering defaults are wrong")]
    Defaults(#[source] SteeringError),
    /// A certificate or key file cannot be read.
    #[error("cannot read {file}")]
    Pem {
        /// The file.
        file: String,
        /// What is wrong with it.
        #[source]
        cause: rustls_pki_types::pem::Error,
    },
    /// Certificate and key do not make a TLS server.
    #[error("the certificate and key cannot be used")]
    Tls(#[source] rustls::Error),
    /// The system gives no random numbers.
    #[error("the system has no randomness")]
    Randomness,
}

/// A running simulator. Dropping it ends all its connections.
#[derive(Debug)]
pub struct Simulator {
    local_addr: SocketAddr,
    log: Arc<RequestLog>,
    stop: watch::Sender<()>,
    accepting: JoinHandle<()>,
}

/// Connections that may wait to be accepted: load tests open hundreds at once.
const ACCEPT_BACKLOG: u32 = 4_096;

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(ACCEPT_BACKLOG)
}

impl Simulator {
    /// Starts serving on the current tokio runtime.
    ///
    /// # Errors
    ///
    /// When the address is taken, or the steering defaults or the TLS files are wrong.
    #[expect(clippy::unused_async, reason = "it spawns tasks: an async caller surely has a runtime")]
    pub async fn start(config: SimulatorConfig) -> Result<Self, StartError> {
        let defaults = Steering::default().with(&config.defaults).map_err(StartError::Defaults)?;
        let tls = config.tls.as_ref().map(acceptor).transpose()?;
        let listen = |cause| StartError::Listen { address: config.listen, cause };
        let listener = bind(config.listen).map_err(listen)?;
        let local_addr = listener.local_addr().map_err(listen)?;
        let log = Arc::new(RequestLog::new(config.log_capacity));
        let scheme = if tls.is_some() { "https" } else { "http" };
        let state = Arc::new(State {
            defaults,
            seed: config.seed,
            accepted_keys: config.accepted_keys,
            results_origin: config.results_origin,
            own_origin: format!("{scheme}://{local_addr}"),
            log: Arc::clone(&log),
            files: FileStore::default(),
            batches: BatchStore::default(),
            counter: AtomicU64::new(first_seed(config.seed)?),
            cache: AnswerCache::default(),
        });
        let (stop, stopped) = watch::channel(());
        let accepting = tokio::spawn(accept(listener, tls, state, stopped));
        Ok(Self { local_addr, log, stop, accepting })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// The latest requests, oldest first.
    pub fn requests(&self) -> Vec<LoggedRequest> {
        self.log.requests()
    }

    /// How many requests there were, by ending.
    pub fn counts(&self) -> RequestCounts {
        self.log.counts()
    }

    /// Stops accepting, gives answers under way two seconds, then closes everything.
    pub async fn shutdown(mut self) {
        self.stop.send_replace(());
        if tokio::time::timeout(DRAIN, &mut self.accepting).await.is_err() {
            self.accepting.abort();
        }
    }

    /// Serves for as long as the returned future is polled.
    pub async fn serve(mut self) {
        if let Err(error) = (&mut self.accepting).await {
            tracing::error!(%error, "the simulator's accept loop ended");
        }
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.accepting.abort(); // its connections live in a set that it owns
    }
}

/// Where the counter of per-request seeds starts: somewhere else in every process.
fn first_seed(seed: Seed) -> Result<u64, StartError> {
    use ring::rand::SecureRandom as _;
    let mut bytes = [0; 8];
    if seed == Seed::PerRequest {
        ring::rand::SystemRandom::new().fill(&mut bytes).map_err(|_| StartError::Randomness)?;
    }
    Ok(u64::from_le_bytes(bytes))
}

fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor, StartError> {
    let pem = |file: &std::path::Path| {
        let file = file.display().to_string();
        move |cause| StartError::Pem { file, cause }
    };
    let chain = CertificateDer::pem_file_iter(&files.certificates)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(pem(&files.certificates))?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(pem(&files.key))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(StartError::Tls)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn accept(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    state: Arc<State>,
    mut stopped: watch::Receiver<()>,
) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            _ = stopped.changed() => break,
        };
        let Ok((socket, _)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        state.log.connected();
        if connections.len() >= MAX_CONNECTIONS || socket.set_nodelay(true).is_err() {
            continue;
        }
        connections.spawn(connection(socket, tls.clone(), Arc::clone(&state), stopped.clone()));
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn connection(
    socket: TcpStream,
    tls: Option<TlsAcceptor>,
    state: Arc<State>,
    stopped: watch::Receiver<()>,
) {
    let Some(tls) = tls else {
        return serve(socket, state, stopped).await;
    };
    match tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(socket)).await {
        Ok(Ok(socket)) => serve(socket, state, stopped).await,
        Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
        Err(_) => tracing::debug!("TLS handshake took too long"),
    }
}

async fn serve<S: Socket>(socket: S, state: Arc<State>, mut stopped: watch::Receiver<()>) {
    let switch = CutSwitch::default();
    let io = TokioIo::new(Wire::new(socket, switch.clone()));
    let service = service_fn(move |request| {
        let (state, switch) = (Arc::clone(&state), switch.clone());
        async move { Ok::<_, std::convert::Infallible>(service::handle(state, switch, request).await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_headers(MAX_HEADERS);
    builder.http2().timer(TokioTimer::new());
    let mut connection = std::pin::pin!(builder.serve_connection(io, service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        _ = stopped.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error = %error, "connection ended early");
    }
}
