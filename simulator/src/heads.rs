//! Response headers of the real service, edge included. Everything in them is drawn from the seed.

use http::header::{
    CACHE_CONTROL, CONTENT_TYPE, DATE, HeaderName, RETRY_AFTER, SERVER, SET_COOKIE,
    STRICT_TRANSPORT_SECURITY, VARY, VIA,
};
use http::{HeaderMap, HeaderValue};

use crate::clock::Moment;
use crate::dice::Dice;
use crate::fault::Fault;

/// Organisation and workspace of every answer.
const ORGANIZATION: &str = "5f8e2c1a-4b7d-4e9f-8a6c-3d2b1c0e9f8a";
const WORKSPACE: &str = "wrkspc_01SimuLatedWorkSpace00000001";
/// About one answer in eight carries `retry-after` although nothing failed.
const RETRY_AFTER_ON_SUCCESS: u64 = 8;

/// What the body is, which decides the content type and the rest of the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Json,
    EventStream,
    JsonLines,
    Binary,
}

impl Content {
    fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::EventStream => "text/event-stream; charset=utf-8",
            Self::JsonLines => "application/x-jsonl",
            Self::Binary => "application/octet-stream",
        }
    }
}

/// The head of a successful answer.
pub(crate) fn success(request_id: &str, content: Content, dice: &mut Dice) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(40);
    let moment = Moment::draw(dice);
    headers.insert(DATE, text(moment.http_date()));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content.media_type()));
    if content == Content::EventStream {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    }
    named(&mut headers, "anthropic-organization-id", HeaderValue::from_static(ORGANIZATION));
    named(&mut headers, "anthropic-workspace-id", HeaderValue::from_static(WORKSPACE));
    edge(&mut headers, request_id, dice);
    headers
}

/// What inference answers add: limits, and now and then a `retry-after` that means nothing.
pub(crate) fn add_limits(headers: &mut HeaderMap, tokens: u64, dice: &mut Dice) {
    let reset = Moment::draw(dice).rfc3339();
    limits(headers, "requests", 20_000, 20_000 - 1 - dice.below(40), &reset);
    limits(headers, "input-tokens", 10_000_000, rounded(10_000_000 - tokens.min(10_000_000)), &reset);
    limits(headers, "output-tokens", 2_000_000, 2_000_000, &reset);
    limits(headers, "tokens", 12_000_000, rounded(12_000_000 - tokens.min(12_000_000)), &reset);
    if dice.below(RETRY_AFTER_ON_SUCCESS) == 0 {
        headers.insert(RETRY_AFTER, HeaderValue::from(dice.between(1, 59)));
    }
}

/// The head of an error.
pub(crate) fn failure(request_id: &str, fault: &Fault, dice: &mut Dice) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(32);
    let moment = Moment::draw(dice);
    headers.insert(DATE, text(moment.http_date()));
    if fault.is_html() {
        // The edge answers itself: nothing of the API is in the head.
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
        headers.insert(SERVER, HeaderValue::from_static("cloudflare"));
        named(&mut headers, "cf-ray", ray(dice));
        return headers;
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if fault.status != http::StatusCode::UNAUTHORIZED {
        named(&mut headers, "anthropic-organization-id", HeaderValue::from_static(ORGANIZATION));
    }
    if let Some(advice) = fault.should_retry() {
        named(&mut headers, "x-should-retry", HeaderValue::from_static(advice));
    }
    if let Some(seconds) = fault.retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if fault.is_throttle() {
        let reset = moment.plus_seconds(fault.retry_after.unwrap_or(1)).rfc3339();
        limits(&mut headers, "requests", 20_000, 0, &reset);
        limits(&mut headers, "input-tokens", 10_000_000, 0, &reset);
        limits(&mut headers, "output-tokens", 2_000_000, 2_000_000, &reset);
        limits(&mut headers, "tokens", 12_000_000, 0, &reset);
    }
    edge(&mut headers, request_id, dice);
    headers
}

/// What the edge and the gateway put on everything.
fn edge(headers: &mut HeaderMap, request_id: &str, dice: &mut Dice) {
    named(headers, "request-id", text(request_id.to_owned()));
    headers.insert(
        STRICT_TRANSPORT_SECURITY,
        HeaderValue::from_static("max-age=31536000; includeSubDomains; preload"),
    );
    let trace = format!("00-{}-{}-01", dice.hex(32), dice.hex(16));
    named(headers, "traceresponse", text(trace));
    named(headers, "x-envoy-upstream-service-time", HeaderValue::from(dice.between(20, 4_000)));
    headers.insert(VIA, HeaderValue::from_static("1.1 google"));
    headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    named(headers, "cf-cache-status", HeaderValue::from_static("DYNAMIC"));
    named(headers, "cf-ray", ray(dice));
    headers.insert(SERVER, HeaderValue::from_static("cloudflare"));
    named(headers, "x-robots-tag", HeaderValue::from_static("none"));
    named(
        headers,
        "content-security-policy",
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
    );
    // Repeated names travel apart: a client must not get them joined.
    let timings =
        [format!("x-originResponse;dur={}", dice.between(20, 4_000)), "cfL4;desc=\"?proto=TCP\"".to_owned()];
    for timing in timings {
        headers.append(HeaderName::from_static("server-timing"), text(timing));
    }
    for name in ["__cf_bm", "_cfuvid"] {
        let cookie = format!(
            "{name}={}; path=/; domain=.anthropic.com; HttpOnly; Secure; SameSite=None",
            dice.hex(43)
        );
        headers.append(SET_COOKIE, text(cookie));
    }
}

fn limits(headers: &mut HeaderMap, what: &str, limit: u64, remaining: u64, reset: &str) {
    let values = [
        ("limit", HeaderValue::from(limit)),
        ("remaining", HeaderValue::from(remaining)),
        ("reset", text(reset.to_owned())),
    ];
    for (part, value) in values {
        if let Ok(name) = HeaderName::try_from(format!("anthropic-ratelimit-{what}-{part}")) {
            headers.insert(name, value);
        }
    }
}

/// Token figures in limits are rounded to thousands.
fn rounded(tokens: u64) -> u64 {
    tokens / 1_000 * 1_000
}

fn ray(dice: &mut Dice) -> HeaderValue {
    text(format!("{}-LIS", dice.hex(16)))
}

fn named(headers: &mut HeaderMap, name: &'static str, value: HeaderValue) {
    headers.insert(HeaderName::from_static(name), value);
}

/// A header value of text that is made here and therefore always valid.
fn text(value: String) -> HeaderValue {
    HeaderValue::try_from(value).unwrap_or_else(|_| HeaderValue::from_static(""))
}
