//! Where in Kafka a journal goes, and how far it is there: a small file beside the journal.
//!
//! The partition must not change while the topic grows, since only one partition has one order. The position saves sending
//! the journal again after a restart; losing it costs duplicates and nothing else.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use mindweave_eventlog::Sequence;
use serde::{Deserialize, Serialize};

use crate::error::KafkaError;
use crate::topics::{Cluster, USAGE_EVENTS};

/// In the journal's folder.
const FILE: &str = "kafka.json";
/// Written first, so that the file is always whole.
const NEW_FILE: &str = "kafka.json.new";
const VERSION: u32 = 1;

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    version: u32,
    journal: String,
    cluster: String,
    topic: String,
    pub(super) partition: i32,
    /// The last sequence that is acknowledged.
    position: Option<u64>,
    /// The offset of that message.
    offset: Option<i64>,
}

impl Place {
    /// A place for a journal that has none.
    pub(super) fn choose(journal: &str, cluster: &Cluster) -> Self {
        Self {
            version: VERSION,
            journal: journal.to_owned(),
            cluster: cluster.id.clone(),
            topic: USAGE_EVENTS.to_owned(),
            partition: partition_of(journal, cluster.partitions),
            position: None,
            offset: None,
        }
    }

    /// What the file in a folder says; `None` when there is no file that can be used.
    pub(super) fn read(folder: &Path) -> Option<Self> {
        let file = folder.join(FILE);
        let text = match fs::read(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(file = %file.display(), %error, "cannot read how far Kafka is: all events in the journal are sent again");
                return None;
            }
        };
        let place = serde_json::from_slice::<Self>(&text).ok().filter(|place| place.version == VERSION);
        if place.is_none() {
            tracing::warn!(file = %file.display(), "the file says nothing of use: all events in the journal are sent again");
        }
        place
    }

    /// Whether it is about this journal and this cluster, and the partition is still there.
    pub(super) fn fits(&self, journal: &str, cluster: &Cluster) -> bool {
        let topic = self.topic == USAGE_EVENTS && (0..cluster.partitions).contains(&self.partition);
        topic && self.journal == journal && self.cluster == cluster.id
    }

    pub(super) fn position(&self) -> Option<Sequence> {
        self.position.map(Sequence::new)
    }

    /// Whether the partition ends before the message that was acknowledged last: it was emptied, or is another one.
    pub(super) fn is_beyond(&self, end: i64) -> bool {
        self.offset.is_some_and(|offset| offset >= end)
    }

    /// Whether nothing was acknowledged yet.
    pub(super) fn is_empty(&self) -> bool {
        self.position.is_none()
    }

    /// Forgets what was acknowledged.
    pub(super) fn empty(&mut self) {
        (self.position, self.offset) = (None, None);
    }

    /// The same place, after everything up to `position` was acknowledged.
    pub(super) fn advanced(self, position: Sequence, offset: Option<i64>) -> Self {
        Self { position: Some(position.get()), offset: offset.or(self.offset), ..self }
    }

    /// Writes it to disk, whole or not at all. Blocks.
    ///
    /// # Errors
    /// When that fails; the file is then as before.
    pub(super) fn store(&self, folder: &Path) -> Result<(), KafkaError> {
        let failed = |source| KafkaError::File {
            what: format!("cannot write {}", folder.join(FILE).display()),
            source,
        };
        let text = serde_json::to_vec(self).map_err(|error| failed(error.into()))?;
        replace(folder, &text).map_err(failed)
    }
}

fn replace(folder: &Path, text: &[u8]) -> io::Result<()> {
    let new: PathBuf = folder.join(NEW_FILE);
    let mut file = File::create(&new)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(new, folder.join(FILE))?;
    File::open(folder)?.sync_all() // the new name as well
}

/// Spreads journals over partitions: FNV-1a, which is the same in every build.
fn partition_of(journal: &str, partitions: i32) -> i32 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    let hash = journal.bytes().fold(OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME));
    let count = u64::try_from(partitions.max(1)).unwrap_or(1);
    i32::try_from(hash % count).unwrap_or(0)
}

#[cfg(test)]
mod tests;
