//! The API's endpoints: the official SDKs' and documentation's list of late 2026.

use std::sync::{Arc, LazyLock};

use super::{BatchCall, EndpointKind};

/// A path of the API.
pub(super) struct Route {
    /// Shared by all events of the endpoint.
    pub(super) template: Arc<str>,
    pub(super) segments: Vec<&'static str>,
    pub(super) family: Family,
}

/// Paths whose calls are told apart by method only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Messages,
    CountTokens,
    BatchList,
    Batch,
    BatchCancel,
    BatchResults,
    Complete,
    ChatCompletions,
    /// Every method is the same kind.
    Any(EndpointKind),
    SessionStream,
}

impl Family {
    pub(super) fn kind(self, method: &str) -> EndpointKind {
        match (self, method) {
            (Self::Messages, "POST") => EndpointKind::Messages,
            (Self::CountTokens, "POST") => EndpointKind::CountTokens,
            (Self::BatchList, "POST") => EndpointKind::Batches(BatchCall::Create),
            (Self::BatchList, "GET") => EndpointKind::Batches(BatchCall::List),
            (Self::Batch, "GET") => EndpointKind::Batches(BatchCall::Get),
            (Self::Batch, "DELETE") => EndpointKind::Batches(BatchCall::Delete),
            (Self::BatchCancel, "POST") => EndpointKind::Batches(BatchCall::Cancel),
            (Self::BatchResults, "GET") => EndpointKind::BatchResults,
            (Self::Complete, "POST") => EndpointKind::Complete,
            (Self::ChatCompletions, "POST") => EndpointKind::ChatCompletions,
            (Self::SessionStream, "GET") => EndpointKind::SessionStream,
            (Self::Any(kind), _) => kind,
            _ => EndpointKind::Other,
        }
    }
}

/// Searched in order: the busy ones first, literals before the `{id}` that would match them.
pub(super) static ROUTES: LazyLock<Vec<Route>> = LazyLock::new(|| {
    let inference = INFERENCE.iter().map(|&(template, family)| (template, family));
    let others = OTHERS
        .iter()
        .flat_map(|&(kind, templates)| templates.iter().map(move |&template| (template, Family::Any(kind))));
    inference
        .chain(others)
        .map(|(template, family)| Route {
            template: template.into(),
            segments: template.split('/').skip(1).collect(),
            family,
        })
        .collect()
});

const INFERENCE: &[(&str, Family)] = &[
    ("/v1/messages", Family::Messages),
    ("/v1/messages/count_tokens", Family::CountTokens),
    ("/v1/messages/batches", Family::BatchList),
    ("/v1/messages/batches/{id}", Family::Batch),
    ("/v1/messages/batches/{id}/results", Family::BatchResults),
    ("/v1/messages/batches/{id}/cancel", Family::BatchCancel),
    ("/v1/complete", Family::Complete),
    ("/v1/chat/completions", Family::ChatCompletions),
    ("/v1/sessions/{id}/events/stream", Family::SessionStream),
    ("/v1/sessions/{id}/threads/{id}/stream", Family::SessionStream),
];

const OTHERS: &[(EndpointKind, &[&str])] = &[
    (EndpointKind::Other, &["/api/hello"]), // Claude Code's connection warm-up
    (EndpointKind::Models, &["/v1/models", "/v1/models/{id}"]),
    (EndpointKind::Files, &["/v1/files", "/v1/files/{id}", "/v1/files/{id}/content"]),
    (
        EndpointKind::Skills,
        &[
            "/v1/skills",
            "/v1/skills/{id}",
            "/v1/skills/{id}/versions",
            "/v1/skills/{id}/versions/{id}",
            "/v1/skills/{id}/versions/{id}/content",
        ],
    ),
    (
        EndpointKind::UserProfiles,
        &[
            "/v1/user_profiles",
            "/v1/user_profiles/{id}",
            "/v1/user_profiles/{id}/action_urls",
            "/v1/user_profiles/{id}/enrollment_url",
        ],
    ),
    (EndpointKind::ManagedAgents, MANAGED_AGENTS),
    (EndpointKind::Organization, ORGANIZATION),
    (EndpointKind::OAuth, &["/v1/oauth/token"]),
];

