//! E-mail addresses.

use super::window::{LEAD, Window};

/// RFC 5321 section 4.5.3.1.1.
const MAX_LOCAL_BYTES: usize = 64;
/// RFC 5321 section 4.5.3.1.2, without room for what no public name has.
const MAX_DOMAIN_BYTES: usize = 253;
/// RFC 1035 section 2.3.4.
const MAX_LABEL_BYTES: usize = 63;

/// Mailboxes that are nobody's. `git@` is how repositories are addressed, `noreply@` stands in every commit of an agent.
const NOBODY: [&[u8]; 5] = [b"git", b"noreply", b"no-reply", b"donotreply", b"do-not-reply"];

/// Whether this `@` is that of an address.
pub(super) fn surrounds(window: &Window<'_>, at: usize) -> bool {
    let local = window.run_before(at, MAX_LOCAL_BYTES.saturating_add(1), is_local);
    let Some(start) = at.checked_sub(local).filter(|start| *start >= LEAD) else { return false };
    let Some(local) = window.slice(start, local) else { return false };
    // A quote or a bracket may stand before an address, a dot or a dash of the sentence as well.
    let trimmed = local.iter().position(u8::is_ascii_alphanumeric).and_then(|first| local.get(first..));
    let is_mailbox = trimmed.is_some_and(|mailbox| {
        local.len() <= MAX_LOCAL_BYTES
            && !mailbox.ends_with(b".")
            && !NOBODY.iter().any(|nobody| mailbox.eq_ignore_ascii_case(nobody))
    });
    is_mailbox && domain_follows(window, at.saturating_add(1))
}

fn domain_follows(window: &Window<'_>, start: usize) -> bool {
    let length = window.run(start, MAX_DOMAIN_BYTES.saturating_add(1), is_domain);
    if length > MAX_DOMAIN_BYTES || window.at(start.saturating_add(length)).is_none_or(|after| after == b'@')
    {
        return false;
    }
    let domain = window.slice(start, length).unwrap_or_default().trim_ascii_end();
    let domain = domain.strip_suffix(b".").unwrap_or(domain); // the end of a sentence
    let mut labels = domain.split(|byte| *byte == b'.');
    let (Some(first), Some(top)) = (labels.next(), domain.rsplit(|byte| *byte == b'.').next()) else {
        return false;
    };
    let is_top = top.len() >= 2 && top.iter().all(u8::is_ascii_alphabetic);
    // `icon@2x.png` is a picture.
    let is_scale = first.strip_suffix(b"x").is_some_and(|scale| scale.iter().all(u8::is_ascii_digit));
    domain.len() > first.len() && is_top && !is_scale && domain.split(|byte| *byte == b'.').all(is_label)
}

fn is_label(label: &[u8]) -> bool {
    (1..=MAX_LABEL_BYTES).contains(&label.len()) && !label.starts_with(b"-") && !label.ends_with(b"-")
}

fn is_local(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'%' | b'+' | b'-' | b'\'')
}

fn is_domain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-')
}
