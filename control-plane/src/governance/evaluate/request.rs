//! What is asked for: what a body would say, in the API's own words, and what stands beside it. The body is read by the same
//! scan that proxies use.

use std::net::{IpAddr, Ipv4Addr};

use mindweave_metering::{CacheTtl, Encoding, Endpoint, RequestFacts, RequestScan};
use mindweave_policy::pii;
use serde_json::{Map, Value, json};

use crate::governance::schema::PiiWord;
use crate::http::body::Fields;

/// The name of the field.
const FIELD: &str = "request";
/// Fields of the API's requests that may stand here directly; everything else of a body stands in `body`.
const BODY_FIELDS: [&str; 20] = [
    "model",
    "max_tokens",
    "max_tokens_to_sample",
    "stream",
    "metadata",
    "messages",
    "system",
    "prompt",
    "requests",
    "service_tier",
    "speed",
    "inference_geo",
    "container",
    "context_management",
    "thinking",
    "temperature",
    "tool_choice",
    "top_p",
    "top_k",
    "stop_sequences",
];
/// Fields whose presence means that the prompt is known, so that its length can be.
const PROMPTS: [&str; 4] = ["messages", "prompt", "requests", "system"];
/// Most tools, servers and betas of one request.
const MAX_ENTRIES: usize = 1_024;
/// Greatest number that any field takes.
const MAX_NUMBER: i64 = 1_000_000_000_000;

const CACHE_WRITES: [(&str, CacheTtl); 2] = [("5m", CacheTtl::FiveMinutes), ("1h", CacheTtl::OneHour)];

/// A request in the description of the API: what a body would say, in the API's own words, and what stands beside it. What is not said is
/// unknown.
#[derive(utoipa::ToSchema)]
#[schema(as = EvaluatedRequest)]
#[expect(dead_code, reason = "describes what `read_request` reads")]
pub(super) struct RequestFields {
    #[schema(min_length = 1, max_length = 200)]
    method: Option<String>,
    #[schema(min_length = 1, max_length = 200)]
    path: Option<String>,
    /// The same as `path`.
    #[schema(min_length = 1, max_length = 200)]
    endpoint: Option<String>,
    /// A whole body of the API.
    #[schema(value_type = Option<Object>)]
    body: Option<Value>,
    /// As are the other fields of the API that can be given beside or in place of a body.
    model: Option<Value>,
    max_tokens: Option<Value>,
    max_tokens_to_sample: Option<Value>,
    stream: Option<Value>,
    metadata: Option<Value>,
    messages: Option<Value>,
    system: Option<Value>,
    prompt: Option<Value>,
    requests: Option<Value>,
    service_tier: Option<Value>,
    speed: Option<Value>,
    inference_geo: Option<Value>,
    container: Option<Value>,
    context_management: Option<Value>,
    thinking: Option<Value>,
    temperature: Option<Value>,
    tool_choice: Option<Value>,
    top_p: Option<Value>,
    top_k: Option<Value>,
    stop_sequences: Option<Value>,
    #[schema(min_length = 1, max_length = 200)]
    metadata_user_id: Option<String>,
    /// Names, or tools as the API has them.
    #[schema(max_items = 1_024)]
    tools: Option<Vec<Value>>,
    /// Tools of MCP servers: objects with `server` and `tool`.
    #[schema(max_items = 1_024)]
    mcp_tools: Option<Vec<Value>>,
    /// Names, or servers as the API has them.
    #[schema(max_items = 1_024)]
    mcp_servers: Option<Vec<Value>>,
    #[schema(minimum = 0, maximum = 1_000_000_000_000_u64)]
    estimated_input_tokens: Option<u64>,
    #[schema(minimum = 0, maximum = 1_000_000_000_000_u64)]
    message_count: Option<u64>,
    #[schema(minimum = 0, maximum = 1_000_000_000_000_u64)]
    batch_requests: Option<u64>,
    /// `5m` or `1h`.
    #[schema(pattern = "^(5m|1h)$")]
    cache_write: Option<String>,
    #[schema(minimum = 0, maximum = 1_000_000_000_000_u64)]
    bytes: Option<u64>,
    #[schema(max_items = 1_024)]
    betas: Option<Vec<String>>,
    /// An IP address.
    client_ip: Option<String>,
    #[schema(min_length = 1, max_length = 200)]
    user_agent: Option<String>,
    #[schema(min_length = 1, max_length = 200)]
    session_id: Option<String>,
    #[schema(min_length = 1, max_length = 200)]
    agent_id: Option<String>,
    #[schema(min_length = 1, max_length = 200)]
    parent_agent_id: Option<String>,
    /// Categories of personal data; found in the body by default.
    #[schema(max_items = 7)]
    pii: Option<Vec<PiiWord>>,
}

/// A request that nobody sends.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) endpoint: Endpoint,
    /// `None` where proxies do not read bodies.
    pub(super) facts: Option<RequestFacts>,
    pub(super) bytes: Option<u64>,
    pub(super) betas: Vec<String>,
    pub(super) client_ip: IpAddr,
    pub(super) user_agent: Option<String>,
    pub(super) session_id: Option<String>,
    pub(super) agent_id: Option<String>,
    pub(super) parent_agent_id: Option<String>,
    pub(super) pii: Vec<&'static str>,
}

