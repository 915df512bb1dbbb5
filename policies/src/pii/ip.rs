//! IP addresses. Those that are no one's (loopback, unspecified, broadcast) are not found.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::window::{LEAD, Window, is_word};

/// `ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255`
const MAX_V6_BYTES: usize = 45;
/// Hexadecimal digits of a group.
const MAX_GROUP_BYTES: usize = 4;
/// `abc::def` is a name in a program; an address with fewer groups than this is taken for one.
const LEAST_V6_GROUPS: usize = 3;

/// Whether this colon is the first of an IPv6 address.
pub(super) fn v6_turns(window: &Window<'_>, at: usize) -> bool {
    let hex = window.run_before(at, MAX_GROUP_BYTES.saturating_add(1), |byte| byte.is_ascii_hexdigit());
    let Some(start) = at.checked_sub(hex).filter(|start| *start >= LEAD && hex <= MAX_GROUP_BYTES) else {
        return false;
    };
    let before = window.at(start.saturating_sub(1));
    if before.is_none_or(|byte| is_word(byte) || matches!(byte, b':' | b'.')) {
        return false;
    }
    let is_part = |byte: u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
    let length = window.run(start, MAX_V6_BYTES.saturating_add(1), is_part);
    if length > MAX_V6_BYTES || !window.ends_word(start.saturating_add(length)) {
        return false;
    }
    let text =
        window.slice(start, length).and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default();
    let text = text.trim_end_matches('.');
    let groups = text.split(':').filter(|group| !group.is_empty()).count();
    groups >= LEAST_V6_GROUPS
        && text.bytes().any(|byte| byte.is_ascii_digit())
        && text.parse::<Ipv6Addr>().is_ok_and(|address| !address.is_loopback() && !address.is_unspecified())
}

/// Whether four numbers are an address of somebody.
pub(super) fn is_v4(text: &[u8]) -> bool {
    let text = std::str::from_utf8(text).unwrap_or_default();
    text.parse::<Ipv4Addr>().is_ok_and(|address| {
        !address.is_loopback() && !address.is_broadcast() && address.octets().first() != Some(&0)
    })
}
