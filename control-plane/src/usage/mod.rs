//! The ledger: events in, exactly once; events out, by list and live.

mod batch_items;
pub(crate) mod counters;
mod decode;
mod dims;
mod exposition;
mod feed;
mod ingest;
mod list;
mod live;
mod offsets;
mod routes;
mod schema;
mod sink;
mod store;
pub(crate) mod totals;
mod within;

#[cfg(test)]
pub(crate) use decode::decode;
pub(crate) use decode::{MAX_COST, MAX_FIGURE};
pub(crate) use feed::FEED_TASK;
pub use feed::{UsageFeeds, UsageSubscription};
pub(crate) use ingest::{Claim, Ingest, IngestError};
pub(crate) use live::LiveEvents;
pub(crate) use routes::routes;
pub(crate) use schema::{EventCertainty, EventOutcome};
pub use sink::{UsageSink, UsageSinks};
pub(crate) use store::{event_type_text, id_at};
pub(crate) use within::Within;
