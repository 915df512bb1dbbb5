//! What all connections of a simulator share.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::HeaderMap;
use http::request::Parts;
use parking_lot::Mutex;

use crate::answer::{Answer, Delivery, Payload};
use crate::config::{ResultsOrigin, Seed};
use crate::dice::Dice;
use crate::endpoint::{BatchStore, FileStore};
use crate::request_log::RequestLog;
use crate::steering::{Steering, SteeringError};

/// The steering header.
pub(crate) const STEERING_HEADER: &str = "x-simulate";
/// Most answers, and bytes of answers, that are kept ready. Reaching either empties the cache.
const MAX_CACHED_ANSWERS: usize = 1_024;
const MAX_CACHED_BYTES: usize = 64 << 20;

/// Shared by all connections.
pub(crate) struct State {
    pub(crate) defaults: Steering,
    pub(crate) seed: Seed,
    pub(crate) accepted_keys: Vec<String>,
    pub(crate) results_origin: ResultsOrigin,
    pub(crate) own_origin: String,
    pub(crate) log: Arc<RequestLog>,
    pub(crate) files: FileStore,
    pub(crate) batches: BatchStore,
    pub(crate) counter: AtomicU64,
    pub(crate) cache: AnswerCache,
}

impl State {
    /// The steering of one request: the defaults with every `x-simulate` line on top.
    pub(crate) fn steering(&self, headers: &HeaderMap) -> Result<Steering, SteeringError> {
        let mut steering = self.defaults.clone();
        for line in headers.get_all(STEERING_HEADER) {
            steering = steering.with(line.to_str().map_err(|_| SteeringError::NotText)?)?;
        }
        Ok(steering)
    }

    /// The seed of one answer: fixed by the request's bytes, or different every time.
    ///
    /// The steering is left out: an answer says the same however it is encoded, paced or cut.
    pub(crate) fn seed_for(&self, steering: &Steering, parts: &Parts, digest: &[u8; 32]) -> u64 {
        let fixed = match (steering.seed, self.seed) {
            (Some(seed), _) | (None, Seed::Fixed(seed)) => seed,
            (None, Seed::PerRequest) => self.counter.fetch_add(1, Ordering::Relaxed),
        };
        let target = parts.uri.path_and_query().map_or("", http::uri::PathAndQuery::as_str);
        let bytes = parts.method.as_str().bytes().chain(target.bytes());
        // FNV-1a: short inputs, no adversary.
        let mixed = bytes.chain(digest.iter().copied()).fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Dice::new(fixed ^ mixed).next()
    }

    /// Whether repeated requests get repeated answers.
    pub(crate) fn is_repeatable(&self) -> bool {
        matches!(self.seed, Seed::Fixed(_))
    }
}

/// Everything that decides an answer to a Messages request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct AnswerKey {
    target: Bytes,
    heads: Bytes,
    digest: [u8; 32],
}

impl AnswerKey {
    pub(crate) fn of(parts: &Parts, digest: [u8; 32]) -> Self {
        let mut heads = Vec::with_capacity(128);
        for name in [STEERING_HEADER, "accept-encoding", "anthropic-version", "content-encoding"] {
            for value in parts.headers.get_all(name) {
                heads.extend_from_slice(value.as_bytes());
                heads.push(b'\n');
            }
            heads.push(b'\0');
        }
        let target = parts.uri.path_and_query().map_or("", http::uri::PathAndQuery::as_str);
        Self { target: Bytes::copy_from_slice(target.as_bytes()), heads: heads.into(), digest }
    }
}

/// Answers that were given before: a benchmark asks for the same one over and over.
#[derive(Default)]
pub(crate) struct AnswerCache(Mutex<Cached>);

#[derive(Default)]
struct Cached {
    answers: HashMap<AnswerKey, Arc<CachedAnswer>>,
    bytes: usize,
}

struct CachedAnswer {
    status: http::StatusCode,
    headers: HeaderMap,
    pieces: Arc<[Bytes]>,
    delivery: Delivery,
}

impl AnswerCache {
    pub(crate) fn get(&self, key: &AnswerKey) -> Option<Answer> {
        let hit = self.0.lock().answers.get(key).cloned()?;
        Some(Answer {
            status: hit.status,
            headers: hit.headers.clone(),
            payload: Payload::Ready(Arc::clone(&hit.pieces)),
            delivery: hit.delivery,
        })
    }

    pub(crate) fn put(&self, key: AnswerKey, answer: &Answer) {
        let Payload::Ready(pieces) = &answer.payload else { return };
        let bytes: usize = pieces.iter().map(Bytes::len).sum();
        if bytes > MAX_CACHED_BYTES / 4 {
            return; // one huge answer would push out everything else
        }
        let kept = CachedAnswer {
            status: answer.status,
            headers: answer.headers.clone(),
            pieces: Arc::clone(pieces),
            delivery: answer.delivery,
        };
        let mut cached = self.0.lock();
        if cached.answers.len() >= MAX_CACHED_ANSWERS || cached.bytes.saturating_add(bytes) > MAX_CACHED_BYTES
        {
            cached.answers.clear();
            cached.bytes = 0;
        }
        cached.bytes = cached.bytes.saturating_add(bytes);
        cached.answers.insert(key, Arc::new(kept));
    }
}
