//! Who asks.

use std::collections::BTreeMap;
use std::sync::Arc;

use mindweave_metering::{KeyId, OrgId, ProjectId, TeamId, UserId};
use serde::{Deserialize, Deserializer, de};

use crate::facts::CredentialKind;
use crate::principal::Principal;

/// `principal` of a made-up input; the fields are those of the contract.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "each field is documented in policies/schema/input.schema.json")]
pub struct SamplePrincipal {
    pub org_id: Arc<str>,
    pub org_name: String,
    pub project_id: Arc<str>,
    pub project_name: String,
    pub team_id: Option<Arc<str>>,
    pub user_id: Option<Arc<str>>,
    pub key_id: Option<Arc<str>>,
    pub roles: Vec<Arc<str>>,
    pub labels: BTreeMap<Arc<str>, Arc<str>>,
    #[serde(deserialize_with = "credential")]
    pub credential: CredentialKind,
}

impl Default for SamplePrincipal {
    fn default() -> Self {
        Self {
            org_id: "org_acme".into(),
            org_name: "Acme".to_owned(),
            project_id: "prj_checkout".into(),
            project_name: "checkout-bot".to_owned(),
            team_id: None,
            user_id: None,
            key_id: Some("key_checkout".into()),
            roles: Vec::new(),
            labels: BTreeMap::new(),
            credential: CredentialKind::VirtualKey,
        }
    }
}

impl SamplePrincipal {
    /// The principal that requests would resolve to.
    pub fn principal(&self) -> Principal {
        Principal {
            org_id: OrgId::new(Arc::clone(&self.org_id)),
            project_id: ProjectId::new(Arc::clone(&self.project_id)),
            team_id: self.team_id.clone().map(TeamId::new),
            user_id: self.user_id.clone().map(UserId::new),
            key_id: self.key_id.clone().map(KeyId::new),
            roles: self.roles.clone(),
            labels: self.labels.clone(),
        }
    }
}

fn credential<'de, D: Deserializer<'de>>(deserializer: D) -> Result<CredentialKind, D::Error> {
    const KINDS: [CredentialKind; 4] = [
        CredentialKind::VirtualKey,
        CredentialKind::MindweaveKey,
        CredentialKind::Registered,
        CredentialKind::Unregistered,
    ];
    let word = String::deserialize(deserializer)?;
    KINDS.into_iter().find(|kind| kind.as_str() == word).ok_or_else(|| {
        let words = KINDS.map(CredentialKind::as_str).join(", ");
        de::Error::custom(format!("`credential` is one of {words}, not `{word}`"))
    })
}
