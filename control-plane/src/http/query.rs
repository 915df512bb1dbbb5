//! Reads query parameters one by one: unknown, repeated and unreadable ones are refused by name.

use std::num::NonZeroU64;

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use jiff::Timestamp;

use super::problem::{Code, Fault, Problem};
use super::{DEFAULT_PAGE, MAX_PAGE};

/// Most parameters of one request: more than any endpoint has.
const MAX_PARAMETERS: usize = 32;

/// The parameters of a query. Every accessor takes its parameter out; [`Self::finish`] refuses what is left.
#[derive(Debug)]
pub(crate) struct Parameters {
    given: Vec<(String, String)>,
    known: Vec<&'static str>,
    faults: Vec<Fault>,
}

impl<S: Send + Sync> FromRequestParts<S> for Parameters {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let unreadable = |_| Problem::new(Code::InvalidParameter, "the query is not percent-encoded UTF-8");
        let Query(given) = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri).map_err(unreadable)?;
        if given.len() > MAX_PARAMETERS {
            return Err(Problem::new(Code::InvalidParameter, "the query has too many parameters"));
        }
        Ok(Self { given, known: Vec::new(), faults: Vec::new() })
    }
}

impl Parameters {
    /// A text, if given. An empty one is the same as absent, so that scripts may write `model=$MODEL`.
    pub(crate) fn text(&mut self, name: &'static str) -> Option<String> {
        self.known.push(name);
        let mut found = self.given.extract_if(.., |(given, _)| given == name).map(|(_, value)| value);
        let first = found.next();
        let repeated = found.count() > 0; // runs the extraction to its end, so that no repetition stays behind
        if repeated {
            self.refuse(name, "is given more than once");
        }
        first.filter(|value| !value.is_empty())
    }

    /// An RFC 3339 time. A blank stands for the `+` of an offset: that is what an unescaped `+` decodes to.
    pub(crate) fn time(&mut self, name: &'static str) -> Option<Timestamp> {
        let text = self.text(name)?;
        let time = text.parse().or_else(|_| text.replace(' ', "+").parse()).ok();
        if time.is_none() {
            self.refuse(name, "must be an RFC 3339 time, for example 2027-01-31T18:00:00Z");
        }
        time
    }

    /// One of the given words; the first is the default.
    pub(crate) fn choice<T: Copy>(&mut self, name: &'static str, choices: &[(&str, T)], default: T) -> T {
        let Some(text) = self.text(name) else { return default };
        if let Some((_, value)) = choices.iter().find(|(word, _)| *word == text) {
            return *value;
        }
        let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
        self.refuse(name, &format!("must be one of: {}", words.join(", ")));
        default
    }

    /// The size of a page.
    pub(crate) fn limit(&mut self) -> u64 {
        let Some(text) = self.text("limit") else { return DEFAULT_PAGE };
        match text.parse::<NonZeroU64>() {
            Ok(limit) if limit.get() <= MAX_PAGE => limit.get(),
            _ => {
                self.refuse("limit", &format!("must be a number from 1 to {MAX_PAGE}"));
                DEFAULT_PAGE
            }
        }
    }

    /// Adds a refusal.
    pub(crate) fn refuse(&mut self, name: &str, message: &str) {
        self.faults.push(Fault::new(name, message));
    }

    /// Fails when any parameter was refused or is not known here.
    pub(crate) fn finish(mut self) -> Result<(), Problem> {
        let message = match self.known.as_slice() {
            [] => "is not a parameter of this request; it has none".to_owned(),
            known => format!("is not a parameter of this request; it has: {}", known.join(", ")),
        };
        for (name, _) in std::mem::take(&mut self.given) {
            self.refuse(&name, &message);
        }
        if self.faults.is_empty() {
            Ok(())
        } else {
            Err(Problem::faults(Code::InvalidParameter, self.faults))
        }
    }
}
