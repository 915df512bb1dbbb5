//! Where a request comes from.
//!
//! `x-forwarded-for` is whatever the client wrote plus what each hop added behind it. Only what hops of our own added can
//! be believed, so it is read from its end, past the addresses that are ours.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// How many bits of an IPv6 address say that an IPv4 address follows.
const MAPPED_BITS: u8 = 96;

/// A range of addresses in CIDR notation; a bare address is a range of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IpRange {
    base: IpAddr,
    prefix: u8,
}

/// Why a text is no range of addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no range of addresses, for example 10.0.0.0/8, 2001:db8::/32 or 192.0.2.7")]
pub struct IpRangeError {
    text: String,
}

impl FromStr for IpRange {
    type Err = IpRangeError;

    fn from_str(text: &str) -> Result<Self, IpRangeError> {
        let fault = || IpRangeError { text: text.to_owned() };
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let written: IpAddr = address.trim().parse().map_err(|_| fault())?;
        let prefix = match prefix {
            Some(prefix) => prefix.trim().parse().map_err(|_| fault())?,
            None => bits(written),
        };
        if prefix > bits(written) {
            return Err(fault());
        }
        let base = written.to_canonical();
        let prefix =
            if base == written { prefix } else { prefix.checked_sub(MAPPED_BITS).ok_or_else(fault)? };
        Ok(Self { base, prefix })
    }
}

impl fmt::Display for IpRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

impl IpRange {
    /// Whether the address lies in the range. An IPv4 address counts as one also where it is written as IPv6.
    pub fn contains(&self, address: IpAddr) -> bool {
        let network = |bits: u128, width: u8| {
            bits.checked_shr(u32::from(width.saturating_sub(self.prefix))).unwrap_or(0)
        };
        match (self.base, address.to_canonical()) {
            (IpAddr::V4(base), IpAddr::V4(address)) => {
                network(base.to_bits().into(), 32) == network(address.to_bits().into(), 32)
            }
            (IpAddr::V6(base), IpAddr::V6(address)) => {
                network(base.to_bits(), 128) == network(address.to_bits(), 128)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The client behind this peer: the peer itself, or, behind proxies that are trusted, the last address of
/// `x-forwarded-for` (all its lines, in their order) that is not theirs.
pub fn client_address<'a>(
    peer: IpAddr,
    forwarded_for: impl DoubleEndedIterator<Item = &'a [u8]>,
    trusted: &[IpRange],
) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|range| range.contains(address));
    let mut client = peer.to_canonical();
    if !is_trusted(client) {
        return client;
    }
    let hops = forwarded_for.rev().flat_map(|line| line.rsplit(|byte| *byte == b','));
    for hop in hops {
        // What a trusted hop could not name is not to be guessed from what the client wrote before it.
        let Some(address) = std::str::from_utf8(hop).ok().and_then(|hop| address(hop.trim())) else { break };
        client = address;
        if !is_trusted(client) {
            break;
        }
    }
    client
}

/// An address as proxies write it: alone, with a port, or in brackets.
fn address(hop: &str) -> Option<IpAddr> {
    let plain = |text: &str| text.parse::<IpAddr>().ok();
    let bracketed = || hop.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    let with_port = || hop.parse::<SocketAddr>().ok().map(|address| address.ip());
    plain(hop).or_else(bracketed).or_else(with_port).map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn range(text: &str) -> IpRange {
        text.parse().unwrap()
    }

    fn seen(peer: &str, lines: &[&str], trusted: &[&str]) -> String {
        let trusted: Vec<IpRange> = trusted.iter().map(|text| range(text)).collect();
        let lines = lines.iter().map(|line| line.as_bytes());
        client_address(peer.parse().unwrap(), lines, &trusted).to_string()
    }

    #[test]
    fn ranges_hold_their_addresses_and_no_others() {
        for (text, inside, outside) in [
            ("10.0.0.0/8", "10.255.255.255", "11.0.0.0"),
            ("10.1.2.3", "10.1.2.3", "10.1.2.2"),
            ("10.1.2.3/31", "10.1.2.2", "10.1.2.4"),
            ("0.0.0.0/0", "255.1.2.3", "::1"),
            ("::/0", "2001:db8::1", "10.0.0.1"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("::ffff:10.0.0.0/104", "10.9.9.9", "11.0.0.1"),
            ("192.0.2.0/24", "::ffff:192.0.2.200", "::ffff:192.0.3.1"),
        ] {
            assert!(range(text).contains(inside.parse().unwrap()), "{text} {inside}");
            assert!(!range(text).contains(outside.parse().unwrap()), "{text} {outside}");
        }
        for text in
            ["", "10.0.0.0/33", "::/129", "10.0.0/8", "a/8", "10.0.0.0/x", "10.0.0.0/-1", "::ffff:1.2.3.4/40"]
        {
            assert!(text.parse::<IpRange>().is_err(), "{text}");
        }
        assert_eq!(range("10.0.0.0/8").to_string(), "10.0.0.0/8");
    }

    #[test]
    fn what_a_client_writes_about_itself_is_believed_only_behind_trusted_proxies() {
        let trusted = &["10.0.0.0/8", "2001:db8::/32"];
        for (peer, lines, expected) in [
            ("203.0.113.9", &["198.51.100.1"][..], "203.0.113.9"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["1.1.1.1, 198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["1.1.1.1, 198.51.100.1, 10.9.9.9"], "198.51.100.1"),
            ("10.0.0.1", &["1.1.1.1", "198.51.100.1", "10.9.9.9,10.8.8.8"], "198.51.100.1"),
            ("10.0.0.1", &["10.2.2.2, 10.3.3.3"], "10.2.2.2"),
            ("10.0.0.1", &["1.1.1.1, unknown, 10.3.3.3"], "10.3.3.3"),
            ("10.0.0.1", &["1.1.1.1, , 10.3.3.3"], "10.3.3.3"),
            ("10.0.0.1", &["198.51.100.1:4711"], "198.51.100.1"),
            ("2001:db8::1", &["[2001:db9::7]:4711"], "2001:db9::7"),
            ("2001:db8::1", &["[2001:db9::7]"], "2001:db9::7"),
            ("::ffff:10.0.0.1", &["::ffff:198.51.100.1"], "198.51.100.1"),
        ] {
            assert_eq!(seen(peer, lines, trusted), expected, "{peer} {lines:?}");
        }
        assert_eq!(seen("10.0.0.1", &["198.51.100.1"], &[]), "10.0.0.1");
    }

    proptest! {
        #[test]
        fn whatever_the_client_wrote_before_the_last_untrusted_hop_changes_nothing(written in "[ -+\\--~]{0,60}") {
            let line = format!("{written}, 198.51.100.1, 10.0.0.2");
            prop_assert_eq!(seen("10.0.0.1", &[&line], &["10.0.0.0/8"]), "198.51.100.1");
        }

        #[test]
        fn a_range_of_one_holds_exactly_its_address(a in any::<u32>(), b in any::<u32>()) {
            let (a, b) = (IpAddr::from(a.to_be_bytes()), IpAddr::from(b.to_be_bytes()));
            let one: IpRange = a.to_string().parse().unwrap();
            prop_assert!(one.contains(a));
            prop_assert_eq!(one.contains(b), a == b);
        }
    }
}
