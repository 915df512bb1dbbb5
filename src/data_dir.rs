//! The data folder: open to its owner only, used by one server at a time, home of the generated secrets.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use mindweave_policy::Secret;
use ring::rand::{SecureRandom, SystemRandom};
use rustix::fs::{FlockOperation, flock};

/// Holds the token that the API accepts.
pub(crate) const ADMIN_TOKEN_FILE: &str = "admin-token";
/// Holds the key that stored secrets are encrypted with.
pub(crate) const MASTER_KEY_FILE: &str = "master-key";
/// The link that makes the first owner, while there is nobody.
pub(crate) const OWNER_LINK_FILE: &str = "owner-link";
/// Holds the token with which proxies call the control plane.
pub(crate) const PROXY_TOKEN_FILE: &str = "proxy-token";
/// Locked by the server that uses the folder. Holds its process id, for people.
const LOCK_FILE: &str = "lock";
/// Random bytes in a generated secret: 256 bits.
const SECRET_BYTES: usize = 32;
/// Everything but the owner's own bits.
const OTHERS: u32 = 0o077;
/// A secret file is one line; more is another file.
const MAX_SECRET_FILE_BYTES: u64 = 4096;

/// Why the data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DataDirError {
    /// The folder itself.
    #[error("cannot make or open the data folder {}: set data_dir to a folder this user may write to", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    /// A file in it.
    #[error("cannot read or write {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    /// A second server would damage the first one's journal.
    #[error("{} is in use by another mindweave (process {owner}): stop it, or set data_dir to another folder", path.display())]
    InUse {
        /// Which folder.
        path: PathBuf,
        /// The process that has it, or `unknown`.
        owner: String,
    },
    /// A secret file without a secret: a full disk at the wrong time, or an editor's doing.
    #[error("{} is empty or not text: restore it, or delete it to have a new secret made", path.display())]
    BadSecret {
        /// Which file.
        path: PathBuf,
    },
}

/// An opened data folder; the lock on it lasts as long as this value, and the kernel drops it with the process.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Makes the folder if it is missing and takes it for this process.
    ///
    /// # Errors
    /// When it cannot be made, or another server has it.
    pub(crate) fn open(path: &Path) -> Result<Self, DataDirError> {
        let folder = |cause| DataDirError::Folder { path: path.to_path_buf(), cause };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(folder)?;
        if is_empty(path).map_err(folder)? {
            // Prepared for us, for example as an empty volume: ours to close. A folder with content may be somebody's.
            fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(folder)?;
        }
        if !is_private(path).map_err(folder)? {
            tracing::warn!(data_dir = %path.display(), "other users can look into the data folder; chmod 700 it");
        }
        let lock = lock(path)?;
        Ok(Self { path: path.to_path_buf(), _lock: lock })
    }

    /// Takes a folder that a server has used, and leaves any other as it is.
    ///
    /// # Errors
    /// As for [`Self::open`].
    pub(crate) fn open_used(path: &Path) -> Result<Option<Self>, DataDirError> {
        if path.join(LOCK_FILE).is_file() { Self::open(path).map(Some) } else { Ok(None) }
    }

    /// Where the folder's master key is.
    pub(crate) fn master_key_file(&self) -> PathBuf {
        self.path.join(MASTER_KEY_FILE)
    }

    /// The admin token of the folder, made if it is missing.
    ///
    /// # Errors
    /// When the file cannot be read or written, or holds no secret.
    pub(crate) fn admin_token(&self) -> Result<Secret, DataDirError> {
        read_or_make(&self.path.join(ADMIN_TOKEN_FILE))
    }

    /// The proxy token of the folder, made if it is missing.
    ///
    /// # Errors
    /// As for [`Self::admin_token`].
    pub(crate) fn proxy_token(&self) -> Result<Secret, DataDirError> {
        read_or_make(&self.proxy_token_file())
    }

    /// The proxy token of the folder, if there is one.
    ///
    /// # Errors
    /// When its file is there and cannot be read, or holds no secret.
    pub(crate) fn stored_proxy_token(&self) -> Result<Option<Secret>, DataDirError> {
        match read_secret(&self.proxy_token_file()) {
            Err(DataDirError::File { cause, .. }) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
            other => other.map(Some),
        }
    }

    /// Where the folder's proxy token is.
    pub(crate) fn proxy_token_file(&self) -> PathBuf {
        self.path.join(PROXY_TOKEN_FILE)
    }

    /// Leaves the link that makes the first owner for whoever may read this folder, or takes away one that is over.
    ///
    /// # Errors
    /// When the file cannot be written or removed.
    pub(crate) fn leave_owner_link(&self, link: Option<&Secret>) -> Result<(), DataDirError> {
        let path = self.path.join(OWNER_LINK_FILE);
        let left = match link {
            Some(link) => write_private(&path, link.expose_secret()),
            None => match fs::remove_file(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                removed => removed,
            },
        };
        left.map_err(|cause| DataDirError::File { path, cause })
    }

    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The master key of the folder, made if it is missing.
    ///
    /// # Errors
    /// As for [`Self::admin_token`].
    pub(crate) fn master_key(&self) -> Result<Secret, DataDirError> {
        read_or_make(&self.master_key_file())
    }
}

