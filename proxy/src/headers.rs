//! Which header fields cross the proxy, and in what order.
//!
//! End-to-end fields pass with their values, order and letter case unchanged. `HeaderMap::remove` moves the last field into
//! the gap it leaves, so a map that must lose fields is rebuilt in order instead. The letter case travels beside the map, in
//! the message's extensions, and is keyed by name: it needs no care here.
//!
//! Fields that belong to one connection only (RFC 9110, section 7.6.1) stop here. `transfer-encoding` does so in spirit:
//! hyper re-frames every message, but a coding under `chunked` is still on the bytes that we pass on, so the field stays
//! where both sides speak HTTP/1.1. `expect` is end to end and passes: the body waits until the API has answered it.

use http::Version;
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue, TE,
    TRANSFER_ENCODING, UPGRADE,
};

use crate::error::ProxyError;

/// What every header of our own starts with; clients' ones are consumed, never forwarded.
const OWN_PREFIX: &str = "x-mindweave-";

/// Where clients of the older generation put an API key.
pub(crate) const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// What happens to the client's Claude credential.
#[derive(Debug)]
pub(crate) enum CredentialPlan {
    /// It goes on as it came, in whatever headers it came.
    Untouched,
    /// Both credential headers go; `value` is sent as `name`, in the place where `instead_of` stood.
    Replace { instead_of: HeaderName, name: HeaderName, value: HeaderValue },
}

/// Everything the request's header rules depend on.
pub(crate) struct ForwardRules<'a> {
    pub(crate) credential: CredentialPlan,
    /// The upstream's authority: what `host` must say.
    pub(crate) host: &'a HeaderValue,
    /// What the client speaks.
    pub(crate) version: Version,
}

/// What happens to all values of one name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Keep,
    Drop,
    /// The one value that our own connection needs stands here instead.
    Host,
    Trailers,
    Credential,
}

/// Refuses what two readers could take differently: any transfer coding but a single `chunked`, and several hosts.
///
/// The server refuses conflicts around `content-length` and codings that do not end in `chunked`; what is left are stacks of
/// codings, which the API does not use either.
pub(crate) fn check_unambiguous(headers: &HeaderMap) -> Result<(), ProxyError> {
    if headers.get_all(HOST).iter().nth(1).is_some() {
        return Err(ProxyError::HostAmbiguous);
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(only), None) if only.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked") => Ok(()),
        (Some(_), _) => Err(ProxyError::TransferCodingUnsupported),
    }
}

/// The header fields of the forwarded request.
pub(crate) fn for_upstream(mut headers: HeaderMap, rules: &ForwardRules<'_>) -> HeaderMap {
    let nominated = nominated(&headers);
    let te = if headers.contains_key(TE) { te_verdict(&headers) } else { Verdict::Drop };
    let verdict = |name: &HeaderName| if *name == TE { te } else { request_verdict(name, rules, &nominated) };
    let multiplexed = rules.version >= Version::HTTP_2;
    let has_host = headers.contains_key(HOST);
    if has_host && headers.keys().all(|name| matches!(verdict(name), Verdict::Keep | Verdict::Host)) {
        headers.insert(HOST, rules.host.clone()); // replaces the value where it stands
        if multiplexed {
            join_cookies(&mut headers);
        }
        return headers;
    }

    let mut kept = HeaderMap::with_capacity(headers.keys_len().saturating_add(2));
    if !has_host {
        kept.insert(HOST, rules.host.clone()); // HTTP/1.0 and HTTP/2 clients send none
    }
    let mut current = None;
    for (name, value) in headers {
        let first_of_its_name = name.is_some();
        if let Some(name) = name {
            let verdict = verdict(&name);
            current = Some((name, verdict));
        }
        let Some((name, verdict)) = &current else { continue };
        match verdict {
            Verdict::Keep => {
                kept.append(name.clone(), value);
            }
            Verdict::Host if first_of_its_name => {
                kept.append(HOST, rules.host.clone());
            }
            Verdict::Trailers if first_of_its_name => {
                kept.append(TE, HeaderValue::from_static("trailers"));
            }
            Verdict::Credential if first_of_its_name => {
                if let CredentialPlan::Replace { name, value, .. } = &rules.credential {
                    kept.append(name.clone(), value.clone());
                }
            }
            Verdict::Drop | Verdict::Host | Verdict::Trailers | Verdict::Credential => {}
        }
    }
    if multiplexed {
        join_cookies(&mut kept);
    }
    kept
}

/// The header fields of the answer as the client gets them.
///
/// A length beside a transfer coding does not count and must not travel on (RFC 9112, section 6.3).
pub(crate) fn for_client(headers: HeaderMap, client: Version) -> HeaderMap {
    let nominated = nominated(&headers);
    let coded = headers.contains_key(TRANSFER_ENCODING);
    let dropped = |name: &HeaderName| is_response_hop(name, client) || (coded && *name == CONTENT_LENGTH);
    let keep = |name: &HeaderName| !dropped(name) && !nominated.contains(name);
    if headers.keys().all(keep) {
        return headers;
    }
    let mut kept = HeaderMap::with_capacity(headers.keys_len());
    let mut current = None;
    for (name, value) in headers {
        if let Some(name) = name {
            let keep = keep(&name);
            current = Some((name, keep));
        }
        if let Some((name, true)) = &current {
            kept.append(name.clone(), value);
        }
    }
    kept
}

