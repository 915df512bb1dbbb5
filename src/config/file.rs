//! `mindweave.toml` as dotted keys with their lines.

use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::fault::{Fault, Place};
use super::{Given, Values};

/// A configuration file is a page of text; whatever is bigger is another file.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Reads the file. What cannot be read or understood becomes faults, and the values then count as not given.
pub(super) fn read(path: &Path, faults: &mut Vec<Fault>) -> Values {
    let text = match load(path) {
        Ok(text) => text,
        Err(problem) => {
            faults.push(Fault::at(None, format!("cannot read {}: {problem}", path.display())));
            return Values::new();
        }
    };
    let (document, errors) = DeTable::parse_recoverable(&text);
    let mut values = Values::new();
    for error in &errors {
        let place = error.span().map(|span| line_at(path, &text, span.start));
        faults.push(Fault::at(place, error.message().to_owned()));
    }
    if errors.is_empty() {
        flatten("", document.get_ref(), &|offset| line_at(path, &text, offset), &mut values);
    }
    values
}

fn load(path: &Path) -> Result<String, String> {
    let size = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if size > MAX_FILE_BYTES {
        return Err(format!("it has {size} bytes, more than a configuration can have ({MAX_FILE_BYTES})"));
    }
    std::fs::read_to_string(path).map_err(|error| error.to_string())
}

/// Puts every leaf under its dotted name. The parser bounds the nesting.
fn flatten(prefix: &str, table: &DeTable<'_>, place: &dyn Fn(usize) -> Place, values: &mut Values) {
    for (key, value) in table {
        let name =
            if prefix.is_empty() { key.get_ref().to_string() } else { format!("{prefix}.{}", key.get_ref()) };
        let value = match value.get_ref() {
            DeValue::Table(inner) if !inner.is_empty() => {
                flatten(&name, inner, place, values);
                continue;
            }
            DeValue::Table(_) if is_section(&name) => continue, // an empty `[proxy]` sets nothing
            DeValue::String(text) => Ok(text.to_string()),
            DeValue::Integer(number) if number.radix() == 10 => Ok(number.as_str().to_owned()),
            other @ (DeValue::Table(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_)) => Err(other.type_str()),
        };
        values.insert(name, Given { value, place: place(key.span().start) });
    }
}

fn is_section(name: &str) -> bool {
    let section = format!("{name}.");
    super::KEYS.iter().any(|key| key.name.starts_with(&section))
}

fn line_at(path: &Path, text: &str, offset: usize) -> Place {
    let before = text.as_bytes().iter().take(offset);
    Place::Line { file: path.to_path_buf(), line: 1 + before.filter(|byte| **byte == b'\n').count() }
}
