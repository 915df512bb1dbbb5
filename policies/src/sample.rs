//! A made-up `input`: what cases and trials of policies ask about. It has the form of the contract in
//! `policies/README.md`; what it does not say is as in [`SampleInput::default`], an ordinary request.

mod document;
mod principal;
mod request;
#[cfg(test)]
mod tests;
mod usage;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use mindweave_metering::Endpoint;
use serde_json::Value;

pub(crate) use document::merge;
pub use principal::SamplePrincipal;
pub use request::{SampleMcpServer, SampleRequest, SampleTool};
pub use usage::{SampleBudget, SampleUnit};

use crate::facts::{BudgetUsage, PolicyInput, PrincipalInput, RequestInput};
use crate::governance::QuotaSpec;

/// A Friday morning in working hours, by UTC.
const ORDINARY_TIME: &str = "2026-11-20T10:30:00Z";

/// An input that nobody sent.
#[derive(Clone, Debug)]
pub struct SampleInput {
    /// Who asks.
    pub principal: SamplePrincipal,
    /// What for.
    pub request: SampleRequest,
    /// The budgets that count the request, by name.
    pub usage: BTreeMap<Arc<str>, SampleBudget>,
    /// When.
    pub now: Timestamp,
    /// IANA name of the organisation's time zone.
    pub time_zone: String,
}

/// What is wrong with a made-up input.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{place}`: {message}")]
pub struct SampleError {
    /// The key in question, or the object that holds it.
    pub place: String,
    /// What is wrong, for the author.
    pub message: String,
}

impl SampleError {
    fn new(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self { place: place.into(), message: message.into() }
    }
}

impl Default for SampleInput {
    fn default() -> Self {
        Self {
            principal: SamplePrincipal::default(),
            request: SampleRequest::default(),
            usage: BTreeMap::new(),
            now: ORDINARY_TIME.parse().unwrap_or(Timestamp::UNIX_EPOCH),
            time_zone: "UTC".to_owned(),
        }
    }
}

impl SampleInput {
    /// Reads what an author wrote. What follows from something else (`endpoint`, `kind`, `mcp_tools`) may be there, but
    /// not contradict it.
    ///
    /// # Errors
    /// When a key is not known, or its value is of the wrong kind.
    pub fn from_json(document: &Value) -> Result<Self, SampleError> {
        document::read(document)
    }

    /// Lends the typed form.
    ///
    /// # Errors
    /// When a category of personal data, a cache lifetime or a derived field is not what it can be.
    pub fn with_input<R>(&self, ask: impl FnOnce(&PolicyInput<'_>) -> R) -> Result<R, SampleError> {
        let principal = self.principal.principal();
        let request = &self.request;
        let endpoint = Endpoint::of(&request.method, &request.path);
        let facts = request.facts(&endpoint)?;
        let pii = request.categories()?;
        let betas: Vec<&str> = request.betas.iter().map(String::as_str).collect();
        let quotas: Vec<(QuotaSpec, &SampleBudget)> =
            self.usage.iter().map(|(name, budget)| (budget.quota(name), budget)).collect();
        let usage: Vec<BudgetUsage<'_>> = quotas
            .iter()
            .map(|(quota, budget)| BudgetUsage { quota, used: budget.used, reserved: budget.reserved })
            .collect();
        let input = PolicyInput {
            principal: PrincipalInput {
                principal: &principal,
                org_name: &self.principal.org_name,
                project_name: &self.principal.project_name,
                credential: self.principal.credential,
            },
            request: RequestInput {
                method: &request.method,
                path: &request.path,
                endpoint: &endpoint.template,
                kind: endpoint.kind.label(),
                facts: facts.as_ref(),
                bytes: request.bytes,
                betas: &betas,
                client_ip: request.client_ip,
                user_agent: request.user_agent.as_deref(),
                session_id: request.session_id.as_deref(),
                agent_id: request.agent_id.as_deref(),
                parent_agent_id: request.parent_agent_id.as_deref(),
                pii: pii.as_deref(),
            },
            usage: &usage,
            now: self.now,
            time_zone: &self.time_zone,
        };
        request.contradicted_by(&input)?;
        Ok(ask(&input))
    }
}

/// An address of the documentation range (RFC 5737).
const ORDINARY_ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 7));
