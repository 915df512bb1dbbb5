//! What policies said about a request.

use std::sync::Arc;

use mindweave_metering::{PolicyId, VerdictKind};
use serde::{Deserialize, Serialize};

/// What one policy said. Texts come from the policy's author and hold nothing of a prompt: policies do not see any.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Which policy.
    pub policy_id: PolicyId,
    /// Its name.
    pub policy: Arc<str>,
    /// Which version of it.
    pub version: u64,
    /// Whether it speaks against the request.
    pub kind: VerdictKind,
    /// Stable snake_case reason.
    pub reason: Arc<str>,
    /// For the developer who sees it.
    pub message: Arc<str>,
}

/// What all policies in force said about a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Denials of policies in force, in the order of the policies. The request is allowed when there is none.
    pub denials: Vec<Verdict>,
    /// Warnings of policies in force.
    pub warnings: Vec<Verdict>,
    /// Denials and warnings of policies in shadow mode.
    pub shadow: Vec<Verdict>,
}

impl Decision {
    /// Whether the request may pass.
    pub fn is_allowed(&self) -> bool {
        self.denials.is_empty()
    }
}