/// The admin token that a server left in this folder, if there is one that this user may read.
pub(crate) fn stored_admin_token(data_dir: &Path) -> Option<Secret> {
    read_secret(&data_dir.join(ADMIN_TOKEN_FILE)).ok()
}

/// Whether only the owner may look into a file or folder.
pub(crate) fn is_private(path: &Path) -> io::Result<bool> {
    Ok(mode(path)? & OTHERS == 0)
}

/// Whether a running server has this folder.
pub(crate) fn is_in_use(folder: &Path) -> bool {
    // Open for reading only, so that looking leaves no trace; the lock is gone again when the file is closed.
    File::open(folder.join(LOCK_FILE))
        .is_ok_and(|file| flock(&file, FlockOperation::NonBlockingLockShared).is_err())
}

fn mode(path: &Path) -> io::Result<u32> {
    Ok(fs::metadata(path)?.permissions().mode() & 0o777)
}

fn is_empty(path: &Path) -> io::Result<bool> {
    Ok(fs::read_dir(path)?.next().is_none())
}

fn lock(folder: &Path) -> Result<File, DataDirError> {
    let path = folder.join(LOCK_FILE);
    let failed = |cause| DataDirError::File { path: path.clone(), cause };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(failed)?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let mut owner = String::new();
        let known = file.read_to_string(&mut owner).is_ok() && !owner.trim().is_empty();
        let owner = if known { owner.trim().to_owned() } else { "unknown".to_owned() };
        return Err(DataDirError::InUse { path: folder.to_path_buf(), owner });
    }
    file.set_len(0).map_err(failed)?;
    writeln!(file, "{}", std::process::id()).map_err(failed)?;
    Ok(file)
}

fn read_or_make(path: &Path) -> Result<Secret, DataDirError> {
    match read_secret(path) {
        Err(DataDirError::File { cause, .. }) if cause.kind() == io::ErrorKind::NotFound => make(path),
        other => other,
    }
}

fn read_secret(path: &Path) -> Result<Secret, DataDirError> {
    let failed = |cause| DataDirError::File { path: path.to_path_buf(), cause };
    let mut text = String::new();
    let file = File::open(path).map_err(failed)?;
    file.take(MAX_SECRET_FILE_BYTES).read_to_string(&mut text).map_err(failed)?;
    match text.trim() {
        "" => Err(DataDirError::BadSecret { path: path.to_path_buf() }),
        secret => Ok(Secret::new(secret.to_owned())),
    }
}

/// Makes a secret and its file, on disk before anything is encrypted with it.
fn make(path: &Path) -> Result<Secret, DataDirError> {
    let failed = |cause| DataDirError::File { path: path.to_path_buf(), cause };
    let mut bytes = [0_u8; SECRET_BYTES];
    let random = SystemRandom::new().fill(&mut bytes);
    random.map_err(|_| failed(io::Error::other("the system has no randomness")))?;
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    write_private(path, &text).map_err(failed)?;
    Ok(Secret::new(text))
}

