//! The version in force, and the making of the next one.

use jiff::Timestamp;

use super::answer::example_warning;
use super::check::policy_check;
use super::store::{self, Policy};
use super::version_store::{Content, Version, version_insert, version_view};
use crate::access::{Access, Caller};
use crate::app::App;
use crate::db::{Connection, StoreError};
use crate::governance::bounds::check_policy_bytes;
use crate::governance::permit::Permit;
use crate::http::problem::Problem;

/// A policy with its version in force, for whoever may do this with it.
pub(super) async fn in_force(
    tx: &mut Connection,
    caller: &Caller,
    id: &str,
    need: Access,
) -> Result<(Policy, Version, Permit), Problem> {
    let (policy, permit) = store::policy_open(tx, caller, id, need).await?;
    let version = version_view(tx, &permit, id, policy.version).await?;
    let version = version.ok_or(StoreError::Corrupt { what: "a policy without its version" })?;
    Ok((policy, version, permit))
}

/// Checks content, and makes it a version.
pub(super) async fn checked(
    app: &App,
    policy_id: &str,
    version: u64,
    content: Content,
    now: Timestamp,
) -> Result<Version, Problem> {
    let mut report = policy_check(&app.checker, content.rego.clone(), content.data.clone()).await?.report;
    report.warnings.extend(example_warning(&content));
    Ok(Version {
        policy_id: policy_id.to_owned(),
        version,
        content,
        restored_from: None,
        report,
        created_at: now,
    })
}

/// Stores a version, if there is room for it.
pub(super) async fn version_add(
    tx: &mut Connection,
    permit: &Permit,
    version: &Version,
) -> Result<(), Problem> {
    let Content { rego, data, .. } = &version.content;
    check_policy_bytes(tx, permit, &version.policy_id, (rego, data)).await?;
    Ok(version_insert(tx, permit, version).await?)
}
