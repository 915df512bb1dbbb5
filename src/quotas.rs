//! `mindweave quotas`: budgets.

use std::io::Write;

use anyhow::ensure;
use serde_json::{Map, Value, json};

use crate::cli::{QuotaAction, QuotaTerms};
use crate::client::{Client, Query};
use crate::governance::{add_scope, find};
use crate::listing::{self, Column, Kind};
use crate::projects::text;

const PATH: &str = "/governance/quotas";
const KIND: &str = "budget";

const COLUMNS: [Column; 8] = [
    ("NAME", "name", Kind::Plain),
    ("ID", "id", Kind::Plain),
    ("SCOPE", "scope", Kind::Plain),
    ("UNIT", "unit", Kind::Plain),
    ("WINDOW", "window", Kind::Plain),
    ("LIMIT", "limit_usd", Kind::Plain),
    ("USED", "state.percent", Kind::Plain),
    ("RESETS", "state.resets_at", Kind::Moment),
];

/// Does what was asked for.
///
/// # Errors
/// When the API or the terminal fails.
pub(crate) fn run(action: &QuotaAction, client: &Client, out: &mut impl Write) -> anyhow::Result<()> {
    let one = |wanted: &str| Ok::<_, anyhow::Error>(format!("{PATH}/{}", find(client, PATH, KIND, wanted)?));
    match action {
        QuotaAction::List { json: true } => {
            listing::list(client.list(PATH, &Query::new())?, &COLUMNS, true, out)?;
        }
        QuotaAction::List { json: false } => {
            let quotas = client.list(PATH, &Query::new())?.into_iter().map(for_people).collect();
            listing::list(quotas, &COLUMNS, false, out)?;
        }
        QuotaAction::Show { quota, json } => {
            let quota: Value = client.get(&one(quota)?, &Query::new())?;
            let quota = if *json { quota } else { for_people(quota) };
            listing::one(&quota, &COLUMNS, *json, out)?;
        }
        QuotaAction::Create { name, terms, scope, json } => {
            let mut body = read(terms);
            body.insert("name".to_owned(), json!(name));
            add_scope(&mut body, scope, client)?;
            let made = client.post(PATH, &body.into())?;
            if *json {
                return Ok(writeln!(out, "{made}")?);
            }
            writeln!(out, "created budget {} ({})", text(&made, "name"), text(&made, "id"))?;
        }
        QuotaAction::Set { quota, terms } => {
            let body = read(terms);
            ensure!(
                !body.is_empty(),
                "say what to change: --unit, --window, --limit, --limit-usd or --action"
            );
            let changed = client.patch(&one(quota)?, &body.into())?;
            writeln!(out, "changed budget {}", text(&changed, "name"))?;
        }
        QuotaAction::Delete { quota } => {
            client.delete(&one(quota)?)?;
            writeln!(out, "deleted budget {quota}")?;
        }
    }
    Ok(())
}

fn read(terms: &QuotaTerms) -> Map<String, Value> {
    let fields = [
        ("unit", terms.unit.as_ref().map(|unit| json!(unit))),
        ("window", terms.window.as_ref().map(|window| json!(window))),
        ("limit", terms.limit.map(|limit| json!(limit))),
        ("limit_usd", terms.limit_usd.as_ref().map(|limit| json!(limit))),
        ("action", terms.action.as_ref().map(|action| json!(action))),
    ];
    fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

/// The limit in its own unit, and the share with its sign.
fn for_people(mut quota: Value) -> Value {
    let limit = match quota.get("limit_usd").and_then(Value::as_str) {
        Some(dollars) => format!("${dollars}"),
        None => quota.get("limit").map(Value::to_string).unwrap_or_default(),
    };
    if let Some(quota) = quota.as_object_mut() {
        quota.insert("limit_usd".to_owned(), json!(limit));
    }
    if let Some(percent) = quota.pointer_mut("/state/percent").filter(|percent| !percent.is_null()) {
        *percent = json!(format!("{percent}%"));
    }
    quota
}
