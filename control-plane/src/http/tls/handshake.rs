//! From an accepted connection to a secured one.

use std::time::Duration;

use rustls::Error as TlsFault;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::{PeerCertificate, Tls};
use crate::metrics::{self, HandshakeFailure};

/// From the accepted connection to its keys. A proxy on the other side of the world needs half a second.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a refused client may take to close its side. Closed at once, what it has sent meanwhile would have the kernel
/// reset the connection, and the reason for the refusal would be lost on its way.
const LINGER: Duration = Duration::from_secs(1);
/// A client that sends more than this after its refusal does not listen.
const LINGER_BYTES: usize = 64 * 1024;

/// A secured connection.
pub(crate) struct Handshaken {
    pub(crate) stream: TlsStream<TcpStream>,
    /// The certificate that the client has shown, and that is vouched for.
    pub(crate) peer: Option<PeerCertificate>,
}

impl Tls {
    /// Shakes hands; `None` when that failed, which the client has been told.
    pub(crate) async fn accept(&self, tcp: TcpStream) -> Option<Handshaken> {
        let handshake = TlsAcceptor::from(self.server()).accept(tcp).into_fallible();
        match timeout(HANDSHAKE_TIMEOUT, handshake).await {
            Ok(Ok(stream)) => {
                let chain = stream.get_ref().1.peer_certificates();
                let peer = chain.and_then(PeerCertificate::of);
                if chain.is_some() && peer.is_none() {
                    metrics::handshake_failed(HandshakeFailure::ClientCertificate);
                    return None; // verified, and yet not readable to us
                }
                Some(Handshaken { stream, peer })
            }
            Ok(Err((error, tcp))) => {
                let fault = error.get_ref().and_then(|cause| cause.downcast_ref::<TlsFault>());
                let failure = match fault {
                    Some(TlsFault::InvalidCertificate(_)) => HandshakeFailure::ClientCertificate,
                    _ => HandshakeFailure::Other,
                };
                metrics::handshake_failed(failure);
                tracing::debug!(%error, "tls handshake failed"); // the client's business, and counted
                linger(tcp).await;
                None
            }
            Err(_elapsed) => {
                metrics::handshake_failed(HandshakeFailure::Deadline);
                None
            }
        }
    }
}

/// Lets the client read why it was refused.
async fn linger(mut tcp: TcpStream) {
    let drain = async {
        let mut left = LINGER_BYTES;
        let mut buffer = [0; 1024];
        if tcp.shutdown().await.is_err() {
            return;
        }
        while let Ok(read @ 1..) = tcp.read(&mut buffer).await {
            let Some(rest) = left.checked_sub(read) else { return };
            left = rest;
        }
    };
    drop(timeout(LINGER, drain).await); // either way it is closed now
}
