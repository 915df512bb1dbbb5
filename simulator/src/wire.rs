//! The socket under a connection, which can be broken off in the middle of a chunk.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::steering::Cut;

/// Tells the socket to break off: the next write is sent by half, then the connection ends.
#[derive(Clone, Debug, Default)]
pub(crate) struct CutSwitch(Arc<AtomicU8>);

const CLOSE: u8 = 1;
const RESET: u8 = 2;

impl CutSwitch {
    pub(crate) fn arm(&self, cut: Cut) {
        let code = if cut == Cut::Reset { RESET } else { CLOSE };
        self.0.store(code, Ordering::Release);
    }
}

/// A socket that can be told to end with RST instead of FIN.
pub(crate) trait Socket: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    fn reset_when_closed(&self);
}

impl Socket for TcpStream {
    fn reset_when_closed(&self) {
        // On failure the connection ends with FIN, which the tests of this crate would notice.
        drop(self.set_zero_linger());
    }
}

impl Socket for TlsStream<TcpStream> {
    fn reset_when_closed(&self) {
        self.get_ref().0.reset_when_closed();
    }
}

/// The socket with its switch.
#[derive(Debug)]
pub(crate) struct Wire<S> {
    socket: S,
    switch: CutSwitch,
}

impl<S: Socket> Wire<S> {
    pub(crate) fn new(socket: S, switch: CutSwitch) -> Self {
        Self { socket, switch }
    }

    /// Sends half of `bytes`, then fails: the rest of the chunk never comes.
    fn break_off(&mut self, cx: &mut Context<'_>, code: u8, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let (half, _) = bytes.split_at(bytes.len() / 2);
        if !half.is_empty() {
            match Pin::new(&mut self.socket).poll_write(cx, half) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(_) | Err(_)) => {} // either way this was the last byte
            }
            // What TLS has buffered has to get out; a plain socket has nothing to flush.
            if Pin::new(&mut self.socket).poll_flush(cx).is_pending() {
                tracing::debug!("broke off before the last bytes were flushed");
            }
        }
        if code == RESET {
            self.socket.reset_when_closed();
        }
        Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionAborted, "cut on demand")))
    }
}

impl<S: Socket> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, into)
    }
}

impl<S: Socket> AsyncWrite for Wire<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.switch.0.load(Ordering::Acquire) {
            0 => Pin::new(&mut self.socket).poll_write(cx, bytes),
            code => self.break_off(cx, code, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.switch.0.load(Ordering::Acquire) {
            0 => Pin::new(&mut self.socket).poll_write_vectored(cx, slices),
            code => {
                let together: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
                self.break_off(cx, code, &together)
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
