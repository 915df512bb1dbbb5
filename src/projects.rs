//! `mindweave projects`: lists and creates projects, and stores their Claude keys.

use std::io::{self, BufRead, IsTerminal, Write};

use anyhow::{Context, bail};
use mindweave_policy::Secret;
use serde_json::{Map, Value, json};

use crate::cli::ProjectAction;
use crate::client::{self, Client, Query};
use crate::config::Environment;
use crate::listing::{self, Column, Kind};
use crate::orgs;
use crate::table::{Align, Table};
use crate::terminal;

/// What `projects show` shows.
const COLUMNS: [Column; 7] = [
    ("NAME", "name", Kind::Plain),
    ("ID", "id", Kind::Plain),
    ("ORGANISATION", "org_id", Kind::Plain),
    ("TEAM", "team_id", Kind::Plain),
    ("CLAUDE KEY", "upstream.hint", Kind::Hint),
    ("CREATED", "created_at", Kind::Day),
    ("SETTINGS", "settings", Kind::Plain),
];

/// Does what was asked for.
///
/// # Errors
/// When the API or the terminal fails.
pub(crate) fn run(
    action: &ProjectAction,
    client: &Client,
    environment: &Environment,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    match action {
        ProjectAction::List { json } => {
            let projects = client.list("/projects", &Query::new())?;
            if *json {
                return Ok(writeln!(out, "{}", Value::from(projects))?);
            }
            print(&projects, out)?;
        }
        ProjectAction::Show { project, json } => {
            let (id, _) = find(client, project)?;
            let mut project: Value = client.get(&format!("/projects/{id}"), &Query::new())?;
            let settings: Value = client.get(&format!("/projects/{id}/settings"), &Query::new())?;
            if let Some(project) = project.as_object_mut() {
                project.insert("settings".to_owned(), settings);
            }
            listing::one(&project, &COLUMNS, *json, out)?;
        }
        ProjectAction::Create { name, org, team, json } => {
            let mut body = Map::from_iter([("name".to_owned(), json!(name))]);
            if let Some(org) = org {
                body.insert("org_id".to_owned(), json!(orgs::find(client, Some(org))?.0));
            }
            if let Some(team) = team {
                body.insert("team_id".to_owned(), json!(team));
            }
            let project = client.post("/projects", &body.into())?;
            if *json {
                return Ok(writeln!(out, "{project}")?);
            }
            writeln!(out, "created project {} ({})", text(&project, "name"), text(&project, "id"))?;
        }
        ProjectAction::Rename { project, name } => {
            let (id, before) = find(client, project)?;
            client.patch(&format!("/projects/{id}"), &json!({ "name": name }))?;
            writeln!(out, "project {before} is named {name}")?;
        }
        ProjectAction::Delete { project } => {
            client.delete(&format!("/projects/{}", client::id(project)?))?;
            writeln!(out, "deleted project {project}; what it used stays in the ledger")?;
        }
        ProjectAction::SetUpstream { project, from_env } => {
            let (id, name) = find(client, project)?;
            let key = read_key(from_env.as_deref(), environment)?;
            let body = json!({ "api_key": key.expose_secret() });
            let stored = client.put(&format!("/projects/{id}/upstream"), &body)?;
            let hint = text(&stored, "hint");
            writeln!(out, "project {name} now uses the Claude key that ends in {hint}")?;
        }
    }
    Ok(())
}

/// The id and name of the project that somebody means by a name or an id.
///
/// # Errors
/// When there is none, or several have that name.
pub(crate) fn find(client: &Client, wanted: &str) -> anyhow::Result<(String, String)> {
    let projects = client.list("/projects", &Query::new())?;
    let names =
        |key: &str| projects.iter().filter(|project| text(project, key) == wanted).collect::<Vec<_>>();
    let found = match names("id") {
        found if !found.is_empty() => found,
        _ => names("name"),
    };
    match found.as_slice() {
        [project] => Ok((text(project, "id").to_owned(), text(project, "name").to_owned())),
        [] => {
            let known: Vec<&str> = projects.iter().map(|project| text(project, "name")).collect();
            bail!("there is no project {wanted:?}; there are: {}", known.join(", "))
        }
        several => {
            let ids: Vec<&str> = several.iter().map(|project| text(project, "id")).collect();
            bail!("several projects are named {wanted:?}: say which by its id ({})", ids.join(", "))
        }
    }
}

/// A text field of an answer; empty when it is not there.
pub(crate) fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn print(projects: &[Value], out: &mut impl Write) -> io::Result<()> {
    let columns =
        [("NAME", Align::Left), ("ID", Align::Left), ("CLAUDE KEY", Align::Left), ("CREATED", Align::Left)];
    let mut table = Table::new(columns);
    for project in projects {
        let hint = project.get("upstream").map_or("", |upstream| text(upstream, "hint"));
        let key = if hint.is_empty() { "none".to_owned() } else { format!("..{hint}") };
        let created = text(project, "created_at").split('T').next().unwrap_or_default().to_owned();
        table.row(vec![text(project, "name").to_owned(), text(project, "id").to_owned(), key, created]);
    }
    table.print(out)
}

/// The key, from the named variable, from a person at a terminal (unseen), or from standard input.
fn read_key(variable: Option<&str>, environment: &Environment) -> anyhow::Result<Secret> {
    if let Some(name) = variable {
        return environment.secret(name).with_context(|| format!("the variable {name} is not set"));
    }
    let stdin = io::stdin();
    if stdin.is_terminal() {
        return terminal::ask_unseen("Claude API key: ");
    }
    let mut line = String::new();
    stdin.lock().read_line(&mut line).context("cannot read the key from standard input")?;
    match line.trim() {
        "" => bail!("no key on standard input: pipe it in, or name a variable with --from-env"),
        key => Ok(Secret::new(key.to_owned())),
    }
}
