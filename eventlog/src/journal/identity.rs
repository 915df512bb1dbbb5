//! Which journal this is: random, made once, kept beside the segments and in each of them.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use rustix::rand::{GetRandomFlags, getrandom};

use super::disk::{Disk, OpenMode, open_file};
use super::error::JournalError;
use super::format::{JournalId, SegmentHeader};

const ID_FILE: &str = "journal.id";
/// Written first and renamed, so that `journal.id` is whole or absent.
const NEW_ID_FILE: &str = "journal.id.new";

/// The id as everybody outside sees it: 32 hexadecimal digits.
pub(crate) fn text(id: JournalId) -> String {
    format!("{:032x}", u128::from_be_bytes(id.0))
}

fn parse(text: &str) -> Option<JournalId> {
    let digits = text.trim_end();
    let plain = digits.len() == 32 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let number = plain.then(|| u128::from_str_radix(digits, 16).ok()).flatten()?;
    Some(JournalId(number.to_be_bytes()))
}

/// Reads the id, restores it from a segment, or makes one for an empty folder.
///
/// A folder without segments is a new journal even where an id is left: numbers start again, and a consumer that knows the
/// old id must not take them for what it has.
pub(crate) fn establish(
    disk: &dyn Disk,
    folder: &Path,
    mut headers: impl Iterator<Item = SegmentHeader>,
    segments: usize,
) -> Result<JournalId, JournalError> {
    let path = folder.join(ID_FILE);
    let kept = match fs::read_to_string(&path) {
        Ok(text) => parse(&text),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => None,
        Err(error) => return Err(JournalError::io("read", path)(error)),
    };
    if let Some(id) = kept
        && segments > 0
    {
        return Ok(id);
    }
    let id = match headers.next() {
        Some(header) => header.journal,
        None if segments == 0 => JournalId(random(&path)?),
        None => return Err(JournalError::IdentityLost { folder: folder.to_owned() }),
    };
    write(disk, folder, id)?;
    Ok(id)
}

fn random(path: &Path) -> Result<[u8; 16], JournalError> {
    let mut bytes = [0; 16];
    // The kernel returns up to 256 bytes whole once it is seeded, and waits until then.
    match getrandom(&mut bytes, GetRandomFlags::empty()) {
        Ok(16) => Ok(bytes),
        Ok(_) => Err(JournalError::io("draw randomness for", path)(io::ErrorKind::UnexpectedEof.into())),
        Err(errno) => Err(JournalError::io("draw randomness for", path)(errno.into())),
    }
}

fn write(disk: &dyn Disk, folder: &Path, id: JournalId) -> Result<(), JournalError> {
    let new = folder.join(NEW_ID_FILE);
    let mut file = open_file(&new, OpenMode::CreateIfMissing).map_err(JournalError::io("create", &new))?;
    file.set_len(0).map_err(JournalError::io("write", &new))?;
    writeln!(file, "{}", text(id)).map_err(JournalError::io("write", &new))?;
    disk.sync(&file).map_err(JournalError::io("sync", &new))?;
    fs::rename(&new, folder.join(ID_FILE)).map_err(JournalError::io("rename", &new))?;
    disk.sync_folder(folder).map_err(JournalError::io("sync", folder))
}
