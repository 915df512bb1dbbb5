//! Folders that are made once and used by every test process after that.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Names the folder to use instead of `target/test-servers`.
const FOLDER_VARIABLE: &str = "MINDWEAVE_TEST_SERVERS";

/// The folder `name` of the cache, made by `make` when it is not there yet.
///
/// Safe with many processes at once: one makes it beside its place under a file lock, and a rename puts it there whole. A
/// process killed half way leaves nothing that another would take for the result.
pub(crate) fn made_once(name: &str, make: impl FnOnce(&Path)) -> PathBuf {
    let cache = folder();
    let made = cache.join(name);
    if made.is_dir() {
        return made;
    }
    fs::create_dir_all(&cache).expect("a cache folder that can be written");
    let lock = File::create(cache.join(format!(".{name}.lock"))).expect("a lock file");
    lock.lock().expect("a lock that is free some time");
    if !made.is_dir() {
        let partial = cache.join(format!(".{name}.partial"));
        let _of_a_killed_process = fs::remove_dir_all(&partial);
        fs::create_dir(&partial).expect("a cache folder that can be written");
        make(&partial);
        fs::rename(&partial, &made).expect("a rename within the cache");
    }
    made
}

fn folder() -> PathBuf {
    std::env::var_os(FOLDER_VARIABLE)
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/test-servers"), PathBuf::from)
}
