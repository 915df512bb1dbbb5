//! The byte stream under a client connection, watched.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::{Duration, timeout};

use super::activity::Activity;

/// For how long the rest of what a client sends is read and dropped after we have said all. Closing a socket with unread bytes
/// makes the kernel reset the connection, and the client may lose the answer; nginx lingers as long.
const LINGER: Duration = Duration::from_secs(5);
/// How much is read and dropped at once.
const LINGER_BUFFER_BYTES: usize = 16 * 1024;

/// Passes everything through and tells an [`Activity`] about it.
#[derive(Debug)]
pub(super) struct Watched<T> {
    inner: T,
    activity: Arc<Activity>,
    ended: bool,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Watched<T> {
    pub(super) fn new(inner: T, activity: Arc<Activity>) -> Self {
        Self { inner, activity, ended: false }
    }

    pub(super) fn get_ref(&self) -> &T {
        &self.inner
    }

    /// Waits until the client has closed its side too, reading and dropping what it still sends.
    pub(super) async fn linger(mut self) {
        if self.ended {
            return;
        }
        let mut dropped = vec![0; LINGER_BUFFER_BYTES];
        let read_all = async { while matches!(self.inner.read(&mut dropped).await, Ok(1..)) {} };
        if timeout(LINGER, read_all).await.is_err() {
            tracing::trace!("client went on sending after its answer");
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let polled = Pin::new(&mut this.inner).poll_read(context, buffer);
        if let Poll::Ready(outcome) = &polled {
            match buffer.filled().get(before..) {
                Some(bytes) if outcome.is_ok() && !bytes.is_empty() => this.activity.read(bytes),
                Some(_) | None => this.ended = true,
            }
        }
        polled
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.inner).poll_write(context, bytes);
        if polled.is_ready() {
            this.activity.moved();
        }
        polled
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.inner).poll_write_vectored(context, slices);
        if polled.is_ready() {
            this.activity.moved();
        }
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.inner).poll_flush(context);
        if polled.is_ready() && this.activity.flushed() {
            context.waker().wake_by_ref();
        }
        polled
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(context)
    }
}
