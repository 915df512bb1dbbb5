//! Journals with events, and what ships them.

use std::ops::RangeBounds;
use std::path::Path;
use std::time::{Duration, Instant};

use mindweave_eventlog::{
    Batch, Journal, JournalConfig, ReadLimits, Record, Sequence, ShipConfig, ShipEnd, SyncPolicy, ship_with,
};
use mindweave_kafka::{KafkaConfig, KafkaSink};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::reading::Message;

/// A journal of a test, and everything that was appended to it.
pub(crate) struct Events {
    pub(crate) folder: TempDir,
    pub(crate) journal: Journal,
    pub(crate) appended: Vec<(u64, Vec<u8>)>,
}

/// A journal being shipped.
pub(crate) struct Shipping {
    stop: oneshot::Sender<()>,
    end: JoinHandle<ShipEnd>,
}

impl Events {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { journal: open(folder.path()), folder, appended: Vec::new() }
    }

    pub(crate) fn append(&mut self, count: usize) {
        for _ in 0..count {
            let number = self.appended.len();
            let project = number % 7;
            self.append_payload(
                format!(r#"{{"event_id":"e{number}","project_id":"prj_{project}","text":"{number:0300}"}}"#)
                    .into_bytes(),
            );
        }
    }

    pub(crate) fn append_payload(&mut self, payload: Vec<u8>) -> Sequence {
        let sequence = self.journal.append_event(&payload).unwrap();
        self.appended.push((sequence.get(), payload));
        sequence
    }

    /// Closes the journal and opens it again, as a restart does.
    pub(crate) async fn reopen(&mut self) {
        self.journal.close().await.unwrap();
        self.journal = open(self.folder.path());
    }

    /// Some of the events, as the shipper would hand them over.
    pub(crate) fn batch(&self, range: impl RangeBounds<usize>) -> Batch {
        let range = (range.start_bound().cloned(), range.end_bound().cloned());
        let records: Vec<Record> = self.appended[range]
            .iter()
            .map(|(sequence, payload)| Record {
                sequence: Sequence::new(*sequence),
                origin: None,
                payload: payload.clone(),
            })
            .collect();
        Batch {
            source: self.journal.id().to_owned(),
            first: records[0].sequence,
            last: records[records.len() - 1].sequence,
            records,
        }
    }

    /// Ships until it is stopped.
    pub(crate) fn ship(&self, config: &KafkaConfig) -> Shipping {
        let (stop, stopped) = oneshot::channel();
        let sink = KafkaSink::new(config.clone(), self.folder.path());
        let journal = self.journal.clone();
        let shipping = ship_with(quick(), journal, sink, async move { drop(stopped.await) });
        Shipping { stop, end: tokio::spawn(shipping) }
    }

    /// Ships what is there, as a run of the server and its orderly end do.
    pub(crate) async fn ship_all(&self, config: &KafkaConfig) {
        assert_eq!(self.ship(config).stop().await, ShipEnd::Drained);
    }

    /// Each event once and in order, when copies after the first do not count.
    pub(crate) fn assert_all_in_order(&self, messages: &[Message]) {
        let mut seen = std::collections::HashSet::new();
        let firsts: Vec<(u64, &[u8])> = messages
            .iter()
            .filter(|message| seen.insert(message.sequence))
            .map(|message| (message.sequence, message.payload.as_slice()))
            .collect();
        let expected: Vec<(u64, &[u8])> =
            self.appended.iter().map(|(sequence, payload)| (*sequence, payload.as_slice())).collect();
        assert_eq!(
            firsts.len(),
            expected.len(),
            "events are missing or foreign ({} messages)",
            messages.len()
        );
        assert!(firsts == expected, "the order is not the journal's");
    }
}

impl Shipping {
    pub(crate) async fn stop(self) -> ShipEnd {
        drop(self.stop);
        self.end.await.unwrap()
    }
}

fn open(folder: &Path) -> Journal {
    let config = JournalConfig {
        segment_bytes: 4 << 20,
        max_bytes: 64 << 20,
        sync: SyncPolicy::Group { every: Duration::from_millis(20) },
        ..JournalConfig::new(folder)
    };
    Journal::open(config).unwrap().0
}

/// Small batches, so that a little load has many of them, and time to drain on a busy machine.
fn quick() -> ShipConfig {
    ShipConfig {
        linger: Duration::from_millis(2),
        batch: ReadLimits { max_records: 100, max_bytes: 1 << 20 },
        drain_deadline: Duration::from_secs(60),
        ..ShipConfig::default()
    }
}

/// Waits for something that has to come.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "{what} does not come");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The acknowledged position in the file beside the journal.
pub(crate) fn acknowledged(folder: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(folder.join("kafka.json")).ok()?;
    serde_json::from_str::<serde_json::Value>(&text).ok()?["position"].as_u64()
}
