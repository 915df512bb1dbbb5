//! Events of other producers than our proxies: `POST /v1/events` and `POST /v1/track`.
//!
//! Wrappers of SDKs, batch jobs and other gateways say what they used. What they send is checked, completed from their
//! credential, priced where it has no price, and written into a journal of its own before it is answered. From there on it goes
//! the way of every event. Nothing of it was admitted by a proxy: budgets move when it is in the ledger.
//!
//! An event is taken or refused as a whole, a batch event by event. What is taken is in the journal together, or none of it is:
//! a full journal refuses the batch. Whoever gets no answer sends the same again: events are known by their ids.

mod answer;
mod bill;
mod bounds;
mod caller;
mod desk;
mod fault;
mod form;
mod identity;
mod json;
mod owner;
mod reader;
mod routes;
mod schema;
mod settings;
mod split;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use mindweave_metering::EventType;

pub(crate) use desk::Desk;
pub(crate) use routes::{document, routes};
pub use settings::EventIntake;

/// The type of an event's envelope.
fn event_kind(event_type: EventType) -> Arc<str> {
    format!("usage.{}", crate::usage::event_type_text(event_type)).into()
}
