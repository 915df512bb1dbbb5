//! Paths as servers understand them.

use std::borrow::Cow;

/// More segments than any endpoint of the API has.
const MAX_SEGMENTS: usize = 10;

/// Rewrites the common spellings of a path to one: unreserved characters unescaped, dot segments resolved, empty
/// segments dropped. Borrows what is in that form already, as good as every path.
pub(super) fn normalize(path: &str) -> Cow<'_, str> {
    let has_odd_segment = path
        .strip_prefix('/')
        .is_some_and(|inner| inner.split('/').any(|part| matches!(part, "" | "." | "..")));
    if !has_odd_segment && !path.contains('%') {
        return Cow::Borrowed(path);
    }
    let unescaped = unescape_unreserved(path);
    let mut parts: Vec<&str> = Vec::new();
    for part in unescaped.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    Cow::Owned(parts.iter().flat_map(|part| ["/", part]).collect())
}

/// Unescapes the characters that RFC 3986 calls unreserved; only for these do the escaped and the plain form mean
/// the same.
fn unescape_unreserved(path: &str) -> String {
    let mut plain = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((before, after)) = rest.split_once('%') {
        plain.push_str(before);
        let code = after.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok()).map(char::from);
        match code {
            Some(code) if code.is_ascii_alphanumeric() || matches!(code, '-' | '.' | '_' | '~') => {
                plain.push(code);
                rest = after.get(2..).unwrap_or_default();
            }
            _ => {
                plain.push('%');
                rest = after;
            }
        }
    }
    plain.push_str(rest);
    plain
}

/// The parts of a path between its slashes.
pub(super) struct Segments<'a> {
    parts: [&'a str; MAX_SEGMENTS],
    count: usize,
}

impl<'a> Segments<'a> {
    /// `None` for a path that does not begin with a slash or has more segments than any endpoint.
    pub(super) fn of(path: &'a str) -> Option<Self> {
        let mut segments = Self { parts: [""; MAX_SEGMENTS], count: 0 };
        for part in path.strip_prefix('/')?.split('/') {
            *segments.parts.get_mut(segments.count)? = part;
            segments.count += 1;
        }
        Some(segments)
    }

    pub(super) fn get(&self, index: usize) -> Option<&'a str> {
        self.parts.get(..self.count)?.get(index).copied()
    }

    /// Whether these are the segments of a template, `{id}` standing for any one.
    pub(super) fn match_template(&self, template: &[&str]) -> bool {
        self.count == template.len()
            && template
                .iter()
                .zip(&self.parts)
                .all(|(expected, part)| expected == part || (*expected == "{id}" && !part.is_empty()))
    }
}
