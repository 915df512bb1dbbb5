//! Who a request belongs to.

use std::collections::BTreeMap;
use std::sync::Arc;

use mindweave_metering::{KeyId, OrgId, ProjectId, TeamId, UserId};
use serde::{Deserialize, Serialize};

/// The owner of a request: what its credential resolved to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    /// The tenant.
    pub org_id: OrgId,
    /// The project that pays.
    pub project_id: ProjectId,
    /// The team, if the key has one.
    #[serde(default)]
    pub team_id: Option<TeamId>,
    /// The person, if the key has one.
    #[serde(default)]
    pub user_id: Option<UserId>,
    /// The MindWeave key; `None` for registered client credentials and for unregistered ones.
    #[serde(default)]
    pub key_id: Option<KeyId>,
    /// What the key's holder may do, in the admin's own words (`developer`, `batch`): policies decide by them.
    #[serde(default)]
    pub roles: Vec<Arc<str>>,
    /// Free labels of the key; copied into every event's metadata.
    #[serde(default)]
    pub labels: BTreeMap<Arc<str>, Arc<str>>,
}