const MANAGED_AGENTS: &[&str] = &[
    "/v1/sessions",
    "/v1/sessions/{id}",
    "/v1/sessions/{id}/archive",
    "/v1/sessions/{id}/events",
    "/v1/sessions/{id}/resources",
    "/v1/sessions/{id}/resources/{id}",
    "/v1/sessions/{id}/threads",
    "/v1/sessions/{id}/threads/{id}",
    "/v1/sessions/{id}/threads/{id}/archive",
    "/v1/sessions/{id}/threads/{id}/events",
    "/v1/agents",
    "/v1/agents/{id}",
    "/v1/agents/{id}/archive",
    "/v1/agents/{id}/versions",
    "/v1/environments",
    "/v1/environments/{id}",
    "/v1/environments/{id}/archive",
    "/v1/environments/{id}/work",
    "/v1/environments/{id}/work/poll",
    "/v1/environments/{id}/work/stats",
    "/v1/environments/{id}/work/{id}",
    "/v1/environments/{id}/work/{id}/ack",
    "/v1/environments/{id}/work/{id}/heartbeat",
    "/v1/environments/{id}/work/{id}/stop",
    "/v1/deployments",
    "/v1/deployments/{id}",
    "/v1/deployments/{id}/archive",
    "/v1/deployments/{id}/pause",
    "/v1/deployments/{id}/run",
    "/v1/deployments/{id}/unpause",
    "/v1/deployment_runs",
    "/v1/deployment_runs/{id}",
    "/v1/vaults",
    "/v1/vaults/{id}",
    "/v1/vaults/{id}/archive",
    "/v1/vaults/{id}/credentials",
    "/v1/vaults/{id}/credentials/{id}",
    "/v1/vaults/{id}/credentials/{id}/archive",
    "/v1/vaults/{id}/credentials/{id}/mcp_oauth_validate",
    "/v1/memory_stores",
    "/v1/memory_stores/{id}",
    "/v1/memory_stores/{id}/archive",
    "/v1/memory_stores/{id}/memories",
    "/v1/memory_stores/{id}/memories/{id}",
    "/v1/memory_stores/{id}/memory_versions",
    "/v1/memory_stores/{id}/memory_versions/{id}",
    "/v1/memory_stores/{id}/memory_versions/{id}/redact",
    "/v1/dreams",
    "/v1/dreams/{id}",
    "/v1/dreams/{id}/archive",
    "/v1/dreams/{id}/cancel",
    "/v1/tunnels",
    "/v1/tunnels/{id}",
    "/v1/tunnels/{id}/archive",
    "/v1/tunnels/{id}/certificates",
    "/v1/tunnels/{id}/certificates/{id}",
    "/v1/tunnels/{id}/certificates/{id}/archive",
    "/v1/tunnels/{id}/reveal_token",
    "/v1/tunnels/{id}/rotate_token",
];

const ORGANIZATION: &[&str] = &[
    "/v1/organizations/me",
    "/v1/organizations/users",
    "/v1/organizations/users/{id}",
    "/v1/organizations/invites",
    "/v1/organizations/invites/{id}",
    "/v1/organizations/workspaces",
    "/v1/organizations/workspaces/{id}",
    "/v1/organizations/workspaces/{id}/archive",
    "/v1/organizations/workspaces/{id}/members",
    "/v1/organizations/workspaces/{id}/members/{id}",
    "/v1/organizations/workspaces/{id}/rate_limits",
    "/v1/organizations/workspaces/{id}/service_accounts",
    "/v1/organizations/workspaces/{id}/service_accounts/{id}",
    "/v1/organizations/api_keys",
    "/v1/organizations/api_keys/{id}",
    "/v1/organizations/service_accounts",
    "/v1/organizations/service_accounts/{id}",
    "/v1/organizations/federation_issuers",
    "/v1/organizations/federation_issuers/{id}",
    "/v1/organizations/federation_rules",
    "/v1/organizations/federation_rules/{id}",
    "/v1/organizations/external_keys",
    "/v1/organizations/external_keys/{id}",
    "/v1/organizations/rate_limits",
    "/v1/organizations/rbac_groups",
    "/v1/organizations/rbac_groups/{id}",
    "/v1/organizations/rbac_roles",
    "/v1/organizations/rbac_roles/{id}",
    "/v1/organizations/spend_limits/effective",
    "/v1/organizations/spend_limit_increase_requests",
    "/v1/organizations/spend_limit_increase_requests/{id}",
    "/v1/organizations/compliance_settings",
    "/v1/organizations/usage_report/messages",
    "/v1/organizations/usage_report/claude_code",
    "/v1/organizations/cost_report",
    "/v1/organizations/analytics/usage",
    "/v1/organizations/analytics/cost",
    "/v1/organizations/analytics/usage_report",
    "/v1/organizations/analytics/cost_report",
    "/v1/organizations/analytics/user_usage_report",
    "/v1/organizations/analytics/user_cost_report",
    "/v1/organizations/plugins",
    "/v1/organizations/plugins/{id}",
    "/v1/organizations/plugin_marketplaces",
    "/v1/organizations/plugin_marketplaces/{id}",
    "/v1/organizations/claude_code/managed_settings",
    "/v1/organizations/claude_code/managed_settings/{id}",
    "/v1/organizations/webhooks",
    "/v1/organizations/webhooks/{id}",
    "/v1/organizations/telemetry_destinations",
    "/v1/organizations/telemetry_destinations/{id}",
];
