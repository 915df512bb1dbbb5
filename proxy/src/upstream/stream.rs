//! The byte stream under an upstream connection.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// Plain TCP or TLS.
///
/// An upstream may answer before it has read the whole request, 413 for instance, and close. Our next write then fails while
/// the answer lies in the receive buffer. hyper gives up at a failed write, so a write to a closed connection is taken as done
/// and dropped: the read side says what really happened, answer or end.
#[derive(Debug)]
pub(super) struct Stream {
    transport: Transport,
    write_side_closed: bool,
    reused: Reused,
}

/// Tells a stream that its next read decides whether another request can be sent.
///
/// The runtime learns of a connection's end some time after the kernel. A server that closes right behind its answer would
/// thus get the next request on a dead connection, and nobody could say whether it was worked on. One look into the kernel's
/// buffer per request tells in time.
#[derive(Clone, Debug, Default)]
pub(super) struct Reused(Arc<AtomicBool>);

impl Reused {
    pub(super) fn mark(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn take(&self) -> bool {
        self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::Relaxed)
    }
}

#[derive(Debug)]
enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    pub(super) fn plain(tcp: TcpStream) -> Self {
        Self { transport: Transport::Plain(tcp), write_side_closed: false, reused: Reused::default() }
    }

    pub(super) fn tls(tls: TlsStream<TcpStream>) -> Self {
        Self { transport: Transport::Tls(Box::new(tls)), write_side_closed: false, reused: Reused::default() }
    }

    /// Whether HTTP/2 was agreed on during the TLS handshake.
    pub(super) fn negotiated_http2(&self) -> bool {
        match &self.transport {
            Transport::Plain(_) => false,
            Transport::Tls(tls) => tls.get_ref().1.alpn_protocol() == Some(b"h2"),
        }
    }

    /// What to call before another request is sent on this stream.
    pub(super) fn reused(&self) -> Reused {
        self.reused.clone()
    }

    /// Whether the kernel has nothing for us but silence: neither an end nor bytes that nobody asked for.
    fn is_silent(&self) -> bool {
        let tcp = match &self.transport {
            Transport::Plain(tcp) => tcp,
            Transport::Tls(tls) => tls.get_ref().0,
        };
        let peeked = SockRef::from(tcp).peek(&mut [MaybeUninit::uninit()]);
        matches!(peeked, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    fn tolerate<T>(&mut self, polled: Poll<io::Result<T>>, as_if: T) -> Poll<io::Result<T>> {
        match polled {
            Poll::Ready(Err(error))
                if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) =>
            {
                self.write_side_closed = true;
                Poll::Ready(Ok(as_if))
            }
            Poll::Ready(_) | Poll::Pending => polled,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = match &mut this.transport {
            Transport::Plain(tcp) => Pin::new(tcp).poll_read(context, buffer),
            Transport::Tls(tls) => Pin::new(tls).poll_read(context, buffer),
        };
        if polled.is_pending() && this.reused.take() && !this.is_silent() {
            return Poll::Ready(Ok(())); // an end, as far as the next request is concerned
        }
        polled
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.write_side_closed {
            return Poll::Ready(Ok(bytes.len()));
        }
        let polled = match &mut this.transport {
            Transport::Plain(tcp) => Pin::new(tcp).poll_write(context, bytes),
            Transport::Tls(tls) => Pin::new(tls).poll_write(context, bytes),
        };
        this.tolerate(polled, bytes.len())
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let all = slices.iter().map(|slice| slice.len()).sum();
        if this.write_side_closed {
            return Poll::Ready(Ok(all));
        }
        let polled = match &mut this.transport {
            Transport::Plain(tcp) => Pin::new(tcp).poll_write_vectored(context, slices),
            Transport::Tls(tls) => Pin::new(tls).poll_write_vectored(context, slices),
        };
        this.tolerate(polled, all)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.transport {
            Transport::Plain(tcp) => tcp.is_write_vectored(),
            Transport::Tls(tls) => tls.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.write_side_closed {
            return Poll::Ready(Ok(()));
        }
        let polled = match &mut this.transport {
            Transport::Plain(tcp) => Pin::new(tcp).poll_flush(context),
            Transport::Tls(tls) => Pin::new(tls).poll_flush(context),
        };
        this.tolerate(polled, ())
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().transport {
            Transport::Plain(tcp) => Pin::new(tcp).poll_shutdown(context),
            Transport::Tls(tls) => Pin::new(tls).poll_shutdown(context),
        }
    }
}
