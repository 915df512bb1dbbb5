//! The policies in force, compiled.

use std::sync::Arc;
use std::time::Duration;

use mindweave_metering::PolicyId;

use crate::decision::Decision;
use crate::facts::PolicyInput;
use crate::governance::Governance;
use crate::principal::Principal;

/// Every policy of a snapshot, compiled once and shared by all threads.
#[derive(Debug, Default)]
pub struct CompiledPolicies {
    faults: Vec<(PolicyId, String)>,
}

impl CompiledPolicies {
    /// Compiles what is in force. Blocks, 5 to 20 ms for each policy that `previous` does not hold.
    pub fn compile(_governance: &Governance, _previous: Option<&Self>) -> Self {
        Self::default()
    }

    /// The policies that judge this principal; `None` when there are none.
    pub fn in_force(&self, _principal: &Principal) -> Option<Arc<PolicySet>> {
        None
    }

    /// Policies that did not compile: they stay in force and follow their `on_error`.
    pub fn faults(&self) -> &[(PolicyId, String)] {
        &self.faults
    }
}

/// The policies that judge a principal.
#[derive(Debug)]
pub struct PolicySet {
    reads: Reads,
}

/// What a host must find out before it asks a [`PolicySet`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reads {
    /// A field of the request that comes from its body.
    pub body_facts: bool,
    /// `input.usage`.
    pub usage: bool,
    /// `input.request.pii`.
    pub pii: bool,
}

impl PolicySet {
    /// What it needs to know.
    pub fn reads(&self) -> Reads {
        self.reads
    }

    /// Judges a request. Never fails: what goes wrong inside a policy follows its `on_error`.
    pub fn decide(&self, _input: &PolicyInput<'_>) -> Evaluated {
        Evaluated::default()
    }
}

/// A decision and what it took.
#[derive(Clone, Debug, Default)]
pub struct Evaluated {
    /// The decision.
    pub decision: Decision,
    /// Whether the whole decision came from the cache.
    pub cached: bool,
    /// How long it took.
    pub elapsed: Duration,
    /// How many policies were evaluated, not taken from the cache.
    pub evaluated: u32,
    /// Policies without a usable result.
    pub errors: Vec<PolicyError>,
}

/// A policy without a usable result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyError {
    /// Which policy.
    pub policy_id: PolicyId,
    /// What went wrong.
    pub kind: PolicyErrorKind,
}

/// Why a policy has no usable result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PolicyErrorKind {
    /// `deny` is undefined.
    Undefined,
    /// `deny` or `warn` holds something else than `{reason, message}`.
    Malformed,
    /// It took more instructions than it may.
    InstructionLimit,
    /// It took longer than it may.
    Timeout,
    /// Evaluation failed.
    Runtime,
    /// It does not compile.
    Broken,
    /// It ran over its bounds before, and is not evaluated until it is changed.
    Suspended,
}

impl PolicyErrorKind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::Undefined,
        Self::Malformed,
        Self::InstructionLimit,
        Self::Timeout,
        Self::Runtime,
        Self::Broken,
        Self::Suspended,
    ];

    /// The word for it in metrics and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Undefined => "undefined",
            Self::Malformed => "malformed",
            Self::InstructionLimit => "instruction_limit",
            Self::Timeout => "timeout",
            Self::Runtime => "runtime",
            Self::Broken => "broken",
            Self::Suspended => "suspended",
        }
    }
}
