//! `mindweave teams`: teams of an organisation.

use std::io::Write;

use serde_json::json;

use crate::cli::TeamAction;
use crate::client::{Client, Query, id};
use crate::listing::{self, Column, Kind};
use crate::orgs;
use crate::projects::text;

const COLUMNS: [Column; 3] =
    [("NAME", "name", Kind::Plain), ("ID", "id", Kind::Plain), ("CREATED", "created_at", Kind::Day)];

/// Does what was asked for.
///
/// # Errors
/// When the API or the terminal fails.
pub(crate) fn run(action: &TeamAction, client: &Client, out: &mut impl Write) -> anyhow::Result<()> {
    match action {
        TeamAction::List { org, json } => {
            let (org, _) = orgs::find(client, org.as_deref())?;
            let teams = client.list(&format!("/orgs/{org}/teams"), &Query::new())?;
            listing::list(teams, &COLUMNS, *json, out)?;
        }
        TeamAction::Create { name, org, json } => {
            let (org, _) = orgs::find(client, org.as_deref())?;
            let team = client.post(&format!("/orgs/{org}/teams"), &json!({ "name": name }))?;
            if *json {
                return Ok(writeln!(out, "{team}")?);
            }
            writeln!(out, "created team {} ({})", text(&team, "name"), text(&team, "id"))?;
        }
        TeamAction::Rename { team, name } => {
            client.patch(&format!("/teams/{}", id(team)?), &json!({ "name": name }))?;
            writeln!(out, "team {team} is named {name}")?;
        }
        TeamAction::Delete { team } => {
            client.delete(&format!("/teams/{}", id(team)?))?;
            writeln!(out, "deleted team {team}")?;
        }
    }
    Ok(())
}
