//! The one change we make to bytes: `results_url` in batch objects points to this proxy instead of the API.
//!
//! The API gives an absolute URL and SDKs fetch it verbatim. Left alone, batch usage would bypass the meter, and the
//! client's credential, which may be a MindWeave key, would go where it means nothing.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, HeaderValue};
use http::request::Parts;
use http::uri::Authority;
use http::{Response, StatusCode};
use memchr::{memchr, memchr2};
use mindweave_metering::{BatchCall, Encoding, Endpoint, EndpointKind, SideDecoder};

use crate::config::CLAUDE_API;
use crate::held::HeldBody;
use crate::tap::Source;
use crate::upstream::UpstreamBody;

/// The longest answer that is searched. A page of 1 000 batches has about 700 KB; a longer answer is no batch page and
/// passes as it is.
const MAX_BATCH_PAGE_BYTES: usize = 4 * 1024 * 1024;
/// The most that a compressed answer may grow to.
const MAX_DECODED_BYTES: usize = 4 * MAX_BATCH_PAGE_BYTES;
const KEY: &[u8] = b"results_url";

/// Which origins are replaced.
#[derive(Clone, Debug)]
pub(crate) struct ResultsUrls {
    /// With path prefix where the upstream has one, without a slash at the end.
    replaced: Vec<String>,
    /// What replaces them; where it is not configured, each request's own `host` does.
    public: Option<String>,
}

impl ResultsUrls {
    /// Replaces the API's origin and `upstream` by `public_url`, or by the origin that each request was sent to.
    pub(crate) fn new(upstream: &str, public_url: Option<&str>) -> Self {
        let base = |url: &str| url.trim_end_matches('/').to_owned();
        Self { replaced: vec![base(upstream), CLAUDE_API.to_owned()], public: public_url.map(base) }
    }

    /// The origin that the client of this request uses for us. `None` where it does not say, or does not matter.
    pub(crate) fn own_origin(&self, head: &Parts, endpoint: &Endpoint, scheme: &str) -> Option<String> {
        if !answers_batch_objects(endpoint.kind) {
            return None;
        }
        if let Some(public) = &self.public {
            return Some(public.clone());
        }
        let host = match head.headers.get(HOST) {
            Some(host) => host.to_str().ok()?.parse::<Authority>().ok()?,
            None => head.uri.authority()?.clone(),
        };
        Some(format!("{scheme}://{host}"))
    }

    /// Reads the answer as far as it must, rewrites it where it has to be, and gives it back otherwise untouched.
    pub(crate) async fn rewrite(
        &self,
        response: Response<UpstreamBody>,
        own_origin: &str,
    ) -> Response<Source> {
        let (mut head, body) = response.into_parts();
        let mut held = HeldBody::read(body, MAX_BATCH_PAGE_BYTES).await;
        let rewritten = held.whole().and_then(|bytes| {
            let plain = decode(&bytes, head.headers.get(CONTENT_ENCODING))?;
            replace_origins(&plain, &self.replaced, own_origin)
        });
        if let Some(rewritten) = rewritten {
            fit_headers(&mut head.headers, rewritten.len());
            held.replace(Bytes::from(rewritten));
        }
        Response::from_parts(head, Source::Held(held))
    }
}

fn answers_batch_objects(kind: EndpointKind) -> bool {
    matches!(
        kind,
        EndpointKind::Batches(BatchCall::Create | BatchCall::List | BatchCall::Get | BatchCall::Cancel)
    )
}

/// Whether an answer can hold a `results_url`.
pub(crate) fn may_hold_results_url<B>(kind: EndpointKind, response: &Response<B>) -> bool {
    let json = response
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    answers_batch_objects(kind) && json && response.status() == StatusCode::OK
}

/// The text with new origins, or `None` when none had to be replaced.
fn replace_origins(json: &[u8], replaced: &[String], own_origin: &str) -> Option<Vec<u8>> {
    let mut rewritten = Vec::new();
    let mut copied = 0;
    for token in results_urls(json) {
        let old: String = match json.get(token.clone()).map(serde_json::from_slice) {
            Some(Ok(url)) => url,
            Some(Err(_)) | None => continue,
        };
        let path = replaced
            .iter()
            .find_map(|origin| old.strip_prefix(origin.as_str()).filter(|rest| rest.starts_with('/')));
        let Some(path) = path else { continue };
        let Ok(new) = serde_json::to_vec(&format!("{own_origin}{path}")) else { continue };
        rewritten.extend_from_slice(json.get(copied..token.start)?);
        rewritten.extend_from_slice(&new);
        copied = token.end;
    }
    if copied == 0 {
        return None;
    }
    rewritten.extend_from_slice(json.get(copied..)?);
    Some(rewritten)
}

/// Where the string values of `results_url` keys stand, quotes included. A string is a key if a colon follows it.
fn results_urls(json: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(token) = next_string(json, at) {
        at = token.end;
        let value_at = skip_space(json, at);
        if json.get(value_at) != Some(&b':')
            || json.get(token.start.saturating_add(1)..token.end.saturating_sub(1)) != Some(KEY)
        {
            continue;
        }
        let value_at = skip_space(json, value_at.saturating_add(1));
        if json.get(value_at) != Some(&b'"') {
            continue; // null: not ended yet
        }
        let Some(value) = next_string(json, value_at) else { break };
        at = value.end;
        found.push(value);
    }
    found
}

