//! What `policies`, `quotas` and `limits` share: whom they are about, and finding one by its name.

use anyhow::bail;
use serde_json::{Map, Value, json};

use crate::cli::Scope;
use crate::client::{Client, Query};
use crate::orgs;
use crate::projects::text;

/// Adds whom something is about to the body of a request.
///
/// # Errors
/// When the organisation cannot be found.
pub(crate) fn add_scope(body: &mut Map<String, Value>, scope: &Scope, client: &Client) -> anyhow::Result<()> {
    if let Some(org) = &scope.org {
        body.insert("org_id".to_owned(), json!(orgs::find(client, Some(org))?.0));
    }
    if let Some((kind, id)) = &scope.scope {
        body.insert("scope".to_owned(), json!({ kind: id }));
    }
    Ok(())
}

/// The id of what somebody means by a name or an id in this list.
///
/// # Errors
/// When there is none, or several have that name.
pub(crate) fn find(client: &Client, path: &str, kind: &str, wanted: &str) -> anyhow::Result<String> {
    let entries = client.list(path, &Query::new())?;
    let with = |key: &str| entries.iter().filter(|entry| text(entry, key) == wanted).collect::<Vec<_>>();
    let found = match with("id") {
        found if !found.is_empty() => found,
        _ => with("name"),
    };
    match found.as_slice() {
        [entry] => Ok(text(entry, "id").to_owned()),
        [] => {
            let known: Vec<&str> = entries.iter().map(|entry| text(entry, "name")).collect();
            bail!("there is no {kind} {wanted:?}; there are: {}", known.join(", "))
        }
        _ => bail!("several are named {wanted:?}: say which by its id"),
    }
}
