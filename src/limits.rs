//! `mindweave limits`: rate limits.

use std::io::Write;

use serde_json::{Map, Value, json};

use crate::cli::LimitAction;
use crate::client::{Client, Query};
use crate::governance::{add_scope, find};
use crate::listing::{self, Column, Kind};
use crate::projects::text;

const PATH: &str = "/governance/limits";

const COLUMNS: [Column; 6] = [
    ("NAME", "name", Kind::Plain),
    ("ID", "id", Kind::Plain),
    ("SCOPE", "scope", Kind::Plain),
    ("METRIC", "metric", Kind::Plain),
    ("LIMIT", "limit", Kind::Count),
    ("BURST", "burst", Kind::Count),
];

/// Does what was asked for.
///
/// # Errors
/// When the API or the terminal fails.
pub(crate) fn run(action: &LimitAction, client: &Client, out: &mut impl Write) -> anyhow::Result<()> {
    match action {
        LimitAction::List { json } => {
            listing::list(client.list(PATH, &Query::new())?, &COLUMNS, *json, out)?;
        }
        LimitAction::Create { name, metric, limit, burst, scope, json } => {
            let mut body = Map::from_iter([
                ("name".to_owned(), json!(name)),
                ("metric".to_owned(), json!(metric)),
                ("limit".to_owned(), json!(limit)),
            ]);
            if let Some(burst) = burst {
                body.insert("burst".to_owned(), json!(burst));
            }
            add_scope(&mut body, scope, client)?;
            let made: Value = client.post(PATH, &body.into())?;
            if *json {
                return Ok(writeln!(out, "{made}")?);
            }
            writeln!(out, "created rate limit {} ({})", text(&made, "name"), text(&made, "id"))?;
        }
        LimitAction::Delete { limit } => {
            client.delete(&format!("{PATH}/{}", find(client, PATH, "rate limit", limit)?))?;
            writeln!(out, "deleted rate limit {limit}")?;
        }
    }
    Ok(())
}
