//! Budgets as admins write them, with what was used of them. The ledger counts; nothing is counted here.

mod answer;
mod money;
mod read;
mod routes;
mod state;
mod store;

pub(super) use routes::routes;
pub(in crate::governance) use state::{QuotaState, quota_state};
