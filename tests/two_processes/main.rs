//! Proxy and control plane as two processes: what one says holds at the other, and neither needs the other to be there.
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "../harness/mod.rs"]
mod harness;

mod budgets;
mod changes;
mod fencing;
mod outages;
mod tokens;
