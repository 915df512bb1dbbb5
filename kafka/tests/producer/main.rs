//! The way of a journal into Kafka, with real brokers: what arrives, and what does when they are killed, frozen, locked or full
//! of somebody else's settings.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "a test fails by panicking"
)]

mod delivery;
mod journals;
mod outages;
mod reading;
mod security;
mod topics;
