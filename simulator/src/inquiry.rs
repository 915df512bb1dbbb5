//! What a Messages request asks for: the few fields that decide the answer, read without building a tree.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::fault::Fault;
use crate::models;

/// The version of the API that a request speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ApiVersion {
    /// `2023-06-01`
    June2023,
    /// `2026-10-21`: sampling parameters are refused.
    October2026,
}

impl ApiVersion {
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "2023-06-01" | "2023-01-01" => Some(Self::June2023),
            "2026-10-21" => Some(Self::October2026),
            _ => None,
        }
    }
}

/// The body of a Messages request, as far as the simulator looks at it.
#[derive(Debug, Deserialize)]
pub(crate) struct Inquiry<'a> {
    pub(crate) model: Option<String>,
    pub(crate) max_tokens: Option<u64>,
    #[serde(default)]
    pub(crate) stream: bool,
    #[serde(borrow)]
    pub(crate) messages: Option<Vec<&'a RawValue>>,
    #[serde(borrow, default)]
    pub(crate) tools: Option<Vec<ToolDefinition<'a>>>,
    #[serde(default)]
    pub(crate) mcp_servers: Option<Vec<McpServer>>,
    #[serde(borrow, default)]
    pub(crate) tool_choice: Option<ToolChoice<'a>>,
    #[serde(borrow, default)]
    pub(crate) output_config: Option<OutputConfig<'a>>,
    #[serde(borrow, default)]
    pub(crate) output_format: Option<OutputFormat<'a>>,
    #[serde(borrow, default)]
    temperature: Option<&'a RawValue>,
    #[serde(borrow, default)]
    top_p: Option<&'a RawValue>,
    #[serde(borrow, default)]
    top_k: Option<&'a RawValue>,
    #[serde(default)]
    pub(crate) stop_sequences: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) speed: Option<String>,
    #[serde(default)]
    pub(crate) inference_geo: Option<String>,
    /// The whole body: its size and cache marks decide the token figures.
    #[serde(skip)]
    pub(crate) body: &'a [u8],
}

/// A tool that the request offers.
#[derive(Debug, Deserialize)]
pub(crate) struct ToolDefinition<'a> {
    pub(crate) name: Option<String>,
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
    #[serde(borrow)]
    pub(crate) input_schema: Option<&'a RawValue>,
}

impl ToolDefinition<'_> {
    /// Whether the client runs this tool: server tools carry a versioned type instead of `custom`.
    pub(crate) fn is_client_side(&self) -> bool {
        let kind = self.kind.as_deref().unwrap_or("custom");
        kind == "custom"
            || ["bash_", "text_editor_", "computer_", "memory_"].iter().any(|own| kind.starts_with(own))
    }
}

/// A server of the MCP connector.
#[derive(Debug, Deserialize)]
pub(crate) struct McpServer {
    pub(crate) name: Option<String>,
}

/// Which tool the model has to use.
#[derive(Debug, Deserialize)]
pub(crate) struct ToolChoice<'a> {
    #[serde(rename = "type", borrow)]
    pub(crate) kind: Cow<'a, str>,
    pub(crate) name: Option<String>,
}

/// Where the newer API has the output format.
#[derive(Debug, Deserialize)]
pub(crate) struct OutputConfig<'a> {
    #[serde(borrow)]
    pub(crate) format: Option<OutputFormat<'a>>,
}

/// A format the answer's text has to have.
#[derive(Debug, Deserialize)]
pub(crate) struct OutputFormat<'a> {
    #[serde(borrow)]
    pub(crate) schema: Option<&'a RawValue>,
}

