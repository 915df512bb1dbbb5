//! `mindweave keys`: lists, creates and revokes the keys that stand in for a project's Claude key.

use std::collections::BTreeMap;
use std::io::Write;

use serde_json::{Value, json};

use crate::cli::{KeyAction, NewKey};
use crate::client::{Client, Query, id};
use crate::projects::{find, text};
use crate::table::{Align, Table};

/// Does what was asked for.
///
/// # Errors
/// When the API or the terminal fails.
pub(crate) fn run(action: &KeyAction, client: &Client, out: &mut impl Write) -> anyhow::Result<()> {
    match action {
        KeyAction::List { project, json } => {
            let (project, _) = find(client, project)?;
            let keys = client.list(&format!("/projects/{project}/keys"), &Query::new())?;
            if *json {
                return Ok(writeln!(out, "{}", Value::from(keys))?);
            }
            print(&keys, out)?;
        }
        KeyAction::Create { project, key, json } => {
            let (project_id, project) = find(client, project)?;
            let created = client.post(&format!("/projects/{project_id}/keys"), &request(key))?;
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
        KeyAction::Rotate { project, key, overlap, json } => {
            let (project, _) = find(client, project)?;
            let body =
                overlap.map_or_else(|| json!({}), |overlap| json!({ "overlap_seconds": overlap.as_secs() }));
            let rotated = client.post(&format!("/projects/{project}/keys/{}/rotate", id(key)?), &body)?;
            if *json {
                return Ok(writeln!(out, "{rotated}")?);
            }
            writeln!(out, "key {key} has a new secret, which is shown this once:\n")?;
            writeln!(out, "  {}\n", text(&rotated, "secret"))?;
            match text(&rotated, "previous_expires_at") {
                "" => writeln!(out, "The old one does not work any more.")?,
                until => writeln!(out, "The old one goes on working until {until}.")?,
            }
        }
        KeyAction::Disable { project, key } => set_disabled(client, project, key, true, out)?,
        KeyAction::Enable { project, key } => set_disabled(client, project, key, false, out)?,
        KeyAction::Revoke { project, key } => {
            let (project_id, project) = find(client, project)?;
            client.delete(&format!("/projects/{project_id}/keys/{}", id(key)?))?;
            writeln!(out, "revoked key {key} of project {project}")?;
        }
    }
    Ok(())
}

fn set_disabled(
    client: &Client,
    project: &str,
    key: &str,
    disabled: bool,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let (project, _) = find(client, project)?;
    client.patch(&format!("/projects/{project}/keys/{}", id(key)?), &json!({ "disabled": disabled }))?;
    Ok(writeln!(out, "key {key} is {}", if disabled { "disabled" } else { "enabled" })?)
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
            ("", _) if !text(key, "disabled_at").is_empty() => "disabled".to_owned(),
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
