//! Events that the sink can never take: kept in a file for somebody to look at, so that those behind them go on.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::journal::Sequence;

/// In the journal's folder. One JSON object a line: `sequence`, `reason`, `payload_base64`.
pub(crate) const DEAD_LETTER_FILE: &str = "dead-letter.jsonl";
/// Beyond this the file takes no more: a sink that refuses this much needs a person, not a bigger file.
const MAX_FILE_BYTES: u64 = 64 << 20;
/// Events are their owner's business only.
const FILE_MODE: u32 = 0o600;

pub(crate) struct DeadLetters {
    path: PathBuf,
}

/// What became of a record that was put aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PutAside {
    Kept,
    /// The file has reached its limit.
    FileFull,
}

impl DeadLetters {
    pub(crate) fn in_folder(folder: &Path) -> Self {
        Self { path: folder.join(DEAD_LETTER_FILE) }
    }

    /// Returns when the record is on the disk.
    pub(crate) fn put(&self, sequence: Sequence, reason: &str, payload: &[u8]) -> io::Result<PutAside> {
        let mut file = OpenOptions::new().create(true).append(true).mode(FILE_MODE).open(&self.path)?;
        if file.metadata()?.len() >= MAX_FILE_BYTES {
            return Ok(PutAside::FileFull);
        }
        let line = serde_json::json!({
            "sequence": sequence.get(),
            "reason": reason,
            "payload_base64": STANDARD.encode(payload),
        });
        file.write_all(format!("{line}\n").as_bytes())?;
        file.sync_data()?;
        Ok(PutAside::Kept)
    }
}
