//! Who asks.

use std::collections::BTreeMap;

use mindweave_metering::{KeyId, OrgId, ProjectId, TeamId, UserId};
use mindweave_policy::{CredentialKind, Principal, Snapshot};

use crate::access::{Caller, ProjectPermit};
use crate::app::Home;
use crate::db::Connection;
use crate::governance::permit::READ;
use crate::http::body::Fields;
use crate::http::problem::{Code, Problem};

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
    /// To look at what governs the project.
    pub(super) permit: ProjectPermit,
}

/// Who asks, in the description of the API: a key in force, or a principal in its parts; of a key, parts may be replaced.
#[derive(utoipa::ToSchema)]
#[schema(as = EvaluatedPrincipal)]
#[expect(dead_code, reason = "describes what `read_asker` reads")]
pub(super) struct PrincipalFields {
    /// A key in force. Without one, `project_id` is required.
    #[schema(min_length = 1, max_length = 200)]
    key_id: Option<String>,
    #[schema(min_length = 1, max_length = 200)]
    project_id: Option<String>,
    #[schema(min_length = 1, max_length = 200)]
    team_id: Option<String>,
    #[schema(min_length = 1, max_length = 200)]
    user_id: Option<String>,
    #[schema(max_items = 32)]
    roles: Option<Vec<String>>,
    labels: Option<BTreeMap<String, String>>,
    credential: Option<CredentialWord>,
}

/// What somebody comes with.
#[derive(utoipa::ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "describes what `read_asker` reads")]
enum CredentialWord {
    VirtualKey,
    MindweaveKey,
    Registered,
    Unregistered,
}

/// Reads who asks. Without any it is whoever has an unregistered credential. Keys and projects that are not open to the caller are
/// not known here.
pub(super) async fn read_asker(
    tx: &mut Connection,
    caller: &Caller,
    fields: &mut Fields,
    home: &Home,
    snapshot: &Snapshot,
) -> Result<Option<Asker>, Problem> {
    let Some(mut nested) = fields.nested(FIELD) else {
        let permit = opened(tx, caller, home.default_project_id.as_str()).await?;
        if permit.is_none() {
            fields.require_if_absent(FIELD);
        }
        let credential = CredentialKind::Unregistered;
        return Ok(permit.map(|permit| Asker { principal: nobody(home), credential, permit }));
    };
    let asker = read_nested(tx, caller, &mut nested, home, snapshot).await;
    fields.close(nested);
    asker
}

fn nobody(home: &Home) -> Principal {
    Principal {
        org_id: home.org_id.clone(),
        project_id: home.default_project_id.clone(),
        team_id: None,
        user_id: None,
        key_id: None,
        roles: Vec::new(),
        labels: BTreeMap::new(),
    }
}

/// The permit for a project; `None` when the caller may not look at what governs it, or there is none.
async fn opened(
    tx: &mut Connection,
    caller: &Caller,
    project_id: &str,
) -> Result<Option<ProjectPermit>, Problem> {
    match caller.project(tx, project_id, READ).await {
        Ok(permit) => Ok(Some(permit)),
        Err(problem) if matches!(problem.code(), Code::NotFound | Code::Forbidden) => Ok(None),
        Err(problem) => Err(problem),
    }
}

async fn read_nested(
    tx: &mut Connection,
    caller: &Caller,
    nested: &mut Fields,
    home: &Home,
    snapshot: &Snapshot,
) -> Result<Option<Asker>, Problem> {
    let (project_id, key_id) = (nested.text("project_id"), nested.text("key_id"));
    let (mut key, mut permit) = (key_id.as_deref().and_then(|id| key_principal(snapshot, id)), None);
    if let Some(principal) = &key {
        permit = opened(tx, caller, principal.project_id.as_str()).await?;
        key = key.filter(|_| permit.is_some());
    }
    if project_id.is_none() && key.is_none() {
        match key_id {
            Some(_) => {
                nested.refuse("key_id", "is no key in force; give project_id and what else is known of it");
            }
            None => nested.require_if_absent("project_id"),
        }
    }
    let mut principal = key.unwrap_or_else(|| nobody(home));
    if let Some(id) = project_id {
        permit = opened(tx, caller, &id).await?;
        principal.project_id = ProjectId::new(id);
        if permit.is_none() || !snapshot.projects.contains_key(&principal.project_id) {
            nested.refuse("project_id", "there is no project with this id");
        }
    }
    if let Some(permit) = &permit {
        principal.org_id = OrgId::new(permit.org_id());
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
    Ok(permit.map(|permit| Asker { principal, credential, permit }))
}

fn key_principal(snapshot: &Snapshot, id: &str) -> Option<Principal> {
    let mut principals = snapshot.keys.values().map(|entry| &entry.principal);
    let found = principals.find(|principal| principal.key_id.as_ref().is_some_and(|key| key.as_str() == id));
    found.map(|principal| Principal::clone(principal))
}
