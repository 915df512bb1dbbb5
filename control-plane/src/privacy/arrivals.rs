//! Events of erased people that arrive after their erasure: a proxy was cut off, a topic is read again.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use ring::digest::{Context, SHA256};

use super::store;
use crate::db::{Connection, StoreError};

/// What is hashed first, so that no other hash of the same bytes is one of ours.
const CONTEXT: &[u8] = b"mindweave erased person\0";

/// A person's digest.
pub(super) type Digest = [u8; 32];

/// The digest of a person of an organisation.
pub(super) fn digest(salt: &[u8], org_id: &str, user_id: &str) -> Digest {
    let mut context = Context::new(&SHA256);
    context.update(CONTEXT);
    context.update(salt);
    context.update(org_id.as_bytes());
    context.update(&[0]); // ids of organisations have none
    context.update(user_id.as_bytes());
    let mut digest = [0; 32];
    digest.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
    digest
}

/// Who was erased.
#[derive(Debug, Default)]
pub(crate) struct Erased {
    salt: Vec<u8>,
    pseudonyms: HashMap<Digest, Arc<str>>,
}

impl Erased {
    pub(super) fn new(salt: Vec<u8>, rows: impl IntoIterator<Item = (Digest, Arc<str>)>) -> Self {
        Self { salt, pseudonyms: rows.into_iter().collect() }
    }

    /// What this person is called now; `None` for everybody who was not erased.
    pub(crate) fn pseudonym(&self, org_id: &str, user_id: &str) -> Option<&Arc<str>> {
        if self.pseudonyms.is_empty() {
            return None; // nearly everywhere: costs nothing
        }
        self.pseudonyms.get(&digest(&self.salt, org_id, user_id))
    }
}

/// Those of the last revision that was read.
#[derive(Debug, Default)]
pub(crate) struct ErasedCache(Mutex<(i64, Arc<Erased>)>);

impl ErasedCache {
    /// Those of this revision, which was read in this transaction.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) async fn of(&self, tx: &mut Connection, revision: i64) -> Result<Arc<Erased>, StoreError> {
        {
            let known = self.0.lock();
            if known.0 == revision {
                return Ok(Arc::clone(&known.1));
            }
        }
        let erased = Arc::new(store::erased_read(tx).await?);
        *self.0.lock() = (revision, Arc::clone(&erased));
        Ok(erased)
    }
}
