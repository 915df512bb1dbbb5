//! Sums by minute, hour and day: how they are kept equal to the raw events at every moment.
//!
//! Ingest adds every new event to its **minute**, in the transaction that stores it. The [`job`] **closes** hours and then
//! days: it sums the level below into them once and moves the level's watermark. What is beyond a watermark is in the
//! level below only; queries read each level up to its watermark and the one below from there.
//!
//! An event that arrives late, for an hour or a day that is closed, is added by ingest to that row too, in the same
//! transaction. So there is no moment at which the levels disagree, nothing is ever summed twice, and an event that is
//! older than the minutes kept still finds its hour or day: closed rows only grow by what arrives.
//!
//! [`retention`] drops minutes and hours only below the watermark of the level above, and writes down where it cut
//! (`kept_from`): ingest adds nothing below the cut, queries of that level refuse to answer from there.

mod cover;
mod job;
mod level;
mod pieces;
mod retention;

pub(crate) use cover::cover;
pub(crate) use job::rollup_run;
pub(crate) use level::{Level, State, states_read};
pub use retention::Retention;
#[cfg(test)]
pub(crate) use retention::retention_run;
pub(crate) use retention::storage_run;
