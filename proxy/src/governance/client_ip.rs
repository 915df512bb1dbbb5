//! The client behind the load balancers in front of this proxy.

use std::net::IpAddr;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use mindweave_policy::{IpRange, client_address};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// See [`client_address`].
pub(crate) fn client_ip(peer: IpAddr, headers: &HeaderMap, trusted: &[IpRange]) -> IpAddr {
    let lines: Vec<&HeaderValue> = headers.get_all(X_FORWARDED_FOR).iter().collect();
    client_address(peer, lines.iter().map(|line| line.as_bytes()), trusted)
}
