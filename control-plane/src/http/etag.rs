//! Versions of what the API shows: `ETag` in answers, `If-Match` in changes (RFC 9110, sections 8.8.3 and 13.1).
//!
//! A tag is strong: it stands for every byte of the JSON. A compressed answer is another representation with other bytes, and
//! its tag says so by an ending (`"abc-gzip"`), which is taken off again when it comes back.

use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::header::{ETAG, IF_MATCH};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use serde::Serialize;

use super::problem::{Code, Problem};

/// Bytes of a hash that make a tag: two versions of one thing do not meet by chance.
const TAG_BYTES: usize = 16;
/// Content codings of our answers, as they stand at the end of a compressed answer's tag.
const CODINGS: [&str; 2] = ["-gzip", "-zstd"];

/// An answer that says which version it shows.
#[derive(Debug)]
pub(crate) struct Tagged<T>(pub(crate) T);

impl<T: Serialize> IntoResponse for Tagged<T> {
    fn into_response(self) -> Response {
        let tag = tag(&self.0).parse::<HeaderValue>();
        let mut response = Json(self.0).into_response();
        if let (StatusCode::OK, Ok(tag)) = (response.status(), tag) {
            response.headers_mut().insert(ETAG, tag);
        }
        response
    }
}

/// What a change is based on: the version of `If-Match`, if there is one.
#[derive(Clone, Debug)]
pub(crate) struct IfMatch(Option<Tags>);

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Ok(Self(Tags::of(&parts.headers, &IF_MATCH)))
    }
}

impl IfMatch {
    /// Refuses a change that is based on another version than this one, which the API shows now.
    ///
    /// # Errors
    /// 412 `precondition_failed`.
    pub(crate) fn check(&self, shown: &impl Serialize) -> Result<(), Problem> {
        let Some(given) = &self.0 else { return Ok(()) };
        if given.contain(&tag(shown), Comparison::Strong) {
            return Ok(());
        }
        Err(Problem::new(
            Code::PreconditionFailed,
            "this was changed since you read it: read it again, and send its etag as if-match",
        ))
    }
}

/// How tags are compared (RFC 9110, section 8.8.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    /// A weak tag equals none, also not itself.
    Strong,
    /// Whether one is weak does not matter.
    Weak,
}

/// The tags of a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Tags {
    /// `*`: whatever there is.
    Any,
    /// These. Empty when the header held nothing that is a tag.
    Listed(Vec<Tag>),
}

/// A tag without its quotes, and without the ending for a content coding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tag {
    opaque: String,
    weak: bool,
}

impl Tags {
    /// The tags of a header, all its lines together. `None` without the header.
    pub(super) fn of(headers: &HeaderMap, name: &HeaderName) -> Option<Self> {
        let lines: Vec<_> =
            headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        if lines.is_empty() {
            return None;
        }
        let text = lines.join(",");
        Some(if text.trim() == "*" { Self::Any } else { Self::Listed(listed(&text)) })
    }

    /// Whether they hold the tag of a thing.
    pub(super) fn contain(&self, tag: &str, comparison: Comparison) -> bool {
        match self {
            Self::Any => true,
            Self::Listed(tags) => listed(tag).first().is_some_and(|shown| {
                tags.iter().any(|tag| {
                    let strong = !tag.weak && !shown.weak;
                    tag.opaque == shown.opaque && (strong || comparison == Comparison::Weak)
                })
            }),
        }
    }
}

/// Reads a list of tags. What stands between quotes may hold commas; what is no tag is passed over, and matches nothing.
fn listed(text: &str) -> Vec<Tag> {
    let mut tags = Vec::new();
    let mut rest = text.trim_start_matches([' ', '\t', ',']);
    while !rest.is_empty() {
        let (weak, quoted) = match rest.strip_prefix("W/") {
            Some(quoted) => (true, quoted),
            None => (false, rest),
        };
        let after = match quoted.strip_prefix('"').and_then(|opened| opened.split_once('"')) {
            Some((opaque, after)) => {
                let plain = CODINGS.iter().find_map(|coding| opaque.strip_suffix(coding));
                tags.push(Tag { opaque: plain.unwrap_or(opaque).to_owned(), weak });
                after
            }
            None => rest.split_once(',').map_or("", |(_, after)| after),
        };
        rest = after.trim_start_matches([' ', '\t', ',']);
    }
    tags
}

