//! How far a request without an answer came, which decides whether it may have been billed.

/// How far a request without an answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// The API never saw it.
    NotForwarded,
    /// The API may have seen it, and worked, and billed.
    Unanswered(Unanswered),
}

/// Why nothing is known of what the API did with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unanswered {
    /// The client left while the API was at work.
    ClientGone,
    /// The API did not answer in time.
    Timeout,
    /// The API closed the connection.
    Closed,
    /// What came back was no HTTP answer.
    Invalid,
    /// The proxy died; nobody saw the end.
    ProxyStopped,
}

impl Unanswered {
    pub(crate) const ALL: [Self; 5] =
        [Self::ClientGone, Self::Timeout, Self::Closed, Self::Invalid, Self::ProxyStopped];

    /// The event's `certainty_reason`; stable.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::ClientGone => "client_gone_before_answer",
            Self::Timeout => "upstream_timeout",
            Self::Closed => "upstream_closed",
            Self::Invalid => "upstream_invalid",
            Self::ProxyStopped => "proxy_stopped",
        }
    }
}