fn request_verdict(name: &HeaderName, rules: &ForwardRules<'_>, nominated: &[HeaderName]) -> Verdict {
    if *name == HOST {
        return Verdict::Host;
    }
    if *name == CONNECTION
        || *name == UPGRADE // we forward no protocol switch, so none may be offered
        || *name == KEEP_ALIVE
        || *name == PROXY_CONNECTION
        || name.as_str().starts_with(OWN_PREFIX)
        || nominated.contains(name)
    {
        return Verdict::Drop;
    }
    if *name == TRANSFER_ENCODING {
        return if rules.version >= Version::HTTP_2 { Verdict::Drop } else { Verdict::Keep };
    }
    match &rules.credential {
        CredentialPlan::Replace { instead_of, .. } if name == instead_of => Verdict::Credential,
        CredentialPlan::Replace { .. } if *name == AUTHORIZATION || *name == X_API_KEY => Verdict::Drop,
        CredentialPlan::Replace { .. } | CredentialPlan::Untouched => Verdict::Keep,
    }
}

/// `te` is ours to send anew. Of what it can ask for we pass on trailers only, because those we do forward.
fn te_verdict(headers: &HeaderMap) -> Verdict {
    let asks_for_trailers = headers
        .get_all(TE)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"));
    if asks_for_trailers { Verdict::Trailers } else { Verdict::Drop }
}

fn is_response_hop(name: &HeaderName, client: Version) -> bool {
    *name == CONNECTION
        || *name == UPGRADE
        || *name == KEEP_ALIVE
        || *name == PROXY_CONNECTION
        || (*name == TRANSFER_ENCODING && client >= Version::HTTP_2)
}

/// The fields that `connection` declares to be meant for this hop only.
///
/// Framing and routing fields cannot be declared away: a client that removes `content-length` or `host` between us and the
/// API would make the two of us read different requests.
fn nominated(headers: &HeaderMap) -> Vec<HeaderName> {
    headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|option| {
            !option.eq_ignore_ascii_case(b"keep-alive") && !option.eq_ignore_ascii_case(b"close")
        })
        .filter_map(|option| HeaderName::from_bytes(option).ok())
        .filter(|name| *name != CONTENT_LENGTH && *name != TRANSFER_ENCODING && *name != HOST)
        .collect()
}

/// HTTP/2 clients may send one cookie per field; HTTP/1.1 wants them in one (RFC 9113, section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(COOKIE).iter().nth(1).is_none() {
        return;
    }
    let parts: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(joined) = HeaderValue::from_bytes(&parts.join(&b"; "[..])) {
        headers.insert(COOKIE, joined);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(headers: &HeaderMap) -> Vec<&str> {
        headers.iter().map(|(name, _)| name.as_str()).collect()
    }

    fn forwarded(headers: HeaderMap, version: Version) -> HeaderMap {
        let host = HeaderValue::from_static("upstream");
        for_upstream(headers, &ForwardRules { credential: CredentialPlan::Untouched, host: &host, version })
    }

    #[test]
    fn http2_requests_get_what_http1_needs_and_lose_what_it_has_not() {
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, HeaderValue::from_static("a=1"));
        headers.append("x-last", HeaderValue::from_static("1"));
        headers.append(COOKIE, HeaderValue::from_static("b=2"));
        headers.append(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        let headers = forwarded(headers, Version::HTTP_2);
        assert_eq!(names(&headers), ["host", "cookie", "x-last"]);
        assert_eq!(headers[COOKIE], "a=1; b=2");
        assert_eq!(headers[HOST], "upstream");
    }

    #[test]
    fn a_map_that_loses_nothing_keeps_the_place_of_host() {
        let mut headers = HeaderMap::new();
        headers.append("x-first", HeaderValue::from_static("1"));
        headers.append(HOST, HeaderValue::from_static("h"));
        headers.append("x-last", HeaderValue::from_static("1"));
        let headers = forwarded(headers, Version::HTTP_11);
        assert_eq!(names(&headers), ["x-first", "host", "x-last"]);
        assert_eq!(headers[HOST], "upstream");
    }

    #[test]
    fn a_length_beside_a_transfer_coding_does_not_travel_on() {
        let mut headers = HeaderMap::new();
        headers.append(CONTENT_LENGTH, HeaderValue::from_static("99"));
        headers.append("x-last", HeaderValue::from_static("1"));
        headers.append(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        assert_eq!(names(&for_client(headers.clone(), Version::HTTP_11)), ["x-last", "transfer-encoding"]);
        assert_eq!(names(&for_client(headers, Version::HTTP_2)), ["x-last"]);
    }

    #[test]
    fn an_answer_to_an_http2_client_has_no_transfer_encoding() {
        let mut headers = HeaderMap::new();
        headers.append(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        assert_eq!(names(&for_client(headers.clone(), Version::HTTP_11)), ["transfer-encoding"]);
        assert_eq!(names(&for_client(headers, Version::HTTP_2)), [""; 0]);
    }
}
