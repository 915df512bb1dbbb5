//! What is asked for.

use std::net::IpAddr;
use std::sync::Arc;

use mindweave_metering::{
    BatchCall, CacheTtl, Encoding, Endpoint, EndpointKind, RequestFacts, RequestScan, RequestedMcpServer,
    RequestedTool,
};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::{ORDINARY_ADDRESS, SampleError};
use crate::facts::PolicyInput;
use crate::pii;

/// `request` of a made-up input; the fields are those of the contract.
///
/// A list that belongs to a single value (`models` to `model`) follows from it and the other way round. Where bodies
/// are not read, what the body would say counts for nothing, as in the proxy.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "each field is documented in policies/schema/input.schema.json")]
pub struct SampleRequest {
    pub method: String,
    pub path: String,
    pub bytes: Option<u64>,
    pub betas: Vec<String>,
    pub client_ip: IpAddr,
    pub user_agent: Option<String>,
    pub session_id: Option<String>,
    pub agent_id: Option<String>,
    pub parent_agent_id: Option<String>,
    pub pii: Option<Vec<String>>,
    pub model: Option<Arc<str>>,
    pub models: Option<Vec<Arc<str>>>,
    pub stream: bool,
    pub max_tokens: Option<u64>,
    pub max_tokens_sum: Option<u64>,
    pub estimated_input_tokens: Option<u64>,
    pub cache_write: Option<String>,
    pub metadata_user_id: Option<Arc<str>>,
    pub tools: Vec<SampleTool>,
    pub mcp_servers: Vec<SampleMcpServer>,
    pub message_count: Option<u64>,
    pub service_tier: Option<Arc<str>>,
    pub service_tiers: Option<Vec<Arc<str>>>,
    pub speed: Option<Arc<str>>,
    pub speeds: Option<Vec<Arc<str>>>,
    pub inference_geo: Option<Arc<str>>,
    pub inference_geos: Option<Vec<Arc<str>>>,
    pub has_container: bool,
    pub has_context_management: bool,
    pub has_default_fallback: bool,
    pub batch_requests: Option<u64>,
    pub truncated: bool,
    endpoint: Option<Value>,
    kind: Option<Value>,
    mcp_tools: Option<Value>,
}

/// A tool as policies see it. Its name alone, as a text, will do.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Value")]
#[expect(missing_docs, reason = "each field is documented in policies/schema/input.schema.json")]
pub struct SampleTool {
    pub name: Option<Arc<str>>,
    pub kind: Option<Arc<str>>,
    pub mcp_server: Option<Arc<str>>,
}

impl TryFrom<Value> for SampleTool {
    type Error = serde_json::Error;

    fn try_from(value: Value) -> Result<Self, Self::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Fields {
            #[serde(default)]
            name: Option<Arc<str>>,
            #[serde(default)]
            r#type: Option<Arc<str>>,
            #[serde(default)]
            mcp_server: Option<Arc<str>>,
        }

