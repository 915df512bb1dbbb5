//! Token counts, kept apart by kind as Claude reports and bills them.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

/// The kinds of token that have a price of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenKind {
    /// Prompt tokens neither read from nor written to the cache.
    Input,
    /// Generated tokens, thinking included.
    Output,
    /// Prompt tokens served from the cache.
    CacheRead,
    /// Prompt tokens written to the five-minute cache.
    #[serde(rename = "cache_write_5m")]
    CacheWrite5m,
    /// Prompt tokens written to the one-hour cache.
    #[serde(rename = "cache_write_1h")]
    CacheWrite1h,
}

impl TokenKind {
    /// Every kind, in the order in which buckets are listed.
    pub const ALL: [Self; 5] =
        [Self::Input, Self::Output, Self::CacheRead, Self::CacheWrite5m, Self::CacheWrite1h];
}

/// How many tokens of each kind. Claude's `input` excludes cached tokens: the kinds never overlap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenCounts {
    /// See [`TokenKind::Input`].
    pub input: u64,
    /// See [`TokenKind::Output`].
    pub output: u64,
    /// See [`TokenKind::CacheRead`].
    pub cache_read: u64,
    /// See [`TokenKind::CacheWrite5m`].
    pub cache_write_5m: u64,
    /// See [`TokenKind::CacheWrite1h`].
    pub cache_write_1h: u64,
}

impl TokenCounts {
    /// The count of one kind.
    pub fn of(&self, kind: TokenKind) -> u64 {
        match kind {
            TokenKind::Input => self.input,
            TokenKind::Output => self.output,
            TokenKind::CacheRead => self.cache_read,
            TokenKind::CacheWrite5m => self.cache_write_5m,
            TokenKind::CacheWrite1h => self.cache_write_1h,
        }
    }

    /// The size of the prompt: everything but output. Price tiers and context limits go by it.
    pub fn prompt(&self) -> u64 {
        self.input
            .saturating_add(self.cache_read)
            .saturating_add(self.cache_write_5m)
            .saturating_add(self.cache_write_1h)
    }

    /// Whether nothing was counted at all.
    pub fn is_zero(&self) -> bool {
        *self == Self::default()
    }
}

impl AddAssign for TokenCounts {
    /// Adds kind by kind. Saturates: counts come from outside and must not wrap.
    fn add_assign(&mut self, other: Self) {
        self.input = self.input.saturating_add(other.input);
        self.output = self.output.saturating_add(other.output);
        self.cache_read = self.cache_read.saturating_add(other.cache_read);
        self.cache_write_5m = self.cache_write_5m.saturating_add(other.cache_write_5m);
        self.cache_write_1h = self.cache_write_1h.saturating_add(other.cache_write_1h);
    }
}
