//! What the API answers, for people: tables of lists, the fields of single things. For programs it is printed as it came.

use std::io::{self, Write};

use serde_json::Value;

use crate::table::{Align, Table, count};

/// How a field is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// As it is; the entries of a list with commas, an object as JSON.
    Plain,
    /// The day of a time.
    Day,
    /// A time to the second.
    Moment,
    /// The last characters of a secret.
    Hint,
    /// A number with its thousands apart.
    Count,
}

/// A column of a table, or a line about a single thing: its title, where it is in the answer (`state.used`), how it is shown.
pub(crate) type Column = (&'static str, &'static str, Kind);

/// Prints a list.
///
/// # Errors
/// When the terminal fails.
pub(crate) fn list(
    entries: Vec<Value>,
    columns: &[Column],
    json: bool,
    out: &mut impl Write,
) -> io::Result<()> {
    if json {
        return writeln!(out, "{}", Value::from(entries));
    }
    let align = |kind: &Kind| if *kind == Kind::Count { Align::Right } else { Align::Left };
    let mut table = Table::new(columns.iter().map(|(title, _, kind)| (*title, align(kind))));
    for entry in &entries {
        table.row(columns.iter().map(|(_, path, kind)| cell(entry, path, *kind)).collect());
    }
    table.print(out)
}

/// Prints a single thing, a field a line; those that it has not are left out.
///
/// # Errors
/// When the terminal fails.
pub(crate) fn one(entry: &Value, columns: &[Column], json: bool, out: &mut impl Write) -> io::Result<()> {
    if json {
        return writeln!(out, "{entry}");
    }
    let lines: Vec<(String, String)> = (columns.iter())
        .map(|(title, path, kind)| (title.to_lowercase(), cell(entry, path, *kind)))
        .filter(|(_, shown)| !shown.is_empty())
        .collect();
    let width = lines.iter().map(|(title, _)| title.chars().count()).max().unwrap_or_default();
    lines.iter().try_for_each(|(title, shown)| writeln!(out, "{title:<width$}  {shown}"))
}

/// A field as people read it; empty when it is not there.
fn cell(entry: &Value, path: &str, kind: Kind) -> String {
    let found = path.split('.').try_fold(entry, |value, field| value.get(field));
    let plain = match found {
        None | Some(Value::Null) => return String::new(),
        Some(value) => plain(value),
    };
    match kind {
        Kind::Plain => plain,
        Kind::Day => plain.split('T').next().unwrap_or_default().to_owned(),
        Kind::Moment => plain.split('.').next().unwrap_or_default().trim_end_matches('Z').replace('T', " "),
        Kind::Hint if plain.is_empty() => "none".to_owned(),
        Kind::Hint => format!("..{plain}"),
        Kind::Count => plain.parse().map_or(plain, count),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(entries) => entries.iter().map(plain).collect::<Vec<_>>().join(","),
        Value::Object(object) => object
            .iter()
            .map(|(name, value)| format!("{name}={}", plain(value)))
            .collect::<Vec<_>>()
            .join(","),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fields_are_shown_as_people_read_them_and_missing_ones_not_at_all() {
        let entry = json!({
            "name": "checkout", "upstream": {"hint": "wxyz"}, "created_at": "2026-11-21T08:09:10.123456Z",
            "labels": {"team": "red"}, "roles": ["a", "b"], "requests": 1_234_567, "deleted_at": null,
        });
        let columns: [Column; 7] = [
            ("NAME", "name", Kind::Plain),
            ("KEY", "upstream.hint", Kind::Hint),
            ("CREATED", "created_at", Kind::Moment),
            ("LABELS", "labels", Kind::Plain),
            ("ROLES", "roles", Kind::Plain),
            ("REQUESTS", "requests", Kind::Count),
            ("DELETED", "deleted_at", Kind::Day),
        ];
        let mut out = Vec::new();
        one(&entry, &columns, false, &mut out).unwrap();
        let expected = "\
name      checkout
key       ..wxyz
created   2026-11-21 08:09:10
labels    team=red
roles     a,b
requests  1,234,567
";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