/// The tag of the compressed form of what has this tag. `None`: it is weak, or stands for a compressed form already.
pub(super) fn of_coding(tag: &HeaderValue, coding: &HeaderValue) -> Option<HeaderValue> {
    let (tag, coding) = (tag.to_str().ok()?, coding.to_str().ok()?);
    let opaque = tag.strip_prefix('"')?.strip_suffix('"')?;
    HeaderValue::from_str(&format!("\"{opaque}-{coding}\"")).ok()
}

/// The tag of what is shown.
pub(super) fn tag(shown: &impl Serialize) -> String {
    let json = serde_json::to_vec(shown).unwrap_or_default(); // what the API answers is JSON
    tag_of_bytes(&json)
}

/// The tag of these bytes.
pub(super) fn tag_of_bytes(bytes: &[u8]) -> String {
    let hash = digest(&SHA256, bytes);
    format!("\"{}\"", URL_SAFE_NO_PAD.encode(hash.as_ref().get(..TAG_BYTES).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn given(lines: &[&str]) -> Option<Tags> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(IF_MATCH, HeaderValue::from_str(line).unwrap());
        }
        Tags::of(&headers, &IF_MATCH)
    }

    #[test]
    fn tags_are_compared_as_the_standard_says() {
        // RFC 9110, section 8.8.3.2, table 3.
        for (one, other, strong, weak) in [
            ("W/\"1\"", "W/\"1\"", false, true),
            ("W/\"1\"", "W/\"2\"", false, false),
            ("W/\"1\"", "\"1\"", false, true),
            ("\"1\"", "\"1\"", true, true),
        ] {
            let tags = given(&[one]).unwrap();
            assert_eq!(tags.contain(other, Comparison::Strong), strong, "{one} {other}");
            assert_eq!(tags.contain(other, Comparison::Weak), weak, "{one} {other}");
        }
    }

    #[test]
    fn a_list_is_read_over_all_lines_and_commas_in_tags_stay() {
        let tags = given(&["\"a\" , W/\"b\"", ",\"c,d\",", "\"e-gzip\""]).unwrap();
        for tag in ["\"a\"", "\"c,d\"", "\"e\""] {
            assert!(tags.contain(tag, Comparison::Strong), "{tag}");
        }
        assert!(!tags.contain("\"b\"", Comparison::Strong) && tags.contain("\"b\"", Comparison::Weak));
        assert!(!tags.contain("\"c\"", Comparison::Weak));
        assert_eq!(given(&[]), None);
        assert_eq!(given(&[" * "]), Some(Tags::Any));
        assert!(!given(&["\"*\""]).unwrap().contain("\"x\"", Comparison::Weak));
        assert!(!given(&["x, *"]).unwrap().contain("\"x\"", Comparison::Weak), "no tag: matches nothing");
    }

    #[test]
    fn the_tag_of_a_compressed_answer_is_taken_for_the_thing_itself() {
        let plain = tag(&"x");
        let coded = of_coding(&plain.parse().unwrap(), &HeaderValue::from_static("zstd")).unwrap();
        assert_ne!(coded, plain.as_str());
        let tags = given(&[coded.to_str().unwrap()]).unwrap();
        assert!(tags.contain(&plain, Comparison::Strong));
        assert_eq!(of_coding(&"W/\"1\"".parse().unwrap(), &HeaderValue::from_static("gzip")), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_fail_or_match_what_it_does_not_hold(text in "[ -~\\t]{0,60}") {
            let tags = given(&[&text]).unwrap();
            let never = "\"~~never in sixty characters, because this alone has more than that~~\"";
            prop_assert!(tags == Tags::Any || !tags.contain(never, Comparison::Weak));
        }
    }
}