/// Reads the request. What is not said is unknown: `null` for policies.
pub(super) fn read_request(fields: &mut Fields) -> Asked {
    let mut nested = fields.nested(FIELD).unwrap_or_default();
    let method = nested.text("method").unwrap_or_else(|| "POST".to_owned()).to_ascii_uppercase();
    let (path, template) = (nested.text("path"), nested.text("endpoint"));
    let path = path.or(template).unwrap_or_else(|| "/v1/messages".to_owned());
    let endpoint = Endpoint::of(&method, &path);
    let body = read_body(&mut nested);
    let knows_prompt = PROMPTS.iter().any(|field| body.contains_key(*field));
    let encoded = serde_json::to_vec(&body).unwrap_or_default();
    let facts = read_facts(&mut nested, &endpoint, &encoded, knows_prompt);
    let found = if knows_prompt { pii::detect(&encoded) } else { Vec::new() };
    let length = u64::try_from(encoded.len()).ok().filter(|_| knows_prompt);
    let asked = Asked {
        bytes: nested.count("bytes", 0, MAX_NUMBER).or(length),
        betas: nested.texts("betas", MAX_ENTRIES).unwrap_or_default(),
        client_ip: read_address(&mut nested),
        user_agent: nested.text("user_agent"),
        session_id: nested.text("session_id"),
        agent_id: nested.text("agent_id"),
        parent_agent_id: nested.text("parent_agent_id"),
        pii: read_pii(&mut nested).unwrap_or(found),
        method,
        path,
        endpoint,
        facts,
    };
    fields.close_named(FIELD, nested);
    asked
}

/// The body, from its own fields and from those that stand here directly.
fn read_body(nested: &mut Fields) -> Map<String, Value> {
    let mut body = nested.document("body").unwrap_or_default();
    for field in BODY_FIELDS {
        if let Some(value) = nested.any(field) {
            body.insert(field.to_owned(), value);
        }
    }
    if let Some(user) = nested.text("metadata_user_id") {
        body.insert("metadata".to_owned(), json!({ "user_id": user }));
    }
    let named = |entry: Value| match entry {
        Value::String(name) => json!({ "name": name }),
        entry => entry,
    };
    let mut tools: Vec<_> = nested.list("tools", MAX_ENTRIES).unwrap_or_default();
    tools.extend(read_mcp_tools(nested));
    if !tools.is_empty() {
        body.insert("tools".to_owned(), tools.into_iter().map(named).collect());
    }
    if let Some(servers) = nested.list("mcp_servers", MAX_ENTRIES) {
        body.insert("mcp_servers".to_owned(), servers.into_iter().map(named).collect());
    }
    body
}

/// Tools of MCP servers under the names that clients give them.
fn read_mcp_tools(nested: &mut Fields) -> Vec<Value> {
    let entries = nested.list("mcp_tools", MAX_ENTRIES).unwrap_or_default();
    let name = |entry: &Value| {
        let (server, tool) = (entry.get("server")?.as_str()?, entry.get("tool")?.as_str()?);
        Some(Value::from(format!("mcp__{server}__{tool}")))
    };
    let names: Option<Vec<_>> = entries.iter().map(name).collect();
    names.unwrap_or_else(|| {
        nested.refuse("mcp_tools", "entries must be objects with the texts server and tool");
        Vec::new()
    })
}

fn read_facts(
    nested: &mut Fields,
    endpoint: &Endpoint,
    encoded: &[u8],
    knows_prompt: bool,
) -> Option<RequestFacts> {
    let tokens = nested.count("estimated_input_tokens", 0, MAX_NUMBER);
    let messages = nested.count("message_count", 0, MAX_NUMBER);
    let items = nested.count("batch_requests", 0, MAX_NUMBER);
    let cache_write = nested.choice("cache_write", &CACHE_WRITES);
    let mut scan = RequestScan::new(endpoint.kind, Encoding::Identity)?;
    scan.feed(encoded);
    let reading = scan.finish();
    if let Some(fault) = reading.fault {
        nested.refuse("body", &format!("proxies would refuse it where something decides on it: {fault}"));
    }
    let mut facts = reading.facts;
    facts.estimated_input_tokens = tokens.or(facts.estimated_input_tokens.filter(|_| knows_prompt));
    facts.message_count = messages.unwrap_or(facts.message_count);
    facts.batch_requests = items.unwrap_or(facts.batch_requests);
    facts.cache_write = cache_write.or(facts.cache_write);
    Some(facts)
}

fn read_address(nested: &mut Fields) -> IpAddr {
    let unknown = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let Some(text) = nested.text("client_ip") else { return unknown };
    text.parse().unwrap_or_else(|_| {
        nested.refuse("client_ip", "must be an IP address");
        unknown
    })
}

fn read_pii(nested: &mut Fields) -> Option<Vec<&'static str>> {
    let names = nested.texts("pii", pii::CATEGORIES.len())?;
    let known = |name: &String| pii::CATEGORIES.into_iter().find(|category| category == name);
    let found: Option<Vec<_>> = names.iter().map(known).collect();
    if found.is_none() {
        nested.refuse("pii", &format!("entries must be of: {}", pii::CATEGORIES.join(", ")));
    }
    found
}
