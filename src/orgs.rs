//! `mindweave orgs`: organisations.

use std::io::Write;

use anyhow::{bail, ensure};
use serde_json::{Map, Value, json};

use crate::cli::OrgAction;
use crate::client::{Client, Query};
use crate::listing::{self, Column, Kind};
use crate::projects::text;

const COLUMNS: [Column; 4] = [
    ("NAME", "name", Kind::Plain),
    ("ID", "id", Kind::Plain),
    ("TIME ZONE", "time_zone", Kind::Plain),
    ("CREATED", "created_at", Kind::Day),
];

/// Does what was asked for.
///
/// # Errors
/// When the API or the terminal fails.
pub(crate) fn run(action: &OrgAction, client: &Client, out: &mut impl Write) -> anyhow::Result<()> {
    match action {
        OrgAction::List { json } => {
            listing::list(client.list("/orgs", &Query::new())?, &COLUMNS, *json, out)?;
        }
        OrgAction::Show { org, json } => {
            let (id, _) = find(client, org.as_deref())?;
            let org: Value = client.get(&format!("/orgs/{id}"), &Query::new())?;
            listing::one(&org, &COLUMNS, *json, out)?;
        }
        OrgAction::Create { name, json } => {
            let org = client.post("/orgs", &json!({ "name": name }))?;
            if *json {
                return Ok(writeln!(out, "{org}")?);
            }
            writeln!(out, "created organisation {} ({})", text(&org, "name"), text(&org, "id"))?;
        }
        OrgAction::Set { org, name, time_zone } => {
            let fields = [("name", name), ("time_zone", time_zone)];
            let changes: Map<String, Value> = (fields.into_iter())
                .filter_map(|(field, value)| Some((field.to_owned(), json!(value.as_ref()?))))
                .collect();
            ensure!(!changes.is_empty(), "say what to change: --name or --time-zone");
            let (id, _) = find(client, org.as_deref())?;
            let org = client.patch(&format!("/orgs/{id}"), &changes.into())?;
            writeln!(
                out,
                "organisation {} begins its days in {}",
                text(&org, "name"),
                text(&org, "time_zone")
            )?;
        }
    }
    Ok(())
}

/// The id and name of the organisation that somebody means by a name or an id, or of the only one that they belong to.
///
/// # Errors
/// When there is none, or several may be meant.
pub(crate) fn find(client: &Client, wanted: Option<&str>) -> anyhow::Result<(String, String)> {
    let orgs = client.list("/orgs", &Query::new())?;
    let Some(wanted) = wanted else {
        return match orgs.as_slice() {
            [org] => Ok((text(org, "id").to_owned(), text(org, "name").to_owned())),
            [] => bail!("you belong to no organisation"),
            several => bail!("say which organisation with --org: {}", names(several)),
        };
    };
    let with = |key: &str| orgs.iter().find(|org| text(org, key) == wanted);
    match with("id").or_else(|| with("name")) {
        Some(org) => Ok((text(org, "id").to_owned(), text(org, "name").to_owned())),
        None => bail!("there is no organisation {wanted:?}; there are: {}", names(&orgs)),
    }
}

fn names(orgs: &[Value]) -> String {
    orgs.iter().map(|org| text(org, "name")).collect::<Vec<_>>().join(", ")
}
