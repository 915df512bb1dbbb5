//! The file operations that can fail for reasons outside this program, behind a trait so that tests can make them fail.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::FallocateFlags;

/// Journal files hold who used what: their owner's business only.
const FILE_MODE: u32 = 0o600;

pub(crate) trait Disk: Send + Sync {
    /// Gives the file this length and takes all of its blocks from the disk, or fails: `StorageFull`, most often.
    fn allocate(&self, file: &File, bytes: u64) -> io::Result<()>;
    /// Returns when the file's content is on the disk.
    fn sync(&self, file: &File) -> io::Result<()>;
    /// Returns when the folder's entries are on the disk.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
}

/// The real one.
pub(crate) struct OsDisk;

impl Disk for OsDisk {
    fn allocate(&self, file: &File, bytes: u64) -> io::Result<()> {
        loop {
            match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, bytes) {
                Err(rustix::io::Errno::INTR) => {}
                done => return Ok(done?),
            }
        }
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }
}

/// Opens a journal file for reading and writing; `new` files must not exist yet.
pub(crate) fn open_file(path: &Path, mode: OpenMode) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(FILE_MODE);
    match mode {
        OpenMode::CreateNew => options.create_new(true),
        OpenMode::CreateIfMissing => options.create(true),
        OpenMode::Existing => &mut options,
    };
    options.open(path)
}

/// What may be there already.
#[derive(Clone, Copy, Debug)]
pub(crate) enum OpenMode {
    CreateNew,
    CreateIfMissing,
    Existing,
}
