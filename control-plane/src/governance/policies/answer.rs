//! A policy as the API shows it.

use jiff::Timestamp;
use mindweave_policy::{PolicyFault, bundled_policy};
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;

use super::bundled::example_data;
use super::store::Policy;
use super::version_store::{Content, Version};
use crate::governance::schema::PolicyNote;

/// A policy with the content of its version in force.
#[derive(Clone, Serialize, utoipa::ToSchema)]
#[schema(as = PolicyWithContent)]
pub(super) struct PolicyAnswer {
    #[serde(flatten)]
    pub(super) policy: Policy,
    #[serde(flatten)]
    content: ContentAnswer,
}

/// A version of a policy.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = PolicyVersion)]
pub(super) struct VersionAnswer {
    policy_id: String,
    pub(super) version: u64,
    restored_from: Option<u64>,
    created_at: Timestamp,
    #[serde(flatten)]
    content: ContentAnswer,
}

/// A version in a list.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = PolicyVersionSummary)]
pub(super) struct VersionSummary {
    policy_id: String,
    pub(super) version: u64,
    restored_from: Option<u64>,
    bundled: Option<String>,
    created_at: Timestamp,
}

/// What a version is made of, and what its check found.
#[derive(Clone, Serialize, utoipa::ToSchema)]
#[schema(as = PolicyContent)]
struct ContentAnswer {
    /// The Rego v1 module.
    #[schema(value_type = String)]
    rego: Arc<str>,
    #[schema(value_type = Object)]
    data: Value,
    bundled: Option<String>,
    package: String,
    /// The input paths that the text reads; `*` for all.
    reads: Vec<String>,
    #[schema(value_type = Vec<PolicyNote>)]
    warnings: Vec<PolicyFault>,
}

impl ContentAnswer {
    fn of(version: Version) -> Self {
        let Content { rego, data, bundled } = version.content;
        let report = version.report;
        Self { rego, data, bundled, package: report.package, reads: report.reads, warnings: report.warnings }
    }
}

impl PolicyAnswer {
    /// A policy with the version that is in force, and what an admin should know beside what the check found.
    pub(super) fn of(policy: Policy, version: Version, further: Option<String>) -> Self {
        let mut content = ContentAnswer::of(version);
        content.warnings.extend(further.map(|message| PolicyFault { line: None, column: None, message }));
        Self { policy, content }
    }
}

impl From<Version> for VersionAnswer {
    fn from(version: Version) -> Self {
        Self {
            policy_id: version.policy_id.clone(),
            version: version.version,
            restored_from: version.restored_from,
            created_at: version.created_at,
            content: ContentAnswer::of(version),
        }
    }
}

impl From<Version> for VersionSummary {
    fn from(version: Version) -> Self {
        Self {
            policy_id: version.policy_id,
            version: version.version,
            restored_from: version.restored_from,
            bundled: version.content.bundled,
            created_at: version.created_at,
        }
    }
}

/// Says it when a bundled policy runs on the example that comes with it, which names nobody's roles and servers.
pub(super) fn example_warning(content: &Content) -> Option<PolicyFault> {
    let policy = bundled_policy(content.bundled.as_deref()?)?;
    let example = example_data(policy);
    let is_example = content.data == example && example.as_object().is_some_and(|data| !data.is_empty());
    let message = "data is the example that comes with this bundled policy; give data of your own".to_owned();
    is_example.then_some(PolicyFault { line: None, column: None, message })
}
