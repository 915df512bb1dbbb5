//! How limits are divided among proxies: by how many there are, and by how much of each limit they lately asked for.
//!
//! **The protocol.** `POST /internal/v1/demand`: each proxy sends a [`DemandReport`] about every second, and the answer is a
//! [`ShareAnswer`]. A limit that nobody comes near is in neither: each of n proxies goes by one nth of it. Once a proxy
//! uses more than half of what it has, it says how much its requests ask for, and from then on every proxy is told its
//! own portion of that limit, until nobody presses it and all hold equal portions again.
//!
//! **The invariant.** What proxies go by adds up to one whole at most, also while it moves. A proxy reports what it goes by. Whoever
//! gets less is told so at once, and counts with the larger of what it had and what it was told until it reports the smaller one. Whoever
//! gets more is given only what is left beside all that the others count with. So an answer that is lost, late or doubled makes
//! a limit tighter for a second, never wider. [`ShareBook`] is that bookkeeping; reports meet in it one after the other,
//! whichever control plane took them.
//!
//! **Where it is wider**, as `docs/limits-and-budgets.md` says too: a proxy that has just started goes by one nth until its first
//! report is answered, and one that no control plane hears of goes by its last portion for [`SHARE_LEASE`] and by one nth after that.

mod book;
mod divide;
mod portion;

use std::sync::Arc;
use std::time::Duration;

use mindweave_metering::LimitId;
use serde::{Deserialize, Serialize};

pub use book::{ShareBook, StaleReport};
pub use portion::Portion;

/// How long a proxy counts as alive after it was last heard of, and how long it goes by a portion that nobody confirms. Ten missed
/// reports: the restart of a control plane, or a move to another one, takes less.
pub const SHARE_LEASE: Duration = Duration::from_secs(10);

/// Most limits that one report names: those under pressure, and those whose portion was told. A limit counts once for each subject.
pub const MAX_REPORTED_LIMITS: usize = 512;

/// Of how much of its limits a proxy makes use, and by which portions of them it goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DemandReport {
    /// The id of its journal: its name among the proxies.
    pub journal: Arc<str>,
    /// Rises with every report of a journal, also over restarts: an older one that comes late is told by it. Microseconds since
    /// 1970, at the sending.
    pub number: u64,
    /// Among how many proxies it divides what is not in `limits`.
    pub live_proxies: u32,
    /// Whether it is about to stop: it goes by nothing any more.
    #[serde(default)]
    pub leaving: bool,
    /// The limits of which there is something to say.
    pub limits: Vec<LimitDemand>,
}

/// One limit of one subject, as one proxy sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitDemand {
    /// Which limit.
    pub limit_id: LimitId,
    /// Whose: the id under which [`crate::Subject::counted`] counts.
    pub subject: Arc<str>,
    /// What requests lately asked for, whether they got it or not: units a minute, or open at a time. 0: nothing.
    pub demand: u64,
    /// Into how many pieces it can be divided at most: requests cannot be halved.
    pub pieces: u32,
    /// The portion that the proxy goes by; without one, it is one of `live_proxies`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Portion>,
}

/// The answer to a report.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShareAnswer {
    /// How many proxies are alive.
    pub live_proxies: u32,
    /// The portions to go by from now on. A limit that is not listed is divided evenly.
    pub shares: Vec<LimitShare>,
}

/// One proxy's portion of a limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitShare {
    /// Which limit.
    pub limit_id: LimitId,
    /// Whose.
    pub subject: Arc<str>,
    /// How much of it.
    pub portion: Portion,
}
