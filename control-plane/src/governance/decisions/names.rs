//! Names beside the ids that decisions carry.

use std::collections::HashMap;

use serde::Serialize;

use super::store::{Named, name_view};
use crate::db::{Connection, StoreError};

/// Looks every name up once.
#[derive(Default)]
pub(super) struct Names {
    known: HashMap<(String, String), Option<String>>,
}

/// The limit or budget that refused a request.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub(super) struct RefusedBy {
    id: String,
    /// `limit` or `quota`.
    #[schema(value_type = String)]
    kind: &'static str,
    name: Option<String>,
}

impl Names {
    /// The name of whoever gave a verdict: a policy, or a budget that warns.
    pub(super) async fn speaker(
        &mut self,
        tx: &mut Connection,
        org_id: &str,
        id: &str,
    ) -> Result<Option<String>, StoreError> {
        self.name(tx, Named::of(id).unwrap_or(Named::Policy), org_id, id).await
    }

    /// What a refusal was by. `None` for what is neither a limit nor a budget.
    pub(super) async fn refused_by(
        &mut self,
        tx: &mut Connection,
        org_id: &str,
        id: &str,
    ) -> Result<Option<RefusedBy>, StoreError> {
        let (named, kind) = match Named::of(id) {
            Some(Named::Limit) => (Named::Limit, "limit"),
            Some(Named::Quota) => (Named::Quota, "quota"),
            Some(Named::Policy) | None => return Ok(None),
        };
        let name = self.name(tx, named, org_id, id).await?;
        Ok(Some(RefusedBy { id: id.to_owned(), kind, name }))
    }

    async fn name(
        &mut self,
        tx: &mut Connection,
        named: Named,
        org_id: &str,
        id: &str,
    ) -> Result<Option<String>, StoreError> {
        let key = (org_id.to_owned(), id.to_owned());
        if let Some(name) = self.known.get(&key) {
            return Ok(name.clone());
        }
        let name = name_view(tx, named, org_id, id).await?;
        self.known.insert(key, name.clone());
        Ok(name)
    }
}
