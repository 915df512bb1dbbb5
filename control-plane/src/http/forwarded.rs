//! The client behind the load balancers in front of this control plane.

use std::net::IpAddr;
use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use mindweave_policy::{IpRange, client_address};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Networks whose `x-forwarded-for` is believed.
#[derive(Clone, Debug, Default)]
pub(crate) struct TrustedProxies(Arc<[IpRange]>);

impl TrustedProxies {
    /// As configured.
    pub(crate) fn new(networks: Vec<IpRange>) -> Self {
        Self(networks.into())
    }

    /// The client of a connection's peer: the peer itself, unless it is one of ours.
    pub(super) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let lines: Vec<&HeaderValue> = headers.get_all(X_FORWARDED_FOR).iter().collect();
        client_address(peer, lines.iter().map(|line| line.as_bytes()), &self.0)
    }
}
