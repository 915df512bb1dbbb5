//! What a proxy knows about who may do what, and how it decides.

mod charge;
mod decision;
mod facts;
mod fingerprint;
mod governance;
mod model_pattern;
mod principal;
mod secret;
mod snapshot;
mod subject;
mod usage_feed;

pub use charge::{Charge, Charged};
pub use decision::{Decision, Verdict};
pub use facts::{BudgetUsage, CredentialKind, PolicyInput, PrincipalInput, RequestInput};
pub use fingerprint::Fingerprint;
pub use governance::{
    Governance, LimitMetric, LimitSpec, OnError, OnStale, OrgEntry, PolicyMode, PolicySpec, QuotaAction,
    QuotaSpec, QuotaUnit, QuotaWindow, Reserve,
};
pub use model_pattern::ModelPattern;
pub use principal::Principal;
pub use secret::Secret;
pub use snapshot::{KeyEntry, ProjectEntry, Snapshot, SnapshotStore};
pub use subject::{Subject, SubjectKind};
pub use usage_feed::{CounterUsage, UsageFeed};
