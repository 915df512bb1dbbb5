//! `mindweave tokens`: one's own access tokens. Making and revoking them asks for the password: no token can.

use std::io::Write;

use serde_json::json;

use crate::cli::TokenAction;
use crate::client::{Client, Query, id};
use crate::listing::{self, Column, Kind};
use crate::login::signed_in;
use crate::projects::text;

const COLUMNS: [Column; 7] = [
    ("NAME", "name", Kind::Plain),
    ("ID", "id", Kind::Plain),
    ("TOKEN", "hint", Kind::Hint),
    ("SCOPES", "scopes", Kind::Plain),
    ("CREATED", "created_at", Kind::Day),
    ("EXPIRES", "expires_at", Kind::Day),
    ("LAST USED", "last_used_at", Kind::Moment),
];

/// Does what was asked for.
///
/// # Errors
/// When the API or the terminal fails.
pub(crate) fn run(action: &TokenAction, client: &Client, out: &mut impl Write) -> anyhow::Result<()> {
    match action {
        TokenAction::List { json } => {
            listing::list(client.list("/auth/tokens", &Query::new())?, &COLUMNS, *json, out)?;
        }
        TokenAction::Create { name, scopes, expires_in_days, json } => {
            let mut body = json!({ "name": name, "scopes": scopes });
            if let (Some(days), Some(body)) = (expires_in_days, body.as_object_mut()) {
                body.insert("expires_in_days".to_owned(), json!(days));
            }
            let made = signed_in(client, |session| Ok(session.post("/auth/tokens", &body)?))?;
            if *json {
                return Ok(writeln!(out, "{made}")?);
            }
            writeln!(out, "created token {}; it is shown this once:\n", text(&made, "id"))?;
            writeln!(out, "  {}", text(&made, "token"))?;
        }
        TokenAction::Revoke { token } => {
            let path = format!("/auth/tokens/{}", id(token)?);
            signed_in(client, |session| Ok(session.delete(&path)?))?;
            writeln!(out, "revoked token {token}")?;
        }
    }
    Ok(())
}
