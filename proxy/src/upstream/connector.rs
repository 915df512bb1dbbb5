//! From a name to a connected stream.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ClientConfig;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Duration, sleep, timeout};
use tokio_rustls::TlsConnector;

use super::base_url::BaseUrl;
use super::config::{UpstreamConfig, UpstreamConfigError};
use super::error::UpstreamError;
use super::stream::Stream;
use super::tls::{self, Identity};

/// How long one address may take before the next is tried beside it (RFC 8305 recommends 250 ms).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// How many addresses of one name are tried.
const MAX_ADDRESSES: usize = 8;
/// After how much silence the kernel asks whether the peer is still there, and how often it asks again. Firewalls commonly
/// forget idle connections after minutes; a response may take ten.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// Makes connections to one upstream.
pub(super) struct Connector {
    base: Arc<BaseUrl>,
    tls: Option<TlsConnector>,
    limit: Duration,
}

impl Connector {
    pub(super) fn new(
        config: &UpstreamConfig,
        base: Arc<BaseUrl>,
        identity: Option<Identity>,
    ) -> Result<Self, UpstreamConfigError> {
        let tls: Option<Arc<ClientConfig>> =
            if base.is_tls() { Some(tls::client_config(config, identity)?) } else { None };
        Ok(Self { base, tls: tls.map(TlsConnector::from), limit: config.connect_timeout })
    }

    pub(super) async fn connect(&self) -> Result<Stream, UpstreamError> {
        timeout(self.limit, self.connect_unbounded())
            .await
            .map_err(|_elapsed| UpstreamError::ConnectTimeout)?
    }

    async fn connect_unbounded(&self) -> Result<Stream, UpstreamError> {
        let addresses = tokio::net::lookup_host((self.base.host.as_str(), self.base.port))
            .await
            .map_err(UpstreamError::Connect)?;
        let tcp = race(addresses.take(MAX_ADDRESSES)).await.map_err(UpstreamError::Connect)?;
        set_options(&tcp);
        let Some(tls) = &self.tls else { return Ok(Stream::plain(tcp)) };
        let secured = tls.connect(self.base.server_name.clone(), tcp).await.map_err(UpstreamError::Tls)?;
        Ok(Stream::tls(secured))
    }
}

/// Tries the addresses in the resolver's order, each with a head start over the next, and takes the first that connects.
async fn race(mut addresses: impl Iterator<Item = SocketAddr>) -> io::Result<TcpStream> {
    let mut attempts = JoinSet::new();
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    let mut waiting = true;
    loop {
        match addresses.next() {
            Some(address) => {
                attempts.spawn(TcpStream::connect(address));
            }
            None => waiting = false,
        }
        tokio::select! {
            finished = attempts.join_next() => match finished {
                Some(Ok(Ok(stream))) => return Ok(stream),
                Some(Ok(Err(error))) => failure = error,
                Some(Err(cancelled)) => failure = io::Error::other(cancelled),
                None => return Err(failure),
            },
            () = sleep(ATTEMPT_DELAY), if waiting => {}
        }
    }
}

/// Options make a connection better, not possible: a kernel that refuses one does not stop the request.
fn set_options(tcp: &TcpStream) {
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL);
    let outcome = tcp.set_nodelay(true).and_then(|()| SockRef::from(tcp).set_tcp_keepalive(&keepalive));
    if let Err(error) = outcome {
        tracing::debug!(%error, "socket options refused");
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn the_next_address_is_tried_when_one_refuses() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = listener.local_addr().unwrap();
        let closed = {
            let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
            gone.local_addr().unwrap()
        };
        let stream = race([closed, closed, good].into_iter()).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), good);
        assert_eq!(race([closed].into_iter()).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        assert!(race(std::iter::empty()).await.is_err());
    }
}