/// The next string token at or after `from`, quotes included.
fn next_string(json: &[u8], from: usize) -> Option<Range<usize>> {
    let start = from.checked_add(memchr(b'"', json.get(from..)?)?)?;
    let mut at = start.checked_add(1)?;
    loop {
        let stop = at.checked_add(memchr2(b'"', b'\\', json.get(at..)?)?)?;
        if json.get(stop) == Some(&b'"') {
            return Some(start..stop.checked_add(1)?);
        }
        at = stop.checked_add(2)?; // an escape hides the byte after it
    }
}

/// The plain text of a whole body, or `None` when it cannot be had.
fn decode<'a>(body: &'a [u8], coding: Option<&HeaderValue>) -> Option<Cow<'a, [u8]>> {
    let coding = Encoding::from_header(coding.map(HeaderValue::to_str).transpose().ok()?);
    if coding == Encoding::Identity {
        return Some(Cow::Borrowed(body));
    }
    let mut plain = Vec::new();
    let mut decoder = SideDecoder::new(coding);
    let mut fits = true;
    let fed = decoder.feed(body, &mut |piece| {
        fits = fits && plain.len().saturating_add(piece.len()) <= MAX_DECODED_BYTES;
        if fits {
            plain.extend_from_slice(piece);
        }
    });
    (fed.is_ok() && decoder.finish().is_ok() && fits).then_some(Cow::Owned(plain))
}

/// The headers of an answer whose body is now plain and this long.
fn fit_headers(headers: &mut HeaderMap, length: usize) {
    if headers.contains_key(CONTENT_ENCODING) {
        *headers = headers
            .iter()
            .filter(|(name, _)| **name != CONTENT_ENCODING)
            .map(|(name, value)| (name.clone(), value.clone()))
            .fold(HeaderMap::with_capacity(headers.keys_len()), |mut kept, (name, value)| {
                kept.append(name, value);
                kept
            });
    }
    if headers.contains_key(CONTENT_LENGTH) {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length)); // replaces it where it stands
    }
}

fn skip_space(json: &[u8], from: usize) -> usize {
    let rest = json.get(from..).unwrap_or_default();
    from.saturating_add(rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OWN: &str = "https://gateway.example";

    fn rewritten(json: &str) -> Option<String> {
        let replaced = ["http://upstream.example/base".to_owned(), CLAUDE_API.to_owned()];
        replace_origins(json.as_bytes(), &replaced, OWN).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn only_values_of_results_url_with_a_known_origin_change() {
        let rows = [
            (
                r#"{"results_url":"https://api.anthropic.com/v1/x"}"#,
                r#"{"results_url":"https://gateway.example/v1/x"}"#,
            ),
            (
                r#"{"results_url":"http://upstream.example/base/v1"}"#,
                r#"{"results_url":"https://gateway.example/v1"}"#,
            ),
            (
                r#"{"results_url" : "https:\/\/api.anthropic.com\/v1"}"#,
                r#"{"results_url" : "https://gateway.example/v1"}"#,
            ),
            (
                "[{\"results_url\":\n\t\"https://api.anthropic.com/\"}]",
                "[{\"results_url\":\n\t\"https://gateway.example/\"}]",
            ),
            (
                r#"{"a\"":"\\","results_url":"https://api.anthropic.com/é"}"#,
                r#"{"a\"":"\\","results_url":"https://gateway.example/é"}"#,
            ),
        ];
        for (before, after) in rows {
            assert_eq!(rewritten(before).as_deref(), Some(after));
        }
        for unchanged in [
            r#"{"results_url":null}"#,
            r#"{"results_url":"https://api.anthropic.com"}"#,
            r#"{"results_url":"https://api.anthropic.com.evil.example/x"}"#,
            r#"{"results_url":["https://api.anthropic.com/x"]}"#,
            r#"{"other":"https://api.anthropic.com/x"}"#,
            r#"["results_url","https://api.anthropic.com/x"]"#,
            r#"{"x":"\"results_url\":\"https://api.anthropic.com/x\""}"#,
            r#"{"results_url":"https://api.anthropic.com/x"#,
            "",
        ] {
            assert_eq!(rewritten(unchanged), None, "{unchanged}");
        }
    }

    proptest! {
        #[test]
        fn whatever_stands_around_a_results_url_keeps_its_bytes(before in ".*", after in ".*", path in "/[a-z0-9/_]{0,40}") {
            let text = |url: &str| {
                let quoted = |text: &str| serde_json::to_string(text).unwrap();
                format!("{{\"b\":{},\"results_url\":\"{url}{path}\",\"a\":{}}}", quoted(&before), quoted(&after))
            };
            prop_assert_eq!(rewritten(&text(CLAUDE_API)), Some(text(OWN)));
        }

        #[test]
        fn no_bytes_make_it_fail(bytes in prop::collection::vec(prop_oneof![Just(b'"'), Just(b'\\'), Just(b':'), any::<u8>()], 0..200)) {
            drop(replace_origins(&bytes, &[CLAUDE_API.to_owned()], OWN));
        }
    }
}
