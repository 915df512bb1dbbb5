//! A configuration file to start from: every setting with its meaning and its default, commented out.

use std::io::{self, Write};

use super::settings::KEYS;

/// A comment line is about as wide as this.
const WIDTH: usize = 100;

/// Prints the file.
pub(crate) fn print(out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "# Configuration of MindWeave. Every line shows a default: uncomment what you change.")?;
    let mut section = "";
    for key in KEYS {
        let (in_section, name) = key.name.rsplit_once('.').unwrap_or(("", key.name));
        writeln!(out)?;
        if in_section != section {
            section = in_section;
            writeln!(out, "[{section}]")?;
        }
        for line in wrapped(&format!("{} It is {}.", key.meaning.trim(), (key.allowed)())) {
            writeln!(out, "# {line}")?;
        }
        writeln!(out, "#{name} = {}", literal(key.default))?;
    }
    Ok(())
}

/// Numbers stand bare, everything else is text.
fn literal(default: &str) -> String {
    if default.parse::<u64>().is_ok() { default.to_owned() } else { format!("\"{default}\"") }
}

fn wrapped(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + word.len() < WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Environment};

    #[test]
    fn the_template_is_valid_with_every_default_uncommented() {
        let mut template = Vec::new();
        print(&mut template).unwrap();
        let template = String::from_utf8(template).unwrap();
        let uncommented: Vec<String> = template
            .lines()
            .map(|line| match line.strip_prefix('#') {
                Some(setting) if !setting.starts_with(' ') && !setting.ends_with("\"\"") => {
                    setting.to_owned()
                }
                _ => line.to_owned(),
            })
            .collect();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("mindweave.toml");
        std::fs::write(&file, uncommented.join("\n")).unwrap();
        let config =
            Config::load(Some(&file), &Environment::default()).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(format!("{config:?}"), format!("{:?}", Config::defaults().unwrap()));
        assert!(
            uncommented.iter().filter(|line| line.contains(" = ") && !line.starts_with('#')).count() >= 25
        );
    }
}
