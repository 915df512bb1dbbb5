//! How a call to the upstream can fail.

use std::error::Error;
use std::time::Duration;

use crate::metrics;

/// What bodies fail with.
pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

/// Why there is no response, or no more of it. The cause is in `source`, never in the text.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpstreamError {
    /// The circuit is open: nothing was sent.
    #[error("the upstream failed repeatedly, not trying again yet")]
    BreakerOpen {
        /// How long until trial requests are let through.
        retry_after: Duration,
    },
    /// No connection within the limit, TLS included.
    #[error("connecting to the upstream took too long")]
    ConnectTimeout,
    /// The name could not be looked up, or no address of it accepted the connection.
    #[error("cannot connect to the upstream")]
    Connect(#[source] std::io::Error),
    /// The TLS handshake failed.
    #[error("no secure connection to the upstream")]
    Tls(#[source] std::io::Error),
    /// The upstream was silent for too long before its response head.
    #[error("the upstream did not respond in time")]
    ResponseTimeout,
    /// The request body stopped arriving, so the upstream could not respond.
    #[error("the request body stalled")]
    RequestStalled,
    /// The connection ended before the response head.
    #[error("the upstream closed the connection without responding")]
    ClosedEarly(#[source] hyper::Error),
    /// The response head is not HTTP, or too large.
    #[error("the upstream's response is not valid http")]
    Malformed(#[source] hyper::Error),
    /// The upstream switched protocols although nobody asked for that.
    #[error("the upstream switched protocols unasked")]
    UnexpectedSwitch,
    /// The response body ended before its end.
    #[error("the upstream cut the response body")]
    Cut(#[source] hyper::Error),
    /// The upstream was silent for too long within the response body.
    #[error("the upstream stopped sending the response body")]
    IdleTimeout,
    /// The body of the request failed: its sender went away or broke a limit.
    #[error("the request body could not be read")]
    RequestBody(#[source] hyper::Error),
    /// The request cannot be expressed to the upstream.
    #[error("the request target is too long for the upstream")]
    Target,
}

impl UpstreamError {
    /// Counts this failure. Every failure is counted once, where it leaves this module.
    pub(super) fn count(&self) {
        let failures = &metrics::upstream().failures;
        let counter = match self {
            Self::BreakerOpen { .. } => &failures.breaker_open,
            Self::ConnectTimeout => &failures.connect_timeout,
            Self::Connect(_) => &failures.connect,
            Self::Tls(_) => &failures.tls,
            Self::ResponseTimeout => &failures.response_timeout,
            Self::RequestStalled => &failures.request_stalled,
            Self::ClosedEarly(_) => &failures.closed_early,
            Self::Malformed(_) | Self::UnexpectedSwitch => &failures.malformed,
            Self::Cut(_) => &failures.cut,
            Self::IdleTimeout => &failures.idle_timeout,
            Self::RequestBody(_) => &failures.request_body,
            Self::Target => &failures.target,
        };
        counter.increment(1);
    }

    /// What an error of hyper's before the response head means.
    pub(super) fn before_response(error: hyper::Error) -> Self {
        if error.is_user() {
            Self::RequestBody(error)
        } else if error.is_parse() {
            Self::Malformed(error)
        } else {
            Self::ClosedEarly(error)
        }
    }

    /// Whether this says that the upstream, rather than the client or the request, is in trouble.
    pub(super) fn blames_upstream(&self) -> bool {
        match self {
            Self::ConnectTimeout
            | Self::Connect(_)
            | Self::Tls(_)
            | Self::ResponseTimeout
            | Self::ClosedEarly(_)
            | Self::Malformed(_)
            | Self::UnexpectedSwitch
            | Self::Cut(_)
            | Self::IdleTimeout => true,
            Self::BreakerOpen { .. } | Self::RequestStalled | Self::RequestBody(_) | Self::Target => false,
        }
    }
}
