//! The scan against serde's derived reading of the same body, which refuses duplicates and wrong types as well.

use std::sync::Arc;

use proptest::prelude::*;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::*;

#[derive(Deserialize)]
struct Body {
    model: Option<String>,
    stream: Option<bool>,
    max_tokens: Option<u64>,
    metadata: Option<Metadata>,
    messages: Option<Vec<IgnoredAny>>,
    tools: Option<Vec<Tool>>,
    mcp_servers: Option<Vec<Server>>,
    service_tier: Option<String>,
    speed: Option<String>,
    inference_geo: Option<String>,
    container: Option<IgnoredAny>,
    context_management: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Metadata {
    user_id: Option<String>,
}

#[derive(Deserialize)]
struct Tool {
    name: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    mcp_server_name: Option<String>,
    model: Option<String>,
}

#[derive(Deserialize)]
struct Server {
    name: Option<String>,
    url: Option<String>,
}

/// Whether the API could have a model of this name.
fn is_spelled(model: Option<&str>) -> bool {
    let looks_like_one = |name: &str| name.to_lowercase().contains("claude") && name != name.to_lowercase();
    model.is_none_or(|name| name.chars().all(|char| char.is_ascii_graphic()) && !looks_like_one(name))
}

/// Whether an address can be read in one way only.
fn is_plain(url: Option<&str>) -> bool {
    let web = |url: &str| {
        let lower = url.to_ascii_lowercase();
        lower.starts_with("https://") || lower.starts_with("http://")
    };
    url.is_none_or(|url| web(url) && url.chars().all(|char| char.is_ascii_graphic() && char != '\\'))
}

/// What serde reads; `None` when it refuses the body. Without the estimate.
pub(super) fn facts(body: &[u8]) -> Option<RequestFacts> {
    // A derived struct can also be read from an array; the API's and ours cannot.
    if body.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        return None;
    }
    let body: Body = serde_json::from_slice(body).ok()?;
    let tool_models = body.tools.iter().flatten().map(|tool| tool.model.as_deref());
    if !is_spelled(body.model.as_deref()) || !tool_models.clone().all(is_spelled) {
        return None;
    }
    if !body.mcp_servers.iter().flatten().all(|server| is_plain(server.url.as_deref())) {
        return None;
    }
    let mut models: Vec<&str> = body.model.as_deref().into_iter().chain(tool_models.flatten()).collect();
    models.sort_unstable();
    models.dedup();
    let models = models.into_iter().map(Arc::from).collect();
    let text = |value: &Option<String>| value.as_deref().map(Arc::from);
    let list = |value: &Option<String>| value.as_deref().map(Arc::from).into_iter().collect::<Vec<_>>();
    let user_id = text(&body.metadata.and_then(|metadata| metadata.user_id));
    Some(RequestFacts {
        model: text(&body.model),
        models,
        stream: body.stream.unwrap_or(false),
        max_tokens: body.max_tokens,
        max_tokens_sum: body.max_tokens,
        session_id: user_id.as_deref().and_then(session::session_id),
        user_id,
        tools: body
            .tools
            .unwrap_or_default()
            .iter()
            .map(|tool| RequestedTool {
                name: text(&tool.name),
                kind: text(&tool.kind),
                mcp_server: text(&tool.mcp_server_name),
            })
            .collect(),
        mcp_servers: body
            .mcp_servers
            .unwrap_or_default()
            .iter()
            .map(|server| RequestedMcpServer { name: text(&server.name), url: text(&server.url) })
            .collect(),
        message_count: body.messages.map_or(0, |messages| length(messages.len())),
        service_tier: text(&body.service_tier),
        service_tiers: list(&body.service_tier),
        speed: text(&body.speed),
        speeds: list(&body.speed),
        inference_geo: text(&body.inference_geo),
        inference_geos: list(&body.inference_geo),
        estimated_input_tokens: None,
        cache_write: None,
        has_default_fallback: false,
        has_container: body.container.is_some(),
        has_context_management: body.context_management.is_some(),
        batch_requests: 0,
        truncated: false,
    })
}

