//! Three proxies, two control planes, one Kafka, one PostgreSQL: any of them can die at any moment, and the ledger is right.
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "../harness/mod.rs"]
mod harness;

mod changes;
mod deaths;
mod limits;
mod outages;
