//! What can be wrong with a configuration, in words that say how to mend it.

use std::fmt;
use std::path::PathBuf;

use super::environment::variable_of;
use super::settings::KEYS;

/// A fault's text quotes at most this much of a value: enough to recognise it, no page of it.
const MAX_QUOTED_CHARS: usize = 60;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A line of the configuration file, from 1.
    Line {
        /// The file.
        file: PathBuf,
        /// The line.
        line: usize,
    },
    /// An environment variable.
    Variable(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line { file, line } => write!(f, "{}:{line}", file.display()),
            Self::Variable(name) => write!(f, "environment variable {name}"),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Where, unless several places together make the fault.
    place: Option<Place>,
    problem: String,
}

impl Fault {
    /// Something about a place as such, for example a file that cannot be read.
    pub(crate) fn at(place: Option<Place>, problem: String) -> Self {
        Self { place, problem }
    }

    /// A key that does not exist.
    pub(super) fn unknown_key(name: &str, place: Place) -> Self {
        let hint = nearest(name, KEYS.iter().map(|key| key.name));
        let problem = match hint {
            Some(known) => format!("unknown key `{name}`; did you mean `{known}`?"),
            None => format!("unknown key `{name}`; docs/configuration.md lists the known ones"),
        };
        Self { place: Some(place), problem }
    }

    /// A variable in our name space that does not exist.
    pub(super) fn unknown_variable(name: &str) -> Self {
        let known: Vec<String> = KEYS.iter().map(|key| variable_of(key.name)).collect();
        let problem = match nearest(name, known.iter().map(String::as_str)) {
            Some(known) => format!("no such setting; did you mean `{known}`?"),
            None => "no such setting; docs/configuration.md lists the known ones".to_owned(),
        };
        Self { place: Some(Place::Variable(name.to_owned())), problem }
    }

    /// A section that was given a value.
    pub(super) fn section(name: &str, place: Place) -> Self {
        Self { place: Some(place), problem: format!("`{name}` is a section and has no value of its own") }
    }

    /// A value that a key does not allow.
    pub(super) fn value(
        key: &str,
        given: &Result<String, &'static str>,
        allowed: &str,
        place: Place,
    ) -> Self {
        let found = match given {
            Ok(text) => quoted(text),
            Err(kind) => format!("of type {kind}"),
        };
        Self { place: Some(place), problem: format!("`{key}` is {found}, but must be {allowed}") }
    }

    /// A key that contradicts another one.
    pub(super) fn together(key: &str, problem: &str) -> Self {
        Self { place: None, problem: format!("`{key}` {problem}") }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "{place}: {}", self.problem),
            None => f.write_str(&self.problem),
        }
    }
}

/// Every fault of a configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) struct ConfigError {
    pub(super) faults: Vec<Fault>,
}

impl ConfigError {
    /// The faults, in the order in which they were found.
    pub(crate) fn faults(&self) -> &[Fault] {
        &self.faults
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.faults.len();
        write!(f, "the configuration has {count} {}", if count == 1 { "fault" } else { "faults" })?;
        for fault in &self.faults {
            write!(f, "\n  {fault}")?;
        }
        Ok(())
    }
}

/// The known name that was probably meant: the same last part, or at most a third of the letters different.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let last_part = |text: &str| text.rsplit('.').next().map(str::to_owned);
    let (distance, best) = known
        .map(|candidate| {
            let same_part = candidate.contains('.') && last_part(candidate) == last_part(name);
            let distance = strsim::damerau_levenshtein(name, candidate);
            (if same_part { distance.min(1) } else { distance }, candidate)
        })
        .min_by_key(|(distance, _)| *distance)?;
    (distance <= (name.chars().count() / 3).max(1)).then_some(best)
}

/// A value in quotes, shortened. One that may hold a password, as URLs with `@` do, is not repeated at all.
fn quoted(text: &str) -> String {
    if text.contains('@') {
        return "set".to_owned();
    }
    let mut shown: String = text.chars().take(MAX_QUOTED_CHARS).collect();
    if shown.len() < text.len() {
        shown.push_str("..");
    }
    format!("\"{shown}\"")
}
