//! The decision cache.
//!
//! A key is a hash of exactly the values that a policy can read, so that an entry is never wrong, only forgotten. Hashes
//! are 128 bits under keys that nobody outside the process knows: whoever chooses the values of requests cannot
//! construct two that meet. Entries live as long as the policies they came from: other policies have another cache.
//!
//! Memory is bounded by weight, in two generations: when the young one is full it becomes the old one, and what was old
//! and not asked for since is dropped. Keys that hold the time age out of it by themselves.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use parking_lot::Mutex;

/// Parts with a lock each. So many because a generation is dropped at once, by the request that fills the next: a part must be
/// small enough for that to take microseconds (16 parts made it half a millisecond).
const SHARDS: usize = 256;

/// What an entry weighs besides its texts, in bytes: key, pointers, the map's own room.
const ENTRY_WEIGHT: usize = 96;

/// A key's hash.
pub(crate) type Key = (u64, u64);

/// A bounded map from inputs to what was decided.
#[derive(Debug)]
pub(crate) struct Cache<V> {
    hashers: (RandomState, RandomState),
    shards: [Mutex<Shard<V>>; SHARDS],
    /// What one generation of one shard may weigh.
    max_weight: usize,
}

#[derive(Debug)]
struct Shard<V> {
    young: HashMap<Key, V>,
    old: HashMap<Key, V>,
    weight: usize,
}

impl<V> Default for Shard<V> {
    fn default() -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), weight: 0 }
    }
}

impl<V: Clone + Weigh> Cache<V> {
    /// A cache that holds so many bytes.
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self {
            hashers: (RandomState::new(), RandomState::new()),
            shards: std::array::from_fn(|_| Mutex::default()),
            max_weight: bytes / SHARDS / 2,
        }
    }

    /// The hash of an input.
    pub(crate) fn key(&self, input: &[u8]) -> Key {
        (self.hashers.0.hash_one(input), self.hashers.1.hash_one(input))
    }

    /// What was decided, if it is still known.
    pub(crate) fn get(&self, key: Key) -> Option<V> {
        let mut shard = self.shard(key)?.lock();
        if let Some(value) = shard.young.get(&key) {
            return Some(value.clone());
        }
        let value = shard.old.remove(&key)?;
        self.put(&mut shard, key, value.clone());
        Some(value)
    }

    /// Remembers a decision.
    pub(crate) fn insert(&self, key: Key, value: V) {
        if let Some(shard) = self.shard(key) {
            self.put(&mut shard.lock(), key, value);
        }
    }

    fn put(&self, shard: &mut Shard<V>, key: Key, value: V) {
        let weight = value.weight().saturating_add(ENTRY_WEIGHT);
        if shard.weight.saturating_add(weight) > self.max_weight {
            shard.old = std::mem::take(&mut shard.young);
            shard.weight = 0;
        }
        if weight <= self.max_weight && shard.young.insert(key, value).is_none() {
            shard.weight = shard.weight.saturating_add(weight);
        }
    }

    fn shard(&self, key: Key) -> Option<&Mutex<Shard<V>>> {
        let [first, ..] = key.0.to_le_bytes();
        self.shards.get(usize::from(first) % SHARDS)
    }

    /// How many entries there are, of both generations.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock()).map(|shard| shard.young.len() + shard.old.len()).sum()
    }
}

/// What a value takes besides its own entry.
pub(crate) trait Weigh {
    /// In bytes.
    fn weight(&self) -> usize;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, PartialEq)]
    struct Text(String);

    impl Weigh for Text {
        fn weight(&self) -> usize {
            self.0.len()
        }
    }

    #[test]
    fn a_million_distinct_inputs_take_no_more_than_the_capacity() {
        let cache = Cache::with_capacity(1 << 20);
        for number in 0..1_000_000_u64 {
            cache.insert(cache.key(&number.to_le_bytes()), Text("x".repeat(50)));
        }
        assert!(cache.len() * (ENTRY_WEIGHT + 50) <= 1 << 20, "{} entries", cache.len());
        assert!(cache.len() > 2_000, "{} entries", cache.len());
    }

    #[test]
    fn what_is_asked_for_stays_while_new_inputs_come_and_go() {
        let cache = Cache::with_capacity(1 << 18);
        let hot = cache.key(b"hot");
        cache.insert(hot, Text("hot".into()));
        for number in 0..100_000_u64 {
            cache.insert(cache.key(&number.to_le_bytes()), Text("cold".into()));
            assert_eq!(cache.get(hot), Some(Text("hot".into())), "after {number} others");
        }
    }

    #[test]
    fn a_value_larger_than_the_capacity_is_not_kept() {
        let cache = Cache::with_capacity(1 << 12);
        let key = cache.key(b"large");
        cache.insert(key, Text("x".repeat(1 << 13)));
        assert_eq!(cache.get(key), None);
    }
}
