//! What a proxy keeps of its control plane over a restart: sealed files in its data folder, for its owner only.
//!
//! A file is replaced as a whole: whoever reads it finds the old content or the new one. One that does not open is set
//! aside under the name `*.unreadable` and the proxy goes on as if there were none.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use mindweave_policy::Secret;

use super::sealed::{Kind, Sealer};
use crate::error::chain;

/// The largest file that is read back: a snapshot of a million keys has some 400 MB.
const MAX_FILE_BYTES: u64 = 1 << 30;

/// The files of one proxy.
pub(super) struct Cache {
    folder: PathBuf,
    sealer: Sealer,
}

impl Cache {
    /// The cache in this folder, which must be there.
    pub(super) fn new(folder: &Path, token: &Secret) -> Self {
        Self { folder: folder.to_path_buf(), sealer: Sealer::new(token) }
    }

    /// What was saved last; `None` when there is nothing usable. Blocks.
    pub(super) fn load(&self, kind: Kind) -> Option<Vec<u8>> {
        let path = self.path(kind);
        let sealed = match read(&path) {
            Ok(sealed) => sealed,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::error!(file = %path.display(), error = chain(&error), "cached file cannot be read");
                return None;
            }
        };
        match self.sealer.open(kind, sealed) {
            Ok(content) => Some(content),
            Err(error) => {
                self.set_aside(kind, &error);
                None
            }
        }
    }

    /// Takes an unusable file out of the way, so that it can be looked at. Blocks.
    pub(super) fn set_aside(&self, kind: Kind, reason: &dyn std::error::Error) {
        let path = self.path(kind);
        let aside = self.folder.join(format!("{}.unreadable", kind.file_name()));
        let reason = reason.to_string();
        match fs::rename(&path, &aside) {
            Ok(()) => {
                tracing::warn!(file = %path.display(), kept_as = %aside.display(), reason, "cached file is set aside");
            }
            Err(error) => {
                tracing::error!(file = %path.display(), reason, error = chain(&error), "unusable cached file cannot be set aside");
            }
        }
    }

    /// Replaces the file, on disk when this returns. Blocks.
    ///
    /// # Errors
    ///
    /// When it cannot be written; the old one is then still there.
    pub(super) fn save(&self, kind: Kind, content: &[u8]) -> io::Result<()> {
        let sealed = self.sealer.seal(kind, content).map_err(io::Error::other)?;
        let draft = self.folder.join(format!("{}.draft", kind.file_name()));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        file.write_all(&sealed)?;
        file.sync_all()?;
        fs::rename(&draft, self.path(kind))?;
        File::open(&self.folder)?.sync_all()
    }

    fn path(&self, kind: Kind) -> PathBuf {
        self.folder.join(kind.file_name())
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    let read = File::open(path)?.take(MAX_FILE_BYTES).read_to_end(&mut content)?;
    if u64::try_from(read).is_ok_and(|read| read >= MAX_FILE_BYTES) {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "more than a cached file can have"));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn cache(folder: &Path, token: &str) -> Cache {
        Cache::new(folder, &Secret::new(token.to_owned()))
    }

    #[test]
    fn what_was_saved_last_is_loaded_and_only_its_owner_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(folder.path(), "t");
        assert_eq!(cache.load(Kind::Snapshot), None);
        for content in [&b"first"[..], b"second"] {
            cache.save(Kind::Snapshot, content).unwrap();
            assert_eq!(cache.load(Kind::Snapshot).unwrap(), content);
        }
        let path = folder.path().join("snapshot.sealed");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(cache.load(Kind::Counters), None);
    }

    #[test]
    fn a_damaged_or_foreign_file_is_set_aside_and_the_next_save_works() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("snapshot.sealed");
        cache(folder.path(), "another token").save(Kind::Snapshot, b"foreign").unwrap();
        let foreign = fs::read(&path).unwrap();
        for content in [foreign.as_slice(), b"", b"{}", &[1; 400]] {
            fs::write(&path, content).unwrap();
            let cache = cache(folder.path(), "t");
            assert_eq!(cache.load(Kind::Snapshot), None);
            assert!(!path.exists(), "it is out of the way");
            assert_eq!(fs::read(folder.path().join("snapshot.sealed.unreadable")).unwrap(), content);
            cache.save(Kind::Snapshot, b"good").unwrap();
            assert_eq!(cache.load(Kind::Snapshot).unwrap(), b"good");
        }
    }

    #[test]
    fn a_save_that_fails_leaves_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(folder.path(), "t");
        cache.save(Kind::Counters, b"old").unwrap();
        fs::create_dir(folder.path().join("counters.sealed.draft")).unwrap(); // no file can be written in its place
        assert!(cache.save(Kind::Counters, b"new").is_err());
        assert_eq!(cache.load(Kind::Counters).unwrap(), b"old");
    }
}
