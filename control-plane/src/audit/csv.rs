//! Entries as lines of CSV (RFC 4180), for spreadsheets.

use serde_json::Value;

use super::view::AuditEntry;

const COLUMNS: [&str; 17] = [
    "chain",
    "sequence",
    "at",
    "action",
    "actor_kind",
    "actor_id",
    "token_id",
    "target_kind",
    "target_id",
    "project_id",
    "request_id",
    "address",
    "user_agent",
    "before",
    "after",
    "previous_hash",
    "hash",
];

/// Spreadsheets take a field that begins so for a formula, and run it.
const FORMULA: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

/// The names of the columns.
pub(super) fn head() -> String {
    format!("{}\r\n", COLUMNS.join(","))
}

/// The line of an entry.
pub(super) fn line(entry: &AuditEntry) -> String {
    let json = |value: &Option<Value>| value.as_ref().map(Value::to_string).unwrap_or_default();
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let content = &entry.content;
    let fields: [String; COLUMNS.len()] = [
        entry.chain.clone(),
        entry.sequence.to_string(),
        content.at.to_string(),
        content.action.clone(),
        content.actor.kind.clone(),
        content.actor.id.clone(),
        text(&content.actor.token_id),
        content.target.kind.clone(),
        content.target.id.clone(),
        text(&content.project_id),
        content.request_id.clone(),
        entry.address.map(|address| address.to_string()).unwrap_or_default(),
        text(&entry.user_agent),
        json(&content.before),
        json(&content.after),
        entry.previous_hash.clone(),
        entry.hash.clone(),
    ];
    let fields: Vec<String> = fields.iter().map(|field| quoted(field)).collect();
    format!("{}\r\n", fields.join(","))
}

fn quoted(field: &str) -> String {
    let guard = if field.starts_with(FORMULA) { "'" } else { "" };
    if field.contains([',', '"', '\n', '\r']) || !guard.is_empty() {
        return format!("\"{guard}{}\"", field.replace('"', "\"\""));
    }
    field.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_quoted_where_they_must_be_and_formulas_are_disarmed() {
        for (field, written) in [
            ("plain", "plain"),
            ("", ""),
            ("a,b", "\"a,b\""),
            ("say \"x\"", "\"say \"\"x\"\"\""),
            ("two\nlines", "\"two\nlines\""),
            ("=HYPERLINK(\"x\")", "\"'=HYPERLINK(\"\"x\"\")\""),
            ("@sum", "\"'@sum\""),
            ("-1", "\"'-1\""),
        ] {
            assert_eq!(quoted(field), written);
        }
    }
}