/// A JSON string, now and then with every character escaped.
fn quoted(text: &str, escape: bool) -> String {
    if escape {
        let escaped: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
        return format!("\"{escaped}\"");
    }
    serde_json::to_string(text).unwrap()
}

fn string() -> impl Strategy<Value = String> {
    (prop_oneof!["[a-z0-9-]{0,20}", any::<String>()], any::<bool>())
        .prop_map(|(text, escape)| quoted(&text.chars().take(100).collect::<String>(), escape))
}

/// Mostly a name that a model could have.
fn model() -> impl Strategy<Value = String> {
    let name =
        prop_oneof![8 => "[a-z0-9:/@._-]{0,20}", 1 => "Claude-[a-z]{1,3}|[A-Z]{1,4} ?", 1 => any::<String>()];
    (name, any::<bool>()).prop_map(|(name, escape)| quoted(&name, escape))
}

/// Mostly an address.
fn url() -> impl Strategy<Value = String> {
    let url = prop_oneof![8 => "(https|HTTP)://[!-\\[\\]-~]{0,20}", 1 => "https?:?/{0,2}[ -~]{0,8}", 1 => any::<String>()];
    (url, any::<bool>()).prop_map(|(url, escape)| quoted(&url, escape))
}

/// Mostly the right type, sometimes another. Never an array, which a derived struct would take for an object.
fn or_other(right: impl Strategy<Value = String> + 'static) -> impl Strategy<Value = String> {
    let other = proptest::sample::select(vec![
        "null",
        "true",
        "0",
        "-1.5e3",
        "{}",
        "\"\\udc00\"",
        "18446744073709551616",
    ]);
    prop_oneof![20 => right.boxed(), 1 => other.prop_map(str::to_owned)]
}

fn object(members: impl Strategy<Value = Vec<(String, String)>>) -> impl Strategy<Value = String> {
    (members, proptest::sample::select(vec!["", " ", "\r\n\t"]), proptest::num::u8::ANY).prop_map(
        |(members, space, dice)| {
            let members: Vec<String> = members
                .iter()
                .map(|(key, value)| format!("{space}{}{space}:{space}{value}{space}", quoted(key, dice == 0)))
                .collect();
            format!("{{{space}{}}}", members.join(","))
        },
    )
}

