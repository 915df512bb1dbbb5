//! Names beside the ids that decisions carry.

use std::collections::HashMap;

use serde::Serialize;

use super::store::{Named, name_view};
use crate::db::{Connection, StoreError};

/// Looks every name up once.
#[derive(Default)]
pub(super) struct Names {
    known: HashMap<String, Option<String>>,
}

/// The limit or budget that refused a request.
#[derive(Clone, Debug, Serialize)]
pub(super) struct RefusedBy {
    id: String,
    /// `limit` or `quota`.
    kind: &'static str,
    name: Option<String>,
}

impl Names {
    /// The name of whoever gave a verdict: a policy, or a budget that warns.
    pub(super) async fn speaker(
        &mut self,
        tx: &mut Connection,
        id: &str,
    ) -> Result<Option<String>, StoreError> {
        self.name(tx, Named::of(id).unwrap_or(Named::Policy), id).await
    }

    /// What a refusal was by. `None` for what is neither a limit nor a budget.
    pub(super) async fn refused_by(
        &mut self,
        tx: &mut Connection,
        id: &str,
    ) -> Result<Option<RefusedBy>, StoreError> {
        let (named, kind) = match Named::of(id) {
            Some(Named::Limit) => (Named::Limit, "limit"),
            Some(Named::Quota) => (Named::Quota, "quota"),
            Some(Named::Policy) | None => return Ok(None),
        };
        let name = self.name(tx, named, id).await?;
        Ok(Some(RefusedBy { id: id.to_owned(), kind, name }))
    }

    async fn name(
        &mut self,
        tx: &mut Connection,
        named: Named,
        id: &str,
    ) -> Result<Option<String>, StoreError> {
        if let Some(name) = self.known.get(id) {
            return Ok(name.clone());
        }
        let name = name_view(tx, named, id).await?;
        self.known.insert(id.to_owned(), name.clone());
        Ok(name)
    }
}
