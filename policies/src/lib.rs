//! What a proxy knows about who may do what: principals, projects and the revisioned snapshot.

mod fingerprint;
mod principal;
mod secret;
mod snapshot;

pub use fingerprint::Fingerprint;
pub use principal::Principal;
pub use secret::Secret;
pub use snapshot::{KeyEntry, ProjectEntry, Snapshot, SnapshotStore};
