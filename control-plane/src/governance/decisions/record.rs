//! What the log needs of an event.

use std::sync::Arc;

use jiff::Timestamp;
use mindweave_metering::{DecisionRecord, Effect, EventId, Outcome, VerdictKind, VerdictMode, VerdictRecord};
use serde::{Deserialize, Serialize};

/// Fields of [`mindweave_metering::UsageEvent`] by the same names: who, what and why.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) event_id: EventId,
    pub(super) timestamp: Timestamp,
    pub(super) org_id: Arc<str>,
    pub(super) project_id: Arc<str>,
    #[serde(default)]
    pub(super) team_id: Option<Arc<str>>,
    #[serde(default)]
    pub(super) user_id: Option<Arc<str>>,
    #[serde(default)]
    pub(super) key_id: Option<Arc<str>>,
    method: Arc<str>,
    endpoint: Arc<str>,
    #[serde(default)]
    model: Option<Arc<str>>,
    #[serde(default)]
    requested_model: Option<Arc<str>>,
    status: u16,
    outcome: Outcome,
    #[serde(default)]
    request_id: Option<Arc<str>>,
    #[serde(default)]
    session_id: Option<Arc<str>>,
    snapshot_revision: u64,
    proxy_id: Arc<str>,
    #[serde(skip_serializing)]
    pub(super) decision: DecisionRecord,
}

/// What came of a request, as the log's filter tells it apart. A record may have several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, utoipa::ToSchema)]
#[schema(rename_all = "snake_case")]
pub(super) enum LogEffect {
    /// It was refused.
    Deny,
    /// It passed, and a policy or budget in force said something about it.
    Warn,
    /// A policy in shadow mode would have refused it.
    ShadowDeny,
    /// A policy in shadow mode said something about it.
    ShadowWarn,
}

impl LogEffect {
    /// The words for them in the API.
    pub(super) const WORDS: [(&'static str, Option<Self>); 4] = [
        ("deny", Some(Self::Deny)),
        ("warn", Some(Self::Warn)),
        ("shadow_deny", Some(Self::ShadowDeny)),
        ("shadow_warn", Some(Self::ShadowWarn)),
    ];

    /// The effect of a verdict.
    fn of(verdict: &VerdictRecord) -> Self {
        match (verdict.mode, verdict.kind) {
            (VerdictMode::Enforce, VerdictKind::Deny) => Self::Deny,
            (VerdictMode::Enforce, VerdictKind::Warn) => Self::Warn,
            (VerdictMode::Shadow, VerdictKind::Deny) => Self::ShadowDeny,
            (VerdictMode::Shadow, VerdictKind::Warn) => Self::ShadowWarn,
        }
    }
}

impl Record {
    /// Whether this came of the request.
    pub(super) fn has_effect(&self, effect: LogEffect) -> bool {
        match effect {
            LogEffect::Deny => self.decision.effect == Effect::Deny, // by a limit or budget there is no verdict
            LogEffect::Warn | LogEffect::ShadowDeny | LogEffect::ShadowWarn => {
                self.decision.verdicts.iter().any(|verdict| LogEffect::of(verdict) == effect)
            }
        }
    }

    /// Whether anything said so about the request.
    pub(super) fn has_reason(&self, reason: &str) -> bool {
        let decision = &self.decision;
        decision.reasons.iter().chain(&decision.shadow).any(|said| &**said == reason)
            || decision.verdicts.iter().any(|verdict| &*verdict.reason == reason)
    }

    /// Whether one of these policies said anything about the request.
    pub(super) fn has_policy(&self, ids: &[String]) -> bool {
        self.decision.verdicts.iter().any(|verdict| ids.iter().any(|id| id == verdict.policy_id.as_str()))
    }
}
