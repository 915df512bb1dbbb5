//! What admins have put in force: policies, limits and budgets as they were written. JSON of these types is what the API
//! stores and what travels in snapshots.

use std::collections::HashMap;
use std::sync::Arc;

use mindweave_metering::{LimitId, OrgId, PolicyId, QuotaId};
use serde::{Deserialize, Serialize};

use crate::model_pattern::ModelPattern;
use crate::subject::Subject;

/// Everything that governs requests, of all organisations.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Governance {
    /// Organisations by id.
    pub orgs: HashMap<OrgId, OrgEntry>,
    /// Policies that are not `off`.
    pub policies: Vec<Arc<PolicySpec>>,
    /// Rate limits.
    pub limits: Vec<Arc<LimitSpec>>,
    /// Budgets.
    pub quotas: Vec<Arc<QuotaSpec>>,
}

/// What a proxy needs of an organisation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrgEntry {
    /// For messages to developers.
    pub name: Arc<str>,
    /// IANA name of the zone in which days, weeks and months begin.
    pub time_zone: Arc<str>,
}

/// One version of a policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PolicySpec {
    /// Which policy.
    pub id: PolicyId,
    /// Whose.
    pub org_id: OrgId,
    /// What people call it.
    pub name: Arc<str>,
    /// Counts from 1; every change of text or data makes a new one.
    pub version: u64,
    /// Whether its verdicts count.
    pub mode: PolicyMode,
    /// Whom it is about: the organisation, a team or a project, always a certain one.
    pub scope: Subject,
    /// The Rego v1 module.
    pub rego: Arc<str>,
    /// The module's `data` document: a JSON object.
    #[serde(default)]
    pub data: serde_json::Value,
    /// What an evaluation without a usable result means.
    #[serde(default)]
    pub on_error: OnError,
}

/// Whether a policy's verdicts count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PolicyMode {
    /// A denial refuses the request.
    Enforce,
    /// Verdicts are recorded on events only.
    Shadow,
    /// Not evaluated.
    Off,
}

/// What an undefined or malformed result, an error or a timeout of a policy means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    /// The request is refused (in shadow mode: recorded as if it had been).
    #[default]
    Deny,
    /// The policy has nothing to say.
    Allow,
}

/// A rate limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitSpec {
    /// Which limit.
    pub id: LimitId,
    /// Whose.
    pub org_id: OrgId,
    /// What people call it.
    pub name: Arc<str>,
    /// Whom it counts.
    pub scope: Subject,
    /// What it counts.
    pub metric: LimitMetric,
    /// How many, per minute or at a time; at least 1.
    pub limit: u64,
    /// How many may come at once after a quiet minute; a minute's worth unless given. Not for concurrency.
    #[serde(default)]
    pub burst: Option<u64>,
    /// Only requests for these models; empty for all requests.
    #[serde(default)]
    pub models: Vec<ModelPattern>,
}

/// What a rate limit counts. Tokens count as in the API's own limits: input without cache reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitMetric {
    /// Requests a minute.
    RequestsPerMinute,
    /// Input and cache-write tokens a minute.
    InputTokensPerMinute,
    /// Output tokens a minute.
    OutputTokensPerMinute,
    /// Both a minute.
    TokensPerMinute,
    /// Requests that are open at the same time.
    ConcurrentRequests,
}

/// A budget.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaSpec {
    /// Which budget.
    pub id: QuotaId,
    /// Whose.
    pub org_id: OrgId,
    /// What people call it; unique in the organisation, because policies read `input.usage` by it.
    pub name: Arc<str>,
    /// Whom it counts.
    pub scope: Subject,
    /// What it counts.
    pub unit: QuotaUnit,
    /// Over which calendar period, in the organisation's time zone.
    pub window: QuotaWindow,
    /// How much: requests, tokens or nano-USD. At least 1.
    pub limit: i64,
    /// Only requests for these models; empty for all requests.
    #[serde(default)]
    pub models: Vec<ModelPattern>,
    /// What happens at the limit.
    #[serde(default)]
    pub action: QuotaAction,
    /// How much of it an open request holds.
    #[serde(default)]
    pub reserve: Reserve,
    /// Percentages of the limit that are worth telling, ascending.
    #[serde(default)]
    pub thresholds: Vec<u8>,
    /// What a blocking cost budget does with a request whose price is not known beforehand.
    #[serde(default)]
    pub on_unknown_price: OnError,
    /// What a proxy does whose figures are old.
    #[serde(default)]
    pub on_stale: OnStale,
}

/// What a budget counts. Denied requests count nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QuotaUnit {
    /// Requests that were forwarded, of every endpoint.
    Requests,
    /// Input, output, cache-read and cache-write tokens together.
    Tokens,
    /// Nano-USD.
    Cost,
}

/// The period after which a budget starts anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QuotaWindow {
    /// From full minute to full minute.
    Minute,
    /// From full hour to full hour.
    Hour,
    /// From midnight to midnight.
    Day,
    /// From Monday to Monday.
    Week,
    /// From the first of a month to the first of the next.
    Month,
}

/// What happens when a budget is used up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QuotaAction {
    /// Requests are refused.
    #[default]
    Block,
    /// Requests pass; the event says that the budget was over.
    Warn,
}

/// How much of a budget an open request holds until it is settled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reserve {
    /// What it can cost at most: all of `max_tokens`.
    Max,
    /// What requests like it cost recently.
    #[default]
    Expected,
}

/// What a proxy does with a blocking budget while the ledger's figures are out of reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnStale {
    /// Goes on with the last figures and its own use since.
    #[default]
    Open,
    /// Refuses.
    Closed,
    /// Goes on up to its share of what was left: that, divided by the proxies that were alive.
    Capped,
}
