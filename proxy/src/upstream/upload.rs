//! The request body on its way up, watched for progress.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::{Duration, Instant};

use super::error::UpstreamError;

/// When something last moved between us and the upstream for one request.
///
/// Shared by the two halves of an exchange that hyper keeps apart. Stamps are milliseconds since `base`: relaxed atomics
/// suffice, since both halves are polled by the same task over HTTP/1.1 and a stale stamp only costs one more look later.
#[derive(Debug)]
pub(super) struct Progress {
    base: Instant,
    last_ms: AtomicU64,
    uploading: AtomicBool,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self { base: Instant::now(), last_ms: AtomicU64::new(0), uploading: AtomicBool::new(false) }
    }

    /// Something moved just now.
    pub(super) fn stamp(&self) {
        let elapsed = self.base.elapsed().as_millis();
        self.last_ms.store(u64::try_from(elapsed).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// When something last moved.
    pub(super) fn last(&self) -> Instant {
        self.base + Duration::from_millis(self.last_ms.load(Ordering::Relaxed))
    }

    /// Why there is no response although the limit is over.
    pub(super) fn no_response(&self) -> UpstreamError {
        if self.uploading.load(Ordering::Relaxed) {
            UpstreamError::RequestStalled
        } else {
            UpstreamError::ResponseTimeout
        }
    }
}

/// Clears the mark when hyper is done with the body: it drops a body that ended, failed or is no longer wanted.
#[derive(Debug)]
struct Uploading(Arc<Progress>);

impl Drop for Uploading {
    fn drop(&mut self) {
        self.0.uploading.store(false, Ordering::Relaxed);
    }
}

pin_project! {
    /// Passes everything on unchanged.
    #[derive(Debug)]
    pub(super) struct Upload<B> {
        #[pin]
        body: B,
        uploading: Uploading,
    }
}

impl<B> Upload<B> {
    /// Wraps the body of a request that starts now.
    pub(super) fn start(body: B, progress: &Arc<Progress>) -> Self {
        progress.uploading.store(true, Ordering::Relaxed);
        progress.stamp();
        Self { body, uploading: Uploading(Arc::clone(progress)) }
    }

    pub(super) fn into_body(self) -> B {
        self.body
    }
}

impl<B: Body<Data = Bytes>> Body for Upload<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        let polled = this.body.poll_frame(context);
        if polled.is_ready() {
            this.uploading.0.stamp();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
