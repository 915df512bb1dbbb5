//! Claims of journals in other processes.

use std::collections::HashMap;
use std::sync::Arc;

use mindweave_eventlog::{ClaimAnswer, Delivery};
use parking_lot::Mutex;

use crate::db::StoreError;
use crate::usage::{Claim, Ingest, IngestError};

/// Most claims that are remembered. What is forgotten costs only that a delivery which was booked before is compared with the
/// ledger event by event.
const MAX_CLAIMS: usize = 10_000;

/// Books what other processes deliver. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct RemoteSources {
    ingest: Ingest,
    /// By source, the last claim and its epoch.
    claims: Arc<Mutex<HashMap<String, (i64, Shared)>>>,
}

/// One delivery of a source at a time: one that was sent again while the first is still at work waits for it.
type Shared = Arc<tokio::sync::Mutex<Claim>>;

impl RemoteSources {
    /// Books through this ingest.
    pub(crate) fn new(ingest: Ingest) -> Self {
        Self { ingest, claims: Arc::default() }
    }

    /// Takes a source over.
    pub(crate) async fn claim(&self, source: String) -> Result<ClaimAnswer, StoreError> {
        let (claim, position) = self.ingest.claim(&source).await?;
        let epoch = claim.epoch();
        self.remember(source, claim);
        Ok(ClaimAnswer { epoch, position })
    }

    /// Books a delivery. Returns how many of its events are new.
    ///
    /// # Errors
    /// See [`IngestError`].
    pub(crate) async fn deliver(&self, delivery: &Delivery) -> Result<usize, IngestError> {
        let Delivery { epoch, batch } = delivery;
        let claim = self.claim_of(&batch.source, *epoch);
        let mut claim = claim.lock().await;
        self.ingest.apply(&mut claim, &batch.records, batch.last).await
    }

    /// The claim of this epoch. One that is not known here was made through another process, or is forgotten, or never was: the
    /// ledger tells.
    fn claim_of(&self, source: &str, epoch: i64) -> Shared {
        let known = self.claims.lock().get(source).cloned();
        match known {
            Some((known, claim)) if known == epoch => claim,
            Some((known, _)) if known > epoch => {
                Arc::new(tokio::sync::Mutex::new(Claim::resumed(source, epoch)))
            }
            _ => self.remember(source.to_owned(), Claim::resumed(source, epoch)),
        }
    }

    fn remember(&self, source: String, claim: Claim) -> Shared {
        let epoch = claim.epoch();
        let shared: Shared = Arc::new(tokio::sync::Mutex::new(claim));
        let mut claims = self.claims.lock();
        if claims.len() >= MAX_CLAIMS && !claims.contains_key(&source) {
            claims.clear();
        }
        claims.insert(source, (epoch, Arc::clone(&shared)));
        shared
    }
}