/// Some of these members in any order, now and then one of them twice.
fn some_of(
    members: Vec<(&'static str, BoxedStrategy<String>)>,
) -> impl Strategy<Value = Vec<(String, String)>> {
    let count = members.len();
    let all: Vec<_> = members
        .into_iter()
        .map(|(key, value)| value.prop_map(move |value| (key.to_owned(), value)))
        .collect();
    (all, proptest::collection::vec(any::<bool>(), count), 0..count * 20)
        .prop_map(|(all, keep, twice)| {
            let mut kept: Vec<_> =
                all.iter().zip(keep).filter(|(_, keep)| *keep).map(|(member, _)| member.clone()).collect();
            kept.extend(all.get(twice).cloned());
            kept
        })
        .prop_shuffle()
}

fn array(element: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    proptest::collection::vec(element, 0..4).prop_map(|elements| format!("[{}]", elements.join(" , ")))
}

fn body() -> impl Strategy<Value = String> {
    let tool = object(some_of(vec![
        ("name", or_other(string()).boxed()),
        ("type", or_other(string()).boxed()),
        ("mcp_server_name", or_other(string()).boxed()),
        ("model", or_other(model()).boxed()),
        ("input_schema", Just(r#"{"type":"object","name":[{}]}"#.to_owned()).boxed()),
    ]));
    let server = object(some_of(vec![
        ("name", or_other(string()).boxed()),
        ("url", or_other(url()).boxed()),
        ("authorization_token", string().boxed()),
    ]));
    let metadata =
        object(some_of(vec![("user_id", or_other(string()).boxed()), ("model", string().boxed())]));
    let message =
        prop_oneof![string(), Just(r#"{"role":"user","content":[{"model":"x"},[],{}]}"#.to_owned())];
    object(some_of(vec![
        ("model", or_other(model()).boxed()),
        (
            "cache_control",
            proptest::sample::select(vec![
                r#"{"type":"ephemeral"}"#.to_owned(),
                r#"{"ttl":"5m","type":"ephemeral"}"#.to_owned(),
                r#"{"ttl":"\u0031h"}"#.to_owned(),
                "null".to_owned(),
            ])
            .boxed(),
        ),
        ("stream", or_other(any::<bool>().prop_map(|flag| flag.to_string())).boxed()),
        ("max_tokens", or_other(any::<u64>().prop_map(|count| count.to_string())).boxed()),
        ("metadata", or_other(metadata).boxed()),
        ("messages", or_other(array(message)).boxed()),
        ("tools", or_other(array(or_other(tool))).boxed()),
        ("mcp_servers", or_other(array(or_other(server))).boxed()),
        ("service_tier", or_other(string()).boxed()),
        ("speed", or_other(string()).boxed()),
        ("inference_geo", or_other(string()).boxed()),
        ("container", or_other(string()).boxed()),
        ("context_management", Just("{\"edits\":[1,2]}".to_owned()).boxed()),
        ("system", string().boxed()),
        ("", string().boxed()),
    ]))
}

/// Without what is not compared: the estimate, lifetimes (of which a duplicate is no fault: the longest counts), and the
/// order in which models were found.
pub(super) fn comparable(facts: RequestFacts) -> RequestFacts {
    let mut facts = RequestFacts { estimated_input_tokens: None, cache_write: None, ..facts };
    facts.models.sort_unstable();
    facts
}

fn check(text: &[u8]) -> Result<(), TestCaseError> {
    let reading = read(EndpointKind::Messages, text);
    let key_fault = matches!(reading.fault, Some(ScanFault::Json { kind: JsonFaultKind::KeyNotUnicode, .. }));
    if key_fault && serde_json::from_slice::<serde_json::Value>(text).is_err() {
        return Ok(()); // in a part that serde ignores here
    }
    match facts(text) {
        Some(expected) => {
            prop_assert_eq!(reading.fault, None, "{}", text.escape_ascii());
            prop_assert!(reading.facts.estimated_input_tokens.is_some());
            prop_assert_eq!(comparable(reading.facts), expected, "{}", text.escape_ascii());
        }
        None => prop_assert!(reading.fault.is_some(), "serde refuses {}", text.escape_ascii()),
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn a_generated_body_is_read_as_serde_reads_it(body in body()) {
        check(body.as_bytes())?;
    }

    #[test]
    fn a_damaged_body_is_read_or_refused_as_serde_does(
        body in body(),
        edits in proptest::collection::vec((any::<proptest::sample::Index>(), any::<proptest::sample::Index>()), 1..4),
    ) {
        const BYTES: &[u8] = b"{}\",:\\\n\t 0123456789.eE+-tfn/\x00\x1f\x7f\xff\xef\xbb\xbf";
        let mut text = body.into_bytes();
        for (at, byte) in edits {
            let at = at.index(text.len());
            text[at] = BYTES[byte.index(BYTES.len())];
        }
        check(&text)?;
    }

    #[test]
    fn any_chunking_gives_the_same_reading(
        body in body(),
        cut in any::<proptest::sample::Index>(),
        sizes in proptest::collection::vec(1_usize..30, 1..6),
    ) {
        let mut text = body.into_bytes();
        text.truncate(cut.index(text.len() * 2).max(1));
        let whole = read(EndpointKind::Messages, &text);
        let mut scan = RequestScan::new(EndpointKind::Messages, Encoding::Identity).unwrap();
        let mut rest = text.as_slice();
        for &size in sizes.iter().cycle() {
            let (chunk, after) = rest.split_at(size.min(rest.len()));
            scan.feed(chunk);
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(whole, scan.finish());
    }
}
