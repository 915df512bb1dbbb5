//! What can go wrong with a journal, and what a caller can do about it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// Why a record was not appended. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The size limit or the disk is reached. Goes away when the consumer releases records or the disk has room again.
    #[error("the journal is full")]
    Full,
    /// Longer than a record may be.
    #[error("a payload of {bytes} bytes is over the journal's limit of {limit} bytes")]
    TooLarge {
        /// What was to be appended.
        bytes: usize,
        /// What would have been accepted.
        limit: usize,
    },
    /// A write to disk failed earlier. What the kernel still holds may be lost, so that nothing more is promised:
    /// only a restart helps, which reads back what the disk really has.
    #[error("the journal failed earlier and takes no records until a restart")]
    Failed(#[source] Arc<io::Error>),
    /// [`crate::Journal::close`] was called.
    #[error("the journal is closed")]
    Closed,
}

/// Why a journal cannot be opened, synced or read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// A setting is outside its bounds.
    #[error("journal setting {setting} is {value}, but must be {rule}")]
    Config {
        /// The field of [`crate::JournalConfig`].
        setting: &'static str,
        /// What it was set to.
        value: u64,
        /// What it must be.
        rule: String,
    },
    /// Another process has the folder open.
    #[error("journal {} is in use by another process", folder.display())]
    Locked {
        /// The journal's folder.
        folder: PathBuf,
    },
    /// The folder was written by another version of this program.
    #[error("{} has journal format {found}, this build reads format {supported}", path.display())]
    Version {
        /// The file that says so.
        path: PathBuf,
        /// The file's version.
        found: u32,
        /// Ours.
        supported: u32,
    },
    /// There are segments, but nothing readable says which journal they belong to. Nothing was changed.
    #[error("journal {} has segments, but neither journal.id nor any segment header is readable", folder.display())]
    IdentityLost {
        /// The journal's folder.
        folder: PathBuf,
    },
    /// A file operation failed.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// Why it failed.
        #[source]
        cause: io::Error,
    },
    /// A write to disk failed; see [`AppendError::Failed`].
    #[error("the journal cannot write to its disk")]
    Failed(#[source] Arc<io::Error>),
    /// [`crate::Journal::close`] was called, or the last handle was dropped.
    #[error("the journal is closed")]
    Closed,
}

impl JournalError {
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |cause| Self::Io { action, path, cause }
    }
}