        if let Value::String(name) = value {
            return Ok(Self { name: Some(name.into()), kind: None, mcp_server: None });
        }
        let Fields { name, r#type, mcp_server } = Fields::deserialize(value)?;
        Ok(Self { name, kind: r#type, mcp_server })
    }
}

/// A server of the API's MCP connector.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SampleMcpServer {
    /// What the client calls it.
    pub name: Option<Arc<str>>,
    /// Its address.
    pub url: Option<Arc<str>>,
    /// Follows from the address.
    #[serde(rename = "host")]
    _host: Option<IgnoredAny>,
}

impl Default for SampleRequest {
    fn default() -> Self {
        Self {
            method: "POST".to_owned(),
            path: "/v1/messages".to_owned(),
            bytes: Some(1_800),
            betas: Vec::new(),
            client_ip: ORDINARY_ADDRESS,
            user_agent: Some("Anthropic/Python 0.72.0".to_owned()),
            session_id: None,
            agent_id: None,
            parent_agent_id: None,
            pii: Some(Vec::new()),
            model: Some("claude-sonnet-4-5".into()),
            models: None,
            stream: false,
            max_tokens: Some(1_024),
            max_tokens_sum: None,
            estimated_input_tokens: Some(450),
            cache_write: None,
            metadata_user_id: None,
            tools: Vec::new(),
            mcp_servers: Vec::new(),
            message_count: Some(1),
            service_tier: None,
            service_tiers: None,
            speed: None,
            speeds: None,
            inference_geo: None,
            inference_geos: None,
            has_container: false,
            has_context_management: false,
            has_default_fallback: false,
            batch_requests: None,
            truncated: false,
            endpoint: None,
            kind: None,
            mcp_tools: None,
        }
    }
}

impl SampleRequest {
    /// What the body says; `None` where the proxy reads none.
    pub(super) fn facts(&self, endpoint: &Endpoint) -> Result<Option<RequestFacts>, SampleError> {
        if RequestScan::new(endpoint.kind, Encoding::Identity).is_none() {
            return Ok(None);
        }
        let is_batch = endpoint.kind == EndpointKind::Batches(BatchCall::Create);
        let batch_requests = self.batch_requests.unwrap_or(u64::from(is_batch));
        let items = batch_requests.max(1);
        let (model, models) = both(self.model.as_ref(), self.models.as_ref());
        let (service_tier, service_tiers) = both(self.service_tier.as_ref(), self.service_tiers.as_ref());
        let (speed, speeds) = both(self.speed.as_ref(), self.speeds.as_ref());
        let (inference_geo, inference_geos) = both(self.inference_geo.as_ref(), self.inference_geos.as_ref());
        Ok(Some(RequestFacts {
            model,
            models,
            stream: self.stream,
            max_tokens: self.max_tokens,
            max_tokens_sum: self
                .max_tokens_sum
                .or_else(|| self.max_tokens.map(|tokens| tokens.saturating_mul(items))),
            estimated_input_tokens: self.estimated_input_tokens,
            cache_write: self.cache_write()?,
            user_id: self.metadata_user_id.clone(),
            tools: self.tools.iter().map(SampleTool::requested).collect(),
            mcp_servers: self.mcp_servers.iter().map(SampleMcpServer::requested).collect(),
            message_count: self.message_count.unwrap_or_default(),
            service_tier,
            service_tiers,
            speed,
            speeds,
            inference_geo,
            inference_geos,
            has_container: self.has_container,
            has_context_management: self.has_context_management,
            has_default_fallback: self.has_default_fallback,
            batch_requests,
            truncated: self.truncated,
            ..RequestFacts::default()
        }))
    }

    fn cache_write(&self) -> Result<Option<CacheTtl>, SampleError> {
        match self.cache_write.as_deref() {
            None => Ok(None),
            Some("5m") => Ok(Some(CacheTtl::FiveMinutes)),
            Some("1h") => Ok(Some(CacheTtl::OneHour)),
            Some(other) => {
                Err(SampleError::new("request.cache_write", format!("is `5m` or `1h`, not `{other}`")))
            }
        }
    }

    /// The categories of personal data in the words that the search for them uses.
    pub(super) fn categories(&self) -> Result<Option<Vec<&'static str>>, SampleError> {
        let known = |name: &String| {
            pii::CATEGORIES.into_iter().find(|category| category == name).ok_or_else(|| {
                let words = pii::CATEGORIES.join(", ");
                SampleError::new("request.pii", format!("`{name}` is not a category; there are: {words}"))
            })
        };
        self.pii.as_ref().map(|names| names.iter().map(known).collect()).transpose()
    }

    /// Refuses derived fields that say something else than what they are derived from.
    pub(super) fn contradicted_by(&self, input: &PolicyInput<'_>) -> Result<(), SampleError> {
        let given = [("endpoint", &self.endpoint), ("kind", &self.kind), ("mcp_tools", &self.mcp_tools)];
        if given.iter().all(|(_, value)| value.is_none()) {
            return Ok(());
        }
        let rendered = input.to_json();
        for (name, value) in given {
            let Some(value) = value else { continue };
            let is = rendered.get("request").and_then(|request| request.get(name)).unwrap_or(&Value::Null);
            if is != value {
                return Err(SampleError::new(
                    format!("request.{name}"),
                    format!("follows from other fields and is {is}, not {value}; leave it out"),
                ));
            }
        }
        Ok(())
    }
}

impl SampleTool {
    fn requested(&self) -> RequestedTool {
        RequestedTool {
            name: self.name.clone(),
            kind: self.kind.clone(),
            mcp_server: self.mcp_server.clone(),
        }
    }
}

impl SampleMcpServer {
    fn requested(&self) -> RequestedMcpServer {
        RequestedMcpServer { name: self.name.clone(), url: self.url.clone() }
    }
}

/// A single value and the list of all. The value makes the list where none is given; where one is, the value counts only
/// if it is all that the list holds: items of a batch that differ, or lack it, agree on nothing.
fn both(single: Option<&Arc<str>>, all: Option<&Vec<Arc<str>>>) -> (Option<Arc<str>>, Vec<Arc<str>>) {
    match all {
        Some(all) => (single.filter(|single| all.as_slice() == [Arc::clone(single)]).cloned(), all.clone()),
        None => (single.cloned(), single.cloned().into_iter().collect()),
    }
}