impl<'a> Inquiry<'a> {
    /// Reads and validates a body as the API does.
    pub(crate) fn read(body: &'a Bytes, version: ApiVersion) -> Result<Self, Fault> {
        let mut inquiry: Self = serde_json::from_slice(body).map_err(|error| {
            Fault::invalid(format!("The request body is not valid JSON: {}", kind_of(&error)))
        })?;
        inquiry.body = body;
        let Some(model) = inquiry.model.as_deref() else { return Err(Fault::missing("model")) };
        if !models::is_served(model) {
            return Err(Fault::not_found(format!("model: {model}")));
        }
        if inquiry.messages.as_deref().is_none_or(<[_]>::is_empty) {
            return Err(Fault::missing("messages"));
        }
        let sampling =
            [("temperature", inquiry.temperature), ("top_p", inquiry.top_p), ("top_k", inquiry.top_k)];
        if version == ApiVersion::October2026
            && let Some((name, _)) =
                sampling.iter().find(|(_, given)| given.is_some_and(|raw| raw.get() != "null"))
        {
            return Err(Fault::invalid(format!("{name}: Extra inputs are not permitted")));
        }
        Ok(inquiry)
    }

    /// Whether the client's turn brings the result of a tool: then an agent loop has to come to its end. Clients may put
    /// a reminder into a message of its own after the result, so everything since the last answer counts.
    pub(crate) fn brings_tool_result(&self) -> bool {
        let newest_first = self.messages.as_deref().unwrap_or_default().iter().rev();
        newest_first
            .take_while(|message| !is_answer(message))
            .any(|message| contains(message.get().as_bytes(), b"\"tool_result\""))
    }

    /// The schema that the answer's text has to follow, if one is given.
    pub(crate) fn schema(&self) -> Option<&'a RawValue> {
        let configured = self.output_config.as_ref().and_then(|config| config.format.as_ref());
        configured.or(self.output_format.as_ref()).and_then(|format| format.schema)
    }

    /// Whether the request marks something for the prompt cache, and for how long.
    pub(crate) fn cache_mark(&self) -> CacheMark {
        if !contains(self.body, b"\"cache_control\"") {
            return CacheMark::None;
        }
        let one_hour = contains(self.body, b"\"ttl\":\"1h\"") || contains(self.body, b"\"ttl\": \"1h\"");
        if one_hour { CacheMark::OneHour } else { CacheMark::FiveMinutes }
    }
}

/// Whether a request uses the prompt cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CacheMark {
    None,
    FiveMinutes,
    OneHour,
}

/// About four bytes of request make a token; a request has a handful at least.
pub(crate) fn estimated_tokens(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX).div_ceil(4).max(8)
}

/// Whether a message of the conversation is the model's.
fn is_answer(message: &RawValue) -> bool {
    #[derive(Deserialize)]
    struct Spoken<'a> {
        #[serde(borrow)]
        role: Cow<'a, str>,
    }
    serde_json::from_str::<Spoken<'_>>(message.get()).is_ok_and(|spoken| spoken.role == "assistant")
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    memchr::memmem::find(haystack, needle).is_some()
}

/// The parser's message without its position, in words that do not quote the body.
fn kind_of(error: &serde_json::Error) -> &'static str {
    match error.classify() {
        serde_json::error::Category::Eof => "unexpected end",
        serde_json::error::Category::Syntax => "syntax error",
        serde_json::error::Category::Data | serde_json::error::Category::Io => "a field has the wrong type",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sampling_parameters_are_refused_by_the_new_version_only() {
        let body = Bytes::from_static(br#"{"model":"claude-opus-5-5","messages":[{}],"top_p":0.5}"#);
        assert!(Inquiry::read(&body, ApiVersion::June2023).is_ok());
        assert!(Inquiry::read(&body, ApiVersion::October2026).is_err());
    }

    #[test]
    fn a_tool_result_is_seen_since_the_last_answer_only() {
        let read = |text: &'static str| {
            Inquiry::read(&Bytes::from_static(text.as_bytes()), ApiVersion::June2023)
                .unwrap()
                .brings_tool_result()
        };
        let result = r#"{"role":"user","content":[{"type":"tool_result"}]}"#;
        let question = r#"{"role":"user","content":"go on"}"#;
        let body = |messages: &str| {
            let text = format!(r#"{{"model":"claude-x","messages":[{messages}]}}"#);
            &*Box::leak(text.into_boxed_str())
        };
        let answer = r#"{"role":"assistant","content":"done"}"#;
        assert!(read(body(&format!("{question},{result}"))));
        assert!(read(body(&format!("{result},{question}"))));
        assert!(!read(body(&format!("{result},{answer},{question}"))));
    }
}
