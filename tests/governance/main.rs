//! What admins put in force is obeyed: policies, rate limits and budgets, set through the API and hit with concurrent and
//! streaming traffic through the real binary, with the ledger's figures compared afterwards.
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "../harness/mod.rs"]
mod harness;

mod answers;
mod budgets;
mod decision_log;
mod limits;
mod mcp;
mod models;
mod overshoot;
mod policies;
mod restarts;