/// Writes a file as a whole: whoever reads it sees the old content, or none, or the new one. Only the owner may read it.
pub(crate) fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let draft = path.with_extension("draft");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    writeln!(file, "{text}")?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folder_and_secrets_are_open_to_their_owner_only() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/b");
        let folder = DataDir::open(&path).unwrap();
        folder.admin_token().unwrap();
        folder.master_key().unwrap();
        assert_eq!(mode(&path).unwrap(), 0o700);
        assert_eq!(mode(&path.join(ADMIN_TOKEN_FILE)).unwrap(), 0o600);
        assert_eq!(mode(&path.join(MASTER_KEY_FILE)).unwrap(), 0o600);
    }

    #[test]
    fn an_empty_folder_is_closed_to_others_and_a_used_one_is_left_as_it_is() {
        let parent = tempfile::tempdir().unwrap();
        for (name, content, expected) in [("empty", None, 0o700), ("used", Some("notes.txt"), 0o755)] {
            let path = parent.path().join(name);
            fs::create_dir(&path).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            if let Some(file) = content {
                fs::write(path.join(file), "x").unwrap();
            }
            DataDir::open(&path).unwrap();
            assert_eq!(mode(&path).unwrap(), expected, "{name}");
        }
    }

    #[test]
    fn secrets_differ_and_stay_the_same_over_restarts() {
        let parent = tempfile::tempdir().unwrap();
        let first = DataDir::open(parent.path()).unwrap();
        let (token, key) = (first.admin_token().unwrap(), first.master_key().unwrap());
        assert!(token != key);
        assert_eq!(token.expose_secret().len(), SECRET_BYTES * 2);
        drop(first);
        let second = DataDir::open(parent.path()).unwrap();
        assert!(second.admin_token().unwrap() == token);
        assert!(stored_admin_token(parent.path()).unwrap() == token);
    }

    #[test]
    fn a_proxy_token_is_only_made_where_one_is_asked_for() {
        let parent = tempfile::tempdir().unwrap();
        let folder = DataDir::open(parent.path()).unwrap();
        assert!(folder.stored_proxy_token().unwrap().is_none());
        let token = folder.proxy_token().unwrap();
        assert!(folder.stored_proxy_token().unwrap().unwrap() == token);
        assert_eq!(mode(&folder.proxy_token_file()).unwrap(), 0o600);
        assert!(folder.admin_token().unwrap() != token);
    }

    #[test]
    fn a_second_server_is_refused_and_told_who_has_the_folder() {
        let parent = tempfile::tempdir().unwrap();
        let first = DataDir::open(parent.path()).unwrap();
        assert!(is_in_use(parent.path()));
        let refused = DataDir::open(parent.path()).unwrap_err().to_string();
        assert!(refused.contains(&format!("process {}", std::process::id())), "{refused}");
        drop(first);
        assert!(!is_in_use(parent.path()));
    }

    #[test]
    fn the_owners_link_is_for_the_folders_owner_and_goes_when_it_is_over() {
        let parent = tempfile::tempdir().unwrap();
        let folder = DataDir::open(parent.path()).unwrap();
        let path = parent.path().join(OWNER_LINK_FILE);
        folder
            .leave_owner_link(Some(&Secret::new("http://localhost/auth/setup?token=mwo_1".to_owned())))
            .unwrap();
        assert_eq!(mode(&path).unwrap(), 0o600);
        assert!(fs::read_to_string(&path).unwrap().contains("mwo_1"));
        folder.leave_owner_link(None).unwrap();
        folder.leave_owner_link(None).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn an_emptied_secret_file_is_a_fault_and_not_a_new_secret() {
        let parent = tempfile::tempdir().unwrap();
        let folder = DataDir::open(parent.path()).unwrap();
        fs::write(parent.path().join(MASTER_KEY_FILE), "\n").unwrap();
        assert!(matches!(folder.master_key(), Err(DataDirError::BadSecret { .. })));
    }
}
