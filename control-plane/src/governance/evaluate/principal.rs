//! Who asks.

use mindweave_metering::{KeyId, ProjectId, TeamId, UserId};
use mindweave_policy::{CredentialKind, Principal, Snapshot};

use crate::app::Home;
use crate::http::body::Fields;

/// The name of the field.
const FIELD: &str = "principal";

const CREDENTIALS: [(&str, CredentialKind); 4] = [
    ("virtual_key", CredentialKind::VirtualKey),
    ("mindweave_key", CredentialKind::MindweaveKey),
    ("registered", CredentialKind::Registered),
    ("unregistered", CredentialKind::Unregistered),
];

/// Who asks, and with what.
#[derive(Clone, Debug)]
pub(super) struct Asker {
    pub(super) principal: Principal,
    pub(super) credential: CredentialKind,
}

/// Reads who asks: a key in force, or a principal in its parts; of a key, parts may be replaced. Without any it is whoever has
/// an unregistered credential.
pub(super) fn read_asker(fields: &mut Fields, home: &Home, snapshot: &Snapshot) -> Asker {
    let nobody = || Principal {
        org_id: home.org_id.clone(),
        project_id: home.default_project_id.clone(),
        team_id: None,
        user_id: None,
        key_id: None,
        roles: Vec::new(),
        labels: std::collections::BTreeMap::new(),
    };
    let Some(mut nested) = fields.nested(FIELD) else {
        return Asker { principal: nobody(), credential: CredentialKind::Unregistered };
    };
    let (project_id, key_id) = (nested.text("project_id"), nested.text("key_id"));
    let key = key_id.as_deref().and_then(|id| key_principal(snapshot, id));
    if project_id.is_none() && key.is_none() {
        match key_id {
            Some(_) => {
                nested.refuse("key_id", "is no key in force; give project_id and what else is known of it");
            }
            None => nested.require_if_absent("project_id"),
        }
    }
    let mut principal = key.unwrap_or_else(nobody);
    if let Some(id) = project_id {
        principal.project_id = ProjectId::new(id);
        if !snapshot.projects.contains_key(&principal.project_id) {
            nested.refuse("project_id", "there is no project with this id");
        }
    }
    principal.key_id = key_id.map(KeyId::new);
    if nested.given("team_id") {
        principal.team_id = nested.text("team_id").map(TeamId::new);
    }
    if nested.given("user_id") {
        principal.user_id = nested.text("user_id").map(UserId::new);
    }
    if nested.given("roles") {
        principal.roles = nested.roles("roles");
    }
    if nested.given("labels") {
        principal.labels = nested.labels("labels");
    }
    let credential = nested.choice("credential", &CREDENTIALS).unwrap_or(CredentialKind::VirtualKey);
    fields.close(nested);
    Asker { principal, credential }
}

fn key_principal(snapshot: &Snapshot, id: &str) -> Option<Principal> {
    let mut principals = snapshot.keys.values().map(|entry| &entry.principal);
    let found = principals.find(|principal| principal.key_id.as_ref().is_some_and(|key| key.as_str() == id));
    found.map(|principal| Principal::clone(principal))
}
