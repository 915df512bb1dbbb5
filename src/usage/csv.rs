//! CSV as RFC 4180 has it.

use std::io::{self, Write};

/// Writes one record.
pub(super) fn record<T: AsRef<str>>(
    fields: impl IntoIterator<Item = T>,
    out: &mut impl Write,
) -> io::Result<()> {
    let fields: Vec<String> = fields.into_iter().map(|field| quoted(field.as_ref())).collect();
    writeln!(out, "{}", fields.join(","))
}

/// A field, in quotes where a comma, a quote or a line end would otherwise break the record.
fn quoted(field: &str) -> String {
    if field.contains([',', '"', '\n', '\r']) {
        return format!("\"{}\"", field.replace('"', "\"\""));
    }
    field.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_with_separators_are_quoted() {
        let mut out = Vec::new();
        record(["plain", "a,b", "say \"hi\"", ""], &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "plain,\"a,b\",\"say \"\"hi\"\"\",\n");
    }
}
