//! The tokens that proxies may have, as they were last read of the database.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use mindweave_policy::{Fingerprint, Secret};
use parking_lot::Mutex;
use ring::hmac;
use tokio::sync::watch;
use tokio::time::Instant;

use super::scope::Scope;
use super::store::{self, Live};
use crate::db::{Db, StoreError};
use crate::entropy::{self, NoEntropy};
use crate::http::problem::chain;
use crate::{clock, metrics};

/// The task that reads tokens, as metrics name it.
pub(crate) const REFRESH_TASK: &str = "proxy_tokens";
/// How often tokens are read. Half of the second within which one that was revoked elsewhere must be refused here.
pub(crate) const REFRESH_PERIOD: Duration = Duration::from_millis(500);
/// A token that is not among those that were read is refused for good only if they were read less than this long ago. Else the
/// database is away, and the token may be a new one.
const STALE_AFTER: Duration = Duration::from_secs(5);
/// How often uses are noted in the database. Each time is a write, for which everybody else waits.
const NOTE_PERIOD: Duration = Duration::from_secs(60);

/// Stands for a token: its fingerprint under a key of this process. How long a look-up takes tells of nothing that anybody
/// outside could aim at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Tag([u8; 32]);

/// What a token allows, and to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Allowed {
    /// `None` for the token that the control plane was started with.
    pub(super) id: Option<String>,
    pub(super) scopes: Vec<Scope>,
    pub(super) certificate_name: Option<String>,
    expires_at: Option<Timestamp>,
}

/// What was read.
#[derive(Debug)]
pub(super) struct Known {
    by_tag: HashMap<Tag, Arc<Allowed>>,
    read_at: Instant,
}

impl Known {
    /// What this token allows now.
    pub(super) fn allowed(&self, tag: Tag) -> Option<Arc<Allowed>> {
        let allowed = self.by_tag.get(&tag)?;
        let expired = allowed.expires_at.is_some_and(|at| at <= clock::now());
        (!expired).then(|| Arc::clone(allowed))
    }

    pub(super) fn is_stale(&self) -> bool {
        self.read_at.elapsed() > STALE_AFTER
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_tag.is_empty()
    }
}

/// The tokens. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Tokens(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    db: Db,
    key: hmac::Key,
    bootstrap: Option<Tag>,
    known: watch::Sender<Arc<Known>>,
    /// One reading at a time, so that an old one never replaces a newer one. Whether the last one failed, for the log.
    reading: tokio::sync::Mutex<bool>,
    uses: Mutex<Uses>,
}

#[derive(Debug)]
struct Uses {
    /// By token, its last use that is not yet noted.
    last: HashMap<String, Timestamp>,
    noted: Instant,
}

/// Why the tokens could not be had at the start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokensError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Entropy(#[from] NoEntropy),
}

impl Tokens {
    /// Reads the tokens for the first time. `bootstrap` is the one of the configuration.
    ///
    /// # Errors
    /// When the database cannot be read, or the operating system has no random bytes.
    pub(crate) async fn start(db: Db, bootstrap: Option<&Secret>) -> Result<Self, TokensError> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &entropy::bytes::<32>()?);
        let bootstrap = bootstrap.map(|token| tag(&key, token.expose_secret().as_bytes()));
        let nothing = Known { by_tag: HashMap::new(), read_at: Instant::now() };
        let tokens = Self(Arc::new(Inner {
            db,
            key,
            bootstrap,
            known: watch::Sender::new(Arc::new(nothing)),
            reading: tokio::sync::Mutex::new(false),
            uses: Mutex::new(Uses { last: HashMap::new(), noted: Instant::now() }),
        }));
        tokens.read().await?;
        Ok(tokens)
    }

    /// Reads the tokens again and notes what was used. A failure is told once and left to the next time: who is connected stays
    /// so, for nobody can have said otherwise.
    pub(crate) async fn refresh(&self) {
        let mut failed_before = self.0.reading.lock().await;
        let result = async {
            self.read().await?;
            self.note_uses().await
        };
        let result = result.await;
        if let Err(error) = &result {
            metrics::task_failed(REFRESH_TASK);
            if !*failed_before {
                tracing::error!(error = %chain(error), "proxy tokens not read; going on with those that are known");
            }
        }
        *failed_before = result.is_err();
    }

    async fn read(&self) -> Result<(), StoreError> {
        let read_at = Instant::now(); // before: what is committed meanwhile counts as not seen
        let live = store::tokens_live(&self.0.db).await?;
        let all = Allowed { id: None, scopes: Scope::ALL.to_vec(), certificate_name: None, expires_at: None };
        let mut by_tag: HashMap<Tag, Arc<Allowed>> =
            live.into_iter().map(|live| self.allowed(live)).collect();
        by_tag.extend(self.0.bootstrap.map(|tag| (tag, Arc::new(all))));
        self.0.known.send_if_modified(|known| {
            let changed = known.by_tag != by_tag;
            *known = Arc::new(Known { by_tag, read_at });
            changed
        });
        Ok(())
    }

    fn allowed(&self, live: Live) -> (Tag, Arc<Allowed>) {
        let Live { id, fingerprint, scopes, certificate_name, expires_at } = live;
        let allowed = Allowed { id: Some(id), scopes, certificate_name, expires_at };
        (tag_of(&self.0.key, &fingerprint), Arc::new(allowed))
    }

    async fn note_uses(&self) -> Result<(), StoreError> {
        let used: Vec<_> = {
            let mut uses = self.0.uses.lock();
            if uses.last.is_empty() || uses.noted.elapsed() < NOTE_PERIOD {
                return Ok(());
            }
            uses.noted = Instant::now();
            uses.last.drain().collect()
        };
        store::tokens_used(&self.0.db, &used).await
    }

    /// The token was used just now.
    pub(super) fn used(&self, allowed: &Allowed) {
        let Some(id) = &allowed.id else { return };
        self.0.uses.lock().last.insert(id.clone(), clock::now());
    }

    /// The last use of a token that this process knows of and has not noted yet.
    pub(super) fn last_use(&self, id: &str) -> Option<Timestamp> {
        self.0.uses.lock().last.get(id).copied()
    }

    /// What stands for a token that somebody presents.
    pub(super) fn tag(&self, presented: &[u8]) -> Tag {
        tag(&self.0.key, presented)
    }

    /// What is known, and every change of that.
    pub(super) fn known(&self) -> watch::Receiver<Arc<Known>> {
        self.0.known.subscribe()
    }
}

fn tag(key: &hmac::Key, token: &[u8]) -> Tag {
    tag_of(key, &Fingerprint::of(token))
}

fn tag_of(key: &hmac::Key, fingerprint: &Fingerprint) -> Tag {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(hmac::sign(key, fingerprint.as_bytes()).as_ref()); // both have the 32 bytes of SHA-256
    Tag(bytes)
}
