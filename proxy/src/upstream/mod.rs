//! The client side: from a request to a response whose body streams.
//!
//! `send` makes one attempt at one request. The client owns retries: a call that failed half-way may have been billed. The
//! exceptions are invisible: a pooled connection that turns out to be closed before anything was sent on it is replaced, and a
//! request that only looks (a bodiless GET, HEAD or OPTIONS) goes again where such a connection ended without an answer.
//!
//! Upgrades are not offered to the upstream (the caller drops `upgrade`), so a response that switches protocols is an error.

mod base_url;
mod body;
mod breaker;
mod config;
mod connector;
mod error;
mod http1;
mod http2;
mod relay;
mod silence;
mod stream;
mod target;
mod tls;
mod upload;

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http::header::HeaderValue;
use http::{Method, Request, Response, StatusCode, Version};
use http_body::Body;
use tokio::time::Duration;

use self::base_url::BaseUrl;
pub(crate) use self::body::UpstreamBody;
use self::breaker::Breaker;
pub use self::config::{
    BreakerConfig, DEFAULT_BODY_IDLE_TIMEOUT, DEFAULT_CONNECT_TIMEOUT, DEFAULT_HTTP2_MAX_CONNECTIONS,
    DEFAULT_HTTP2_MAX_STREAMS, DEFAULT_POOL_IDLE_TIMEOUT, DEFAULT_POOL_MAX_IDLE, DEFAULT_RESPONSE_TIMEOUT,
    UpstreamConfig, UpstreamConfigError, UpstreamProtocol,
};
use self::connector::Connector;
pub(crate) use self::error::{BoxError, UpstreamError};
use self::stream::Stream;
pub(crate) use self::target::Target;
pub(crate) use self::tls::Identity;
use crate::metrics;

/// What a request can carry. `Unpin`, because hyper's HTTP/2 client moves it; its default is no body.
pub(crate) trait RequestBody:
    Body<Data = Bytes, Error: Into<BoxError>> + Default + Send + Unpin + 'static
{
}

impl<B: Body<Data = Bytes, Error: Into<BoxError>> + Default + Send + Unpin + 'static> RequestBody for B {}

/// The same request once more, where sending it twice is as good as once: it has no body and asks for nothing to be done
/// (RFC 9110, section 9.2.1), so that nothing can be billed twice.
fn spare<B: RequestBody>(request: &Request<B>) -> Option<Request<B>> {
    let only_looks = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if !only_looks || !request.body().is_end_stream() {
        return None;
    }
    let mut copy = Request::new(B::default());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    *copy.extensions_mut() = request.extensions().clone();
    Some(copy)
}

/// How long silence is borne.
#[derive(Clone, Copy, Debug)]
struct Limits {
    response: Duration,
    body_idle: Duration,
}

/// An attempt that failed, with the request if it may be attempted again.
struct Unsent<B> {
    error: UpstreamError,
    request: Option<Request<B>>,
}

impl<B> Unsent<B> {
    /// Boxed, for it is as large as a request and rare.
    fn boxed(error: UpstreamError, request: Option<Request<B>>) -> Box<Self> {
        Box::new(Self { error, request })
    }
}

/// One upstream with its connections and its circuit breaker. Cheap to clone.
pub(crate) struct Upstream<B: RequestBody> {
    inner: Arc<Inner<B>>,
}

struct Inner<B: RequestBody> {
    base: Arc<BaseUrl>,
    protocol: UpstreamProtocol,
    limits: Limits,
    connector: Connector,
    breaker: Arc<Breaker>,
    http1: Arc<http1::Pool<B>>,
    http2: http2::Connections<B>,
}

/// Something that can carry one request.
enum Route<B: RequestBody> {
    Http1(Box<http1::Connection<B>>),
    Http2(http2::Slot<B>),
}

