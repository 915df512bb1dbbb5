//! Service accounts as the API shows them, and who may act for one.

use jiff::Timestamp;
use serde::Serialize;

use crate::access::{Access, Area, OrgPermit, Role};
use crate::db::Connection;
use crate::http::problem::{Code, Problem};
use crate::members::bindings_of;

/// A program of an organisation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub(crate) struct ServiceAccount {
    /// `svc_..`
    pub(crate) id: String,
    pub(crate) org_id: String,
    pub(crate) name: String,
    /// Its role in the organisation as a whole, if it has one. It may have others in teams and projects.
    pub(crate) role: Option<Role>,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
    /// Its tokens are refused while it is disabled.
    pub(crate) disabled_at: Option<Timestamp>,
}

/// Refuses whoever may do less than a service account somewhere: who makes a token of it, or wakes it, acts with its roles.
///
/// # Errors
/// 403 `role_too_powerful`.
pub(super) async fn cover(
    tx: &mut Connection,
    permit: &OrgPermit,
    account: &ServiceAccount,
) -> Result<(), Problem> {
    for binding in bindings_of(tx, permit.org_id(), &account.id).await? {
        let authority = permit.caller().authority(tx, permit.org_id(), &binding.place).await?;
        if !authority.allows(Access::write(Area::Members)) || !authority.covers(binding.role) {
            let role = binding.role.as_str();
            let detail = format!("this service account has the role {role}, which is more than yours there");
            return Err(Problem::new(Code::RoleTooPowerful, detail));
        }
    }
    Ok(())
}
