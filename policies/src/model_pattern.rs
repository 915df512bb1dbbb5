//! Which models a limit or a budget is about.

use std::sync::Arc;

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
}
