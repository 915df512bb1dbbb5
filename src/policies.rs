//! `mindweave policies`: the policies of a server.

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, ensure};
use serde_json::{Map, Value, json};

use crate::cli::{PoliciesAction, PolicyText};
use crate::client::{Client, Query};
use crate::governance::{add_scope, find};
use crate::listing::{self, Column, Kind};
use crate::projects::text;

const PATH: &str = "/governance/policies";
const KIND: &str = "policy";

const COLUMNS: [Column; 6] = [
    ("NAME", "name", Kind::Plain),
    ("ID", "id", Kind::Plain),
    ("MODE", "mode", Kind::Plain),
    ("SCOPE", "scope", Kind::Plain),
    ("VERSION", "version", Kind::Count),
    ("CHANGED", "updated_at", Kind::Moment),
];
const VERSIONS: [Column; 4] = [
    ("VERSION", "version", Kind::Count),
    ("CREATED", "created_at", Kind::Moment),
    ("BUNDLED", "bundled", Kind::Plain),
    ("RESTORED FROM", "restored_from", Kind::Plain),
];

/// Does what was asked for.
///
/// # Errors
/// When a file, the API or the terminal fails.
pub(crate) fn run(action: &PoliciesAction, client: &Client, out: &mut impl Write) -> anyhow::Result<()> {
    let one = |wanted: &str| Ok::<_, anyhow::Error>(format!("{PATH}/{}", find(client, PATH, KIND, wanted)?));
    match action {
        PoliciesAction::List { json } => {
            listing::list(client.list(PATH, &Query::new())?, &COLUMNS, *json, out)?;
        }
        PoliciesAction::Show { policy, json } => {
            let policy: Value = client.get(&one(policy)?, &Query::new())?;
            listing::one(&policy, &COLUMNS, *json, out)?;
            if !*json {
                writeln!(out, "\n{}", text(&policy, "rego").trim_end())?;
            }
        }
        PoliciesAction::Create { name, text: wanted, scope, json } => {
            let mut body = read(wanted)?;
            ensure!(
                body.contains_key("rego") || body.contains_key("bundled"),
                "say what the policy is: --file or --bundled"
            );
            body.insert("name".to_owned(), json!(name));
            add_scope(&mut body, scope, client)?;
            let made = client.post(PATH, &body.into())?;
            if *json {
                return Ok(writeln!(out, "{made}")?);
            }
            writeln!(
                out,
                "created policy {} ({}), {}",
                text(&made, "name"),
                text(&made, "id"),
                text(&made, "mode")
            )?;
            warn(&made, out)?;
        }
        PoliciesAction::Set { policy, text: wanted } => {
            let body = read(wanted)?;
            ensure!(!body.is_empty(), "say what to change: --file, --bundled, --data or --mode");
            let changed = client.patch(&one(policy)?, &body.into())?;
            let version = changed.get("version").map(Value::to_string).unwrap_or_default();
            writeln!(
                out,
                "policy {} is in force in version {version}, {}",
                text(&changed, "name"),
                text(&changed, "mode")
            )?;
            warn(&changed, out)?;
        }
        PoliciesAction::Versions { policy, json } => {
            let versions = client.list(&format!("{}/versions", one(policy)?), &Query::new())?;
            listing::list(versions, &VERSIONS, *json, out)?;
        }
        PoliciesAction::Restore { policy, version } => {
            let restored =
                client.post(&format!("{}/restore", one(policy)?), &json!({ "version": version }))?;
            let now = restored.get("version").map(Value::to_string).unwrap_or_default();
            writeln!(
                out,
                "policy {} has the content of version {version} again, as version {now}",
                text(&restored, "name")
            )?;
        }
        PoliciesAction::Delete { policy } => {
            client.delete(&one(policy)?)?;
            writeln!(out, "deleted policy {policy}")?;
        }
    }
    Ok(())
}

fn read(wanted: &PolicyText) -> anyhow::Result<Map<String, Value>> {
    let mut body = Map::new();
    if let Some(file) = &wanted.file {
        body.insert("rego".to_owned(), json!(contents(file)?));
    }
    if let Some(bundled) = &wanted.bundled {
        body.insert("bundled".to_owned(), json!(bundled));
    }
    if let Some(file) = &wanted.data {
        let data: Value = serde_json::from_str(&contents(file)?)
            .with_context(|| format!("{} is not JSON", file.display()))?;
        body.insert("data".to_owned(), data);
    }
    if let Some(mode) = wanted.mode {
        body.insert("mode".to_owned(), json!(mode.as_str()));
    }
    Ok(body)
}

fn contents(file: &Path) -> anyhow::Result<String> {
    fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

fn warn(policy: &Value, out: &mut impl Write) -> std::io::Result<()> {
    let warnings = policy.get("warnings").and_then(Value::as_array).into_iter().flatten();
    warnings.filter_map(Value::as_str).try_for_each(|warning| writeln!(out, "warning: {warning}"))
}
