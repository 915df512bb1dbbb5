//! The response body as hyper sees it.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::activity::InFlight;

/// What a request with two framings is told, in the API's own error shape.
const AMBIGUOUS_FRAMING: &str = r#"{"type":"error","error":{"type":"invalid_request_error","message":"content-length and transfer-encoding exclude each other"}}"#;
const MINDWEAVE_REASON: HeaderName = HeaderName::from_static("mindweave-reason");
const X_SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

pin_project! {
    /// A handler's body, or an answer of the server's own. The request counts as under way for as long as this lives.
    pub(super) struct ServedBody<B> {
        #[pin]
        content: Content<B>,
        in_flight: InFlight,
    }
}

pin_project! {
    #[project = ContentProjection]
    enum Content<B> {
        Handler { #[pin] body: B },
        Own { bytes: Option<Bytes> },
    }
}

impl<B> ServedBody<B> {
    pub(super) fn of_handler(body: B, in_flight: InFlight) -> Self {
        Self { content: Content::Handler { body }, in_flight }
    }

    /// Refuses a request that two readers could end at different bytes. The connection is not used again.
    pub(super) fn ambiguous_framing(in_flight: InFlight) -> Response<Self> {
        let bytes = Some(Bytes::from_static(AMBIGUOUS_FRAMING.as_bytes()));
        let mut response = Response::new(Self { content: Content::Own { bytes }, in_flight });
        *response.status_mut() = StatusCode::BAD_REQUEST;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        headers.insert(MINDWEAVE_REASON, HeaderValue::from_static("ambiguous_framing"));
        headers.insert(X_SHOULD_RETRY, HeaderValue::from_static("false"));
        response
    }
}

impl<B: Body<Data = Bytes>> Body for ServedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().content.project() {
            ContentProjection::Handler { body } => body.poll_frame(context),
            ContentProjection::Own { bytes } => Poll::Ready(bytes.take().map(Frame::data).map(Ok)),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Handler { body } => body.is_end_stream(),
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
