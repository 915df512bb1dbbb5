//! An entry as the API shows it: from what was hashed, never from the columns by which it is found.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::chain::hex;
use super::store::EntryRow;
use super::verify::{Fault, FaultKind};
use crate::db::StoreError;
use crate::db::sql::without_nul;

/// An entry of the audit log.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct AuditEntry {
    /// The organisation, or `installation`.
    pub(super) chain: String,
    /// Counts from 1, without gaps.
    pub(super) sequence: i64,
    #[serde(flatten)]
    pub(super) content: Content,
    /// Where the request came from, unless that was erased.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(super) address: Option<IpAddr>,
    /// What the client calls itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user_agent: Option<String>,
    /// Whether what identified a person was erased.
    pub(super) personal_erased: bool,
    /// SHA-256 of the entry before it, in hexadecimal.
    pub(super) previous_hash: String,
    /// SHA-256 of this one.
    pub(super) hash: String,
}

/// What happened.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub(crate) struct Content {
    pub(super) at: Timestamp,
    /// For example `key.created`.
    pub(super) action: String,
    pub(super) actor: ContentActor,
    pub(super) target: ContentTarget,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) project_id: Option<String>,
    pub(super) request_id: String,
    /// What the API showed before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) before: Option<Value>,
    /// What it shows now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) after: Option<Value>,
}

/// Who did it.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub(crate) struct ContentActor {
    /// `user`, `service_account`, `admin_token`, `anonymous` or `system`.
    pub(super) kind: String,
    pub(super) id: String,
    /// The access token, if it was by one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) token_id: Option<String>,
}

/// To what.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub(crate) struct ContentTarget {
    pub(super) kind: String,
    pub(super) id: String,
}

#[derive(Default, Deserialize)]
struct Personal {
    address: Option<IpAddr>,
    user_agent: Option<String>,
    before: Option<Value>,
    after: Option<Value>,
}

impl TryFrom<EntryRow> for AuditEntry {
    type Error = StoreError;

    fn try_from(row: EntryRow) -> Result<Self, StoreError> {
        let corrupt = |_| StoreError::Corrupt { what: "an entry of the audit log" };
        let mut content: Content = serde_json::from_str(&row.body).map_err(corrupt)?;
        let personal = match &row.personal {
            Some(personal) => serde_json::from_str(personal).map_err(corrupt)?,
            None => Personal::default(),
        };
        content.before = content.before.or(personal.before);
        content.after = content.after.or(personal.after);
        let (hash, previous_hash) = row.shown_hashes();
        Ok(Self {
            hash: hex(hash),
            previous_hash: hex(previous_hash),
            content,
            address: personal.address,
            user_agent: personal.user_agent,
            personal_erased: row.personal.is_none(),
            chain: row.chain,
            sequence: row.sequence,
        })
    }
}

/// Whether the columns by which an entry is found say what it says.
pub(super) fn check_columns(row: &EntryRow) -> Result<(), Fault> {
    let Ok(content) = serde_json::from_str::<Content>(&row.body) else {
        return Err(Fault::at(row.sequence, FaultKind::Unreadable));
    };
    let same = |stored: &str, said: &str| stored == said || *stored == *without_nul(said.into());
    let project = match (&row.project_id, &content.project_id) {
        (Some(stored), Some(said)) => same(stored, said),
        (stored, said) => stored.is_none() && said.is_none(),
    };
    let sound = project
        && content.at.as_microsecond() == row.at
        && same(&row.action, &content.action)
        && same(&row.actor_id, &content.actor.id)
        && same(&row.target_kind, &content.target.kind)
        && same(&row.target_id, &content.target.id)
        && same(&row.request_id, &content.request_id);
    if sound { Ok(()) } else { Err(Fault::at(row.sequence, FaultKind::ColumnsChanged)) }
}
