//! What the decision log looks like in the description of the API.

use jiff::Timestamp;

use super::names::RefusedBy;
use crate::governance::schema::{EffectWord, VerdictKindWord, VerdictModeWord};
use crate::usage::EventOutcome;

/// A decision as the log shows it.
#[derive(utoipa::ToSchema)]
#[schema(as = Decision)]
#[expect(dead_code, reason = "describes the entries of the log")]
pub(super) struct Decided {
    /// `deny`, or `allow` for what was only spoken against.
    effect: EffectWord,
    reasons: Vec<String>,
    verdicts: Vec<DecidedVerdict>,
    refused_by: Option<RefusedBy>,
    #[schema(format = "uuid")]
    event_id: String,
    timestamp: Timestamp,
    org_id: String,
    project_id: String,
    #[schema(required = true)]
    team_id: Option<String>,
    #[schema(required = true)]
    user_id: Option<String>,
    #[schema(required = true)]
    key_id: Option<String>,
    method: String,
    endpoint: String,
    model: Option<String>,
    requested_model: Option<String>,
    #[schema(minimum = 0)]
    status: u16,
    outcome: EventOutcome,
    request_id: Option<String>,
    session_id: Option<String>,
    snapshot_revision: u64,
    proxy_id: String,
}

/// What a policy said, with its name.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes the entries of the log")]
struct DecidedVerdict {
    policy: Option<String>,
    policy_id: String,
    version: u64,
    mode: VerdictModeWord,
    kind: VerdictKindWord,
    reason: String,
    message: String,
}
