//! Values that all bodies of a batch have in common, and lists of what any of them has.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;

use super::facts::MAX_DISTINCT_VALUES;

/// The different values of one fact over all bodies.
#[derive(Debug, Default)]
pub(super) struct Distinct {
    values: Vec<Arc<str>>,
    /// What the bodies themselves say, while they agree.
    common: Option<Arc<str>>,
    disagreed: bool,
    /// How many bodies have the fact.
    present: u64,
    overflowed: bool,
}

impl Distinct {
    /// A body says this.
    pub(super) fn add(&mut self, value: &str) {
        self.present += 1;
        let value = self.list(value);
        match &self.common {
            None => self.common = Some(value),
            Some(common) => self.disagreed |= *common != value,
        }
    }

    /// A body says this about a part of the work.
    pub(super) fn note(&mut self, value: &str) {
        self.list(value);
    }

    /// Lists a value once.
    fn list(&mut self, value: &str) -> Arc<str> {
        if let Some(known) = self.values.iter().find(|known| ***known == *value) {
            return Arc::clone(known);
        }
        let value = Arc::from(value);
        if self.values.len() < MAX_DISTINCT_VALUES {
            self.values.push(Arc::clone(&value));
        } else {
            self.overflowed = true;
        }
        value
    }

    /// The value that each of so many bodies has.
    pub(super) fn agreed(&self, bodies: u64) -> Option<Arc<str>> {
        let all = self.present == bodies && !self.disagreed;
        if all { self.common.clone() } else { None }
    }

    pub(super) fn overflowed(&self) -> bool {
        self.overflowed
    }

    pub(super) fn into_values(self) -> Vec<Arc<str>> {
        self.values
    }
}

/// A bounded list in the order of the body.
#[derive(Debug)]
pub(super) struct Listed<T> {
    values: Vec<T>,
    known: Option<HashSet<T>>,
    limit: usize,
    overflowed: bool,
}

impl<T: Clone + Eq + Hash> Listed<T> {
    /// A list of at most `limit` values, each `once` if the bodies repeat each other.
    pub(super) fn new(once: bool, limit: usize) -> Self {
        Self { values: Vec::new(), known: once.then(HashSet::new), limit, overflowed: false }
    }

    pub(super) fn add(&mut self, value: T) {
        if self.known.as_ref().is_some_and(|known| known.contains(&value)) {
            return;
        }
        if self.values.len() >= self.limit {
            self.overflowed = true;
            return;
        }
        if let Some(known) = &mut self.known {
            known.insert(value.clone());
        }
        self.values.push(value);
    }

    pub(super) fn overflowed(&self) -> bool {
        self.overflowed
    }

    pub(super) fn into_values(self) -> Vec<T> {
        self.values
    }
}
