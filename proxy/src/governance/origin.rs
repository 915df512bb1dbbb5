//! What a request's head says that policies decide by and the ledger keeps: where it comes from and what sent it.

use std::net::IpAddr;
use std::sync::Arc;

use http::header::{CONTENT_LENGTH, HeaderMap, HeaderName, USER_AGENT};
use mindweave_metering::{RequestDigest, RequestFacts, RequestReading};

const ANTHROPIC_BETA: HeaderName = HeaderName::from_static("anthropic-beta");
/// How much of a `user-agent` an event keeps.
const MAX_USER_AGENT_BYTES: usize = 256;
/// How many betas an event keeps, and how much of each. Claude Code sends about ten.
const MAX_BETAS: usize = 32;
/// How many MCP servers an event names.
const MAX_MCP_SERVERS: usize = 64;
/// How much of a beta's or a server's name an event keeps: more than the API allows for either.
const MAX_NAME_BYTES: usize = 128;
/// Stands for a beta that is no text.
const UNREADABLE: &str = "\u{fffd}";

/// The head of a request, as far as its event keeps it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Origin {
    client_ip: Option<IpAddr>,
    user_agent: Option<Arc<str>>,
    betas: Vec<Arc<str>>,
    /// What `content-length` says.
    length: Option<u64>,
}

impl Origin {
    /// Of a request with this head, from this client.
    pub(crate) fn of(headers: &HeaderMap, client_ip: IpAddr) -> Self {
        Self {
            client_ip: Some(client_ip),
            user_agent: user_agent(headers).map(|agent| cut(agent, MAX_USER_AGENT_BYTES).into()),
            betas: betas(headers).take(MAX_BETAS).map(|beta| cut(beta, MAX_NAME_BYTES).into()).collect(),
            length: declared_length(headers),
        }
    }

    /// What an event says about the request; `reading` is missing where bodies are not read, or none has come.
    pub(crate) fn digest(&self, reading: Option<&RequestReading>) -> RequestDigest {
        let head = RequestDigest {
            bytes: self.length,
            betas: self.betas.clone(),
            client_ip: self.client_ip,
            user_agent: self.user_agent.clone(),
            ..RequestDigest::default()
        };
        let Some(RequestReading { facts, bytes, .. }) = reading else { return head };
        RequestDigest {
            bytes: self.length.or(Some(*bytes)),
            stream: facts.stream,
            max_tokens: facts.max_tokens,
            message_count: facts.message_count,
            estimated_input_tokens: facts.estimated_input_tokens,
            mcp_servers: mcp_servers(facts),
            inference_geo: facts.inference_geo.clone(),
            ..head
        }
    }
}

/// The whole `user-agent`, if it is text.
pub(crate) fn user_agent(headers: &HeaderMap) -> Option<&str> {
    headers.get(USER_AGENT).and_then(|value| value.to_str().ok())
}

/// Every entry of every `anthropic-beta`.
pub(crate) fn betas(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let entries =
        headers.get_all(ANTHROPIC_BETA).iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    entries
        .map(|entry| std::str::from_utf8(entry.trim_ascii()).unwrap_or(UNREADABLE))
        .filter(|entry| !entry.is_empty())
}

/// What `content-length` says.
pub(crate) fn declared_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Names of the connector's servers, then of those that the client runs; each once.
fn mcp_servers(facts: &RequestFacts) -> Vec<Arc<str>> {
    let of_connector = facts.mcp_servers.iter().filter_map(|server| server.name.as_deref());
    let of_client = facts.tools.iter().filter_map(|tool| server_of(tool.name.as_deref()?));
    let mut names: Vec<Arc<str>> = Vec::new();
    for name in of_connector.chain(of_client).map(|name| cut(name, MAX_NAME_BYTES)) {
        if names.len() == MAX_MCP_SERVERS {
            break;
        }
        if !names.iter().any(|known| **known == *name) {
            names.push(name.into());
        }
    }
    names
}

/// The server in `mcp__<server>__<tool>`.
fn server_of(tool: &str) -> Option<&str> {
    tool.strip_prefix("mcp__")?.split_once("__").map(|(server, _)| server)
}

fn cut(text: &str, bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use mindweave_metering::{Encoding, EndpointKind, RequestScan};

    use super::*;

    fn reading(body: &str) -> RequestReading {
        let mut scan = RequestScan::new(EndpointKind::Messages, Encoding::Identity).unwrap();
        scan.feed(body.as_bytes());
        scan.finish()
    }

    #[test]
    fn betas_of_all_lines_are_read_in_order_whatever_stands_between_them() {
        let mut headers = HeaderMap::new();
        headers.append(ANTHROPIC_BETA, HeaderValue::from_static("a, b ,,c"));
        headers.append(ANTHROPIC_BETA, HeaderValue::from_bytes(b" d,\xff\xfe, \xc3\xa4").unwrap());
        assert_eq!(betas(&headers).collect::<Vec<_>>(), ["a", "b", "c", "d", UNREADABLE, "\u{e4}"]);
    }

    #[test]
    fn a_digest_names_servers_once_and_holds_nothing_of_prompts_or_addresses() {
        let reading = reading(
            r#"{"model":"m","stream":true,"max_tokens":7,"messages":[{"role":"user","content":"secret words"}],
            "mcp_servers":[{"type":"url","name":"search","url":"https://u:p@h/x?token=t"}],
            "tools":[{"name":"mcp__git__push"},{"name":"mcp__git__pull"},{"name":"mcp__search__find"},{"name":"plain"}]}"#,
        );
        let origin = Origin::of(&HeaderMap::new(), IpAddr::from([192, 0, 2, 7]));
        let digest = origin.digest(Some(&reading));
        let names: Vec<&str> = digest.mcp_servers.iter().map(|name| &**name).collect();
        assert_eq!(names, ["search", "git"]);
        assert_eq!((digest.stream, digest.max_tokens, digest.message_count), (true, Some(7), 1));
        let text = serde_json::to_string(&digest).unwrap();
        for hidden in ["secret", "token=t", "u:p", "push"] {
            assert!(!text.contains(hidden), "{hidden} in {text}");
        }
    }

    #[test]
    fn a_digest_is_bounded_whatever_the_request_says() {
        let mut headers = HeaderMap::new();
        let long = "\u{e4}".repeat(5_000);
        for _ in 0..100 {
            headers.append(ANTHROPIC_BETA, HeaderValue::from_bytes(long.as_bytes()).unwrap());
        }
        headers.insert(USER_AGENT, HeaderValue::from_str(&"x".repeat(9_000)).unwrap());
        let tools: Vec<String> = (0..900)
            .map(|number| format!(r#"{{"name":"mcp__server{number}{}__x"}}"#, "y".repeat(800)))
            .collect();
        let reading = reading(&format!(r#"{{"model":"m","tools":[{}]}}"#, tools.join(",")));
        let digest = Origin::of(&headers, IpAddr::from([0; 16])).digest(Some(&reading));
        assert_eq!((digest.betas.len(), digest.mcp_servers.len()), (MAX_BETAS, MAX_MCP_SERVERS));
        assert!(serde_json::to_vec(&digest).unwrap().len() < 16 * 1024);
    }
}
