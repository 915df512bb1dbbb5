//! Reads whom a policy, a limit or a budget is about, and checks that there is such a thing: a limit on a project that does
//! not exist would hold nobody back, and nobody would notice.

use mindweave_policy::{Subject, SubjectKind};

use super::subjects::{carrier_exists, subject_exists};
use crate::db::{Connection, StoreError};
use crate::http::body::Fields;

/// Longest id in a scope, in bytes; that of the ids which keys carry.
const MAX_ID_BYTES: usize = 200;

/// The name of the field.
const FIELD: &str = "scope";

/// What a scope may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scopes {
    /// A certain org, team or project: policies.
    Certain,
    /// Also a user or a key, and `*` for each one separately: what counts.
    Counted,
}

/// Reads the scope, which names something of this organisation. What is not given stays as it was, or is the organisation.
pub(super) async fn scope_read(
    tx: &mut Connection,
    org_id: &str,
    fields: &mut Fields,
    scopes: Scopes,
    before: Option<&Subject>,
) -> Result<Subject, StoreError> {
    let whole_org = || Subject { kind: SubjectKind::Org, id: Some(org_id.into()) };
    let before = before.cloned().unwrap_or_else(whole_org);
    if !fields.given(FIELD) {
        return Ok(before);
    }
    let Some(value) = fields.any(FIELD) else { return Ok(whole_org()) };
    let Ok(subject) = serde_json::from_value::<Subject>(value) else {
        fields.refuse(FIELD, shape(scopes));
        return Ok(before);
    };
    match fault(tx, org_id, scopes, &subject).await? {
        None => Ok(subject),
        Some(message) => {
            fields.refuse(FIELD, &message);
            Ok(before)
        }
    }
}

fn shape(scopes: Scopes) -> &'static str {
    match scopes {
        Scopes::Certain => {
            "must be an object of one entry: org, team or project, for example {\"project\": \"prj_..\"}"
        }
        Scopes::Counted => {
            "must be an object of one entry: org, team, user, project or key, with an id, or with \"*\" for each one separately, for example {\"key\": \"*\"}"
        }
    }
}

async fn fault(
    tx: &mut Connection,
    org_id: &str,
    scopes: Scopes,
    subject: &Subject,
) -> Result<Option<String>, StoreError> {
    let kind = subject.kind;
    let narrow = matches!(kind, SubjectKind::User | SubjectKind::Key);
    let Some(id) = subject.id.as_deref() else {
        return Ok((scopes == Scopes::Certain).then(|| shape(scopes).to_owned()));
    };
    if scopes == Scopes::Certain && narrow {
        return Ok(Some(shape(scopes).to_owned()));
    }
    if id.is_empty() || id.len() > MAX_ID_BYTES || id.contains(char::is_control) {
        return Ok(Some(format!("the id must have 1 to {MAX_ID_BYTES} characters")));
    }
    let exists = subject_exists(tx, org_id, kind, id).await?;
    Ok((!exists).then(|| format!("there is no {} with this id", kind.as_str())))
}

/// What an admin should know about a scope that is right in form. Teams and users are whatever keys carry: one that no
/// key carries is counted by nobody, which is probably a slip of the pen.
pub(super) async fn scope_warning(
    tx: &mut Connection,
    org_id: &str,
    subject: &Subject,
) -> Result<Option<String>, StoreError> {
    let Some(id) = subject.id.as_deref() else { return Ok(None) };
    let column = match subject.kind {
        SubjectKind::Team => "team_id",
        SubjectKind::User => "user_id",
        SubjectKind::Org | SubjectKind::Project | SubjectKind::Key => return Ok(None),
    };
    let carried = carrier_exists(tx, org_id, subject.kind, id).await?;
    Ok((!carried)
        .then(|| format!("scope: no key or credential has this {column}; it covers nobody until one has")))
}
