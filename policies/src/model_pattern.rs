//! Which models a limit or a budget is about.

use std::sync::Arc;

use mindweave_metering::{MAX_DISTINCT_VALUES, RequestFacts};
use serde::{Deserialize, Serialize};

/// The digits of a snapshot date behind an alias: `claude-sonnet-4-5` is served as `claude-sonnet-4-5-20250929`.
const DATE_DIGITS: usize = 8;

/// A model id; with `*` at its end, every id that starts with the rest. An alias also covers its dated snapshots.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ModelPattern(Arc<str>);

impl ModelPattern {
    /// Wraps a pattern.
    pub fn new(pattern: impl Into<Arc<str>>) -> Self {
        Self(pattern.into())
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this model is one of them.
    pub fn covers(&self, model: &str) -> bool {
        if let Some(start) = self.0.strip_suffix('*') {
            return model.starts_with(start);
        }
        let Some(rest) = model.strip_prefix(&*self.0) else { return false };
        let date = rest.strip_prefix('-');
        rest.is_empty()
            || date.is_some_and(|date| {
                date.len() == DATE_DIGITS && date.bytes().all(|byte| byte.is_ascii_digit())
            })
    }

    /// Whether any of these patterns covers the model. No patterns cover every model, and requests without one.
    pub fn any_covers(patterns: &[Self], model: Option<&str>) -> bool {
        patterns.is_empty() || model.is_some_and(|model| patterns.iter().any(|pattern| pattern.covers(model)))
    }
}

/// The models that a request may use: the one it names, and those of its batch items, fallbacks and advisors.
#[derive(Clone, Copy, Debug, Default)]
pub struct AskedModels<'a> {
    named: Option<&'a str>,
    listed: &'a [Arc<str>],
    any: bool,
}

impl<'a> AskedModels<'a> {
    /// Those of a request body. Where the API may choose, or more are asked for than are listed, it is any model.
    pub fn of(facts: &'a RequestFacts) -> Self {
        let any = facts.has_default_fallback || facts.models.len() >= MAX_DISTINCT_VALUES;
        Self { named: facts.model.as_deref(), listed: &facts.models, any }
    }

    /// One model, or none.
    pub fn one(model: Option<&'a str>) -> Self {
        Self { named: model, ..Self::default() }
    }

    /// The model that the request is for, where there is one.
    pub fn named(self) -> Option<&'a str> {
        self.named
    }

    /// Whether these patterns cover any of them. No patterns cover every request.
    pub fn any_covered_by(self, patterns: &[ModelPattern]) -> bool {
        ModelPattern::any_covers(patterns, self.named)
            || self.any
            || self.listed.iter().any(|model| ModelPattern::any_covers(patterns, Some(model)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_covers_its_dated_snapshots_and_a_star_every_end() {
        for (pattern, model, covered) in [
            ("claude-sonnet-4-5", "claude-sonnet-4-5", true),
            ("claude-sonnet-4-5", "claude-sonnet-4-5-20250929", true),
            ("claude-sonnet-4", "claude-sonnet-4-5", false),
            ("claude-sonnet-4-5-20250929", "claude-sonnet-4-5", false),
            ("claude-opus-*", "claude-opus-4-1-20250805", true),
            ("claude-opus-*", "claude-sonnet-4-5", false),
            ("*", "anything", true),
        ] {
            assert_eq!(ModelPattern::new(pattern).covers(model), covered, "{pattern} {model}");
        }
        assert!(ModelPattern::any_covers(&[], None));
        assert!(!ModelPattern::any_covers(&[ModelPattern::new("*")], None));
    }

    #[test]
    fn a_request_asks_for_every_model_that_may_serve_it() {
        let opus = [ModelPattern::new("claude-opus-*")];
        let facts = |models: &[&str], any| RequestFacts {
            model: models.first().map(|model| Arc::from(*model)),
            models: models.iter().map(|model| Arc::from(*model)).collect(),
            has_default_fallback: any,
            ..RequestFacts::default()
        };
        for (models, any, covered) in [
            (&["claude-opus-4-1"][..], false, true),
            (&["claude-haiku-4-5"], false, false),
            (&["claude-haiku-4-5", "claude-opus-4-1"], false, true),
            (&["claude-haiku-4-5"], true, true),
            (&[], false, false),
        ] {
            let facts = facts(models, any);
            assert_eq!(AskedModels::of(&facts).any_covered_by(&opus), covered, "{models:?} {any}");
            assert!(AskedModels::of(&facts).any_covered_by(&[]));
        }
        let many: Vec<String> = (0..MAX_DISTINCT_VALUES).map(|number| format!("model-{number}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(AskedModels::of(&facts(&many, false)).any_covered_by(&opus), "the list may be cut");
    }
}