impl<B: RequestBody> Clone for Upstream<B> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<B: RequestBody> Upstream<B> {
    /// Connects to nothing yet. Reads certificate files where the URL is `https`.
    ///
    /// # Errors
    ///
    /// When the URL or a certificate file cannot be used.
    pub(crate) fn new(config: &UpstreamConfig) -> Result<Self, UpstreamConfigError> {
        let base = Arc::new(BaseUrl::parse(&config.url)?);
        let protocol = match config.protocol {
            UpstreamProtocol::Auto if !base.is_tls() => UpstreamProtocol::Http1,
            UpstreamProtocol::Auto | UpstreamProtocol::Http1 | UpstreamProtocol::Http2 => config.protocol,
        };
        let inner = Inner {
            protocol,
            limits: Limits { response: config.response_timeout, body_idle: config.body_idle_timeout },
            connector: Connector::new(config, Arc::clone(&base), None)?,
            breaker: Arc::new(Breaker::new(config.breaker)),
            http1: Arc::new(http1::Pool::new(config.pool_idle_timeout, config.pool_max_idle)),
            http2: http2::Connections::new(config.http2_max_streams, config.http2_max_connections),
            base,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// What the `host` header of requests must say.
    pub(crate) fn host_header(&self) -> &HeaderValue {
        &self.inner.base.host_header
    }

    /// Sends a request, whose URI has path and query and whose headers are final, and waits for the response head.
    ///
    /// # Errors
    ///
    /// When there is no response. Nothing has been retried then.
    pub(crate) async fn send(&self, request: Request<B>) -> Result<Response<UpstreamBody>, UpstreamError> {
        self.inner.send(request).await.inspect_err(UpstreamError::count)
    }
}

impl<B: RequestBody> Inner<B> {
    async fn send(&self, request: Request<B>) -> Result<Response<UpstreamBody>, UpstreamError> {
        let attempt =
            self.breaker.enter().map_err(|retry_after| UpstreamError::BreakerOpen { retry_after })?;
        let mut reused = false;
        let outcome = self.exchange(request, &mut reused).await;
        match &outcome {
            Ok(_) => attempt.succeed(),
            // A server may close a connection just as it is used again. That says nothing about its health.
            Err(UpstreamError::ClosedEarly(_)) if reused => drop(attempt),
            Err(error) if error.blames_upstream() => attempt.fail(),
            Err(_) => drop(attempt),
        }
        let mut response = outcome?;
        // The next hop's version is not ours: from an HTTP/1.0 upstream we would claim to be an HTTP/1.0 server.
        *response.version_mut() = Version::HTTP_11;
        Ok(response)
    }

    /// Sets `on_reused` to whether the connection that it used last had served before.
    async fn exchange(
        &self,
        mut request: Request<B>,
        on_reused: &mut bool,
    ) -> Result<Response<UpstreamBody>, UpstreamError> {
        let target = self.base.origin_form(request.uri()).ok_or(UpstreamError::Target)?;
        *request.uri_mut() = target;
        loop {
            *on_reused = false;
            let route = match self.pooled() {
                Some(route) => {
                    *on_reused = true;
                    route
                }
                None => self.open().await?,
            };
            let spare = if *on_reused { spare(&request) } else { None };
            let outcome = match route {
                Route::Http1(connection) => connection.send(self.base.as_http1(request), &self.limits).await,
                Route::Http2(slot) => {
                    let request = self.base.as_http2(request).ok_or(UpstreamError::Target)?;
                    slot.send(request, &self.limits).await
                }
            };
            match outcome {
                Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                    return Err(UpstreamError::UnexpectedSwitch);
                }
                Ok(response) => return Ok(response),
                Err(failed) => match *failed {
                    Unsent { request: Some(unsent), .. } if *on_reused => {
                        metrics::upstream().stale_connections.increment(1);
                        request = unsent;
                    }
                    Unsent { error: UpstreamError::ClosedEarly(cause), .. } => match spare {
                        Some(spare) => {
                            metrics::upstream().stale_connections.increment(1);
                            request = spare;
                        }
                        None => return Err(UpstreamError::ClosedEarly(cause)),
                    },
                    Unsent { error, .. } => return Err(error),
                },
            }
        }
    }

    /// What is open and has room.
    fn pooled(&self) -> Option<Route<B>> {
        let http1 = || self.http1.take().map(Route::Http1);
        let http2 = || self.http2.take().map(Route::Http2);
        match self.protocol {
            UpstreamProtocol::Http1 => http1(),
            UpstreamProtocol::Http2 => http2(),
            UpstreamProtocol::Auto => http2().or_else(http1),
        }
    }

    async fn open(&self) -> Result<Route<B>, UpstreamError> {
        if self.protocol == UpstreamProtocol::Http1 {
            return self.open_http1(self.connector.connect().await?).await;
        }
        // One at a time: whoever waited finds the new connection.
        let opening = self.http2.opening.lock().await;
        if let Some(slot) = self.http2.take() {
            return Ok(Route::Http2(slot));
        }
        let stream = self.connector.connect().await?;
        if !self.base.is_tls() || stream.negotiated_http2() {
            let slot = self.http2.start(stream).await?;
            metrics::upstream().http2_connections_opened.increment(1);
            return Ok(Route::Http2(slot));
        }
        drop(opening);
        if self.protocol == UpstreamProtocol::Http2 {
            let refused = io::Error::new(io::ErrorKind::Unsupported, "the upstream does not speak http2");
            return Err(UpstreamError::Tls(refused));
        }
        self.open_http1(stream).await
    }

    async fn open_http1(&self, stream: Stream) -> Result<Route<B>, UpstreamError> {
        let connection = http1::Connection::start(stream, &self.http1, &self.limits).await?;
        metrics::upstream().http1_connections_opened.increment(1);
        Ok(Route::Http1(connection))
    }
}

#[cfg(test)]
mod tests;
