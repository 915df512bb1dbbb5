//! Verifies a chain as it is stored, in small pieces that hold nobody up.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::line::HeadEntry;
use super::permit::ChainPermit;
use super::store;
use super::verify::{Anchor, Fault, FaultKind, Walk};
use super::view::check_columns;
use crate::db::{Db, StoreError};

/// Entries that are read at once. Most have a kilobyte, and none more than a few megabytes.
pub(super) const BATCH: i64 = 64;
/// After this long an answer says how far it came; well below the time in which a request must be answered.
const MOST_TIME: Duration = Duration::from_secs(10);

/// What was found of a chain.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Verification {
    /// The organisation, or `installation`.
    pub(super) chain: String,
    /// Whether everything that was looked at is sound.
    pub(super) valid: bool,
    /// Whether that is everything up to the head. If not, and nothing was wrong, ask again with `after` as `checkpoint` says.
    pub(super) complete: bool,
    /// Entries that were found sound.
    pub(super) entries: u64,
    /// Entries of those whose personal part was erased, which is no fault.
    pub(super) erased: u64,
    /// The last entry of the chain. Keep it somewhere else: only what is known there shows that the end was cut off.
    pub(super) head: HeadEntry,
    /// The last sound entry as `SEQUENCE:HASH`.
    pub(super) checkpoint: String,
    /// What is wrong first.
    pub(super) fault: Option<FaultShown>,
}

/// What is wrong, for programs and for people.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub(super) struct FaultShown {
    /// The entry.
    pub(super) sequence: i64,
    pub(super) kind: FaultKind,
    pub(super) detail: &'static str,
}

impl From<Fault> for FaultShown {
    fn from(fault: Fault) -> Self {
        Self { sequence: fault.sequence, kind: fault.kind, detail: fault.kind.meaning() }
    }
}

impl From<Anchor> for HeadEntry {
    fn from(anchor: Anchor) -> Self {
        Self { sequence: anchor.sequence, hash: super::chain::hex(&anchor.hash) }
    }
}

/// Walks along the chain from its beginning, or from behind an entry that was found sound before. `known` is an entry that it must
/// have.
pub(super) async fn chain_verify(
    db: &Db,
    permit: &ChainPermit,
    after: Option<Anchor>,
    known: Option<Anchor>,
) -> Result<Verification, StoreError> {
    let begun = Instant::now();
    let chain = permit.chain();
    let mut tx = db.begin_read().await?;
    let head = store::head(&mut tx, chain).await?;
    let behind = store::last_sequence(&mut tx, chain).await?;
    drop(tx);
    // One that lies before the checkpoint is looked at by itself: the walk does not come by there.
    let (apart, along): (Vec<Anchor>, Vec<Anchor>) =
        known.into_iter().partition(|known| after.is_some_and(|after| known.sequence < after.sequence));
    let anchors: Vec<Anchor> = along.into_iter().chain(after).collect();
    // A checkpoint is believed for what is behind it only if it still is what is there.
    let from = after.map_or(0, |after| after.sequence.saturating_sub(1));
    let mut walk = match from {
        0 => Walk::from_beginning(chain, anchors),
        _ => Walk::from_anywhere(chain, anchors),
    };
    let (mut fault, mut complete) = (None, false);
    for known in apart.into_iter().filter(|known| known.sequence > 0) {
        fault = fault.or(entry_verify(db, chain, known).await?);
    }
    let mut place = from;
    while fault.is_none() && begun.elapsed() < MOST_TIME {
        let rows = store::entries_after(db, chain, place, head.sequence, BATCH).await?;
        let Some(last) = rows.last() else {
            complete = true;
            break;
        };
        place = last.sequence;
        fault = rows.iter().find_map(|row| {
            let hashes = row.hashes();
            hashes.and_then(|hashes| walk.step(&row.entry(&hashes))).and_then(|()| check_columns(row)).err()
        });
    }
    if complete && fault.is_none() {
        let last = walk.last().unwrap_or(Anchor { sequence: from, ..head });
        fault = at_the_end(last, head, behind).or_else(|| walk.end().err());
    }
    let checkpoint = walk.last().or(after).unwrap_or(Anchor { sequence: 0, ..head });
    Ok(Verification {
        chain: chain.to_owned(),
        valid: fault.is_none(),
        complete: complete && fault.is_none(),
        entries: walk.entries,
        erased: walk.erased,
        head: head.into(),
        checkpoint: checkpoint.to_string(),
        fault: fault.map(FaultShown::from),
    })
}

/// Whether one entry is there as it is known.
async fn entry_verify(db: &Db, chain: &str, known: Anchor) -> Result<Option<Fault>, StoreError> {
    let before = known.sequence.saturating_sub(1);
    let rows = store::entries_after(db, chain, before, known.sequence, 1).await?;
    let Some(row) = rows.first() else { return Ok(Some(Fault::at(known.sequence, FaultKind::Missing))) };
    let mut walk = Walk::from_anywhere(chain, vec![known]);
    Ok(row.hashes().and_then(|hashes| walk.step(&row.entry(&hashes))).err())
}

/// What head and last entry say of each other. `behind` is the last number that there was when the head was read.
fn at_the_end(last: Anchor, head: Anchor, behind: i64) -> Option<Fault> {
    if behind > head.sequence {
        return Some(Fault::at(behind, FaultKind::BehindHead));
    }
    if last.sequence < head.sequence {
        return Some(Fault::at(head.sequence, FaultKind::Truncated));
    }
    (last.sequence == head.sequence && last.hash != head.hash)
        .then(|| Fault::at(head.sequence, FaultKind::HeadChanged))
}
