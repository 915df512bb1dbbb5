//! `mindweave members`: who has which role, and invitations.

use std::io::Write;

use serde_json::{Value, json};

use crate::cli::{MemberAction, Where};
use crate::client::{Client, Query, id};
use crate::listing::{self, Column, Kind};
use crate::orgs;
use crate::projects::{self, text};

const COLUMNS: [Column; 5] = [
    ("NAME", "name", Kind::Plain),
    ("E-MAIL", "email", Kind::Plain),
    ("ID", "id", Kind::Plain),
    ("KIND", "kind", Kind::Plain),
    ("ROLES", "roles", Kind::Plain),
];
const INVITATIONS: [Column; 5] = [
    ("E-MAIL", "email", Kind::Plain),
    ("ROLE", "role", Kind::Plain),
    ("ID", "id", Kind::Plain),
    ("STATE", "state", Kind::Plain),
    ("EXPIRES", "expires_at", Kind::Day),
];

/// Does what was asked for.
///
/// # Errors
/// When the API or the terminal fails.
pub(crate) fn run(action: &MemberAction, client: &Client, out: &mut impl Write) -> anyhow::Result<()> {
    match action {
        MemberAction::List { place, json } => {
            let members = client.list(&format!("{}/members", path(client, place)?), &Query::new())?;
            let members = if *json { members } else { members.into_iter().map(for_people).collect() };
            listing::list(members, &COLUMNS, *json, out)?;
        }
        MemberAction::Set { member, role, place } => {
            let path = format!("{}/members/{}", path(client, place)?, id(member)?);
            client.put(&path, &json!({ "role": role.as_str() }))?;
            writeln!(out, "{member} is {} there", role.as_str())?;
        }
        MemberAction::Remove { member, place } => {
            client.delete(&format!("{}/members/{}", path(client, place)?, id(member)?))?;
            writeln!(out, "{member} has no role there any more")?;
        }
        MemberAction::Invite { email, role, org, json } => {
            let (org, name) = orgs::find(client, org.as_deref())?;
            let body = json!({ "email": email, "role": role.as_str() });
            let invitation = client.post(&format!("/orgs/{org}/invitations"), &body)?;
            if *json {
                return Ok(writeln!(out, "{invitation}")?);
            }
            writeln!(out, "invited {email} to {name} as {}", role.as_str())?;
            if let link @ ("http" | "https", _) =
                text(&invitation, "link").split_once(':').unwrap_or_default()
            {
                writeln!(
                    out,
                    "\nNo mail was sent, because none is set up. Pass this on:\n\n  {}:{}",
                    link.0, link.1
                )?;
            }
        }
        MemberAction::Invitations { org, json } => {
            let (org, _) = orgs::find(client, org.as_deref())?;
            let invitations = client.list(&format!("/orgs/{org}/invitations"), &Query::new())?;
            listing::list(invitations, &INVITATIONS, *json, out)?;
        }
        MemberAction::Uninvite { invitation } => {
            client.delete(&format!("/invitations/{}", id(invitation)?))?;
            writeln!(out, "took the invitation {invitation} back")?;
        }
    }
    Ok(())
}

/// The path of what roles are in.
fn path(client: &Client, place: &Where) -> anyhow::Result<String> {
    if let Some(team) = &place.team {
        return Ok(format!("/teams/{}", id(team)?));
    }
    if let Some(project) = &place.project {
        return Ok(format!("/projects/{}", projects::find(client, project)?.0));
    }
    Ok(format!("/orgs/{}", orgs::find(client, place.org.as_deref())?.0))
}

/// Roles in short: the role, and where it holds if that is not the organisation.
fn for_people(mut member: Value) -> Value {
    let short = |role: &Value| match text(role, "place") {
        "org" => text(role, "role").to_owned(),
        _ => format!("{} of {}", text(role, "role"), text(role, "place_id")),
    };
    let roles = member.get("roles").and_then(Value::as_array).into_iter().flatten();
    let roles: Vec<String> = roles.map(short).collect();
    if let Some(member) = member.as_object_mut() {
        member.insert("roles".to_owned(), json!(roles));
    }
    member
}
