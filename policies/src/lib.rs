//! What a proxy knows about who may do what, and how it decides.

mod admission;
mod bundled;
mod charge;
mod compile;
mod decision;
mod facts;
mod fingerprint;
mod governance;
mod model_pattern;
pub mod pii;
mod policy_set;
mod principal;
mod refusal;
mod secret;
mod snapshot;
mod subject;
mod usage_feed;
mod window;

pub use admission::{AdmissionControl, BudgetWarning, Demand, Reservation, Rules, Settled};
pub use bundled::{BundledPolicy, bundled, bundled_policy};
pub use charge::{Charge, Charged};
pub use compile::{CheckError, PolicyCompiler, PolicyFault, PolicyReport, PolicySource, run_compile_worker};
pub use decision::{Decision, Verdict};
pub use facts::{BudgetUsage, CredentialKind, PolicyInput, PrincipalInput, RequestInput};
pub use fingerprint::Fingerprint;
pub use governance::{
    Governance, LimitMetric, LimitSpec, OnError, OnStale, OrgEntry, PolicyMode, PolicySpec, QuotaAction,
    QuotaSpec, QuotaUnit, QuotaWindow, Reserve,
};
pub use model_pattern::ModelPattern;
pub use policy_set::{CompiledPolicies, Evaluated, PolicyError, PolicyErrorKind, PolicySet, Reads};
pub use principal::Principal;
pub use refusal::{RateLimitHeaders, Refusal, RefusalKind};
pub use secret::Secret;
pub use snapshot::diff::{DefaultPrincipal, FingerprintWire, SnapshotDiff, WrongBase};
pub use snapshot::wire::{
    CredentialWire, Heartbeat, KeyWire, ProjectWire, SnapshotWire, WIRE_VERSION, WatchLine, WireError,
};
pub use snapshot::{KeyEntry, ProjectEntry, Snapshot, SnapshotStore};
pub use subject::{Subject, SubjectKind};
pub use usage_feed::{CounterUsage, UsageFeed};
pub use window::{time_zone, window_bounds};
