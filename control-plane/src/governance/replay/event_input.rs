//! The input of policies, told again from an event.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use mindweave_metering::{Endpoint, RequestDigest, RequestFacts, RequestedMcpServer, UsageEvent};
use mindweave_policy::{CredentialKind, PolicyInput, Principal, PrincipalInput, RequestInput, Snapshot};

/// What an event tells of its request.
pub(super) struct Past {
    principal: Principal,
    endpoint: Endpoint,
    facts: Option<RequestFacts>,
    /// When it came in.
    began_at: Timestamp,
}

impl Past {
    /// The request of an event. `roles` are those that its key has now.
    pub(super) fn of(event: &UsageEvent, roles: &[Arc<str>]) -> Self {
        let principal = Principal {
            org_id: event.org_id.clone(),
            project_id: event.project_id.clone(),
            team_id: event.team_id.clone(),
            user_id: event.user_id.clone(),
            key_id: event.key_id.clone(),
            roles: roles.to_vec(),
            labels: event.metadata.clone(),
        };
        let took = SignedDuration::from_millis(i64::try_from(event.latency_ms).unwrap_or(i64::MAX));
        Self {
            principal,
            endpoint: Endpoint::of(&event.method, &event.endpoint),
            facts: facts(event),
            began_at: event.timestamp.saturating_sub(took).unwrap_or(event.timestamp),
        }
    }

    /// Whose it was.
    pub(super) fn principal(&self) -> &Principal {
        &self.principal
    }

    /// Lends the input.
    pub(super) fn with_input<R>(
        &self,
        event: &UsageEvent,
        snapshot: &Snapshot,
        ask: impl FnOnce(&PolicyInput<'_>) -> R,
    ) -> R {
        let digest = event.request.as_ref();
        let betas: Vec<&str> =
            digest.map(|digest| digest.betas.iter().map(|beta| &**beta).collect()).unwrap_or_default();
        let org = snapshot.governance.orgs.get(&self.principal.org_id);
        let project = snapshot.projects.get(&self.principal.project_id);
        let credential =
            if event.key_id.is_some() { CredentialKind::VirtualKey } else { CredentialKind::Registered };
        ask(&PolicyInput {
            principal: PrincipalInput {
                principal: &self.principal,
                org_name: org.map_or("", |org| &org.name),
                project_name: project.map_or("", |project| &project.name),
                credential,
            },
            request: RequestInput {
                method: &event.method,
                path: &event.endpoint,
                endpoint: &event.endpoint,
                kind: self.endpoint.kind.label(),
                facts: self.facts.as_ref(),
                bytes: digest.and_then(|digest| digest.bytes),
                betas: &betas,
                client_ip: digest
                    .and_then(|digest| digest.client_ip)
                    .unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
                user_agent: digest.and_then(|digest| digest.user_agent.as_deref()),
                session_id: event.session_id.as_deref(),
                agent_id: event.agent_id.as_deref(),
                parent_agent_id: event.parent_agent_id.as_deref(),
                pii: None,
            },
            usage: &[],
            now: self.began_at,
            time_zone: org.map_or("UTC", |org| &org.time_zone),
        })
    }
}

/// What the event kept of the body; `None` where no body was read.
fn facts(event: &UsageEvent) -> Option<RequestFacts> {
    if event.request.is_none() && event.requested_model.is_none() {
        return None;
    }
    let nothing = RequestDigest::default();
    let digest = event.request.as_ref().unwrap_or(&nothing);
    let server = |name: &Arc<str>| RequestedMcpServer { name: Some(Arc::clone(name)), url: None };
    Some(RequestFacts {
        model: event.requested_model.clone(),
        models: event.requested_model.clone().into_iter().collect(),
        stream: digest.stream,
        max_tokens: digest.max_tokens,
        max_tokens_sum: digest.max_tokens,
        estimated_input_tokens: digest.estimated_input_tokens,
        mcp_servers: digest.mcp_servers.iter().map(server).collect(),
        message_count: digest.message_count,
        inference_geo: digest.inference_geo.clone(),
        inference_geos: digest.inference_geo.clone().into_iter().collect(),
        ..RequestFacts::default()
    })
}
