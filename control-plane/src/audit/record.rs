//! Writes an entry.

use serde::Serialize;
use serde_json::Value;

use super::chain::{Chain, Link, SALT_BYTES, personal_hash};
use super::store::{self, NewEntry};
use crate::access::Caller;
use crate::clock;
use crate::db::{Connection, StoreError};
use crate::entropy::{self, NoEntropy};
use crate::http::problem::Problem;

/// What something is that was changed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'a> {
    /// As the API calls it: `key`, `project`, `policy`.
    pub(crate) kind: &'static str,
    pub(crate) id: &'a str,
}

/// A change, or a look at something sensitive.
#[derive(Clone, Debug)]
pub(crate) struct Change<'a> {
    pub(crate) chain: Chain<'a>,
    /// `key.created`: what, and what was done to it.
    pub(crate) action: &'static str,
    pub(crate) target: Target<'a>,
    pub(crate) project_id: Option<&'a str>,
    /// What the API showed before; nothing secret.
    pub(crate) before: Option<Value>,
    /// What the API shows after it; nothing secret.
    pub(crate) after: Option<Value>,
    /// Whether `before` and `after` say who somebody is (names, e-mail addresses), so that erasing this person must erase them.
    pub(crate) identifies: bool,
}

impl<'a> Change<'a> {
    /// A change without more to say.
    pub(crate) fn new(chain: Chain<'a>, action: &'static str, kind: &'static str, id: &'a str) -> Self {
        let target = Target { kind, id };
        Self { chain, action, target, project_id: None, before: None, after: None, identifies: false }
    }

    /// It belongs to this project.
    pub(crate) fn in_project(self, project_id: &'a str) -> Self {
        Self { project_id: Some(project_id), ..self }
    }

    /// What the API showed before it.
    pub(crate) fn before(self, before: &impl Serialize) -> Self {
        Self { before: Some(shown(before)), ..self }
    }

    /// What the API shows after it.
    pub(crate) fn after(self, after: &impl Serialize) -> Self {
        Self { after: Some(shown(after)), ..self }
    }

    /// What it shows says who somebody is.
    pub(crate) fn identifying(self) -> Self {
        Self { identifies: true, ..self }
    }
}

fn shown(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or(Value::Null) // what the API answers is JSON
}

/// Why an entry could not be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AuditError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Entropy(#[from] NoEntropy),
}

impl From<AuditError> for Problem {
    fn from(error: AuditError) -> Self {
        match error {
            AuditError::Store(error) => error.into(),
            AuditError::Entropy(error) => Self::internal(&error),
        }
    }
}

#[derive(Serialize)]
struct Body<'a> {
    at: jiff::Timestamp,
    action: &'a str,
    actor: BodyActor<'a>,
    target: BodyTarget<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    project_id: Option<&'a str>,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<&'a Value>,
}

#[derive(Serialize)]
struct BodyActor<'a> {
    kind: &'a str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_id: Option<&'a str>,
}

#[derive(Serialize)]
struct BodyTarget<'a> {
    kind: &'a str,
    id: &'a str,
}

#[derive(Serialize)]
struct Personal<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<std::net::IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<&'a Value>,
}

/// Writes an entry, in the transaction of the change, which must be one of [`crate::db::Db::begin_write`]: entries of a chain follow one another.
///
/// # Errors
/// See [`AuditError`]; the change must then not be committed.
pub(crate) async fn record(
    tx: &mut Connection,
    caller: &Caller,
    change: Change<'_>,
) -> Result<(), AuditError> {
    let now = clock::now();
    let (origin, actor) = (caller.origin(), caller.actor());
    let token_id = actor.token_id();
    let shown = [&change.before, &change.after];
    let open = !change.identifies && !shown.into_iter().flatten().any(names_somebody);
    let body = Body {
        at: now,
        action: change.action,
        actor: BodyActor { kind: actor.kind(), id: actor.id(), token_id },
        target: BodyTarget { kind: change.target.kind, id: change.target.id },
        project_id: change.project_id,
        request_id: &origin.request_id,
        before: change.before.as_ref().filter(|_| open),
        after: change.after.as_ref().filter(|_| open),
    };
    let personal = Personal {
        address: origin.address,
        user_agent: origin.user_agent.as_deref(),
        before: change.before.as_ref().filter(|_| !open),
        after: change.after.as_ref().filter(|_| !open),
    };
    let (body, personal) = (json(&body), json(&personal));
    let salt = entropy::bytes::<SALT_BYTES>()?;
    let chain = change.chain.as_str();
    let head = store::head(tx, chain).await?;
    let sequence = head.sequence.saturating_add(1);
    let personal_hash = personal_hash(&salt, &personal);
    let link =
        Link { chain, sequence, previous_hash: &head.hash, personal_hash: &personal_hash, body: &body };
    let hash = link.hash();
    let entry = NewEntry {
        at: now,
        action: change.action,
        actor_id: actor.id(),
        target_kind: change.target.kind,
        target_id: change.target.id,
        project_id: change.project_id,
        request_id: &origin.request_id,
        personal: &personal,
        personal_salt: &salt,
        hash: &hash,
        link,
    };
    store::entry_insert(tx, &entry).await?;
    Ok(())
}

/// Fields of what the API shows that say who somebody is, or may.
const IDENTIFYING_FIELDS: [&str; 3] = ["user_id", "user", "email"];

/// Whether something that the API shows says who somebody is: whose key it is, whom a budget is about.
fn names_somebody(shown: &Value) -> bool {
    match shown {
        Value::Object(fields) => fields.iter().any(|(name, value)| {
            let somebody = value.as_str().is_some_and(|text| text != "*"); // which is everybody, each by themself
            (IDENTIFYING_FIELDS.contains(&name.as_str()) && somebody) || names_somebody(value)
        }),
        Value::Array(values) => values.iter().any(names_somebody),
        _ => false,
    }
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "{}".to_owned()) // structs of texts always serialise
}
