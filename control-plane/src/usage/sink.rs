//! The end of the event log: where shippers deliver.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use mindweave_eventlog::{Batch, EventSink, Sequence, SinkError};

use super::ingest::{Claim, Ingest, IngestError};

/// Books delivered events in the ledger, exactly once.
///
/// Asking for a source's position takes the source over: a sink that had it before writes nothing any more.
#[derive(Debug)]
pub struct UsageSink {
    ingest: Ingest,
    claims: HashMap<String, Claim>,
}

/// Makes sinks, for a consumer that needs one for each of its sources. Cheap to clone.
#[derive(Clone, Debug)]
pub struct UsageSinks(Ingest);

impl UsageSinks {
    pub(crate) fn new(ingest: Ingest) -> Self {
        Self(ingest)
    }

    /// A new sink.
    pub fn sink(&self) -> UsageSink {
        UsageSink::new(self.0.clone())
    }
}

impl UsageSink {
    pub(crate) fn new(ingest: Ingest) -> Self {
        Self { ingest, claims: HashMap::new() }
    }
}

impl EventSink for UsageSink {
    async fn position(&mut self, source: &str) -> Result<Option<Sequence>, SinkError> {
        let (claim, position) =
            self.ingest.claim(source).await.map_err(|error| SinkError::Retry(error.into()))?;
        self.claims.insert(source.to_owned(), claim);
        Ok(position.map(Sequence::new))
    }

    async fn deliver(&mut self, batch: &Batch) -> Result<(), SinkError> {
        let claim = match self.claims.entry(batch.source.clone()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => {
                let claimed = self.ingest.claim(&batch.source).await;
                let (claim, _) = claimed.map_err(|error| SinkError::Retry(error.into()))?;
                unknown.insert(claim)
            }
        };
        self.ingest.apply(claim, &batch.records, batch.last).await.map(drop).map_err(sink_error)
    }
}

fn sink_error(error: IngestError) -> SinkError {
    match error {
        IngestError::Undecodable(undecodable) => {
            SinkError::Poison { sequence: Sequence::new(undecodable.sequence), reason: undecodable.reason }
        }
        error @ (IngestError::Fenced(_) | IngestError::Store(_) | IngestError::Sequence(_)) => {
            SinkError::Retry(error.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use mindweave_eventlog::Record;

    use super::*;
    use crate::testing::{Ledger, NOON, event, record};

    fn batch(records: Vec<Record>) -> Batch {
        let (first, last) = (records.first().unwrap().sequence, records.last().unwrap().sequence);
        Batch { source: "journal".into(), first, last, records }
    }

    #[tokio::test]
    async fn a_sink_books_what_is_delivered_and_a_new_one_goes_on_from_there() {
        let ledger = Ledger::new().await;
        let mut sink = UsageSink::new(ledger.ingest.clone());
        assert_eq!(sink.position("journal").await.unwrap(), None);
        sink.deliver(&batch(vec![record(3, &event(1, NOON, 1)), record(5, &event(2, NOON, 1))]))
            .await
            .unwrap();
        let mut next = UsageSink::new(ledger.another_consumer());
        assert_eq!(next.position("journal").await.unwrap(), Some(Sequence::new(5)));
        let late = sink.deliver(&batch(vec![record(7, &event(3, NOON, 1))])).await;
        assert!(matches!(late, Err(SinkError::Retry(_))), "the first sink was replaced");
        assert_eq!(ledger.number("SELECT count(*) FROM usage_events").await, 2);
    }

    #[tokio::test]
    async fn a_batch_without_records_moves_the_position() {
        let ledger = Ledger::new().await;
        let mut sink = UsageSink::new(ledger.ingest.clone());
        assert_eq!(sink.position("kafka:a:b:0").await.unwrap(), None);
        let last = Sequence::new(7);
        sink.deliver(&Batch { source: "kafka:a:b:0".into(), first: last, last, records: Vec::new() })
            .await
            .unwrap();
        let mut next = UsageSink::new(ledger.another_consumer());
        assert_eq!(next.position("kafka:a:b:0").await.unwrap(), Some(last));
    }

    #[tokio::test]
    async fn a_record_that_can_never_be_booked_is_called_poison_and_the_rest_is_taken_without_it() {
        let ledger = Ledger::new().await;
        let mut sink = UsageSink::new(ledger.ingest.clone());
        let mut records =
            vec![record(1, &event(1, NOON, 1)), record(2, &event(2, NOON, 1)), record(3, &event(3, NOON, 1))];
        records[1].payload = b"{}".to_vec();
        let refused = sink.deliver(&batch(records.clone())).await.unwrap_err();
        let SinkError::Poison { sequence, .. } = refused else { panic!("{refused}") };
        assert_eq!(sequence, Sequence::new(2));
        records.remove(1);
        sink.deliver(&batch(records)).await.unwrap();
        assert_eq!(ledger.number("SELECT count(*) FROM usage_events").await, 2);
    }
}
