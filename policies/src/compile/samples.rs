//! Requests on which a policy is tried before it is put in force.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use jiff::Timestamp;
use mindweave_metering::{
    KeyId, OrgId, ProjectId, QuotaId, RequestFacts, RequestedMcpServer, RequestedTool, TeamId, UserId,
};

use super::failure::{Failure, last_failure};
use super::{Module, PolicyFault};
use crate::error_kind::PolicyErrorKind;
use crate::eval::{MAX_INSTRUCTIONS, evaluate, evaluate_within, processor_time};
use crate::facts::{BudgetUsage, CredentialKind, PolicyInput, PrincipalInput, RequestInput};
use crate::governance::{OnError, OnStale, QuotaAction, QuotaSpec, QuotaUnit, QuotaWindow, Reserve};
use crate::input::{FieldSet, Moment, document};
use crate::principal::Principal;
use crate::subject::{Subject, SubjectKind};

/// Above this part of its instructions on a usual request, a policy is slow.
const SLOW_PART: usize = 8;

/// 2026-11-21T15:30:00Z: a Saturday.
const SATURDAY_NS: i128 = 1_795_275_000_000_000_000;

/// Tools of a large request. Agents with many MCP servers send a few hundred.
const MANY_TOOLS: usize = 300;

/// A sample: what it is called in faults, and what it asks for.
struct Sample {
    name: &'static str,
    facts: Option<RequestFacts>,
    now: i128,
    user_agent: String,
}

/// Tries a policy on every sample.
///
/// # Errors
/// What it does that policies may not do.
pub(super) fn try_all(module: &Arc<Module>) -> Result<Vec<PolicyFault>, Vec<PolicyFault>> {
    let mut warnings = Vec::new();
    for sample in samples() {
        let name = sample.name;
        let quota = quota();
        let usage = [BudgetUsage { quota: &quota, used: 41_000_000_000, reserved: 1_000_000_000 }];
        let principal = principal();
        let input = sample.input(&principal, &usage);
        let moment = Moment::new(input.now, Some(input.time_zone));
        let document = document(&input, &moment, FieldSet::all());
        if let Err(kind) = evaluate(module, &document, processor_time()) {
            return Err(vec![fault(kind, name)]);
        }
        let few = MAX_INSTRUCTIONS / SLOW_PART;
        if evaluate_within(module, &document, few) == Err(PolicyErrorKind::InstructionLimit) {
            let message = format!(
                "takes more than {few} of the {MAX_INSTRUCTIONS} instructions that a policy may take for {name}"
            );
            warnings.push(PolicyFault::everywhere(message));
        }
    }
    Ok(warnings)
}

fn fault(kind: PolicyErrorKind, sample: &str) -> PolicyFault {
    let hint = match kind {
        PolicyErrorKind::Malformed => {
            ": every element is an object of texts, with a `message` and a `reason` in snake_case of at most 64 characters"
        }
        _ => "",
    };
    let failure = (kind == PolicyErrorKind::Runtime).then(last_failure).flatten();
    let what = failure.map(|failure| format!(": {}", failure.explanation())).unwrap_or_default();
    let message = format!("for {sample}, the policy {}{hint}{what}", kind.explanation());
    match failure.and_then(Failure::line) {
        Some(line) => PolicyFault { line: Some(line), ..PolicyFault::everywhere(message) },
        None => PolicyFault::everywhere(message),
    }
}

impl Sample {
    fn input<'a>(&'a self, principal: &'a Principal, usage: &'a [BudgetUsage<'a>]) -> PolicyInput<'a> {
        PolicyInput {
            principal: PrincipalInput {
                principal,
                org_name: "Acme",
                project_name: "checkout-bot",
                credential: CredentialKind::VirtualKey,
            },
            request: RequestInput {
                method: "POST",
                path: "/v1/messages",
                endpoint: "/v1/messages",
                kind: "messages",
                facts: self.facts.as_ref(),
                bytes: Some(1_024),
                betas: &["context-1m-2025-08-07"],
                client_ip: IpAddr::V4(Ipv4Addr::new(10, 1, 2, 3)),
                user_agent: Some(&self.user_agent),
                session_id: None,
                agent_id: None,
                parent_agent_id: None,
                pii: Some(&["email"]),
            },
            usage,
            now: Timestamp::from_nanosecond(self.now).unwrap_or(Timestamp::UNIX_EPOCH),
            time_zone: "Europe/Berlin",
        }
    }
}

fn samples() -> Vec<Sample> {
    let usual = RequestFacts {
        model: Some("claude-sonnet-4-5".into()),
        models: vec!["claude-sonnet-4-5".into()],
        stream: true,
        max_tokens: Some(1_024),
        estimated_input_tokens: Some(2_000),
        user_id: Some("user-1".into()),
        message_count: 3,
        tools: vec![tool("get_weather")],
        ..RequestFacts::default()
    };
    let servers = ["https://mcp.example.com/sse?key=1", "https://user:secret@[2001:db8::1]:8443/mcp"];
    let large = RequestFacts {
        model: Some("claude-opus-4-1-20250805".into()),
        models: vec!["claude-opus-4-1-20250805".into()],
        max_tokens: Some(64_000),
        inference_geo: Some("us".into()),
        inference_geos: vec!["us".into()],
        tools: (0..MANY_TOOLS)
            .map(|number| tool(&format!("mcp__server_{}__tool_{number}", number % 10)))
            .collect(),
        mcp_servers: servers
            .map(|url| RequestedMcpServer { name: Some("server".into()), url: Some(url.into()) })
            .to_vec(),
        message_count: 400,
        ..usual.clone()
    };
    let hour = 3_600_000_000_000;
    let sample =
        |name, facts, now, user_agent: &str| Sample { name, facts, now, user_agent: user_agent.to_owned() };
    vec![
        sample("a usual request", Some(usual), SATURDAY_NS, "anthropic-sdk-python/0.75.0"),
        sample("a request without a body", None, SATURDAY_NS + 40 * hour, ""),
        sample("a request with many tools", Some(large), SATURDAY_NS + 60 * hour, &"agent ".repeat(1_000)),
        sample("an empty request", Some(RequestFacts::default()), 0, "curl/8.0"),
    ]
}

fn tool(name: &str) -> RequestedTool {
    RequestedTool { name: Some(name.into()), kind: None, mcp_server: None }
}

fn principal() -> Principal {
    Principal {
        org_id: OrgId::new("org_sample"),
        project_id: ProjectId::new("prj_sample"),
        team_id: Some(TeamId::new("tm_sample")),
        user_id: Some(UserId::new("usr_sample")),
        key_id: Some(KeyId::new("key_sample")),
        roles: vec!["developer".into()],
        labels: BTreeMap::from([("env".into(), "prod".into())]),
    }
}

fn quota() -> QuotaSpec {
    QuotaSpec {
        id: QuotaId::new("quo_sample"),
        org_id: OrgId::new("org_sample"),
        name: "monthly".into(),
        scope: Subject { kind: SubjectKind::Org, id: Some("org_sample".into()) },
        unit: QuotaUnit::Cost,
        window: QuotaWindow::Month,
        limit: 50_000_000_000,
        models: Vec::new(),
        action: QuotaAction::Block,
        reserve: Reserve::Expected,
        thresholds: Vec::new(),
        on_unknown_price: OnError::Deny,
        on_stale: OnStale::Open,
    }
}
