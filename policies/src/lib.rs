//! What a proxy knows about who may do what, and how it decides.

mod admission;
mod budget;
mod bundled;
mod cache;
mod cases;
mod charge;
mod client_address;
mod compile;
mod decision;
mod error_kind;
mod eval;
mod facts;
mod fingerprint;
mod governance;
mod health;
mod input;
mod limits;
mod model_pattern;
pub mod pii;
mod policy_set;
mod principal;
mod refusal;
mod sample;
mod secret;
mod shares;
mod snapshot;
mod subject;
mod usage_feed;
mod verdict;
mod window;

pub use admission::{AdmissionControl, BudgetWarning, Demand, Reservation, Rules, Settled};
pub use bundled::{BundledPolicy, bundled, bundled_policy};
pub use cases::{
    CaseFile, CaseFileError, CaseOutcome, CaseReport, PolicyTrial, Said, TrialError, TrialResult, run_cases,
};
pub use charge::{Charge, ChargePart, ChargeParts, Charged, EventPart};
pub use client_address::{IpRange, IpRangeError, client_address};
pub use compile::{
    CheckError, MAX_DATA_BYTES, MAX_REGO_BYTES, PolicyCompiler, PolicyFault, PolicyReport, PolicySource,
    run_compile_worker,
};
pub use decision::{Decision, Verdict};
pub use error_kind::PolicyErrorKind;
pub use facts::{BudgetUsage, CredentialKind, PolicyInput, PrincipalInput, RequestInput};
pub use fingerprint::Fingerprint;
pub use governance::{
    Governance, LimitMetric, LimitSpec, OnError, OnStale, OrgEntry, PolicyMode, PolicySpec, QuotaAction,
    QuotaSpec, QuotaUnit, QuotaWindow, Reserve,
};
pub use model_pattern::{AskedModels, ModelPattern};
pub use policy_set::{CompiledPolicies, Evaluated, PolicyError, PolicySet, Reads};
pub use principal::Principal;
pub use refusal::{RateLimitHeaders, Refusal, RefusalKind};
pub use sample::{
    SampleBudget, SampleError, SampleInput, SampleMcpServer, SamplePrincipal, SampleRequest, SampleTool,
    SampleUnit,
};
pub use secret::Secret;
pub use shares::{
    DemandReport, LimitDemand, LimitShare, MAX_REPORTED_LIMITS, Portion, SHARE_LEASE, ShareAnswer, ShareBook,
    StaleReport,
};
pub use snapshot::diff::{DefaultPrincipal, FingerprintWire, SnapshotDiff, WrongBase};
pub use snapshot::rules::{CredentialForm, ProjectRules};
pub use snapshot::wire::{
    CredentialWire, Heartbeat, KeyWire, ProjectRulesWire, ProjectWire, SnapshotWire, WIRE_VERSION, WatchLine,
    WireError,
};
pub use snapshot::{KeyEntry, ProjectEntry, Snapshot, SnapshotStore};
pub use subject::{Subject, SubjectKind};
pub use usage_feed::{CounterUsage, UsageFeed};
pub use window::{time_zone, window_bounds};
