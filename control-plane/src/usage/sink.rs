//! The end of the event log: where shippers deliver.

use std::collections::HashMap;

use super::ingest::{Claim, Ingest};

/// Books delivered events in the ledger, exactly once.
#[derive(Debug)]
pub struct UsageSink {
    ingest: Ingest,
    claims: HashMap<String, Claim>,
}

impl UsageSink {
    pub(crate) fn new(ingest: Ingest) -> Self {
        Self { ingest, claims: HashMap::new() }
    }
}
