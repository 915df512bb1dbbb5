//! What policies see of a request: the typed form of Rego's `input`. `policies/README.md` is its contract.

use std::net::IpAddr;

use jiff::Timestamp;
use mindweave_metering::RequestFacts;

use crate::governance::{QuotaSpec, QuotaUnit};
use crate::principal::Principal;

/// Rego's `input`. Every field is always there; what is not known is `null`.
#[derive(Clone, Copy, Debug)]
pub struct PolicyInput<'a> {
    /// Who asks.
    pub principal: PrincipalInput<'a>,
    /// What for.
    pub request: RequestInput<'a>,
    /// The budgets that count this principal.
    pub usage: &'a [BudgetUsage<'a>],
    /// When.
    pub now: Timestamp,
    /// IANA name of the organisation's time zone.
    pub time_zone: &'a str,
}

/// `input.principal`.
#[derive(Clone, Copy, Debug)]
pub struct PrincipalInput<'a> {
    /// Ids, roles and labels.
    pub principal: &'a Principal,
    /// `org_name`.
    pub org_name: &'a str,
    /// `project_name`.
    pub project_name: &'a str,
    /// `credential`.
    pub credential: CredentialKind,
}

/// By what a principal is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CredentialKind {
    /// A MindWeave key in place of a Claude key.
    VirtualKey,
    /// A MindWeave key beside the client's own Claude credential.
    MindweaveKey,
    /// The client's own Claude credential, registered to a project.
    Registered,
    /// A credential that nobody registered.
    Unregistered,
}

impl CredentialKind {
    /// The word for it in `input.principal.credential`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::VirtualKey => "virtual_key",
            Self::MindweaveKey => "mindweave_key",
            Self::Registered => "registered",
            Self::Unregistered => "unregistered",
        }
    }
}

/// `input.request`.
#[derive(Clone, Copy, Debug)]
pub struct RequestInput<'a> {
    /// `method`.
    pub method: &'a str,
    /// `path`, as sent, without query.
    pub path: &'a str,
    /// `endpoint`: the path with `{id}` in place of ids.
    pub endpoint: &'a str,
    /// `kind`: see `EndpointKind::label`.
    pub kind: &'a str,
    /// What the body asks for; `None` where bodies are not read. Then all body fields are `null` or empty.
    pub facts: Option<&'a RequestFacts>,
    /// `bytes`: length of the body as sent, where known.
    pub bytes: Option<u64>,
    /// `betas`: entries of `anthropic-beta`.
    pub betas: &'a [&'a str],
    /// `client_ip`.
    pub client_ip: IpAddr,
    /// `user_agent`.
    pub user_agent: Option<&'a str>,
    /// `session_id`, `agent_id` and `parent_agent_id`, as the client's headers say.
    pub session_id: Option<&'a str>,
    /// See `session_id`.
    pub agent_id: Option<&'a str>,
    /// See `session_id`.
    pub parent_agent_id: Option<&'a str>,
    /// `pii`: categories of personal data found in the body. `None` unless a policy in force reads it.
    pub pii: Option<&'a [&'static str]>,
}

/// An entry of `input.usage`, under the budget's name.
#[derive(Clone, Copy, Debug)]
pub struct BudgetUsage<'a> {
    /// `id`, `unit`, `window` and `limit`.
    pub quota: &'a QuotaSpec,
    /// `used`: settled, in the current window.
    pub used: i64,
    /// `reserved`: held by open requests.
    pub reserved: i64,
}

impl BudgetUsage<'_> {
    /// What is left; negative in debt.
    pub fn remaining(&self) -> i64 {
        self.quota.limit.saturating_sub(self.used).saturating_sub(self.reserved)
    }

    /// The unit as policies read it.
    pub fn unit(&self) -> &'static str {
        match self.quota.unit {
            QuotaUnit::Requests => "requests",
            QuotaUnit::Tokens => "tokens",
            QuotaUnit::Cost => "nano_usd",
        }
    }
}
