//! The response body as hyper sees it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::{Duration, Sleep, sleep};

use super::activity::InFlight;
use crate::upstream::BoxError;

/// What a request with two framings is told, in the API's own error shape.
const AMBIGUOUS_FRAMING: &str = r#"{"type":"error","error":{"type":"invalid_request_error","message":"content-length and transfer-encoding exclude each other"}}"#;
const MINDWEAVE_REASON: HeaderName = HeaderName::from_static("mindweave-reason");
const X_SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

pin_project! {
    /// A handler's body, or an answer of the server's own. The request counts as under way for as long as this lives.
    ///
    /// When a body fails, hyper drops what it has buffered, head included. A client is to see everything up to the failure, so
    /// the failure is held back until the buffer is written.
    pub(super) struct ServedBody<B> {
        #[pin]
        content: Content<B>,
        failure: Option<(BoxError, Flush)>,
        in_flight: InFlight,
    }
}

/// How to know that what came before a failure is written.
enum Flush {
    /// hyper's connection tells, after the poll that saw the failure.
    Told,
    /// Another task writes; it is given this long.
    Granted(Pin<Box<Sleep>>),
}

/// The connection's task is woken by the frames that it has to write; this is a hundred times what it takes.
const HTTP2_FLUSH_GRACE: Duration = Duration::from_millis(20);

pin_project! {
    #[project = ContentProjection]
    enum Content<B> {
        Handler { #[pin] body: B },
        Own { bytes: Option<Bytes> },
    }
}

impl<B> ServedBody<B> {
    pub(super) fn of_handler(body: B, in_flight: InFlight) -> Self {
        Self { content: Content::Handler { body }, failure: None, in_flight }
    }

    /// Refuses a request that two readers could end at different bytes. The connection is not used again.
    pub(super) fn ambiguous_framing(in_flight: InFlight) -> Response<Self> {
        let bytes = Some(Bytes::from_static(AMBIGUOUS_FRAMING.as_bytes()));
        let mut response = Response::new(Self { content: Content::Own { bytes }, failure: None, in_flight });
        *response.status_mut() = StatusCode::BAD_REQUEST;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        headers.insert(MINDWEAVE_REASON, HeaderValue::from_static("ambiguous_framing"));
        headers.insert(X_SHOULD_RETRY, HeaderValue::from_static("false"));
        response
    }
}

impl<B: Body<Data = Bytes, Error: Into<BoxError>>> Body for ServedBody<B> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.project();
        if this.failure.is_none() {
            let error = match this.content.project() {
                ContentProjection::Own { bytes } => {
                    return Poll::Ready(bytes.take().map(Frame::data).map(Ok));
                }
                ContentProjection::Handler { body } => match ready!(body.poll_frame(context)) {
                    Some(Err(error)) => error.into(),
                    Some(Ok(frame)) => return Poll::Ready(Some(Ok(frame))),
                    None => return Poll::Ready(None),
                },
            };
            let flush = match this.in_flight.await_flush() {
                Some(()) => Flush::Told,
                None => Flush::Granted(Box::pin(sleep(HTTP2_FLUSH_GRACE))),
            };
            *this.failure = Some((error, flush));
        }
        match this.failure {
            Some((_, Flush::Told)) if this.in_flight.awaits_flush() => return Poll::Pending,
            Some((_, Flush::Granted(grace))) => ready!(grace.as_mut().poll(context)),
            Some(_) | None => {}
        }
        Poll::Ready(this.failure.take().map(|(error, _)| Err(error)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Handler { body } => self.failure.is_none() && body.is_end_stream(),
            Content::Own { bytes } => bytes.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Handler { body } => body.size_hint(),
            Content::Own { bytes } => {
                let length = bytes.as_ref().map_or(0, Bytes::len);
                SizeHint::with_exact(u64::try_from(length).unwrap_or(u64::MAX))
            }
        }
    }
}
