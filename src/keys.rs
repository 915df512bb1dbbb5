//! `mindweave keys`: lists, creates and revokes the keys that stand in for a project's Claude key.

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::ensure;
use serde_json::{Value, json};

use crate::cli::{KeyAction, NewKey};
use crate::client::{Client, Query};
use crate::projects::{find, text};
use crate::table::{Align, Table};

/// Does what was asked for.
///
/// # Errors
/// When the API or the terminal fails.
pub(crate) fn run(action: &KeyAction, client: &Client, out: &mut impl Write) -> anyhow::Result<()> {
    match action {
        KeyAction::List { project, json } => {
            let (id, _) = find(client, project)?;
            let keys = client.list(&format!("/projects/{id}/keys"), &Query::new())?;
            if *json {
                return Ok(writeln!(out, "{}", Value::from(keys))?);
            }
            print(&keys, out)?;
        }
        KeyAction::Create { project, key, json } => {
            let (id, project) = find(client, project)?;
            let created = client.post(&format!("/projects/{id}/keys"), &request(key))?;
            if *json {
                return Ok(writeln!(out, "{created}")?);
            }
            writeln!(
                out,
                "created key {} of project {project}; its secret is shown this once:",
                text(&created, "id")
            )?;
            writeln!(out)?;
            writeln!(out, "  {}", text(&created, "secret"))?;
            writeln!(out)?;
            writeln!(out, "Send it in place of a Claude key, or in the header x-mindweave-key beside one.")?;
        }
        KeyAction::Revoke { project, key } => {
            let sound = key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            ensure!(sound, "{key:?} is no key id: `mindweave keys list {project}` shows them");
            let (id, project) = find(client, project)?;
            client.delete(&format!("/projects/{id}/keys/{key}"))?;
            writeln!(out, "revoked key {key} of project {project}")?;
        }
    }
    Ok(())
}

fn request(key: &NewKey) -> Value {
    let labels: BTreeMap<&str, &str> =
        key.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    json!({
        "name": key.name,
        "user_id": key.user,
        "team_id": key.team,
        "roles": key.roles,
        "labels": labels,
        "expires_at": key.expires,
    })
}

fn print(keys: &[Value], out: &mut impl Write) -> std::io::Result<()> {
    let titles = ["NAME", "ID", "SECRET", "USER", "TEAM", "ROLES", "CREATED", "STATE"];
    let mut table = Table::new(titles.map(|title| (title, Align::Left)));
    let day = |key: &Value, field: &str| text(key, field).split('T').next().unwrap_or_default().to_owned();
    for key in keys {
        let state = match (text(key, "revoked_at"), text(key, "expires_at")) {
            ("", "") => "active".to_owned(),
            ("", _) => format!("expires {}", day(key, "expires_at")),
            (_, _) => format!("revoked {}", day(key, "revoked_at")),
        };
        let field = |name: &str| text(key, name).to_owned();
        table.row(vec![
            field("name"),
            field("id"),
            format!("..{}", text(key, "hint")),
            field("user_id"),
            field("team_id"),
            roles(key),
            day(key, "created_at"),
            state,
        ]);
    }
    table.print(out)
}

fn roles(key: &Value) -> String {
    let roles = key.get("roles").and_then(Value::as_array).into_iter().flatten();
    roles.filter_map(Value::as_str).collect::<Vec<_>>().join(",")
}
